package conductor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// What moves a rollout is what its boards say: each has an operation of its own, like one that somebody
// asked for, and the end of that is written with the board in the same transaction. Then, and each
// second in case that was lost with a conductor, a conductor looks what comes next. All that it knows is
// in the database; where two look, the second finds it done.

// rolloutStarts is how many boards are told before it is looked how many fail.
const rolloutStarts = 50

// wakeRollouts has this conductor look at rollouts.
func (c *Conductor) wakeRollouts() {
	select {
	case c.rollouts <- struct{}{}:
	default:
	}
}

// rolloutsDue has rollouts looked at where some are going.
func (c *Conductor) rolloutsDue(ctx context.Context) error {
	going, err := view(ctx, c, func(tx *store.Tx) ([]s4t.RolloutID, error) { return tx.GoingRollouts() })
	if err == nil && len(going) > 0 {
		c.wakeRollouts()
	}
	return err
}

// forgetRollouts forgets those that are over for long.
func (c *Conductor) forgetRollouts(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.ForgetRollouts(tx.Now().Add(-s4t.RolloutHistory), batch) })
}

// rollOn moves rollouts until ctx ends.
func (c *Conductor) rollOn(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.rollouts:
		}
		going, err := view(ctx, c, func(tx *store.Tx) ([]s4t.RolloutID, error) { return tx.GoingRollouts() })
		for _, id := range going {
			if ctx.Err() != nil {
				return
			}
			if e := c.roll(ctx, id); e != nil { // it hinders no other
				err = e
			}
		}
		if err != nil && ctx.Err() == nil && s4t.KindOf(err) != s4t.NotFound {
			c.cfg.Log.Warn("upkeep goes on later", "what", "roll out plugins", "err", err)
		}
	}
}

// roll does what comes next of a rollout, and has it looked at again where there is more.
func (c *Conductor) roll(ctx context.Context, id s4t.RolloutID) error {
	var now time.Time
	r, err := view(ctx, c, func(tx *store.Tx) (store.Rollout, error) {
		now = tx.Now()
		return tx.Rollout(id)
	})
	switch {
	case err != nil || r.EndedAt != nil:
		return err
	case r.Status == s4t.RolloutBack:
		return c.rollBack(ctx, id)
	case r.Status == s4t.RolloutPaused && !r.GoesOn.After(now):
		return c.change(ctx, func(ch *change) error {
			r, err := ch.LockRollout(id)
			if err != nil || r.Status != s4t.RolloutPaused {
				return err
			}
			ch.nextWave(&r)
			if err := ch.SetRollout(r); err != nil {
				return err
			}
			return ch.rolloutEvent("wave", r, fmt.Sprintf("wave %d of %d begins", r.Wave, len(r.Waves)))
		})
	case r.Status != s4t.RolloutRunning:
		return nil
	}
	if err := c.rolloutLate(ctx, id, now); err != nil {
		return err
	}
	over, err := c.rolloutAdvance(ctx, id)
	if err != nil || over {
		return err
	}
	boards, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) { return tx.StartableOfRollout(id, r.Wave, rolloutStarts) })
	started := false
	for _, b := range boards {
		if err != nil {
			return err
		}
		err = c.rolloutStart(ctx, id, b)
		switch s4t.KindOf(err) {
		case "":
			started = started || err == nil
		case s4t.NotFound, s4t.Conflict, s4t.TooMany, s4t.Forbidden, s4t.Invalid: // its own affair
			if err = c.rolloutFailed(ctx, id, b, err.Error()); err == nil {
				started = true
			}
		}
	}
	if err == nil && started {
		c.wakeRollouts()
	}
	return err
}

// nextWave goes on with the wave after the one that is over. The rollout is held.
func (ch *change) nextWave(r *store.Rollout) {
	now := ch.Now()
	if r.Wave >= 1 && r.Wave <= len(r.Waves) {
		r.Waves[r.Wave-1].Status = s4t.WaveDone
	}
	r.Wave++
	w := &r.Waves[r.Wave-1]
	w.Status, w.BeganAt = s4t.WaveRunning, &now
	r.Status, r.GoesOn = s4t.RolloutRunning, nil
}

// rolloutStart tells a board, once, what it is to have. A board that went away while it was told is
// told again, of the same.
func (c *Conductor) rolloutStart(ctx context.Context, id s4t.RolloutID, board s4t.BoardID) error {
	op := "roll a plugin out"
	return c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(board)
		if err != nil {
			return err
		}
		p, present, at, r, row, err := ch.rolloutOn(id, b)
		if err != nil || r.Status != s4t.RolloutRunning || b.Status != s4t.BoardOnline {
			return err
		}
		fresh := row.Status == s4t.StepWaiting && row.Wave <= r.Wave
		if !fresh && (row.Status != s4t.StepRunning || row.Operation != "") {
			return nil // another conductor was faster
		}
		if b.Project != r.Project {
			row.Status, row.Error = s4t.StepSkipped, "it belongs to another project by now"
			return ch.setRolloutBoard(r, row)
		}
		if fresh {
			row.Status, row.Error, row.StartedAt = s4t.StepRunning, "", ch.Now()
		}
		has := at >= 0 && present[at].Version == r.Version
		if fresh && !has && !row.Changed {
			if row.Changed = true; at >= 0 {
				row.Before = present[at].Version
			}
		} else if fresh && has && !row.Changed {
			row.Before = r.Version
		}
		if !fresh && !has {
			row.Status, row.Error = s4t.StepFailed, "somebody changed the plugin meanwhile"
			return ch.setRolloutBoard(r, row)
		}
		if has && present[at].Up && b.AppliedGeneration >= present[at].Generation {
			row.Status = s4t.StepDone
			return ch.setRolloutBoard(r, row)
		}
		req := wire.PluginInject{Caller: wire.Caller{UserID: r.Injector, Role: r.Role}, Upgrade: at >= 0 && !(fresh && has)} // what failed with this version is started again
		kind := kindInject
		if req.Upgrade {
			kind = kindUpgrade
		}
		i, err := ch.putPlugin(op, b, p, present, at, req, r.Version, "")
		if err != nil {
			return err
		}
		row.Operation = ch.begin(kind, r.Project, i.ID, p.Name, ch.now, wire.ResourceKey{Kind: wire.KindPlugin, ID: i.ID}).ID
		return ch.SetRolloutBoard(r.ID, row)
	})
}

// rolloutOn is what there is to know of a rollout on a board that is held. The rollout is held, too.
func (ch *change) rolloutOn(id s4t.RolloutID, b store.Board) (p s4t.Plugin, present []store.Injection, at int, r store.Rollout, row store.RolloutBoard, err error) {
	if r, err = ch.LockRollout(id); err != nil {
		return
	}
	if row, err = ch.RolloutBoard(id, b.ID); err != nil {
		return
	}
	if p, err = ch.Plugin(r.Plugin); err != nil {
		return
	}
	present, err = ch.InjectionsOf(b.ID)
	at = slices.IndexFunc(present, func(i store.Injection) bool { return i.PluginID == p.ID })
	return
}

// setRolloutBoard writes a board of a rollout, and tells.
func (ch *change) setRolloutBoard(r store.Rollout, row store.RolloutBoard) error {
	row.Operation = ""
	ch.rolloutBoardEvent(r, row.RolloutBoard)
	return ch.SetRolloutBoard(r.ID, row)
}

func (ch *change) rolloutBoardEvent(r store.Rollout, b s4t.RolloutBoard) {
	detail := string(b.Status)
	if b.Error != "" {
		detail += ": " + b.Error
	}
	ch.event(s4t.Event{Kind: "rollout.board", Project: r.Project, Object: string(r.ID), Name: r.PluginName, Board: b.Name, Detail: detail, Data: b})
	ch.rolled = true
}

// rolloutFailed writes that a board of a rollout, which is not told any more, failed.
func (c *Conductor) rolloutFailed(ctx context.Context, id s4t.RolloutID, board s4t.BoardID, why string) error {
	return c.change(ctx, func(ch *change) error {
		r, err := ch.LockRollout(id)
		if err != nil {
			return err
		}
		row, err := ch.RolloutBoard(id, board)
		if err != nil || row.Operation != "" || row.Status != s4t.StepWaiting && row.Status != s4t.StepRunning {
			return err
		}
		row.Status, row.Error = s4t.StepFailed, s4t.Line(why, wire.MaxProblem)
		return ch.setRolloutBoard(r, row)
	})
}

// rolloutLate fails boards that went away while they were changed, and did not come back in time.
func (c *Conductor) rolloutLate(ctx context.Context, id s4t.RolloutID, now time.Time) error {
	late, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) {
		return tx.LateOfRollout(id, now.Add(-s4t.RolloutPatience))
	})
	for _, b := range late {
		if err == nil {
			err = c.rolloutFailed(ctx, id, b, fmt.Sprintf("it did not say within %v that the version runs", s4t.RolloutPatience))
		}
	}
	return err
}

// rolloutAdvance stops a rollout of which too many boards failed, and ends a wave of which every board
// that is there has been tried. over: nothing is to be started now.
func (c *Conductor) rolloutAdvance(ctx context.Context, id s4t.RolloutID) (over bool, err error) {
	counts, err := view(ctx, c, func(tx *store.Tx) ([]store.RolloutCount, error) { return tx.CountRollout(id) })
	if err != nil {
		return false, err
	}
	r, err := view(ctx, c, func(tx *store.Tx) (store.Rollout, error) { return tx.Rollout(id) })
	if err != nil {
		return false, err
	}
	if v, err := judge(r, counts); err != nil || v == (verdict{}) {
		return false, err // in general: nothing is locked for it
	}
	err = c.change(ctx, func(ch *change) error {
		over = true
		r, err := ch.LockRollout(id)
		if err != nil || r.Status != s4t.RolloutRunning {
			return err
		}
		counts, err := ch.CountRollout(id)
		if err != nil {
			return err
		}
		v, err := judge(r, counts)
		if err != nil {
			return err
		}
		now := ch.Now()
		w := &r.Waves[r.Wave-1]
		word, detail := "", ""
		switch {
		case v.stop != "":
			w.Status, w.EndedAt = s4t.WaveFailed, &now
			r.Status, r.Reason = s4t.RolloutStopped, v.stop
			word, detail = "stopped", v.stop
		case !v.ended:
			over = false
			return nil
		case r.Wave == len(r.Waves):
			if err := ch.SkipRolloutBoards(id, "it was away"); err != nil {
				return err
			}
			w.Status, w.EndedAt = s4t.WaveDone, &now
			r.Status, r.EndedAt = s4t.RolloutSucceeded, &now
			word = "succeeded"
		case r.Pause > 0:
			goesOn := now.Add(r.Pause.Duration())
			w.Status, w.EndedAt = s4t.WavePause, &now
			r.Status, r.GoesOn = s4t.RolloutPaused, &goesOn
			word, detail = "paused", fmt.Sprintf("wave %d of %d is over; the next begins at %s", r.Wave, len(r.Waves), goesOn.Format(time.RFC3339))
		default:
			w.EndedAt = &now
			ch.nextWave(&r)
			word, detail = "wave", fmt.Sprintf("wave %d of %d begins", r.Wave, len(r.Waves))
		}
		if err := ch.SetRollout(r); err != nil {
			return err
		}
		return ch.rolloutEvent(word, r, detail)
	})
	return over, err
}

// verdict is what is to be done with a rollout that runs.
type verdict struct {
	stop  string // why it is to stop; empty: it is not
	ended bool   // its wave is over
}

// judge finds that by how its boards stand.
func judge(r store.Rollout, counts []store.RolloutCount) (v verdict, err error) {
	share, err := s4t.ParseShare("read a rollout", r.MaxFailed)
	if err != nil {
		return v, err
	}
	var begun, open, tried, failed int // of the waves that have begun: those that are there or were told
	for _, n := range counts {
		if n.Wave > r.Wave {
			continue
		}
		switch n.Status {
		case s4t.StepDone:
			tried += n.N
		case s4t.StepFailed:
			tried, failed = tried+n.N, failed+n.N
		case s4t.StepRunning:
			open += n.N
		case s4t.StepWaiting:
			if !n.Online {
				continue
			}
			open += n.N
		case s4t.StepSkipped:
			continue
		}
		begun += n.N
	}
	if allowed := share.AtMost(begun); failed > allowed {
		v.stop = fmt.Sprintf("%d of %d boards failed, %d may", failed, begun, allowed)
	}
	v.ended = open == 0 && (tried > 0 || v.all(counts))
	return v, nil
}

// all reports whether there is no board left to try: those of a wave that nobody of is there wait for one, as
// long as none was tried.
func (verdict) all(counts []store.RolloutCount) bool {
	return !slices.ContainsFunc(counts, func(n store.RolloutCount) bool { return n.Status == s4t.StepWaiting })
}

// rolloutTold writes how a board of a rollout stands when an operation on its plugin ends; of one that
// is of no rollout there is nothing to do.
func (ch *change) rolloutTold(op store.Operation) error {
	id, board, err := ch.RolloutOfOperation(op.ID)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	r, err := ch.Rollout(id)
	if err != nil {
		return err
	}
	row, err := ch.RolloutBoard(id, board)
	if err != nil {
		return err
	}
	row.Status, row.Error = s4t.StepFailed, s4t.Line(op.Error, wire.MaxProblem)
	again := false // it is to be told again
	switch {
	case op.Status == s4t.OperationSucceeded:
		b, err := ch.Board(board)
		if err != nil {
			return err
		}
		i, err := ch.Injection(op.Object)
		switch {
		case s4t.KindOf(err) == s4t.NotFound:
			row.Error = "somebody removed the plugin meanwhile"
		case err != nil:
			return err
		case i.Version != r.Version:
			row.Error = "somebody changed the plugin meanwhile"
		case i.Up && b.AppliedGeneration >= i.Generation:
			row.Status, row.Error = s4t.StepDone, ""
		default: // it went away
			again, row.Error = true, "it went away before it had the version"
		}
	case op.ErrorKind == s4t.Timeout:
		again = ch.Now().Sub(row.StartedAt) < s4t.RolloutPatience
	}
	if again && r.EndedAt == nil {
		row.Status, row.Error = s4t.StepRunning, ""
	}
	still, err := ch.StepRolloutBoard(op.ID, row.Status, row.Error)
	if err != nil || !still {
		return err
	}
	ch.rolled = true
	if row.Status != s4t.StepRunning {
		ch.rolloutBoardEvent(r, row.RolloutBoard)
	}
	return nil
}

// rollBack gives boards of a rollout again what they had.
func (c *Conductor) rollBack(ctx context.Context, id s4t.RolloutID) error {
	boards, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) { return tx.ChangedByRollout(id, batch) })
	for _, b := range boards {
		if err != nil {
			return err
		}
		err = c.boardBack(ctx, id, b, "")
		switch s4t.KindOf(err) {
		case s4t.NotFound, s4t.Conflict, s4t.TooMany, s4t.Forbidden, s4t.Invalid: // its own affair
			err = c.boardBack(ctx, id, b, err.Error())
		}
	}
	if err != nil {
		return err
	}
	if len(boards) > 0 {
		c.wakeRollouts()
		return nil
	}
	return c.change(ctx, func(ch *change) error {
		r, err := ch.LockRollout(id)
		if err != nil || r.Status != s4t.RolloutBack || r.EndedAt != nil {
			return err
		}
		now := ch.Now()
		r.EndedAt = &now
		if err := ch.SetRollout(r); err != nil {
			return err
		}
		return ch.rolloutEvent("back", r, "its boards are to have again what they had")
	})
}

// boardBack has a board have again what it had before a rollout; problem: why that failed a moment ago.
// A board that is away gets it when it comes.
func (c *Conductor) boardBack(ctx context.Context, id s4t.RolloutID, board s4t.BoardID, problem string) error {
	return c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(board)
		if err != nil {
			return err
		}
		p, present, at, r, row, err := ch.rolloutOn(id, b)
		if err != nil || r.Status != s4t.RolloutBack || !row.Changed {
			return err
		}
		row.Changed = false
		if problem != "" {
			row.Status, row.Error = s4t.StepFailed, s4t.Line("it did not go back: "+problem, wire.MaxProblem)
			return ch.setRolloutBoard(r, row)
		}
		row.Status, row.Error = s4t.StepBack, ""
		switch {
		case at < 0 || present[at].Version != r.Version: // it went back by itself, or somebody changed it
		case row.Before == "":
			if err := ch.removePlugin(present[at]); err != nil {
				return err
			}
		default:
			if _, err := ch.PluginVersion(p.ID, row.Before); err != nil {
				return err
			}
			if _, err := ch.putPlugin("take a rollout back", b, p, present, at, wire.PluginInject{Upgrade: true}, row.Before, ""); err != nil {
				return err
			}
		}
		return ch.setRolloutBoard(r, row)
	})
}
