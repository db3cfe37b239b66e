package store

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Run is the run of a command on a board: an operation, whose Run is set, with what
// only the conductor needs. Its Object is the id of the board, its Name the board's.
type Run struct {
	Operation
	By      string // who asked, for people
	Timeout time.Duration
	Quiet   bool      // no event tells of it
	Before  time.Time // the board begins it before it or never, by the cloud's clock; zero: no board was told of it
	Due     time.Time // while it is open: when upkeep looks at it, by the database's clock
}

// KindRun is the kind of the operation of a run.
const KindRun = "command.run"

// maxShown bounds the parameters and results that a list has, in bytes.
const maxShown = 1024

// short is a column where it is short, else nothing.
func short(column string) string {
	return fmt.Sprintf(`CASE WHEN LENGTH(%s) <= %d THEN %s ELSE '' END`, column, maxShown, column)
}

// shownOperation selects operations with what of their runs is shown.
func shownOperation(params, result string) string {
	return `SELECT o.id, o.kind, o.project, o.object, o.name, o.status, o.steps, o.lanes, o.error, o.error_kind, o.created_at, o.ended_at, o.retries,
		r.command, ` + params + `, r.key, ` + result + `, r.expires_at FROM operations o LEFT JOIN runs r ON r.operation = o.id`
}

func scanShownOperation(s scanner) (Operation, error) {
	var o Operation
	var steps, lanes string
	var created int64
	var ended, expires sql.NullInt64
	var command, params, key, result sql.NullString
	if err := s.Scan(&o.ID, &o.Kind, &o.Project, &o.Object, &o.Name, &o.Status, &steps, &lanes, &o.Error, &o.ErrorKind, &created, &ended, &o.Retries,
		&command, &params, &key, &result, &expires); err != nil {
		return o, err
	}
	o.CreatedAt, o.EndedAt = fromMicros(created), fromMicrosOrNull(ended)
	if err := fromJSON(lanes, &o.Lanes); err != nil {
		return o, err
	}
	if command.Valid {
		o.Run = &s4t.CommandRun{Board: o.Name, BoardID: s4t.BoardID(o.Object), Command: command.String, Params: rawOrNil(params.String), Key: key.String, Result: rawOrNil(result.String)}
		if expires.Int64 > 0 {
			o.Run.ExpiresAt = fromMicrosOrNull(expires)
		}
	}
	return o, fromJSON(steps, &o.Steps)
}

func rawOrNil(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

// runSelect selects runs, whole.
const runSelect = `SELECT o.id, o.kind, o.project, o.object, o.name, o.status, o.steps, o.error, o.error_kind, o.created_at, o.ended_at,
	r.command, r.params, r.key, r.result, r.expires_at, r.who, r.timeout, r.quiet, r.before_at, r.due FROM operations o JOIN runs r ON r.operation = o.id `

func scanRun(s scanner) (Run, error) {
	var r Run
	var steps, params, result string
	var created, expires, timeout, before, due int64
	var ended sql.NullInt64
	c := &s4t.CommandRun{}
	if err := s.Scan(&r.ID, &r.Kind, &r.Project, &r.Object, &r.Name, &r.Status, &steps, &r.Error, &r.ErrorKind, &created, &ended,
		&c.Command, &params, &c.Key, &result, &expires, &r.By, &timeout, flag(&r.Quiet), &before, &due); err != nil {
		return r, err
	}
	r.CreatedAt, r.EndedAt = fromMicros(created), fromMicrosOrNull(ended)
	r.Timeout, r.Before, r.Due = time.Duration(timeout)*time.Microsecond, fromMicros(before), fromMicros(due)
	c.Board, c.BoardID, c.Params, c.Result = r.Name, s4t.BoardID(r.Object), rawOrNil(params), rawOrNil(result)
	if expires > 0 {
		at := fromMicros(expires)
		c.ExpiresAt = &at
	}
	r.Run = c
	return r, fromJSON(steps, &r.Steps)
}

// InsertRuns adds runs. Two of a board and a project with one key are a Conflict.
func (tx *Tx) InsertRuns(all []Run) error {
	const op = "record the runs of commands"
	err := insert(tx, op, `INSERT INTO operations (`+operationColumns+`, deadline) VALUES `, all, func(r Run) []any {
		return []any{r.ID, KindRun, r.Project, r.Object, r.Name, r.Status, jsonText(r.Steps), "", r.Error, r.ErrorKind, micros(r.CreatedAt), microsOrNull(r.EndedAt), 0, 0}
	}, ``)
	if err != nil {
		return err
	}
	return insert(tx, op, `INSERT INTO runs (operation, board, project, made_at, command, who, params, key, timeout, quiet, open, queued, expires_at, before_at, due, result, size) VALUES `,
		all, func(r Run) []any {
			c := r.Run
			return []any{r.ID, r.Object, r.Project, micros(r.CreatedAt), c.Command, r.By, string(c.Params), c.Key, r.Timeout.Microseconds(), bit(r.Quiet),
				bit(!r.Status.Ended()), bit(r.Status == s4t.OperationQueued), microsOrNull(c.ExpiresAt).Int64, micros(r.Before), micros(r.Due), string(c.Result), len(c.Params) + len(c.Result)}
		}, ``)
}

// SetRun writes how a run is now. The caller has it locked.
func (tx *Tx) SetRun(r Run) error {
	op := fmt.Sprintf("record how operation %q is", r.ID)
	if _, err := tx.exec(op, `UPDATE operations SET status = ?, steps = ?, error = ?, error_kind = ?, ended_at = ? WHERE id = ?`,
		r.Status, jsonText(r.Steps), r.Error, r.ErrorKind, microsOrNull(r.EndedAt), r.ID); err != nil {
		return err
	}
	_, err := tx.exec(op, `UPDATE runs SET open = ?, queued = ?, before_at = ?, due = ?, result = ?, size = ? WHERE operation = ?`,
		bit(!r.Status.Ended()), bit(r.Status == s4t.OperationQueued), micros(r.Before), micros(r.Due), string(r.Run.Result), len(r.Run.Params)+len(r.Run.Result), r.ID)
	return err
}

// LockRuns returns the runs of these operations that there are, by id, and holds
// them until the transaction ends.
func (tx *Tx) LockRuns(ids []s4t.OperationID) ([]Run, error) {
	return manyIn(tx, "find the runs of commands", scanRun, runSelect+`WHERE o.id IN `, nil, ids, ` ORDER BY o.id`+tx.forUpdate())
}

// RunOfKey returns the run of a board and a project with a key; NotFound: there is
// none.
func (tx *Tx) RunOfKey(board s4t.BoardID, project s4t.ProjectID, key string) (Run, error) {
	return one(tx, "find a run by its key", scanRun, runSelect+`WHERE r.board = ? AND r.project = ? AND r.key = ? AND r.key <> ''`, board, project, key)
}

// OpenRuns returns the runs of a board that have not ended, oldest first, and most
// of them at most.
func (tx *Tx) OpenRuns(board s4t.BoardID, most int) ([]Run, error) {
	return many(tx, fmt.Sprintf("list what runs on board %q", board), scanRun, runSelect+`WHERE r.board = ? AND r.open = 1 ORDER BY r.made_at, r.operation LIMIT ?`, board, most)
}

// BoardsWithRuns returns those of boards that have runs which have not ended.
func (tx *Tx) BoardsWithRuns(ids []s4t.BoardID) ([]s4t.BoardID, error) {
	return manyIn(tx, "find boards with runs", value[s4t.BoardID], `SELECT DISTINCT board FROM runs WHERE open = 1 AND board IN `, nil, ids, ` ORDER BY board`)
}

// CountOpenRuns returns how many there are.
func (tx *Tx) CountOpenRuns(board s4t.BoardID) (int, error) {
	return one(tx, fmt.Sprintf("count what runs on board %q", board), value[int], `SELECT COUNT(*) FROM runs WHERE board = ? AND open = 1`, board)
}

// OpenCommands returns those of these runs of a board that have not ended, with their
// commands.
func (tx *Tx) OpenCommands(board s4t.BoardID, ids []s4t.OperationID) (map[s4t.OperationID]string, error) {
	open := map[s4t.OperationID]string{}
	_, err := manyIn(tx, "look for runs that have not ended", func(s scanner) (_ struct{}, err error) {
		var id s4t.OperationID
		var command string
		err = s.Scan(&id, &command)
		open[id] = command
		return
	}, `SELECT operation, command FROM runs WHERE board = ? AND open = 1 AND operation IN `, []any{board}, ids, ``)
	return open, err
}

// DueRuns returns the runs that upkeep has to look at, by the database's clock, most
// of them at most.
func (tx *Tx) DueRuns(most int) ([]Run, error) {
	return many(tx, "list the runs of commands that are due", scanRun, runSelect+`WHERE r.open = 1 AND r.due > 0 AND r.due < ? ORDER BY r.due LIMIT ?`, micros(tx.Now()), most)
}

// ExtendRuns gives runs that are due before that their time again: the clock has
// jumped. What is queued keeps its own.
func (tx *Tx) ExtendRuns(more time.Duration) error {
	until := micros(tx.Now().Add(more))
	_, err := tx.exec("give runs of commands their time again", `UPDATE runs SET due = ? WHERE open = 1 AND queued = 0 AND due > 0 AND due < ?`, until, until)
	return err
}

// QueuedBoards returns boards that are online and for which commands are queued.
func (tx *Tx) QueuedBoards() ([]s4t.BoardID, error) {
	return many(tx, "list the boards for which commands are queued", value[s4t.BoardID],
		`SELECT DISTINCT r.board FROM runs r JOIN presence p ON p.board = r.board WHERE r.queued = 1 AND `+statusOf("p")+` = 'online' ORDER BY r.board`)
}

// CountRuns returns how many runs are kept of each project, and bytes how many of
// their parameters and results.
func (tx *Tx) CountRuns() (counts map[s4t.ProjectID]int, bytes map[s4t.ProjectID]int64, err error) {
	counts, bytes = map[s4t.ProjectID]int{}, map[s4t.ProjectID]int64{}
	_, err = many(tx, "count the runs of commands", func(s scanner) (_ struct{}, err error) {
		var project s4t.ProjectID
		var n int
		var size int64
		err = s.Scan(&project, &n, &size)
		counts[project], bytes[project] = n, size
		return
	}, `SELECT project, COUNT(*), CAST(SUM(size) AS BIGINT) FROM runs GROUP BY project`)
	return counts, bytes, err
}

// TrimRuns deletes the oldest runs of a project that ended, most of them at most, and
// returns how many.
func (tx *Tx) TrimRuns(project s4t.ProjectID, most int) (int64, error) {
	return tx.exec("forget old runs of commands", `DELETE FROM operations WHERE id IN
		(SELECT operation FROM runs WHERE project = ? AND open = 0 ORDER BY made_at LIMIT ?)`, project, most)
}

// CommandBoard is a board with the copy of its commands, as [BoardCode] has it.
type CommandBoard struct {
	ID   s4t.BoardID
	Name string
	Code json.RawMessage
}

// CommandBoards returns a page of the boards of a project that said what commands
// they have, by name; "" means every project.
func (tx *Tx) CommandBoards(project s4t.ProjectID, p wire.Page) (wire.List[CommandBoard], error) {
	return pageOf(tx, "list boards with their commands", p, MaxCommandBoards, order[CommandBoard]{"b.name, b.id", func(b CommandBoard) []any { return []any{b.Name, string(b.ID)} }},
		func(s scanner) (b CommandBoard, err error) {
			var code string
			err = s.Scan(&b.ID, &b.Name, &code)
			b.Code = json.RawMessage(code)
			return b, err
		}, `SELECT b.id, b.name, k.code FROM boards b JOIN board_code k ON k.board = b.id`, equal(filter{}, "b.project", project))
}

// MaxCommandBoards bounds the boards of one page of them.
const MaxCommandBoards = 50
