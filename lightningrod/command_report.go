package lightningrod

import (
	"context"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// runReportDelay is how long after the end of a run it is reported: most were answered
// by then, and the cloud does not ask for their results.
const runReportDelay = time.Second

// maxRunReport is how many runs are reported at once.
const maxRunReport = 500

// report tells one session's cloud what became of runs, until it has heard. It
// returns when the session ends, or where the cloud is too old to know commands.
func (c *boardCommands) report(ctx context.Context, of cloud, epoch int64) {
	for {
		for {
			list := c.journal.Unheard(maxRunReport)
			if len(list) == 0 {
				break
			}
			err := c.tell(ctx, of, epoch, list)
			if err == nil {
				continue
			}
			if wamp.ReasonOf(err) == wamp.NoSuchProcedure {
				return // an older cloud
			}
			wait := max(retryAfter(err), retryCall)
			if ctx.Err() == nil {
				c.log.Warn("report commands to the cloud", "err", err, "retry_in", wait)
			}
			if !pause(ctx, of, wait) {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-of.Done():
			return
		case <-c.ended:
			if !pause(ctx, of, runReportDelay) {
				return
			}
		}
	}
}

// tell reports runs: all by their status, those that the cloud wants in full.
func (c *boardCommands) tell(ctx context.Context, of cloud, epoch int64, list []wire.RunState) error {
	short := make([]wire.RunState, len(list))
	for i, st := range list {
		short[i] = wire.RunState{ID: st.ID, Status: st.Status}
	}
	want, err := c.send(ctx, of, wire.RunReport{Board: c.board, Epoch: epoch, Runs: short})
	if err != nil {
		return err
	}
	for len(want) > 0 {
		r := wire.RunReport{Board: c.board, Epoch: epoch, Full: true}
		left := s4t.MaxMessage / 2
		for len(want) > 0 {
			st, known := c.journal.Find(want[0], "")
			if left -= len(wire.Encode(st)); left < 0 && len(r.Runs) > 0 {
				break
			}
			if want = want[1:]; known {
				r.Runs = append(r.Runs, st)
			}
		}
		again, err := c.send(ctx, of, r)
		if err != nil {
			return err
		}
		if len(again) > 0 {
			return s4t.Errorf(s4t.Internal, "report commands", "", "the cloud was told of %d commands, and asks for %d of them again", len(r.Runs), len(again))
		}
	}
	return nil
}

// send sends one report. Those that the cloud does not want are heard.
func (c *boardCommands) send(ctx context.Context, of cloud, r wire.RunReport) (want []s4t.OperationID, err error) {
	var a wire.RunsHeard
	if err := of.Call(ctx, wamp.Runs, r, &a); err != nil {
		return nil, err
	}
	var heard []s4t.OperationID
	for _, st := range r.Runs {
		if slices.Contains(a.Want, st.ID) {
			want = append(want, st.ID)
		} else {
			heard = append(heard, st.ID)
		}
	}
	c.journal.Heard(heard...)
	return want, nil
}
