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

// Steps of the paper's Fig. 3, by number; see [s4t.StepName].
const (
	stepAsk = iota + 1
	stepQueue
	stepReserve
	stepWake
	stepTell
	stepReceive
	stepBoard
	stepAgent
	stepDone
	stepTold
)

// operationTimeout is how long boards and agents that are there may take.
const operationTimeout = 60 * time.Second

// begun is an operation that a change begins.
type begun struct {
	op      store.Operation
	objects []wire.ResourceKey // that it waits for
	awaits  []store.Await
}

// begin makes this change the operation kind on an object, which waits until
// everybody whose desired state it changes has it, and the objects of keys are
// up. received is when the request came in (steps 1 and 2).
func (ch *change) begin(kind string, project s4t.ProjectID, object, name string, received time.Time, keys ...wire.ResourceKey) *s4t.Operation {
	ch.start = &begun{
		op: store.Operation{
			Operation: s4t.Operation{
				ID: s4t.NewOperationID(), Kind: kind, Project: project, Object: object,
				Status: s4t.OperationRunning, Steps: appendStep(appendStep(nil, stepAsk, received), stepQueue, received), CreatedAt: received,
			},
			Name: name,
		},
		objects: keys,
	}
	return &ch.start.op.Operation
}

// await adds what is wanted of a holder to what an operation waits for. A board
// that is to have one of its objects is not waited for when that is gone again.
func (b *begun) await(h holder, wants map[wire.ResourceKey]*wanted, generation int64) {
	objects := 0
	for _, k := range b.objects {
		if w := wants[k]; w != nil && !w.gone {
			b.awaits = append(b.awaits, store.Await{Operation: b.op.ID, Holder: h.id, Kind: k.Kind, Object: k.ID, OnBoard: h.onBoard, Board: w.whileOnline, Generation: w.generation})
			objects++
		}
	}
	if generation > 0 && (objects == 0 || !h.onBoard) {
		b.awaits = append(b.awaits, store.Await{Operation: b.op.ID, Holder: h.id, OnBoard: h.onBoard, Generation: generation})
	}
}

// insertStart records the operation that this change begins. The wake-ups leave
// with the commit: steps 3 and 4 are one moment.
func (ch *change) insertStart() error {
	b := ch.start
	at := ch.c.now()
	b.op.Steps = appendStep(appendStep(b.op.Steps, stepReserve, at), stepWake, at)
	if err := ch.InsertOperation(b.op, operationTimeout); err != nil {
		return err
	}
	ch.operationEvent("operation.started", b.op, "")
	if len(b.awaits) == 0 { // what there is to do is done
		return ch.end(b.op, assessment{boards: true, agents: true}, "", "")
	}
	for _, a := range b.awaits {
		ch.heard[a.Holder] = true
	}
	return ch.InsertAwaits(b.awaits)
}

// appendStep appends a step; one that was seen before its predecessor is shown
// with the predecessor's time.
func appendStep(steps []s4t.Step, number int, at time.Time) []s4t.Step {
	s := s4t.Step{Number: number, Name: s4t.StepName[number], At: at}
	if n := len(steps); n > 0 {
		if at.Before(steps[n-1].At) {
			s.At = steps[n-1].At
		}
		s.TookMS = math.Round(float64(s.At.Sub(steps[n-1].At).Microseconds())/10) / 100
	}
	return append(slices.Clip(steps), s)
}

// withSteps adds the steps that were seen, in the order of their numbers. While
// an operation runs a step is shown after those before it; at its end those
// that nobody saw are left out.
func withSteps(steps []s4t.Step, seen map[int]time.Time, ended bool) []s4t.Step {
	for n := steps[len(steps)-1].Number + 1; n <= stepDone; n++ {
		if at, ok := seen[n]; ok {
			steps = appendStep(steps, n, at)
		} else if !ended {
			break
		}
	}
	return steps
}

// operationGet returns an operation as it is now.
func (c *Conductor) operationGet(ctx context.Context, req wire.OperationGet) (s4t.Operation, error) {
	what := fmt.Sprintf("show operation %q", req.ID)
	if err := allow(req.Caller, what, s4t.RoleReader); err != nil {
		return s4t.Operation{}, err
	}
	sees := false
	stored, err := view(ctx, c, func(tx *store.Tx) (o store.Operation, err error) {
		if o, err = tx.Operation(req.ID); err != nil {
			return o, err
		}
		if sees = req.Caller.Sees(o.Project); !sees && o.Kind == kindLeaseEnd { // who lent it may have taken it back
			_, refused := lentBy(tx, req.Caller, what, o.Object)
			sees = refused == nil
		}
		return o, nil
	})
	if err != nil && s4t.KindOf(err) != s4t.NotFound {
		return s4t.Operation{}, err
	}
	if err != nil || !sees {
		return s4t.Operation{}, s4t.Errorf(s4t.NotFound, what, "`s4t operation list` shows what there is", "it does not exist")
	}
	return stored.Operation, nil
}

// operationList returns operations, oldest first.
func (c *Conductor) operationList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Operation], error) {
	return list(ctx, c, req.Caller, "list operations", req.Page, func(o store.Operation) s4t.Operation { return o.Operation },
		func(tx *store.Tx, p wire.Page) (wire.List[store.Operation], error) {
			return tx.Operations(scope(req.Caller), p)
		})
}

// operationFeed returns operations of any project, to an API process that tells its users of theirs.
func (c *Conductor) operationFeed(ctx context.Context, req wire.OperationFeed) (wire.List[s4t.Operation], error) {
	if len(req.IDs) > wire.MaxOperationFeed {
		return wire.List[s4t.Operation]{}, s4t.Errorf(s4t.Invalid, "read operations", "", "%d are more than %d", len(req.IDs), wire.MaxOperationFeed)
	}
	return view(ctx, c, func(tx *store.Tx) (l wire.List[s4t.Operation], err error) {
		for _, id := range req.IDs {
			op, err := tx.Operation(id)
			if s4t.KindOf(err) == s4t.NotFound {
				continue
			}
			if err != nil {
				return l, err
			}
			l.Items = append(l.Items, op.Operation)
		}
		return l, nil
	})
}

// operationDone records step 10: the API has answered the user. It is the one
// step after the end.
func (c *Conductor) operationDone(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	now := c.now()
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		op, err := tx.LockOperation(s4t.OperationID(req.Ref))
		if err != nil || !req.Caller.Sees(op.Project) || op.Kind == store.KindRun || op.Status != s4t.OperationSucceeded || op.Steps[len(op.Steps)-1].Number >= stepTold {
			return err
		}
		return tx.SetSteps(op.ID, appendStep(op.Steps, stepTold, now))
	})
	return wire.Empty{}, err
}
