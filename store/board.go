package store

import (
	"database/sql"
	"encoding/base64"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Board is a board with what only the conductor needs.
type Board struct {
	s4t.Board
	CodeHash     string // SHA-256 of the registration code, hex; empty: none
	CodeUsed     bool
	PublicKey    []byte // Ed25519; empty: not enrolled
	Incarnation  string // of the WAMP agent when the session began
	Instance     string // of lightning-rod in the session
	StreamsUp    bool   // the tunnel agent holds an idle data rtunnel of it
	StreamsUntil time.Time
	ClonedAt     time.Time
}

const boardColumns = `id, project, name, type, labels, location, code_hash, code_used, public_key, status, epoch, generation, applied,
	wamp_agent, incarnation, instance, tunnel_agent, streams_up, streams_until, cloned_at, info, problems, last_seen, created_at`

func scanBoard(s scanner) (Board, error) {
	var b Board
	var labels, location, key, info, problems string
	var hash sql.NullString
	var until, cloned, created int64
	var seen sql.NullInt64
	if err := s.Scan(&b.ID, &b.Project, &b.Name, &b.Type, &labels, &location, &hash, flag(&b.CodeUsed), &key, &b.Status, &b.Epoch, &b.Generation, &b.AppliedGeneration,
		&b.WAMPAgent, &b.Incarnation, &b.Instance, &b.TunnelAgent, flag(&b.StreamsUp), &until, &cloned, &info, &problems, &seen, &created); err != nil {
		return b, err
	}
	b.CodeHash = hash.String
	b.StreamsUntil, b.ClonedAt, b.CreatedAt = fromMicros(until), fromMicros(cloned), fromMicros(created)
	b.LastSeen = fromMicrosOrNull(seen)
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
	return b, nil
}

// changing are the values of a board that UpdateBoard writes, in its order.
func (b Board) changing() []any {
	location := ""
	if b.Location != nil {
		location = jsonText(b.Location)
	}
	return []any{b.Name, b.Type, jsonText(b.Labels), location, textOrNull(b.CodeHash), bit(b.CodeUsed), base64.StdEncoding.EncodeToString(b.PublicKey),
		b.Status, b.Epoch, b.AppliedGeneration, b.WAMPAgent, b.Incarnation, b.Instance, b.TunnelAgent, bit(b.StreamsUp), micros(b.StreamsUntil), micros(b.ClonedAt),
		jsonText(b.Info), jsonText(b.Problems), microsOrNull(b.LastSeen)}
}

// InsertBoard adds a board, with generation 1. A name that the project has is
// a Conflict on boards.name.
func (tx *Tx) InsertBoard(b Board) error {
	args := append(b.changing(), b.ID, b.Project, micros(b.CreatedAt))
	_, err := tx.exec(fmt.Sprintf("create board %q", b.Name),
		`INSERT INTO boards (name, type, labels, location, code_hash, code_used, public_key, status, epoch, applied, wamp_agent, incarnation, instance,
			tunnel_agent, streams_up, streams_until, cloned_at, info, problems, last_seen, id, project, created_at, generation)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`, args...)
	return err
}

// UpdateBoard writes everything of a board but its project and its generation,
// which only grows (see GrowBoard).
func (tx *Tx) UpdateBoard(b Board) error {
	_, err := tx.exec(fmt.Sprintf("update board %q", b.Name),
		`UPDATE boards SET name = ?, type = ?, labels = ?, location = ?, code_hash = ?, code_used = ?, public_key = ?, status = ?, epoch = ?, applied = ?,
			wamp_agent = ?, incarnation = ?, instance = ?, tunnel_agent = ?, streams_up = ?, streams_until = ?, cloned_at = ?, info = ?, problems = ?, last_seen = ?
		WHERE id = ?`, append(b.changing(), b.ID)...)
	return err
}

// GrowBoard makes a new generation of a board's desired state and returns the
// board.
func (tx *Tx) GrowBoard(id s4t.BoardID) (Board, error) {
	return one(tx, fmt.Sprintf("change the desired state of board %q", id), scanBoard,
		`UPDATE boards SET generation = generation + 1 WHERE id = ? RETURNING `+boardColumns, id)
}

// BoardState is how far a board is.
type BoardState struct {
	Name      string
	Online    bool
	Applied   int64 // generation
	StreamsUp bool
}

// BoardState returns it.
func (tx *Tx) BoardState(id s4t.BoardID) (BoardState, error) {
	return one(tx, fmt.Sprintf("find board %q", id), func(s scanner) (b BoardState, err error) {
		var status s4t.BoardStatus
		err = s.Scan(&b.Name, &status, &b.Applied, flag(&b.StreamsUp))
		b.Online = status == s4t.BoardOnline
		return
	}, `SELECT name, status, applied, streams_up FROM boards WHERE id = ?`, id)
}

// DeleteBoard deletes a board with its ports and services.
func (tx *Tx) DeleteBoard(id s4t.BoardID) error {
	_, err := tx.exec(fmt.Sprintf("delete board %q", id), `DELETE FROM boards WHERE id = ?`, id)
	return err
}

// Board returns the board with this id.
func (tx *Tx) Board(id s4t.BoardID) (Board, error) {
	return one(tx, fmt.Sprintf("find board %q", id), scanBoard, `SELECT `+boardColumns+` FROM boards WHERE id = ?`, id)
}

// BoardByCode returns the board whose registration code has this hash.
func (tx *Tx) BoardByCode(hash string) (Board, error) {
	return one(tx, "find the board of a code", scanBoard, `SELECT `+boardColumns+` FROM boards WHERE code_hash = ?`, hash)
}

// FindBoards returns the boards with this name or id, in all projects.
func (tx *Tx) FindBoards(ref string) ([]Board, error) {
	return many(tx, fmt.Sprintf("find board %q", ref), scanBoard, `SELECT `+boardColumns+` FROM boards WHERE id = ? OR name = ? ORDER BY project`, ref, ref)
}

// Boards returns the boards of a project by name; "" means every project.
func (tx *Tx) Boards(project s4t.ProjectID) ([]Board, error) {
	return many(tx, "list boards", scanBoard, `SELECT `+boardColumns+` FROM boards WHERE ? = '' OR project = ? ORDER BY name, project`, project, project)
}

// BoardsOfWAMPAgent returns the boards whose session is, or was last, with
// this agent.
func (tx *Tx) BoardsOfWAMPAgent(agent s4t.AgentID) ([]Board, error) {
	return many(tx, "list boards of an agent", scanBoard, `SELECT `+boardColumns+` FROM boards WHERE wamp_agent = ? ORDER BY id`, agent)
}

// BoardsOfTunnelAgent returns the boards whose streams and services are with
// this agent.
func (tx *Tx) BoardsOfTunnelAgent(agent s4t.AgentID) ([]Board, error) {
	return many(tx, "list boards of an agent", scanBoard, `SELECT `+boardColumns+` FROM boards WHERE tunnel_agent = ? ORDER BY id`, agent)
}

// LaggingBoards returns the online boards that have not applied their desired
// state.
func (tx *Tx) LaggingBoards() ([]Board, error) {
	return many(tx, "list boards that lag", scanBoard, `SELECT `+boardColumns+` FROM boards WHERE status = 'online' AND applied < generation ORDER BY id`)
}

// ExpiringBoards returns the boards whose wish for idle data rtunnels, or
// whose notice of a clone, is older than these times.
func (tx *Tx) ExpiringBoards(streamsUntil, clonedAt time.Time) ([]Board, error) {
	return many(tx, "list boards with something that ran out", scanBoard,
		`SELECT `+boardColumns+` FROM boards WHERE (streams_until > 0 AND streams_until <= ?) OR (cloned_at > 0 AND cloned_at <= ?) ORDER BY id`,
		micros(streamsUntil), micros(clonedAt))
}
