package conductor

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

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
