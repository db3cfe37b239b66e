package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/wire"
)

// Why a run ends before its command does.
var (
	errCancelled = errors.New("it was cancelled")
	errLate      = errors.New("it was not done in time")
	errMissed    = errors.New("it did not begin in time")
	errUnleased  = errors.New("the lease ended by which it ran")
)

// feedFlush is how long the end of a run waits for what it said to reach who follows.
const feedFlush = 2 * time.Second

// allowed says by which lease a run may begin; none for the board's own project, or where it is known.
func (c *boardCommands) allowed(ctx context.Context, run wire.Run) (by s4t.LeaseID, err error) {
	if _, known := c.journal.Find(run.ID, run.Key); known {
		return "", nil
	}
	return c.may(ctx, "run "+s4t.Line(run.Command, s4t.MaxName), run.Project, "", lease.Commands)
}

// endLeased ends the runs that began by leases that are over, and those that wait never begin.
func (c *boardCommands) endLeased(over func(id s4t.LeaseID) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, live := range c.live {
		if live.by != "" && over(live.by) {
			live.cancel(errUnleased)
		}
	}
}

// begin has a run begin by a lease, or wait for its turn, unless it is known. live is nil
// where it has ended, or never begins. An error means that it has not begun, and that
// nothing of it is remembered.
func (c *boardCommands) begin(of cloud, run wire.Run, by s4t.LeaseID) (live *liveRun, st wire.RunState, err error) {
	op := "run " + s4t.Line(run.Command, s4t.MaxName)
	if run.Before.IsZero() || len(run.Params) > s4t.MaxCommandParams || len(run.Params) > 0 && !json.Valid(run.Params) {
		return nil, st, s4t.Errorf(s4t.Invalid, op, "", "the order is not understood")
	}
	if st, known := c.journal.Find(run.ID, run.Key); known {
		return c.liveOf(st.ID), st, nil
	}
	if now := c.clock(); !run.Before.After(now) {
		return nil, wire.RunState{ID: run.ID, Status: s4t.OperationExpired, AcceptedAt: now, EndedAt: now}, nil
	}
	if err := c.admit(); err != nil {
		return nil, st, err
	}
	cmd, err := c.find(run.Command)
	if err != nil {
		return nil, st, err
	}
	run.Timeout = timeoutOf(cmd, run.Timeout)

	c.mu.Lock()
	if c.ctx == nil {
		c.mu.Unlock()
		return nil, st, s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "lightning-rod is starting, or being stopped")
	}
	if twin := c.live[run.ID]; twin != nil { // it was asked twice at the same moment
		c.mu.Unlock()
		<-twin.begun
		if st, known := c.journal.Find(run.ID, run.Key); known {
			return c.liveOf(st.ID), st, nil
		}
		return nil, st, s4t.Errorf(s4t.Unavailable, op, "try again", "it could not begin")
	}
	start := false
	if c.waiting == 0 {
		select {
		case c.slots <- struct{}{}:
			start = true
		default:
		}
	}
	if !start && c.waiting >= maxWaiting {
		c.mu.Unlock()
		return nil, st, s4t.Errorf(s4t.TooMany, op, "try again later", "%d commands run on the board, and %d wait", maxRuns, maxWaiting)
	}
	if !start {
		c.waiting++
	}
	live = &liveRun{run: run, by: by, begun: make(chan struct{}), done: make(chan struct{})}
	live.ctx, live.cancel = context.WithCancelCause(c.ctx)
	c.live[run.ID] = live
	c.running.Add(1)
	c.mu.Unlock()

	st, fresh, err := c.journal.Begin(run, start)
	close(live.begun)
	if err != nil || !fresh {
		c.mu.Lock()
		delete(c.live, run.ID)
		c.mu.Unlock()
		live.cancel(nil)
		c.leave(start)
		c.running.Done()
		if err != nil {
			return nil, st, err
		}
		return c.liveOf(st.ID), st, nil
	}
	if run.Feed != nil {
		live.feed = c.newFeed(of, *run.Feed)
	}
	go c.execute(live, cmd, start)
	return live, st, nil
}

// timeoutOf is how long a run may take: no longer than its command says.
func timeoutOf(cmd s4t.Command, asked time.Duration) time.Duration {
	of, err := time.ParseDuration(cmd.Timeout)
	if err != nil || of <= 0 {
		of = s4t.CommandTimeout
	}
	if asked > 0 {
		of = min(of, asked)
	}
	return min(of, s4t.MaxCommandTimeout)
}

// liveOf returns a run that has not ended; nil: it has.
func (c *boardCommands) liveOf(id s4t.OperationID) *liveRun {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.live[id]
}

// end ends all runs, and those that wait never begin.
func (c *boardCommands) end(why error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, live := range c.live {
		live.cancel(why)
	}
}

// leave gives back a slot, or a place among those that wait for one.
func (c *boardCommands) leave(started bool) {
	if started {
		<-c.slots
		return
	}
	c.mu.Lock()
	c.waiting--
	c.mu.Unlock()
}

// execute runs a run to its end.
func (c *boardCommands) execute(live *liveRun, cmd s4t.Command, started bool) {
	defer c.running.Done()
	defer live.cancel(nil)
	var result json.RawMessage
	err := c.turn(live, started)
	if err == nil {
		ctx, cancel := context.WithTimeoutCause(live.ctx, live.run.Timeout, errLate)
		c.count(live.run.Project)
		result, err = c.call(ctx, live, cmd)
		if err == nil {
			result, err = checked(result)
		} else if why := context.Cause(ctx); why != nil {
			err = why
		}
		cancel()
		<-c.slots
	}
	end := c.journal.End(live.run.ID, endOf(result, err, live.run.Timeout))
	if live.feed != nil {
		live.feed.finish(feedFlush)
	}
	c.mu.Lock()
	delete(c.live, live.run.ID)
	c.mu.Unlock()
	live.end = end
	close(live.done)
	notify(c.ended)
}

// turn waits until a run may begin, and notes that it does: then it holds a slot. An
// error means that it never will.
func (c *boardCommands) turn(live *liveRun, started bool) error {
	if started {
		if !live.run.Before.After(c.clock()) { // the disk took its time
			<-c.slots
			return errMissed
		}
		return nil
	}
	defer c.leave(false)
	missed := time.NewTimer(live.run.Before.Sub(c.clock()))
	defer missed.Stop()
	select {
	case <-live.ctx.Done():
		return errors.Join(errMissed, context.Cause(live.ctx))
	case <-missed.C:
		return errMissed
	case c.slots <- struct{}{}:
	}
	err := error(nil)
	if live.ctx.Err() != nil {
		err = errors.Join(errMissed, context.Cause(live.ctx))
	} else if why := c.admit(); why != nil { // since it began to wait
		err = errors.Join(errMissed, why)
	} else if !live.run.Before.After(c.clock()) {
		err = errMissed
	} else if err = c.journal.Start(live.run.ID); err == nil && !live.run.Before.After(c.clock()) {
		err = errMissed
	}
	if err != nil {
		<-c.slots
	}
	return err
}

// call has a command run: the owner's, or a plugin's.
func (c *boardCommands) call(ctx context.Context, live *liveRun, cmd s4t.Command) (json.RawMessage, error) {
	output := func(json.RawMessage) {}
	if live.feed != nil {
		output = live.feed.output
	}
	params := live.run.Params
	if len(params) == 0 {
		params = json.RawMessage("{}")
	}
	if cmd.Source == s4t.CommandOfOwner {
		return c.owner.Call(ctx, cmd.Name, params, output)
	}
	return c.plugins.Call(ctx, plugin.Call{ID: string(live.run.ID), Command: cmd.Name, Params: params}, output)
}

// checked returns a result as it travels, within its bound.
func checked(result json.RawMessage) (json.RawMessage, error) {
	if len(result) == 0 {
		result = json.RawMessage("null")
	}
	tooLong := len(result) > s4t.MaxCommandResult
	if !tooLong && json.Valid(result) {
		result = wire.Encode(result) // which may be longer: what HTML knows is escaped
		tooLong = len(result) > s4t.MaxCommandResult
	} else if !tooLong {
		return nil, s4t.Errorf(s4t.Invalid, "", "", "its result is not JSON")
	}
	if tooLong {
		return nil, s4t.Errorf(s4t.Invalid, "", "", "its result is longer than %d bytes", s4t.MaxCommandResult)
	}
	return result, nil
}

// endOf is how a run ended. What a command says of its own failure has no kind.
func endOf(result json.RawMessage, err error, timeout time.Duration) wire.RunState {
	switch {
	case err == nil:
		return wire.RunState{Status: s4t.OperationSucceeded, Result: result}
	case errors.Is(err, errCancelled):
		return wire.RunState{Status: s4t.OperationCancelled}
	case errors.Is(err, errMissed):
		return wire.RunState{Status: s4t.OperationExpired}
	}
	end := wire.RunState{Status: s4t.OperationFailed}
	switch {
	case errors.Is(err, errUnleased):
		end.ErrorKind, end.Error = s4t.Forbidden, errUnleased.Error()+"; it may have been done in part"
	case errors.Is(err, errLate):
		end.ErrorKind, end.Error = s4t.Timeout, "it was not done within "+timeout.String()+", and was ended"
	case errors.Is(err, context.Canceled):
		end.ErrorKind, end.Error = s4t.Unavailable, "lightning-rod was stopped while it ran; it may have been done in part"
	default:
		if e, ok := errors.AsType[*s4t.Error](err); ok {
			end.ErrorKind = e.Kind
		}
		end.Error = s4t.Line(err.Error(), wire.MaxProblem)
	}
	return end
}
