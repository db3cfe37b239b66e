package store

import (
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Await is one thing that a running operation waits for: that a holder has
// applied a generation, and has an object up.
type Await struct {
	Operation  s4t.OperationID
	Holder     string
	Kind       wire.Kind // empty: only the generation
	Object     string
	OnBoard    bool
	Board      s4t.BoardID // waited for while this board is online only; empty: in any case
	Generation int64
	ToldAt     time.Time // step 5 of Fig. 3 for a board; zero: not known
	ReceivedAt time.Time // step 6

	// As it is now.
	HolderName string // of a board; the id of an agent
	BoardName  string // of Board
	There      bool   // the holder is online, and so is Board
	Online     bool   // the holder is online
	Applied    int64
	Wanted     bool // the object is
	Spec       string
	Up         bool
	ProblemID  string
	Problem    string
}

// Done reports whether there is nothing to wait for any more: the holder has
// it, or is away, or it is not wanted again.
func (a Await) Done() bool {
	return !a.There || a.Kind != "" && !a.Wanted || a.Applied >= a.Generation && (a.Kind == "" || a.Up)
}

// InsertAwaits adds what an operation waits for.
func (tx *Tx) InsertAwaits(all []Await) error {
	return insert(tx, "record what an operation waits for", `INSERT INTO awaits (operation, holder, kind, object, on_board, board, generation, told_at, received_at) VALUES `,
		all, func(a Await) []any {
			return []any{a.Operation, a.Holder, a.Kind, a.Object, bit(a.OnBoard), a.Board, a.Generation, 0, 0}
		}, ``)
}

// Awaits returns what an operation waits for, and how that is now.
func (tx *Tx) Awaits(op s4t.OperationID) ([]Await, error) {
	return many(tx, "list what an operation waits for", func(s scanner) (a Await, err error) {
		var told, received int64
		var holder, board s4t.BoardStatus
		var agent, held bool
		err = s.Scan(&a.Operation, &a.Holder, &a.Kind, &a.Object, flag(&a.OnBoard), &a.Board, &a.Generation, &told, &received,
			&a.HolderName, &holder, flag(&agent), &a.Applied, &a.BoardName, &board, flag(&held), &a.Spec, flag(&a.Up), &a.ProblemID, &a.Problem)
		a.ToldAt, a.ReceivedAt, a.Wanted = fromMicros(told), fromMicros(received), held
		a.Online = agent || holder == s4t.BoardOnline
		a.There = a.Online && (a.Board == "" || board == s4t.BoardOnline)
		return a, err
	}, `SELECT a.operation, a.holder, a.kind, a.object, a.on_board, a.board, a.generation, a.told_at, a.received_at,
			COALESCE(b.name, a.holder), COALESCE(`+statusOf("p")+`, ''), COALESCE(g.online, 0), COALESCE(p.applied, g.applied, 0), COALESCE(o.name, ''), COALESCE(`+statusOf("q")+`, ''),
			CASE WHEN r.gone = 0 THEN 1 ELSE 0 END, COALESCE(r.spec, ''), COALESCE(r.up, 0), COALESCE(r.problem_id, ''), COALESCE(r.problem, '')
		FROM awaits a
		LEFT JOIN boards b ON b.id = a.holder LEFT JOIN presence p ON p.board = a.holder LEFT JOIN agents g ON g.id = a.holder
		LEFT JOIN boards o ON o.id = a.board LEFT JOIN presence q ON q.board = a.board
		LEFT JOIN realizations r ON r.holder = a.holder AND r.kind = a.kind AND r.object = a.object
		WHERE a.operation = ? ORDER BY a.on_board DESC, 10, a.kind, a.object`, op)
}

// OperationsAwaiting returns the running operations that wait for something of
// holders, or of a board among them being online.
func (tx *Tx) OperationsAwaiting(holders ...string) ([]s4t.OperationID, error) {
	const op = "list the operations that wait for holders"
	all, err := manyIn(tx, op, value[s4t.OperationID], `SELECT DISTINCT operation FROM awaits WHERE holder IN `, nil, holders, ``)
	if err != nil {
		return nil, err
	}
	online, err := manyIn(tx, op, value[s4t.OperationID], `SELECT DISTINCT operation FROM awaits WHERE board IN `, nil, holders, ``)
	all = append(all, online...)
	slices.Sort(all)
	return slices.Compact(all), err
}

// NoteAwaits records when a board was told of a generation, or received it,
// where that is not known yet, and returns the operations concerned. Zero times
// are not recorded.
func (tx *Tx) NoteAwaits(board s4t.BoardID, generation int64, told, received time.Time) ([]s4t.OperationID, error) {
	return many(tx, "note a step of an operation", value[s4t.OperationID],
		`UPDATE awaits SET told_at = CASE WHEN told_at = 0 THEN ? ELSE told_at END, received_at = CASE WHEN received_at = 0 THEN ? ELSE received_at END
		WHERE holder = ? AND generation <= ? AND (told_at = 0 OR received_at = 0) RETURNING operation`,
		micros(told), micros(received), board, generation)
}

// RaiseAwaits makes an operation wait for a newer generation of a holder.
func (tx *Tx) RaiseAwaits(op s4t.OperationID, holder string, generation int64) error {
	_, err := tx.exec("wait for a newer generation", `UPDATE awaits SET generation = ? WHERE operation = ? AND holder = ?`, generation, op, holder)
	return err
}

// AwaitedBoards returns those of boards that a running operation waits for.
func (tx *Tx) AwaitedBoards(boards []s4t.BoardID) (map[s4t.BoardID]bool, error) {
	found, err := manyIn(tx, "look for operations that wait for boards", value[s4t.BoardID], `SELECT DISTINCT holder FROM awaits WHERE holder IN `, nil, boards, ``)
	awaited := make(map[s4t.BoardID]bool, len(found))
	for _, b := range found {
		awaited[b] = true
	}
	return awaited, err
}
