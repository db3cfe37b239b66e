package store

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Route is what it takes to ask a board: who it is, and where its session is.
type Route struct {
	ID        s4t.BoardID
	Name      string
	Project   s4t.ProjectID
	Owner     s4t.ProjectID // where Project has a lease of the board, whose it is; else empty
	Status    s4t.BoardStatus
	WAMPAgent s4t.AgentID
	Epoch     int64
	Code      string // digest of the copy of its code, empty where there is none
}

var routeSelect = `SELECT b.id, b.name, b.project, ` + statusOf("p") + `, p.wamp_agent, p.epoch, COALESCE(c.digest, '') FROM boards b JOIN presence p ON p.board = b.id LEFT JOIN board_code c ON c.board = b.id `

func scanRoute(s scanner) (r Route, err error) {
	err = s.Scan(&r.ID, &r.Name, &r.Project, &r.Status, &r.WAMPAgent, &r.Epoch, &r.Code)
	return r, err
}

// Route returns the way to a board.
func (tx *Tx) Route(id s4t.BoardID) (Route, error) {
	return one(tx, fmt.Sprintf("find board %q", id), scanRoute, routeSelect+`WHERE b.id = ?`, id)
}

// RoutesNamed returns those to the boards with a name: of a project, or with ""
// of every one.
func (tx *Tx) RoutesNamed(project s4t.ProjectID, name string) ([]Route, error) {
	where, args := named("b", project, name)
	return many(tx, fmt.Sprintf("find board %q", name), scanRoute, routeSelect+where, args...)
}

// BoardPins is the cloud's copy of the pins of a board.
type BoardPins struct {
	Pins       json.RawMessage // []s4t.Pin; nil: the board never said
	Digest     string
	ReportedAt *time.Time // nil: never
}

func scanBoardPins(s scanner) (p BoardPins, err error) {
	var pins string
	var at int64
	if err = s.Scan(&pins, &p.Digest, &at); err == nil && at != 0 {
		reported := fromMicros(at)
		p.Pins, p.ReportedAt = json.RawMessage(pins), &reported
	}
	return p, err
}

// BoardPins returns the copy of a board's pins; the zero value where there is
// none.
func (tx *Tx) BoardPins(id s4t.BoardID) (BoardPins, error) {
	p, err := one(tx, fmt.Sprintf("find the pins of board %q", id), scanBoardPins, `SELECT pins, digest, reported_at FROM board_pins WHERE board = ?`, id)
	if s4t.KindOf(err) == s4t.NotFound {
		return BoardPins{}, nil
	}
	return p, err
}

// PinsDigest returns the digest of the copy of a board's pins; empty where there
// is none.
func (tx *Tx) PinsDigest(id s4t.BoardID) (string, error) {
	d, err := one(tx, fmt.Sprintf("find the pins of board %q", id), value[string], `SELECT digest FROM board_pins WHERE board = ?`, id)
	if s4t.KindOf(err) == s4t.NotFound {
		return "", nil
	}
	return d, err
}

// DigestPins is the digest of pins, as JSON.
func DigestPins(pins []byte) string {
	sum := sha256.Sum256(pins)
	return hex.EncodeToString(sum[:])
}

// SetBoardPins writes the copy of a board's pins, JSON of []s4t.Pin.
func (tx *Tx) SetBoardPins(id s4t.BoardID, pins []byte, at time.Time) error {
	_, err := tx.exec(fmt.Sprintf("record the pins of board %q", id), `INSERT INTO board_pins (board, fence, pins, size, digest, reported_at) VALUES (?, 0, ?, ?, ?, ?)
		ON CONFLICT (board) DO UPDATE SET pins = excluded.pins, size = excluded.size, digest = excluded.digest, reported_at = excluded.reported_at`,
		id, string(pins), len(pins), DigestPins(pins), micros(at))
	return err
}

// NextFence returns a number for a claim of one of a board's pins: above all that
// were given, and above the one that the board knows.
func (tx *Tx) NextFence(id s4t.BoardID, known int64) (int64, error) {
	return one(tx, fmt.Sprintf("number a claim on board %q", id), value[int64], `INSERT INTO board_pins (board, fence, pins, size, digest, reported_at) VALUES (?, ?, '', 0, '', 0)
		ON CONFLICT (board) DO UPDATE SET fence = CASE WHEN board_pins.fence >= excluded.fence THEN board_pins.fence + 1 ELSE excluded.fence END RETURNING fence`, id, known+1)
}

// RunningPinWrites returns the operations of values that were written to a board for
// a time and have it still.
func (tx *Tx) RunningPinWrites(id s4t.BoardID) ([]s4t.OperationID, error) {
	return many(tx, fmt.Sprintf("list what is written for a time on board %q", id), value[s4t.OperationID],
		`SELECT id FROM operations WHERE object = ? AND kind = 'pin.write' AND status = 'running' ORDER BY id`, id)
}

// PinBoard is a board with the copy of its pins. It encodes as [wire.PinBoard].
type PinBoard struct {
	wire.PinBoard
	Pins json.RawMessage `json:"pins"`
	size int
}

func scanPinBoard(s scanner) (b PinBoard, err error) {
	var labels, location string
	var at int64
	if err = s.Scan(&b.ID, &b.Name, &b.Type, &labels, &location, &b.Status, &b.Epoch, &at, &b.size); err != nil {
		return b, err
	}
	if at != 0 {
		reported := fromMicros(at)
		b.ReportedAt = &reported
	}
	b.Pins = json.RawMessage("[]")
	if err = fromJSON(labels, &b.Labels); err != nil {
		return b, err
	}
	b.size += len(labels) + len(location) + pinBoardSize
	return b, fromJSON(location, &b.Location)
}

// MaxPinBoards bounds the boards of one page of them, and pinBoardSize what the
// JSON of a board without pins and labels takes.
const (
	MaxPinBoards = 2000
	pinBoardSize = 512
)

var pinBoardSelect = `SELECT b.id, b.name, b.type, b.labels, b.location, ` + statusOf("p") + `, p.epoch,
		COALESCE((SELECT k.reported_at FROM board_pins k WHERE k.board = b.id), 0), COALESCE((SELECT k.size FROM board_pins k WHERE k.board = b.id), 0)
	FROM boards b JOIN presence p ON p.board = b.id`

var byBoardName = order[PinBoard]{"b.name, b.id", func(b PinBoard) []any { return []any{b.Name, string(b.ID)} }}

// PinBoards returns a page of the boards of a project with the copies of their
// pins, by name: as many as fit into size bytes, and one at least. "" means every
// project.
func (tx *Tx) PinBoards(project s4t.ProjectID, p wire.Page, size int) (wire.List[PinBoard], error) {
	list, err := pageOf(tx, "list boards with their pins", p, MaxPinBoards, byBoardName, scanPinBoard, pinBoardSelect, equal(filter{}, "b.project", project))
	if err != nil {
		return list, err
	}
	return list, tx.fillPins(&list, size)
}

// PinBoardsIn does it for the boards of these ids.
func (tx *Tx) PinBoardsIn(ids []s4t.BoardID, p wire.Page, size int) (wire.List[PinBoard], error) {
	const op = "list boards with their pins"
	var list wire.List[PinBoard]
	var after [2]string
	if p.After != "" {
		keys, ok := parseCursor(p.After, []any{"", ""})
		if !ok {
			return list, badCursor(op, p.After)
		}
		after = [2]string{keys[0].(string), keys[1].(string)}
	}
	all, err := manyIn(tx, op, scanPinBoard, pinBoardSelect+` WHERE b.id IN `, nil, ids, ``)
	if err != nil {
		return list, err
	}
	compare := func(a, b [2]string) int { return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1])) }
	key := func(b PinBoard) [2]string { return [2]string{b.Name, string(b.ID)} }
	slices.SortFunc(all, func(a, b PinBoard) int { return compare(key(a), key(b)) })
	all = slices.CompactFunc(all, func(a, b PinBoard) bool { return a.ID == b.ID })
	list.Items = slices.DeleteFunc(all, func(b PinBoard) bool { return p.After != "" && compare(key(b), after) <= 0 })
	if p.Limit > 0 && len(list.Items) > p.Limit {
		list.Items = list.Items[:p.Limit]
		list.Next = cursor(byBoardName.key(list.Items[p.Limit-1]))
	}
	if list.EventID, err = tx.LastEvent(); err != nil {
		return list, err
	}
	return list, tx.fillPins(&list, size)
}

// fillPins leaves as many boards in a page as fit into size bytes, and reads their
// pins.
func (tx *Tx) fillPins(list *wire.List[PinBoard], size int) error {
	var ids []s4t.BoardID
	for i, b := range list.Items {
		if size -= b.size; size < 0 && i > 0 {
			list.Items = list.Items[:i]
			list.Next = cursor(byBoardName.key(list.Items[i-1]))
			break
		}
		if b.ReportedAt != nil {
			ids = append(ids, b.ID)
		}
	}
	type copied struct {
		board s4t.BoardID
		pins  string
	}
	rows, err := manyIn(tx, "read the pins of boards", func(s scanner) (c copied, err error) {
		err = s.Scan(&c.board, &c.pins)
		return c, err
	}, `SELECT board, pins FROM board_pins WHERE board IN `, nil, ids, ``)
	if err != nil {
		return err
	}
	at, _ := index(list.Items, func(b PinBoard) s4t.BoardID { return b.ID })
	for _, r := range rows {
		list.Items[at[r.board]].Pins = json.RawMessage(r.pins)
	}
	return nil
}

// PinsChangedSince reports whether boards of a project, or their pins, may have
// changed after an event: "" means every project.
func (tx *Tx) PinsChangedSince(project s4t.ProjectID, event int64) (bool, error) {
	trimmed, err := tx.TrimmedEvents(project)
	if err != nil || event < trimmed {
		return true, err
	}
	f := equal(filter{}, "project", project).and("id > ?", event).and("kind LIKE 'board.%' OR kind IN ('pins.changed', 'agent.away')")
	found, err := many(tx, "look for events about pins", value[int64], `SELECT id FROM events`+f.where()+` LIMIT 1`, f.args...)
	return len(found) > 0, err
}
