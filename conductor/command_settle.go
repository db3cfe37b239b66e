package conductor

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Runs of which it is not known what became of them are settled with their board:
// when a session of it begins, when it reports its commands, and when their time is
// over. What is queued is sent then.

const (
	settlers     = 16               // boards that are settled with at a time
	maxSettles   = 4096             // that wait for it; of more upkeep thinks
	settleBatch  = 100              // runs that a board is asked about at a time
	settleMost   = 512              // runs of a board that are looked at, oldest first
	settleAgain  = 30 * time.Second // when a board did not say
	settleAbsent = 5 * time.Minute  // when it is looked again whether a board is back
)

// settles are the boards to settle with.
type settles struct {
	some chan s4t.BoardID

	mu  sync.Mutex // guards the field below
	due map[s4t.BoardID]bool
}

func newSettles() settles {
	return settles{some: make(chan s4t.BoardID, maxSettles), due: map[s4t.BoardID]bool{}}
}

// settleLater has what is open settled with a board.
func (c *Conductor) settleLater(board s4t.BoardID) {
	s := &c.settles
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due[board] {
		return
	}
	select {
	case s.some <- board:
		s.due[board] = true
	default:
	}
}

// settleBoards settles with one board after the other, until ctx ends.
func (c *Conductor) settleBoards(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case board := <-c.settles.some:
			c.settles.mu.Lock()
			delete(c.settles.due, board)
			c.settles.mu.Unlock()
			if err := c.settle(ctx, board); err != nil && ctx.Err() == nil {
				c.cfg.Log.Info("the commands of a board are settled later", "board", board, "err", err)
			}
		}
	}
}

// settle settles with one board.
func (c *Conductor) settle(ctx context.Context, board s4t.BoardID) error {
	op := fmt.Sprintf("settle the commands of board %q", board)
	var r store.Route
	var code boardCode
	var open []store.Run
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		if open, err = tx.OpenRuns(board, settleMost); err != nil || len(open) == 0 {
			return err
		}
		if r, err = tx.Route(board); err == nil {
			code, err = c.code(tx, op, r)
		}
		return err
	})
	if err != nil || len(open) == 0 || r.Status != s4t.BoardOnline {
		return err
	}
	now := c.now()
	var send []store.Run
	var ask []s4t.OperationID
	for _, run := range open {
		switch {
		case run.Status == s4t.OperationQueued && run.Run.ExpiresAt != nil && now.Before(*run.Run.ExpiresAt):
			if _, there := code.command(run.Run.Command); there { // else its plugin may be about to start
				send = append(send, run)
			}
		case run.Status == s4t.OperationStarted, !run.Before.IsZero() && now.After(run.Before):
			ask = append(ask, run.ID)
		}
	}
	for some := range slices.Chunk(ask, settleBatch) {
		a, err := c.askCode(ctx, op, r, wire.CodeAsk{Do: wire.CodeState, IDs: some})
		if err != nil {
			return err
		}
		if err := c.takeStates(ctx, r.ID, code, a, open); err != nil {
			return err
		}
	}
	sent, err := c.markSent(ctx, send)
	if err != nil {
		return err
	}
	for _, run := range sent {
		cmd, _ := code.command(run.Run.Command)
		if _, err := c.sendRun(ctx, op, r, cmd, run, nil, 0); err != nil {
			return err
		}
	}
	return nil
}

// takeStates records what a board says of runs, asked. One that it does not know it
// has not begun, and will not: its time is over.
func (c *Conductor) takeStates(ctx context.Context, board s4t.BoardID, code boardCode, a wire.CodeAnswer, open []store.Run) error {
	status, command := map[s4t.OperationID]s4t.OperationStatus{}, map[s4t.OperationID]string{}
	for _, run := range open {
		status[run.ID], command[run.ID] = run.Status, run.Run.Command
	}
	var all []heardRun
	for _, s := range a.Runs {
		cmd, _ := code.command(command[s.ID])
		c.checkResult(cmd, &s)
		all = append(all, heardRun{board: board, state: s})
	}
	for _, id := range a.Unknown {
		s := wire.RunState{ID: id, Status: s4t.OperationExpired, Error: "it did not begin in time"}
		if status[id] == s4t.OperationStarted {
			s = wire.RunState{ID: id, Status: s4t.OperationFailed, Error: "the board knows nothing of it any more; it may have been done in part", ErrorKind: s4t.Unavailable}
		}
		all = append(all, heardRun{board: board, state: s})
	}
	return c.hearAll(ctx, all)
}

// hearAll records what is known of several runs.
func (c *Conductor) hearAll(ctx context.Context, all []heardRun) error {
	for some := range slices.Chunk(all, together) {
		records := make([]runRecord, len(some))
		for i, h := range some {
			records[i].heard = h
		}
		for _, o := range c.recordRuns(ctx, records) {
			if o.err != nil && s4t.KindOf(o.err) != s4t.NotFound {
				return o.err
			}
		}
	}
	return nil
}

// markSent notes that a board is about to be told of runs that are queued, and
// returns those that are queued still: from now on only the board knows.
func (c *Conductor) markSent(ctx context.Context, queued []store.Run) (sent []store.Run, err error) {
	if len(queued) == 0 {
		return nil, nil
	}
	ids := make([]s4t.OperationID, len(queued))
	for i, r := range queued {
		ids[i] = r.ID
	}
	slices.Sort(ids)
	err = c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		sent = nil
		runs, err := tx.LockRuns(ids)
		if err != nil {
			return err
		}
		for _, r := range runs {
			if r.Status != s4t.OperationQueued {
				continue
			}
			if r.Before.IsZero() {
				r.Before, r.Due = *r.Run.ExpiresAt, r.Run.ExpiresAt.Add(settleAfter)
				if err := tx.SetRun(r); err != nil {
					return err
				}
			}
			sent = append(sent, r)
		}
		return nil
	})
	slices.SortStableFunc(sent, func(a, b store.Run) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return sent, err
}

// settleDue looks at the runs whose time is over: those that no board was told of
// have expired, the others are their boards' to tell.
func (c *Conductor) settleDue(ctx context.Context) error {
	boards := map[s4t.BoardID]store.Route{}
	due, err := view(ctx, c, func(tx *store.Tx) ([]store.Run, error) {
		clear(boards)
		due, err := tx.DueRuns(batch)
		for _, run := range due {
			if _, known := boards[run.Run.BoardID]; known || err != nil {
				continue
			}
			r, findErr := tx.Route(run.Run.BoardID)
			if s4t.KindOf(findErr) != s4t.NotFound {
				err = findErr
			}
			boards[run.Run.BoardID] = r
		}
		return due, err
	})
	if err != nil || len(due) == 0 {
		return err
	}
	var all []heardRun
	var later []s4t.OperationID
	for _, run := range due {
		r := boards[run.Run.BoardID]
		switch {
		case r.ID == "": // the board was deleted while it was asked for
			all = append(all, heardRun{board: run.Run.BoardID, state: gone(run.ID)})
		case run.Before.IsZero():
			all = append(all, heardRun{board: r.ID, unsent: true, state: wire.RunState{ID: run.ID, Status: s4t.OperationExpired, Error: "the board did not come in time"}})
		default:
			later = append(later, run.ID)
			c.settleLater(r.ID)
		}
	}
	if err := c.hearAll(ctx, all); err != nil || len(later) == 0 {
		return err
	}
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		slices.Sort(later)
		runs, err := tx.LockRuns(later)
		for _, run := range runs {
			if err != nil {
				break
			}
			again := settleAbsent
			if boards[run.Run.BoardID].Status == s4t.BoardOnline {
				again = settleAgain
			}
			if !run.Status.Ended() {
				run.Due = tx.Now().Add(again)
				err = tx.SetRun(run)
			}
		}
		return err
	})
}

// settleQueued has what is queued sent to the boards that are there.
func (c *Conductor) settleQueued(ctx context.Context) error {
	boards, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) { return tx.QueuedBoards() })
	for _, b := range boards {
		c.settleLater(b)
	}
	return err
}

// boardRuns hears what became of runs that the board has not been confirmed.
func (c *Conductor) boardRuns(ctx context.Context, req wire.RunReport) (heard wire.RunsHeard, err error) {
	op := fmt.Sprintf("hear of the commands of board %q", req.Board)
	if len(req.Runs) > maxRunReport {
		return heard, s4t.Errorf(s4t.TooMany, op, "", "it speaks of %d runs, at most %d are possible at once", len(req.Runs), maxRunReport)
	}
	ids := make([]s4t.OperationID, len(req.Runs))
	for i, s := range req.Runs {
		ids[i] = s.ID
	}
	var open map[s4t.OperationID]string
	var code boardCode
	err = c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		r, err := tx.Route(req.Board)
		if err != nil {
			return err
		}
		if r.Epoch != req.Epoch || r.Status != s4t.BoardOnline {
			return stale(op)
		}
		if open, err = tx.OpenCommands(req.Board, ids); err == nil && req.Full {
			code, err = c.code(tx, op, r)
		}
		return err
	})
	if err != nil {
		return heard, err
	}
	var all []heardRun
	for _, s := range req.Runs {
		command, isOpen := open[s.ID]
		switch {
		case !isOpen: // it was answered before
		case !req.Full:
			heard.Want = append(heard.Want, s.ID)
		case s.Status.Ended():
			cmd, _ := code.command(command)
			c.checkResult(cmd, &s)
			all = append(all, heardRun{board: req.Board, state: s})
		}
	}
	return heard, c.hearAll(ctx, all)
}

// maxRunReport bounds the runs of one report of a board.
const maxRunReport = 500
