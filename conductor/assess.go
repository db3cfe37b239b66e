package conductor

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// assessment is how far a running operation is.
type assessment struct {
	boards  bool // every board that is online has done its part (step 7)
	agents  bool // the tunnel agents have (step 8)
	online  bool // a board that is waited for is online
	missing []string
	failed  string // why it can never be done; empty: it can
	kind    s4t.Kind
	with    store.Await // what it failed with

	told, received time.Time // by the last board that is online (steps 5 and 6); zero: not by all
}

// assess finds how far an operation is by what it waits for.
func assess(awaits []store.Await) assessment {
	v := assessment{boards: true, agents: true}
	told, received := true, true
	for _, a := range awaits {
		if a.OnBoard && a.Online {
			v.online = true
			told, received = told && !a.ToldAt.IsZero(), received && !a.ReceivedAt.IsZero()
			v.told, v.received = later(v.told, a.ToldAt), later(v.received, a.ReceivedAt)
		}
		if a.Done() {
			continue
		}
		if a.OnBoard {
			v.boards = false
		} else {
			v.agents = false
		}
		k := kinds[a.Kind]
		if k.late != nil {
			v.missing = append(v.missing, missing(k.late(a), a.Problem))
		} else if a.Kind == "" {
			v.missing = append(v.missing, holderName(a)+" has not applied its new state")
		}
		if a.Applied < a.Generation || a.Problem == "" || k.fails == nil || v.failed != "" {
			continue
		}
		if kind, why := k.fails(a); why != "" {
			v.failed, v.kind, v.with = why, kind, a
		}
	}
	if !told {
		v.told = time.Time{}
	}
	if !received {
		v.received = time.Time{}
	}
	return v
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// holderName is who is waited for.
func holderName(a store.Await) string {
	if a.OnBoard {
		return "board " + a.HolderName
	}
	return "the tunnel agent " + a.Holder
}

// missing is one line on who is late, and why if that is known.
func missing(who, problem string) string {
	if problem == "" {
		return who
	}
	return who + ": " + problem
}

// seen are the steps that an operation has taken by now.
func (v assessment) seen(now time.Time) map[int]time.Time {
	seen := map[int]time.Time{}
	if !v.told.IsZero() {
		seen[stepTell] = v.told
	}
	if !v.received.IsZero() {
		seen[stepReceive] = v.received
	}
	if v.boards && v.online {
		seen[stepBoard] = now
	}
	if v.agents {
		seen[stepAgent] = now
	}
	return seen
}

// assess looks at the operations that await what this change heard of, and ends
// those that are complete.
func (ch *change) assess() error {
	ids, err := ch.OperationsAwaiting(slices.Sorted(maps.Keys(ch.heard))...)
	if err != nil {
		return err
	}
	clear(ch.heard)
	for _, id := range ids {
		if err := ch.assessOne(id, false); err != nil {
			return err
		}
	}
	return nil
}

// assessOne looks at one operation. One that is overdue ends in any case.
func (ch *change) assessOne(id s4t.OperationID, overdue bool) error {
	op, err := ch.LockOperation(id)
	if s4t.KindOf(err) == s4t.NotFound || err == nil && op.Status != s4t.OperationRunning {
		return nil
	}
	if err != nil {
		return err
	}
	if op.Kind == opPinWrite { // its board ends it
		if !overdue {
			return nil
		}
		return ch.end(op, assessment{}, s4t.Timeout, "the board did not tell how it ended; it takes the value back by its own clock")
	}
	awaits, err := ch.Awaits(id)
	if err != nil {
		return err
	}
	v := assess(awaits)
	lanes, moved := lanesOf(op.Lanes, awaits, ch.now)
	op.Lanes = lanes
	k := kinds[v.with.Kind]
	switch {
	case v.boards && v.agents:
		return ch.end(op, v, "", "")
	case v.failed != "" && op.Retries > 0 && k.retry != nil:
		return ch.tryAgain(id, k, v.with.Object)
	case v.failed != "":
		if k.left != nil {
			v.failed += k.left(op, v.with)
		}
		if err := ch.end(op, v, cmp.Or(v.kind, s4t.Conflict), v.failed); err != nil || k.withdraw == nil {
			return err
		}
		return k.withdraw(ch, op, v.with.Object)
	case overdue:
		return ch.end(op, v, s4t.Timeout, v.overdue())
	}
	if steps := withSteps(op.Steps, v.seen(ch.now), false); moved || len(steps) > len(op.Steps) {
		ch.moved = append(ch.moved, id)
		op.Steps = steps
		return ch.SetProgress(op)
	}
	return nil
}

// tryAgain makes another choice for an object that failed. What the operation
// waits for is then the holder's word on that.
func (ch *change) tryAgain(id s4t.OperationID, k kind, object string) error {
	if err := ch.UseRetry(id); err != nil {
		return err
	}
	if err := k.retry(ch, object); err != nil {
		return err
	}
	if err := ch.apply(); err != nil {
		return err
	}
	for h, generation := range ch.generations {
		if err := ch.RaiseAwaits(id, h.id, generation); err != nil {
			return err
		}
	}
	return nil
}

// overdue says who did not answer in time.
func (v assessment) overdue() string {
	msg := fmt.Sprintf("not done in %v: %s", operationTimeout, strings.Join(v.missing[:min(len(v.missing), 8)], "; "))
	if more := len(v.missing) - 8; more > 0 {
		msg += fmt.Sprintf("; and %d more", more)
	}
	return msg
}

// end ends an operation, unless it has ended: well if kind is empty.
func (ch *change) end(op store.Operation, v assessment, kind s4t.Kind, msg string) error {
	seen := v.seen(ch.now)
	op.EndedAt = &ch.now
	op.Status, op.Error, op.ErrorKind = s4t.OperationSucceeded, msg, kind
	event := "operation.succeeded"
	if kind != "" {
		op.Status, event = s4t.OperationFailed, "operation.failed"
	} else {
		seen[stepDone] = ch.now
	}
	op.Steps = withSteps(op.Steps, seen, true)
	ended, err := ch.EndOperation(op)
	if err != nil || !ended {
		return err
	}
	ch.operationEvent(event, op, msg)
	ch.moved = append(ch.moved, op.ID)
	if op.Kind == kindInject || op.Kind == kindUpgrade {
		return ch.rolloutTold(op)
	}
	return nil
}

// operationEvent tells of an operation, in an event and, but for runs and writes, of which boards
// have thousands, in the log.
func (ch *change) operationEvent(kind string, op store.Operation, detail string) {
	if op.Kind != store.KindRun && op.Kind != opPinWrite {
		ch.logged = append(ch.logged, logged{msg: kind, op: op, detail: detail})
	}
	if detail == "" {
		detail = op.Kind
	} else {
		detail = op.Kind + ": " + detail
	}
	e := s4t.Event{Kind: kind, Project: op.Project, Object: string(op.ID), Name: op.Name, Detail: detail}
	if op.Kind != store.KindRun && op.Kind != opPinWrite {
		e.Data = op.Operation
	}
	ch.event(e)
}
