package apiclient

import (
	"cmp"
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// longPoll is how long one request waits for news of an operation; the API
// allows at most a minute.
const longPoll = 30 * time.Second

// betweenPolls is the pause after an answer that had nothing new.
const betweenPolls = 250 * time.Millisecond

// Operations lists them, oldest first.
func (c *Client) Operations(ctx context.Context) ([]s4t.Operation, error) {
	return c.OperationList().All(ctx)
}

// OperationList is the list behind [Client.Operations].
func (c *Client) OperationList() List[s4t.Operation] {
	return List[s4t.Operation]{c, "list operations", path("operations")}
}

// Operation by id.
func (c *Client) Operation(ctx context.Context, id s4t.OperationID) (o s4t.Operation, err error) {
	return o, c.do(ctx, "show operation "+string(id), "GET", path("operations", string(id)), nil, &o)
}

// WaitOperation returns the operation once it has ended, and calls onStep
// (which may be nil) once for each step, in the order in which they are told.
// When ctx ends first it returns the operation as last seen and a Timeout
// error; while the cloud restarts it tries again. That an operation failed is
// no error here: see [Failed].
func (c *Client) WaitOperation(ctx context.Context, id s4t.OperationID, onStep func(s4t.Step)) (s4t.Operation, error) {
	what := "wait for operation " + string(id)
	var op s4t.Operation
	told := map[int]bool{}
	for {
		var next s4t.Operation
		p := query(path("operations", string(id)), "wait", longPoll.String(), "steps", strconv.Itoa(len(op.Steps)))
		err := c.send(ctx, what, "GET", p, nil, &next)
		switch kind := s4t.KindOf(err); {
		case err == nil:
			op = next
		case ctx.Err() != nil:
			if errors.Is(context.Cause(ctx), context.Canceled) {
				return op, s4t.Errorf(s4t.Timeout, what, "see `s4t operation show "+string(id)+"`", "nobody waits for it any more; it goes on")
			}
			return op, s4t.Errorf(s4t.Timeout, what, "see `s4t operation show "+string(id)+"`, or give --timeout", "not done in time%s", reached(op))
		case kind == s4t.Unavailable || kind == s4t.Timeout || kind == s4t.TooMany:
			pause(ctx, time.Second) // ends with ctx, which the next request reports
			continue
		default:
			return op, err
		}
		news := false
		for _, s := range op.Steps {
			if !told[s.Number] {
				news = true
				told[s.Number] = true
				if onStep != nil {
					onStep(s)
				}
			}
		}
		if op.Status.Ended() {
			return op, nil
		}
		if !news { // too many wait, or nothing happened: this does not spin
			pause(ctx, betweenPolls)
		}
	}
}

// reached says how far an operation came.
func reached(op s4t.Operation) string {
	if len(op.Steps) == 0 {
		return ""
	}
	s := op.Steps[len(op.Steps)-1]
	return ": the last step was " + strconv.Itoa(s.Number) + " (" + s.Name + ")"
}

// Failed returns the error of an operation that has ended otherwise than well,
// else nil. That a command failed is an error of the kind Failed, unless
// something else stood in its way.
func Failed(o s4t.Operation) error {
	e := &s4t.Error{Kind: o.ErrorKind, Msg: o.Error}
	if o.Run != nil {
		e.Op = "run command " + strconv.Quote(o.Run.Command) + " on board " + strconv.Quote(o.Run.Board)
	}
	switch o.Status {
	case s4t.OperationFailed:
	case s4t.OperationExpired:
		if e.Kind == "" {
			e.Kind = s4t.Offline
		}
		e.Msg = cmp.Or(e.Msg, "it did not begin in time, and never will")
		return e
	case s4t.OperationCancelled:
		e.Kind, e.Msg = s4t.Failed, cmp.Or(e.Msg, "it was cancelled")
		return e
	default:
		return nil
	}
	switch {
	case o.Run == nil || o.ID == "": // it never began, on one board of many
		e.Kind = cmp.Or(e.Kind, s4t.Internal)
	case e.Kind != s4t.Timeout && e.Kind != s4t.TooMany && e.Kind != s4t.Unavailable && e.Kind != s4t.Forbidden:
		e.Kind = s4t.Failed
	}
	return e
}

// pause waits for d or the end of ctx, and reports whether ctx still lives.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err() == nil
}
