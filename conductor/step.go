package conductor

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Steps 5 and 6 of a running operation are shown as they happen. What is told
// here is for the eye only and may be lost: a board's report tells both again.

const (
	stepQueueLen = 1024                  // notes that wait
	stepDelay    = 20 * time.Millisecond // most operations have ended by then, and nothing is written
)

// note is that a board was told of a generation, or received it.
type note struct {
	board          s4t.BoardID
	generation     int64
	told, received time.Time
}

// noteStep takes a note; where too many wait, it is lost.
func (c *Conductor) noteStep(n note) {
	select {
	case c.notes <- n:
	default:
	}
}

// boardWoken hears that a board was told of a generation (step 5).
func (c *Conductor) boardWoken(_ context.Context, req wire.BoardWake) (wire.Empty, error) {
	c.noteStep(note{board: req.Board, generation: req.Generation, told: c.now()})
	return wire.Empty{}, nil
}

// noteSteps writes notes until ctx ends, those of a moment together.
func (c *Conductor) noteSteps(ctx context.Context) {
	for {
		var notes []note
		select {
		case <-ctx.Done():
			return
		case n := <-c.notes:
			notes = append(notes, n)
		}
		for due := time.After(stepDelay); due != nil; {
			select {
			case <-ctx.Done():
				return
			case n := <-c.notes:
				notes = append(notes, n)
			case <-due:
				due = nil
			}
		}
		if err := c.writeNotes(ctx, notes); err != nil && ctx.Err() == nil {
			c.cfg.Log.Info("steps of operations are not shown as they happen", "err", err)
		}
	}
}

// writeNotes writes those that a running operation waits for.
func (c *Conductor) writeNotes(ctx context.Context, notes []note) error {
	boards := make([]s4t.BoardID, len(notes))
	for i, n := range notes {
		boards[i] = n.board
	}
	awaited, err := view(ctx, c, func(tx *store.Tx) (map[s4t.BoardID]bool, error) { return tx.AwaitedBoards(boards) })
	if err != nil || len(awaited) == 0 {
		return err
	}
	return c.change(ctx, func(ch *change) error {
		for _, n := range notes {
			if !awaited[n.board] {
				continue
			}
			if err := ch.noteAwaits(n); err != nil {
				return err
			}
		}
		return nil
	})
}

// noteAwaits writes one, and has the operations concerned looked at.
func (ch *change) noteAwaits(n note) error {
	ops, err := ch.NoteAwaits(n.board, n.generation, n.told, n.received)
	if len(ops) > 0 {
		ch.heard[string(n.board)] = true
	}
	return err
}
