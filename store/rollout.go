package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Rollout is a rollout with what is not shown of it.
type Rollout struct {
	s4t.Rollout
	Injector s4t.UserID // on whose word the plugin runs
	Role     s4t.Role   // that the injector had then
	Wave     int        // the one that runs
}

// RolloutBoard is a board of a rollout with what is not shown of it.
type RolloutBoard struct {
	s4t.RolloutBoard
	Changed   bool      // by the rollout, and not gone back
	StartedAt time.Time // when it was first told; zero: not yet
	Operation s4t.OperationID
}

// RolloutCount is how many boards of a wave stand so.
type RolloutCount struct {
	Wave    int
	Status  s4t.RolloutStep
	Online  bool
	Changed bool
	N       int
}

const rolloutColumns = `id, project, fleet, fleet_name, plugin, plugin_name, version, injector, role, user_name, max_failed, pause_seconds, status, reason, waves, wave, goes_on, created_at, ended_at`

func scanRollout(s scanner) (r Rollout, err error) {
	var waves string
	var goesOn, created, ended int64
	if err = s.Scan(&r.ID, &r.Project, &r.Fleet, &r.FleetName, &r.Plugin, &r.PluginName, &r.Version, &r.Injector, &r.Role, &r.User, &r.MaxFailed, &r.Pause, &r.Status, &r.Reason, &waves, &r.Wave, &goesOn, &created, &ended); err != nil {
		return r, err
	}
	r.CreatedAt = fromMicros(created)
	if goesOn != 0 {
		at := fromMicros(goesOn)
		r.GoesOn = &at
	}
	if ended != 0 {
		at := fromMicros(ended)
		r.EndedAt = &at
	}
	return r, fromJSON(waves, &r.Waves)
}

// progress are the values of a rollout that change.
func (r Rollout) progress() []any {
	var goesOn, ended int64
	if r.GoesOn != nil {
		goesOn = micros(*r.GoesOn)
	}
	if r.EndedAt != nil {
		ended = micros(*r.EndedAt)
	}
	return []any{r.Status, r.Reason, jsonText(r.Waves), r.Wave, goesOn, ended}
}

// InsertRollout adds a rollout with its boards. A second one of a plugin to a fleet that has not ended
// is a Conflict on rollouts.plugin.
func (tx *Tx) InsertRollout(r Rollout) error {
	op := fmt.Sprintf("create rollout %q", r.ID)
	if _, err := tx.exec(op, `INSERT INTO rollouts (status, reason, waves, wave, goes_on, ended_at, id, project, fleet, fleet_name, plugin, plugin_name, version, injector, role, user_name, max_failed, pause_seconds, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		append(r.progress(), r.ID, r.Project, r.Fleet, r.FleetName, r.Plugin, r.PluginName, r.Version, r.Injector, r.Role, r.User, r.MaxFailed, int64(r.Pause), micros(r.CreatedAt))...); err != nil {
		return err
	}
	return insert(tx, op, `INSERT INTO rollout_boards (rollout, board, wave, status, before, changed, started_at, operation, error) VALUES `, r.Boards, func(b s4t.RolloutBoard) []any {
		return []any{r.ID, b.ID, b.Wave, b.Status, "", 0, 0, "", ""}
	}, "")
}

// SetRollout writes how far a rollout is.
func (tx *Tx) SetRollout(r Rollout) error {
	_, err := tx.exec(fmt.Sprintf("change rollout %q", r.ID), `UPDATE rollouts SET status = ?, reason = ?, waves = ?, wave = ?, goes_on = ?, ended_at = ? WHERE id = ?`, append(r.progress(), r.ID)...)
	return err
}

// Rollout returns a rollout without its boards.
func (tx *Tx) Rollout(id s4t.RolloutID) (Rollout, error) {
	return one(tx, fmt.Sprintf("find rollout %q", id), scanRollout, `SELECT `+rolloutColumns+` FROM rollouts WHERE id = ?`, id)
}

// LockRollout does it, and holds it until the transaction ends. Boards are locked before.
func (tx *Tx) LockRollout(id s4t.RolloutID) (Rollout, error) {
	return one(tx, fmt.Sprintf("find rollout %q", id), scanRollout, `SELECT `+rolloutColumns+` FROM rollouts WHERE id = ?`+tx.forUpdate(), id)
}

// Rollouts returns a page of the rollouts of a project, oldest first, without their boards; "" means
// every project.
func (tx *Tx) Rollouts(project s4t.ProjectID, p wire.Page) (wire.List[Rollout], error) {
	return page(tx, "list rollouts", p, order[Rollout]{"created_at, id", func(r Rollout) []any { return []any{micros(r.CreatedAt), string(r.ID)} }},
		scanRollout, `SELECT `+rolloutColumns+` FROM rollouts`, equal(filter{}, "project", project))
}

// GoingRollouts returns those of which something may come by itself.
func (tx *Tx) GoingRollouts() ([]s4t.RolloutID, error) {
	return many(tx, "find rollouts", value[s4t.RolloutID], `SELECT id FROM rollouts WHERE ended_at = 0 AND status <> 'stopped' ORDER BY id`)
}

// RolloutsOf returns those of a plugin, in a version where one is named, that have not ended.
func (tx *Tx) RolloutsOf(plugin s4t.PluginID, version string) ([]Rollout, error) {
	f := equal(filter{}.and("ended_at = 0").and("plugin = ?", plugin), "version", version)
	return many(tx, fmt.Sprintf("find rollouts of plugin %q", plugin), scanRollout, `SELECT `+rolloutColumns+` FROM rollouts`+f.where()+` ORDER BY id`, f.args...)
}

// FleetRollouts returns those to a fleet that have not ended.
func (tx *Tx) FleetRollouts(fleet s4t.FleetID) ([]s4t.RolloutID, error) {
	return many(tx, fmt.Sprintf("find rollouts to fleet %q", fleet), value[s4t.RolloutID], `SELECT id FROM rollouts WHERE ended_at = 0 AND fleet = ?`, fleet)
}

const rolloutBoardColumns = `x.board, b.name, x.wave, x.status, x.before, x.changed, x.started_at, x.operation, x.error`

func scanRolloutBoard(s scanner) (b RolloutBoard, err error) {
	var started int64
	err = s.Scan(&b.ID, &b.Name, &b.Wave, &b.Status, &b.Before, flag(&b.Changed), &started, &b.Operation, &b.Error)
	b.StartedAt = fromMicros(started)
	return b, err
}

// RolloutBoards returns the boards of a rollout, by wave and name.
func (tx *Tx) RolloutBoards(id s4t.RolloutID) ([]RolloutBoard, error) {
	return many(tx, fmt.Sprintf("list the boards of rollout %q", id), scanRolloutBoard,
		`SELECT `+rolloutBoardColumns+` FROM rollout_boards x JOIN boards b ON b.id = x.board WHERE x.rollout = ? ORDER BY x.wave, b.name, b.id`, id)
}

// RolloutBoard returns one of them.
func (tx *Tx) RolloutBoard(id s4t.RolloutID, board s4t.BoardID) (RolloutBoard, error) {
	return one(tx, fmt.Sprintf("find board %q of rollout %q", board, id), scanRolloutBoard,
		`SELECT `+rolloutBoardColumns+` FROM rollout_boards x JOIN boards b ON b.id = x.board WHERE x.rollout = ? AND x.board = ?`, id, board)
}

// SetRolloutBoard writes how far a board of a rollout is. Who does it holds the board or the rollout.
func (tx *Tx) SetRolloutBoard(id s4t.RolloutID, b RolloutBoard) error {
	_, err := tx.exec(fmt.Sprintf("change board %q of rollout %q", b.ID, id), `UPDATE rollout_boards SET status = ?, before = ?, changed = ?, started_at = ?, operation = ?, error = ? WHERE rollout = ? AND board = ?`,
		b.Status, b.Before, bit(b.Changed), micros(b.StartedAt), b.Operation, b.Error, id, b.ID)
	return err
}

// SkipRolloutBoards leaves out the boards of a rollout that wait, and says why.
func (tx *Tx) SkipRolloutBoards(id s4t.RolloutID, why string) error {
	_, err := tx.exec(fmt.Sprintf("change rollout %q", id), `UPDATE rollout_boards SET status = ?, error = ? WHERE rollout = ? AND status = ?`, s4t.StepSkipped, why, id, s4t.StepWaiting)
	return err
}

// RetryRolloutBoards has the boards of a rollout that failed wait again.
func (tx *Tx) RetryRolloutBoards(id s4t.RolloutID) error {
	_, err := tx.exec(fmt.Sprintf("change rollout %q", id), `UPDATE rollout_boards SET status = ?, error = '', started_at = 0, operation = '' WHERE rollout = ? AND status = ?`, s4t.StepWaiting, id, s4t.StepFailed)
	return err
}

// RolloutOfOperation returns of which rollout an operation is, and the board; NotFound: of none.
func (tx *Tx) RolloutOfOperation(op s4t.OperationID) (id s4t.RolloutID, board s4t.BoardID, err error) {
	_, err = one(tx, fmt.Sprintf("find the rollout of operation %q", op), func(s scanner) (_ struct{}, err error) {
		err = s.Scan(&id, &board)
		return
	}, `SELECT rollout, board FROM rollout_boards WHERE operation = ? AND operation <> ''`, op)
	return id, board, err
}

// CountRollout counts the boards of a rollout by wave and how they stand.
func (tx *Tx) CountRollout(id s4t.RolloutID) ([]RolloutCount, error) {
	return many(tx, fmt.Sprintf("count the boards of rollout %q", id), func(s scanner) (c RolloutCount, err error) {
		err = s.Scan(&c.Wave, &c.Status, flag(&c.Changed), flag(&c.Online), &c.N)
		return c, err
	}, `SELECT x.wave, x.status, x.changed, CASE WHEN p.status = 'online' THEN 1 ELSE 0 END AS here, COUNT(*) FROM rollout_boards x JOIN presence p ON p.board = x.board WHERE x.rollout = ? GROUP BY x.wave, x.status, x.changed, here ORDER BY x.wave, x.status, x.changed, here`, id)
}

// StartableOfRollout returns at most limit boards of the waves up to one that are there and wait, or
// that were told and of which no operation tells how it goes; by wave.
func (tx *Tx) StartableOfRollout(id s4t.RolloutID, wave, limit int) ([]s4t.BoardID, error) {
	return many(tx, fmt.Sprintf("find boards of rollout %q", id), value[s4t.BoardID], `SELECT x.board FROM rollout_boards x JOIN presence p ON p.board = x.board
		WHERE x.rollout = ? AND x.wave <= ? AND p.status = 'online' AND (x.status = 'waiting' OR x.status = 'running' AND x.operation = '') ORDER BY x.wave, x.board LIMIT ?`, id, wave, limit)
}

// LateOfRollout returns boards that were told before a time, of which no operation tells how it goes.
func (tx *Tx) LateOfRollout(id s4t.RolloutID, before time.Time) ([]s4t.BoardID, error) {
	return many(tx, fmt.Sprintf("find boards of rollout %q", id), value[s4t.BoardID], `SELECT board FROM rollout_boards WHERE rollout = ? AND status = 'running' AND operation = '' AND started_at <= ? ORDER BY board`, id, micros(before))
}

// ChangedByRollout returns at most limit boards that a rollout changed, and that did not go back.
func (tx *Tx) ChangedByRollout(id s4t.RolloutID, limit int) ([]s4t.BoardID, error) {
	return many(tx, fmt.Sprintf("find boards of rollout %q", id), value[s4t.BoardID], `SELECT board FROM rollout_boards WHERE rollout = ? AND changed = 1 ORDER BY board LIMIT ?`, id, limit)
}

// ForgetRollouts forgets at most limit rollouts that ended before a time.
func (tx *Tx) ForgetRollouts(before time.Time, limit int) error {
	_, err := tx.exec("forget old rollouts", `DELETE FROM rollouts WHERE id IN (SELECT id FROM rollouts WHERE ended_at > 0 AND ended_at < ? ORDER BY ended_at LIMIT ?)`, micros(before), limit)
	return err
}

// TrimRollouts forgets the rollouts of a project that are over, but for the newest keep of them.
func (tx *Tx) TrimRollouts(project s4t.ProjectID, keep int) error {
	_, err := tx.exec("forget old rollouts", `DELETE FROM rollouts WHERE id IN (SELECT id FROM rollouts WHERE project = ? AND ended_at > 0 ORDER BY created_at DESC, id DESC LIMIT 100 OFFSET ?)`, project, keep)
	return err
}

// OnlineAmong returns which of some boards are there.
func (tx *Tx) OnlineAmong(ids []s4t.BoardID) (map[s4t.BoardID]bool, error) {
	online, err := manyIn(tx, "find boards that are online", value[s4t.BoardID], `SELECT board FROM presence WHERE status = 'online' AND board IN `, nil, ids, "")
	there := make(map[s4t.BoardID]bool, len(online))
	for _, id := range online {
		there[id] = true
	}
	return there, err
}

// StepRolloutBoard writes how a board of a rollout stands when the operation that told how it goes has
// ended, and reports whether it still was of interest.
func (tx *Tx) StepRolloutBoard(op s4t.OperationID, status s4t.RolloutStep, why string) (bool, error) {
	n, err := tx.exec(fmt.Sprintf("change the board of operation %q", op), `UPDATE rollout_boards SET status = ?, error = ?, operation = '' WHERE operation = ? AND operation <> '' AND status = 'running'`, status, why, op)
	return n > 0, err
}
