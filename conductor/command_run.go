package conductor

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Runs are recorded, and what boards say of them, many in one transaction.

// newRun is a run that is to be recorded, with its lines in the audit.
type newRun struct {
	run   store.Run
	audit []s4t.AuditRecord
}

// runRecord is what is to be recorded: a new run, or else what is heard of one.
type runRecord struct {
	fresh *newRun
	heard heardRun
}

// recordedRun is how the run is then.
type recordedRun struct {
	run    store.Run
	before bool // a new one was there before, with the same key
}

// newRun is the run that a request asks for.
func (c *Conductor) newRun(req wire.CommandRun, r store.Route, timeout time.Duration) *newRun {
	now := c.now()
	run := store.Run{
		Operation: store.Operation{
			Operation: s4t.Operation{
				ID: s4t.NewOperationID(), Kind: store.KindRun, Project: r.Project, Object: string(r.ID), Status: s4t.OperationAccepted, CreatedAt: now,
				Run: &s4t.CommandRun{Board: r.Name, BoardID: r.ID, Command: req.Command, Params: req.Params, Key: req.Key},
			},
			Name: r.Name,
		},
		By: req.Caller.User, Timeout: timeout, Quiet: !req.Async && req.Queue == 0,
		Before: now.Add(beginWithin), Due: now.Add(beginWithin + settleAfter),
	}
	if req.Queue > 0 {
		expires := now.Add(req.Queue)
		run.Status, run.Run.ExpiresAt, run.Before, run.Due = s4t.OperationQueued, &expires, time.Time{}, expires
	}
	run.Steps = appendState(nil, run.Status, now)
	return &newRun{run, told(s4t.AuditRecord{At: now, User: req.Caller.User, Project: r.Project, Action: store.KindRun, Object: string(r.ID), Name: r.Name, Board: r.ID, Outcome: "ok", Detail: req.Command}, r.Owner)}
}

// appendState appends a state of a run to its steps: not before the last of them.
func appendState(steps []s4t.Step, status s4t.OperationStatus, at time.Time) []s4t.Step {
	s := s4t.Step{Number: len(steps) + 1, Name: string(status), At: at.UTC()}
	if n := len(steps); n > 0 {
		if s.At.Before(steps[n-1].At) {
			s.At = steps[n-1].At
		}
		s.TookMS = math.Round(float64(s.At.Sub(steps[n-1].At).Microseconds())/10) / 100
	}
	return append(slices.Clip(steps), s)
}

// runKey is what is unique.
type runKey struct {
	board   s4t.BoardID
	project s4t.ProjectID
	key     string
}

// recordRuns records new runs and what is heard of others, in one transaction.
func (c *Conductor) recordRuns(ctx context.Context, reqs []runRecord) []outcome[recordedRun] {
	out := make([]outcome[recordedRun], len(reqs))
	record := func() error {
		return c.change(ctx, func(ch *change) error {
			clear(out)
			if err := ch.insertRuns(reqs, out); err != nil {
				return err
			}
			return ch.hearRuns(reqs, out)
		})
	}
	err := record()
	if err == nil {
		return out
	}
	if len(reqs) == 1 {
		if fresh := reqs[0].fresh; s4t.KindOf(err) == s4t.Conflict && fresh != nil && fresh.run.Run.Key != "" { // another conductor was first: it is found now
			err = record()
		}
		if err != nil {
			out[0] = outcome[recordedRun]{err: err}
		}
		return out
	}
	for i := range reqs { // none suffers for another
		out[i] = c.recordRuns(ctx, reqs[i:i+1])[0]
	}
	return out
}

// insertRuns records the new runs among reqs. Of one key only the first is.
func (ch *change) insertRuns(reqs []runRecord, out []outcome[recordedRun]) error {
	first := map[runKey]int{}
	open := map[s4t.BoardID]int{}
	var fresh []store.Run
	var audits []s4t.AuditRecord
	for i, req := range reqs {
		if req.fresh == nil {
			continue
		}
		run := req.fresh.run
		if k := (runKey{run.Run.BoardID, run.Project, run.Run.Key}); k.key != "" {
			if at, there := first[k]; there {
				out[i].reply = recordedRun{out[at].reply.run, true}
				continue
			}
			was, err := ch.RunOfKey(k.board, k.project, k.key)
			if err == nil {
				out[i].reply = recordedRun{was, true}
				continue
			}
			if s4t.KindOf(err) != s4t.NotFound {
				return err
			}
			first[k] = i
		}
		if !run.Quiet {
			n, counted := open[run.Run.BoardID]
			if !counted {
				var err error
				if n, err = ch.CountOpenRuns(run.Run.BoardID); err != nil {
					return err
				}
			}
			if n >= maxOpenRuns {
				out[i].err = s4t.Errorf(s4t.TooMany, runOp(run.Run.Command, run.Name), "wait until some have ended, or cancel them", "%d commands run or wait on the board already", n).After(time.Second)
				delete(first, runKey{run.Run.BoardID, run.Project, run.Run.Key})
				continue
			}
			open[run.Run.BoardID] = n + 1
			ch.operationEvent("operation.started", run.Operation, run.Run.Command)
		}
		out[i].reply.run = run
		fresh, audits = append(fresh, run), append(audits, req.fresh.audit...)
	}
	if err := ch.InsertRuns(fresh); err != nil {
		return err
	}
	return ch.InsertAudits(audits)
}

// heardRun is what a board says of a run, or what is known of it without the board.
type heardRun struct {
	board  s4t.BoardID // that says it
	state  wire.RunState
	direct bool // who asked for the run is answered with it
	unsent bool // it holds only where no board was told of the run
}

// hearRuns records what is heard of runs among reqs.
func (ch *change) hearRuns(reqs []runRecord, out []outcome[recordedRun]) error {
	var ids []s4t.OperationID
	for _, req := range reqs {
		if req.fresh == nil {
			ids = append(ids, req.heard.state.ID)
		}
	}
	slices.Sort(ids)
	runs, err := ch.LockRuns(slices.Compact(ids))
	if err != nil {
		return err
	}
	at := make(map[s4t.OperationID]int, len(runs))
	for k, r := range runs {
		at[r.ID] = k
	}
	for i, req := range reqs {
		if req.fresh != nil {
			continue
		}
		h := req.heard
		k, there := at[h.state.ID]
		if !there || runs[k].Run.BoardID != h.board {
			out[i].err = s4t.Errorf(s4t.NotFound, fmt.Sprintf("record how operation %q is", h.state.ID), "", "board %s has no such run", h.board)
			continue
		}
		if err := ch.hearRun(&runs[k], h); err != nil {
			return err
		}
		out[i].reply.run = runs[k]
	}
	return nil
}

// hear records what is heard of one run, and returns how it is then.
func (c *Conductor) hear(ctx context.Context, h heardRun) (store.Run, error) {
	recorded, err := c.records.do(ctx, runRecord{heard: h})
	return recorded.run, err
}

// hearRun records what is said of one run, which is locked. A run that has ended
// stays as it is, and so does one that is further than that.
func (ch *change) hearRun(run *store.Run, h heardRun) error {
	s := h.state
	if run.Status.Ended() || h.unsent && !run.Before.IsZero() {
		return nil
	}
	was := run.Status
	switch s.Status {
	case s4t.OperationAccepted, s4t.OperationStarted:
		if s.Status == was || was == s4t.OperationStarted {
			return nil
		}
	case s4t.OperationSucceeded, s4t.OperationFailed, s4t.OperationExpired, s4t.OperationCancelled:
	default:
		return s4t.Errorf(s4t.Invalid, "record how operation "+string(run.ID)+" is", "bring both sides to the same version", "its board says %q of it", s4t.Line(string(s.Status), s4t.MaxName))
	}
	if was == s4t.OperationQueued && !h.unsent && s.Status != s4t.OperationExpired {
		run.Steps = appendState(run.Steps, s4t.OperationAccepted, ch.within(s.AcceptedAt))
	}
	if !s.StartedAt.IsZero() && was != s4t.OperationStarted && s.Status != s4t.OperationExpired && s.Status != s4t.OperationAccepted {
		run.Steps = appendState(run.Steps, s4t.OperationStarted, ch.within(s.StartedAt))
	}
	run.Status = s.Status
	now := ch.now
	switch {
	case s.Status == s4t.OperationAccepted:
		run.Due = run.Before.Add(settleAfter)
	case s.Status == s4t.OperationStarted:
		run.Due = now.Add(run.Timeout + endWithin)
	default:
		run.Steps = appendState(run.Steps, s.Status, ch.within(s.EndedAt))
		ended := run.Steps[len(run.Steps)-1].At
		run.EndedAt, run.Run.Result = &ended, s.Result
		if s.Status != s4t.OperationSucceeded {
			run.Run.Result = nil
			run.Error, run.ErrorKind = s4t.Line(s.Error, wire.MaxProblem), s.ErrorKind
		}
		if s.Status == s4t.OperationFailed && run.ErrorKind == "" && run.Error != "" {
			run.ErrorKind = s4t.Failed // the command's own word
		}
		if s.Status == s4t.OperationFailed && !knownKind(run.ErrorKind) {
			run.ErrorKind = s4t.Unavailable
		}
		if s.Status == s4t.OperationFailed && run.Error == "" {
			run.Error = "the board did not say why"
		}
		if !run.Quiet {
			detail := run.Run.Command
			if run.Error != "" {
				detail += ": " + run.Error
			}
			ch.operationEvent("operation."+string(s.Status), run.Operation, detail)
		}
	}
	if !h.direct || !run.Quiet || run.Run.Key != "" { // else nobody knows of it yet
		ch.moved = append(ch.moved, run.ID)
	}
	return ch.SetRun(*run)
}

// within is a time that a board tells: not later than now, and now where it tells
// none.
func (ch *change) within(at time.Time) time.Time {
	if at.IsZero() || at.After(ch.now) {
		return ch.now
	}
	return at.UTC()
}

// knownKind reports whether a board's error is of a kind that there is.
func knownKind(k s4t.Kind) bool {
	switch k {
	case s4t.Failed, s4t.Invalid, s4t.NotFound, s4t.Unauthenticated, s4t.Forbidden, s4t.Conflict, s4t.Offline, s4t.Unavailable, s4t.Timeout, s4t.TooMany, s4t.Stale, s4t.Internal:
		return true
	}
	return false
}

// endRunsOf ends what runs of a board that goes, when the rest of it has gone.
func (ch *change) endRunsOf(b store.Board) {
	ch.later(func() error {
		for {
			some, err := ch.OpenRuns(b.ID, batch)
			if err != nil || len(some) == 0 {
				return err
			}
			ids := make([]s4t.OperationID, len(some))
			for i, r := range some {
				ids[i] = r.ID
			}
			slices.Sort(ids)
			locked, err := ch.LockRuns(ids)
			if err != nil {
				return err
			}
			for i := range locked {
				if err := ch.hearRun(&locked[i], heardRun{board: b.ID, state: gone(locked[i].ID)}); err != nil {
					return err
				}
			}
		}
	})
}

// gone is the end of a run whose board is no more.
func gone(id s4t.OperationID) wire.RunState {
	return wire.RunState{ID: id, Status: s4t.OperationFailed, Error: "the board has left, or was deleted", ErrorKind: s4t.Offline}
}
