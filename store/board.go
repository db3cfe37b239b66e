package store

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Board is a board with what only the conductor needs.
type Board struct {
	s4t.Board
	CodeHash     string // SHA-256 of the registration code, hex; empty: none
	CodeUsed     bool
	PublicKey    []byte // Ed25519; empty: not enrolled
	Incarnation  string // of the WAMP agent when the session began
	Instance     string // of lightning-rod in the session
	ReportSeq    int64  // of the last report in the session
	StreamsUntil time.Time
	ClonedAt     time.Time
	Tenure       int64 // counts its owners

	// Ended says why Status is not what the row says: the session is over, or
	// is taken for over, though nobody wrote so.
	Ended Ended
}

// Ended is how a session ends that nobody writes off.
type Ended int

// How a session may have ended with its WAMP agent.
const (
	EndedNot      Ended = iota
	EndedSilent         // the agent is silent: it may go on
	EndedReplaced       // another incarnation has the agent's place
)

// endedOf is the [Ended] of a session, of the presence row p.
const endedOf = `COALESCE((SELECT CASE WHEN w.incarnation <> p.incarnation THEN 2 WHEN w.online = 0 THEN 1 ELSE 0 END FROM agents w WHERE w.id = p.wamp_agent), 0)`

// statusOf is the status of a board as it is, of the presence row p.
func statusOf(p string) string {
	return strings.ReplaceAll(`CASE WHEN p.status = 'online' AND EXISTS (SELECT 1 FROM agents w WHERE w.id = p.wamp_agent AND (w.incarnation <> p.incarnation OR w.online = 0)) THEN 'offline' ELSE p.status END`, "p.", p+".")
}

const boardSelect = `SELECT b.id, b.project, b.name, b.type, b.labels, b.location, b.code_hash, b.code_used, b.public_key, p.status, p.epoch, p.generation, p.applied,
		p.wamp_agent, p.incarnation, p.instance, p.report_seq, b.tunnel_agent, b.streams_until, b.cloned_at, b.info, b.public_address, b.problems, p.seen_at, b.created_at, b.code_expires_at, b.tenure, ` + endedOf + `
	FROM boards b JOIN presence p ON p.board = b.id `

func scanBoard(s scanner) (Board, error) {
	var b Board
	var labels, location, key, info, public, problems string
	var hash sql.NullString
	var until, cloned, created, expires int64
	var seen sql.NullInt64
	if err := s.Scan(&b.ID, &b.Project, &b.Name, &b.Type, &labels, &location, &hash, flag(&b.CodeUsed), &key, &b.Status, &b.Epoch, &b.Generation, &b.AppliedGeneration,
		&b.WAMPAgent, &b.Incarnation, &b.Instance, &b.ReportSeq, &b.TunnelAgent, &until, &cloned, &info, &public, &problems, &seen, &created, &expires, &b.Tenure, &b.Ended); err != nil {
		return b, err
	}
	if b.Status != s4t.BoardOnline {
		b.Ended = EndedNot
	} else if b.Ended != EndedNot {
		b.Status = s4t.BoardOffline
	}
	b.CodeHash = hash.String
	b.StreamsUntil, b.ClonedAt, b.CreatedAt = fromMicros(until), fromMicros(cloned), fromMicros(created)
	b.LastSeen = fromMicrosOrNull(seen)
	if expires != 0 {
		at := fromMicros(expires)
		b.CodeExpiresAt = &at
	}
	var err error
	if b.PublicKey, err = base64.StdEncoding.DecodeString(key); err != nil {
		return b, err
	}
	for _, part := range []struct {
		text string
		into any
	}{{labels, &b.Labels}, {location, &b.Location}, {info, &b.Info}, {problems, &b.Problems}} {
		if err := fromJSON(part.text, part.into); err != nil {
			return b, err
		}
	}
	b.Info.PublicAddress = public
	return b, nil
}

// described are the values of what people say of a board.
func (b Board) described() []any {
	location := ""
	if b.Location != nil {
		location = jsonText(b.Location)
	}
	return []any{b.Name, b.Type, jsonText(b.Labels), location, cellOf(b.Location)}
}

// InsertBoard adds a board that was never there, with generation 1. A name
// that the project has is a Conflict on boards.name.
func (tx *Tx) InsertBoard(b Board) error {
	op := fmt.Sprintf("create board %q", b.Name)
	if _, err := tx.exec(op,
		`INSERT INTO boards (name, type, labels, location, cell, code_hash, code_used, public_key, tunnel_agent, streams_until, cloned_at, info, problems, id, project, created_at, code_expires_at)
		VALUES (?, ?, ?, ?, ?, ?, 0, '', '', 0, 0, '', '', ?, ?, ?, ?)`,
		append(b.described(), textOrNull(b.CodeHash), b.ID, b.Project, micros(b.CreatedAt), b.codeExpires())...); err != nil {
		return err
	}
	if err := tx.indexBoard(op, b); err != nil {
		return err
	}
	_, err := tx.exec(op, `INSERT INTO presence (board, status, epoch, generation, applied, report_seq, wamp_agent, incarnation, instance) VALUES (?, ?, 0, 1, 0, 0, '', '', '')`,
		b.ID, s4t.BoardRegistered)
	return err
}

// The columns of a board are written in groups, each by those who know them,
// so that no one undoes what another writes meanwhile.

// DescribeBoard writes what people say of a board: name, type, labels,
// location.
func (tx *Tx) DescribeBoard(b Board) error {
	if err := tx.updateBoard(b, `name = ?, type = ?, labels = ?, location = ?, cell = ?`, b.described()...); err != nil {
		return err
	}
	op := fmt.Sprintf("update board %q", b.Name)
	if _, err := tx.exec(op, `DELETE FROM board_labels WHERE board = ?`, b.ID); err != nil {
		return err
	}
	return tx.indexBoard(op, b)
}

// SetBoardKey writes the code of a board, until when it is good, and the key.
func (tx *Tx) SetBoardKey(b Board) error {
	return tx.updateBoard(b, `code_hash = ?, code_used = ?, public_key = ?, code_expires_at = ?`,
		textOrNull(b.CodeHash), bit(b.CodeUsed), base64.StdEncoding.EncodeToString(b.PublicKey), b.codeExpires())
}

// codeExpires is until when the code is good; 0 where none is to be used.
func (b Board) codeExpires() int64 {
	if b.CodeUsed || b.CodeExpiresAt == nil {
		return 0
	}
	return micros(*b.CodeExpiresAt)
}

// says are the values of what a board says of itself, and of the address that it comes from.
func (b Board) says() []any {
	info, public := b.Info, b.Info.PublicAddress
	info.PublicAddress = ""
	return []any{jsonText(info), jsonText(b.Problems), jsonText(brief(info)), public}
}

// SetBoardSays writes what a board says of itself.
func (tx *Tx) SetBoardSays(b Board) error {
	return tx.updateBoard(b, `info = ?, problems = ?, brief = ?, public_address = ?`, b.says()...)
}

// SetBoardsSay does what SetBoardSays does, for boards that are locked.
func (tx *Tx) SetBoardsSay(boards []Board) error {
	return insert(tx, "record what boards say", `UPDATE boards SET info = said.column2, problems = said.column3, brief = said.column4, public_address = said.column5 FROM (VALUES `,
		boards, func(b Board) []any { return append([]any{string(b.ID)}, b.says()...) }, `) AS said WHERE boards.id = said.column1`)
}

// SetBoardsAgent writes that the streams of boards, which are locked, are at a tunnel agent.
func (tx *Tx) SetBoardsAgent(boards []s4t.BoardID, agent s4t.AgentID) error {
	_, err := manyIn(tx, "place boards", value[s4t.BoardID], `UPDATE boards SET tunnel_agent = ? WHERE id IN `, []any{agent}, boards, ` RETURNING id`)
	return err
}

// BoardsWithParts returns those of boards that have a port, a service or a plugin, or were leased, sorted.
func (tx *Tx) BoardsWithParts(ids []s4t.BoardID) (some []s4t.BoardID, err error) {
	for _, table := range []string{"ports", "services", "board_plugins", "lease_boards"} { // in one statement each would be read from end to end
		of, err := manyIn(tx, "find boards with "+table, value[s4t.BoardID], `SELECT DISTINCT board FROM `+table+` WHERE board IN `, nil, ids, ``)
		if err != nil {
			return nil, err
		}
		some = append(some, of...)
	}
	slices.Sort(some)
	return slices.Compact(some), nil
}

// SetBoardStreams writes where the streams of a board are, and until when they
// are wanted.
func (tx *Tx) SetBoardStreams(b Board) error {
	return tx.updateBoard(b, `tunnel_agent = ?, streams_until = ?`, b.TunnelAgent, micros(b.StreamsUntil))
}

// SetBoardCloned writes when another board used the key of this one.
func (tx *Tx) SetBoardCloned(b Board) error {
	return tx.updateBoard(b, `cloned_at = ?`, micros(b.ClonedAt))
}

func (tx *Tx) updateBoard(b Board, set string, args ...any) error {
	_, err := tx.exec(fmt.Sprintf("update board %q", b.Name), `UPDATE boards SET `+set+` WHERE id = ?`, append(args, b.ID)...)
	return err
}

// SetPresence writes the session of a board: everything of it but the
// generation, which only grows (see GrowBoard).
func (tx *Tx) SetPresence(b Board) error {
	_, err := tx.exec(fmt.Sprintf("record the presence of board %q", b.Name),
		`UPDATE presence SET status = ?, epoch = ?, applied = ?, report_seq = ?, wamp_agent = ?, incarnation = ?, instance = ?, seen_at = ? WHERE board = ?`,
		append(b.presence(), b.ID)...)
	return err
}

// presence are the values of a session.
func (b Board) presence() []any {
	return []any{b.Status, b.Epoch, b.AppliedGeneration, b.ReportSeq, b.WAMPAgent, b.Incarnation, b.Instance, microsOrNull(b.LastSeen)}
}

// SetPresences does what SetPresence does, for boards that are locked (see
// [Tx.LockedBoards]): so their rows are there, and none is inserted.
func (tx *Tx) SetPresences(boards []Board) error {
	return insert(tx, "record the presence of boards", `INSERT INTO presence (status, epoch, applied, report_seq, wamp_agent, incarnation, instance, seen_at, board, generation) VALUES `,
		boards, func(b Board) []any { return append(b.presence(), b.ID, b.Generation) },
		` ON CONFLICT (board) DO UPDATE SET status = excluded.status, epoch = excluded.epoch, applied = excluded.applied, report_seq = excluded.report_seq,
			wamp_agent = excluded.wamp_agent, incarnation = excluded.incarnation, instance = excluded.instance, seen_at = excluded.seen_at`)
}

// Woken is who is to be told of a generation of a board's desired state.
type Woken struct {
	Board      s4t.BoardID
	Generation int64
	WAMPAgent  s4t.AgentID
	Online     bool
}

func scanWoken(s scanner) (w Woken, err error) {
	var status s4t.BoardStatus
	err = s.Scan(&w.Board, &w.Generation, &w.WAMPAgent, &status)
	w.Online = status == s4t.BoardOnline
	return w, err
}

// GrowBoard makes a new generation of a board's desired state.
func (tx *Tx) GrowBoard(id s4t.BoardID) (Woken, error) {
	return one(tx, fmt.Sprintf("change the desired state of board %q", id), scanWoken,
		`UPDATE presence SET generation = generation + 1 WHERE board = ? RETURNING board, generation, wamp_agent, status`, id)
}

// DeleteBoard deletes a board with its ports and services.
func (tx *Tx) DeleteBoard(id s4t.BoardID) error {
	_, err := tx.exec(fmt.Sprintf("delete board %q", id), `DELETE FROM boards WHERE id = ?`, id)
	return err
}

// Board returns the board with this id.
func (tx *Tx) Board(id s4t.BoardID) (Board, error) {
	return one(tx, fmt.Sprintf("find board %q", id), scanBoard, boardSelect+`WHERE b.id = ?`, id)
}

// BoardKeys returns the names and keys of those of boards that there are; nothing else
// of them is set.
func (tx *Tx) BoardKeys(ids []s4t.BoardID) ([]Board, error) {
	return manyIn(tx, "find boards", func(s scanner) (b Board, err error) {
		var text string
		if err = s.Scan(&b.ID, &b.Name, &text); err == nil {
			b.PublicKey, err = base64.StdEncoding.DecodeString(text)
		}
		return b, err
	}, `SELECT id, name, public_key FROM boards WHERE id IN `, nil, ids, "")
}

// LockBoard returns it and holds the board until the transaction ends.
func (tx *Tx) LockBoard(id s4t.BoardID) (Board, error) {
	return one(tx, fmt.Sprintf("find board %q", id), scanBoard, boardSelect+`WHERE b.id = ?`+tx.forUpdate(), id)
}

// LockedBoards returns those of boards, whose ids are sorted, that there are, and
// holds them until the transaction ends.
func (tx *Tx) LockedBoards(ids []s4t.BoardID) ([]Board, error) {
	return manyIn(tx, "find boards", scanBoard, boardSelect+`WHERE b.id IN `, nil, ids, ` ORDER BY b.id`+tx.forUpdate())
}

// LockBoards holds boards that were found, whose ids are sorted, until the
// transaction ends. One that has gone meanwhile is NotFound.
func (tx *Tx) LockBoards(ids []s4t.BoardID) error {
	if tx.forUpdate() == "" {
		return nil
	}
	held, err := manyIn(tx, "hold boards", value[s4t.BoardID], `SELECT b.id FROM boards b JOIN presence p ON p.board = b.id WHERE b.id IN `, nil, ids, ` ORDER BY b.id`+tx.forUpdate())
	if err != nil {
		return err
	}
	for i, id := range ids {
		if i == len(held) || held[i] != id {
			return s4t.Errorf(s4t.NotFound, fmt.Sprintf("find board %q", id), "", "it does not exist")
		}
	}
	return nil
}

// BoardByCode returns the board whose registration code has this hash, and
// holds it until the transaction ends.
func (tx *Tx) BoardByCode(hash string) (Board, error) {
	return one(tx, "find the board of a code", scanBoard, boardSelect+`WHERE b.code_hash = ?`+tx.forUpdate(), hash)
}

// BoardsNamed returns the boards with a name: of a project, or with "" of
// every one.
func (tx *Tx) BoardsNamed(project s4t.ProjectID, name string) ([]Board, error) {
	where, args := named("b", project, name)
	return many(tx, fmt.Sprintf("find board %q", name), scanBoard, boardSelect+where, args...)
}

// named chooses the objects with a name, of one project or of all.
func named(table string, project s4t.ProjectID, name string) (where string, args []any) {
	if project == "" {
		return fmt.Sprintf("WHERE %s.name = ? ORDER BY %s.project", table, table), []any{name}
	}
	return fmt.Sprintf("WHERE %s.project = ? AND %s.name = ?", table, table), []any{project, name}
}

// EachBoard calls fn with every board of a project.
func (tx *Tx) EachBoard(project s4t.ProjectID, fn func(Board) error) error {
	for p := (wire.Page{}); ; {
		list, err := tx.Boards(project, "", nil, p)
		if err != nil {
			return err
		}
		for _, b := range list.Items {
			if err := fn(b); err != nil {
				return err
			}
		}
		if p.After = list.Next; p.After == "" {
			return nil
		}
	}
}

// lostWhere are the rows of sessions that ended with an agent: of earlier
// incarnations, and its own where it is silent.
func lostWhere(a Agent) (where string, args []any) {
	own := a.Incarnation
	if !a.Online {
		own = ""
	}
	return ` FROM presence p JOIN boards b ON b.id = p.board WHERE p.wamp_agent = ? AND p.status = 'online' AND p.incarnation <> ?`, []any{a.ID, own}
}

// LostSessions returns the boards whose sessions ended with an agent, as nobody
// wrote yet; saying: only those that still say that they have something; at most
// limit after one, by id.
func (tx *Tx) LostSessions(a Agent, saying bool, after s4t.BoardID, limit int) ([]s4t.BoardID, error) {
	where, args := lostWhere(a)
	if saying {
		where += ` AND EXISTS (SELECT 1 FROM realizations r WHERE r.holder = p.board AND (r.up = 1 OR r.problem <> ''))`
	}
	return many(tx, "list sessions that ended with an agent", value[s4t.BoardID], `SELECT p.board`+where+` AND p.board > ? ORDER BY p.board LIMIT ?`, append(args, after, limit)...)
}

// CountLost returns how many boards of each project they are.
func (tx *Tx) CountLost(a Agent) (map[s4t.ProjectID]int, error) {
	where, args := lostWhere(a)
	counts := map[s4t.ProjectID]int{}
	return counts, count(tx, "count sessions that ended with an agent", counts, `SELECT b.project, COUNT(*)`+where+` GROUP BY b.project`, args...)
}

// AwaitedSessions returns the boards with a session of an agent that running
// operations wait for.
func (tx *Tx) AwaitedSessions(agent s4t.AgentID) ([]string, error) {
	return many(tx, "list boards that operations wait for", value[string], `SELECT a.holder FROM awaits a JOIN presence p ON p.board = a.holder WHERE p.wamp_agent = ?
		UNION SELECT a.board FROM awaits a JOIN presence p ON p.board = a.board WHERE p.wamp_agent = ?`, agent, agent)
}

// LaggingBoards returns the online boards that have not applied their desired
// state, at most limit of them after one, by id.
func (tx *Tx) LaggingBoards(after s4t.BoardID, limit int) ([]Woken, error) {
	return many(tx, "list boards that lag", scanWoken,
		`SELECT board, generation, wamp_agent, status FROM presence WHERE status = 'online' AND applied < generation AND board > ? ORDER BY board LIMIT ?`, after, limit)
}

// ExpiringBoards returns the boards whose wish for idle data rtunnels, or
// whose notice of a clone, is older than these times.
func (tx *Tx) ExpiringBoards(streamsUntil, clonedAt time.Time) ([]s4t.BoardID, error) {
	return many(tx, "list boards with something that ran out", value[s4t.BoardID],
		`SELECT id FROM boards WHERE streams_until > 0 AND streams_until <= ? UNION SELECT id FROM boards WHERE cloned_at > 0 AND cloned_at <= ? ORDER BY 1`,
		micros(streamsUntil), micros(clonedAt))
}

// Fleet returns how many boards there are.
func (tx *Tx) Fleet() (int, error) {
	return one(tx, "count boards", value[int], `SELECT COUNT(*) FROM presence`)
}

// CountBoards returns how many boards of a project have each status; "" means
// every project.
func (tx *Tx) CountBoards(project s4t.ProjectID) (map[s4t.BoardStatus]int, error) {
	query, args := `SELECT `+statusOf("p")+`, COUNT(*) FROM presence p GROUP BY 1`, []any{}
	if project != "" {
		query, args = `SELECT `+statusOf("p")+`, COUNT(*) FROM boards b JOIN presence p ON p.board = b.id WHERE b.project = ? GROUP BY 1`, []any{project}
	}
	counts := map[s4t.BoardStatus]int{s4t.BoardRegistered: 0, s4t.BoardOnline: 0, s4t.BoardOffline: 0}
	return counts, count(tx, "count boards", counts, query, args...)
}
