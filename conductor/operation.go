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

// awaits is what an operation waits for. It is kept with the operation, so
// that another conductor can take over.
type awaits struct {
	Boards   map[s4t.BoardID]int64 `json:"boards"` // generation that each is to apply, while it is online
	Agents   map[s4t.AgentID]int64 `json:"agents"`
	Network  s4t.NetworkID         `json:"network,omitempty"`  // of the ports
	Ports    []s4t.PortID          `json:"ports,omitempty"`    // to be up, while their board is online
	Service  s4t.ServiceID         `json:"service,omitempty"`  // to be up, while its board is online
	AnyPort  bool                  `json:"any_port,omitzero"`  // its public port was the conductor's choice
	Uplink   s4t.NetworkID         `json:"uplink,omitempty"`   // to be in its Linux bridge
	Endpoint s4t.EndpointID        `json:"endpoint,omitempty"` // of GRE on Network, to be up
}

func (a awaits) encode() string { return string(wire.Encode(a)) }

// progress of an operation that has not ended. Conductor.mu guards it from the
// moment it is adopted.
type progress struct {
	op      store.Operation
	awaits  awaits
	since   time.Time            // its time counts from here, by the clock of this process
	online  map[s4t.BoardID]bool // of awaits.Boards: those that take steps 5 to 7
	told    map[s4t.BoardID]bool // took step 5
	fetched map[s4t.BoardID]bool // took step 6
	moves   int                  // how often the service was given another public port
	seen    map[int]time.Time    // steps by number; shown once those before them were seen
	more    chan struct{}        // closed, and made anew, with each step that is shown
}

func newProgress(op store.Operation, a awaits) *progress {
	if a.Boards == nil {
		a.Boards = map[s4t.BoardID]int64{}
	}
	if a.Agents == nil {
		a.Agents = map[s4t.AgentID]int64{}
	}
	return &progress{
		op: op, awaits: a, since: op.CreatedAt,
		online: map[s4t.BoardID]bool{}, told: map[s4t.BoardID]bool{}, fetched: map[s4t.BoardID]bool{},
		seen: map[int]time.Time{}, more: make(chan struct{}),
	}
}

// begin makes this change the operation kind on an object. received is when
// the request came in (steps 1 and 2).
func (ch *change) begin(kind string, project s4t.ProjectID, object, name string, received time.Time, a awaits) *s4t.Operation {
	steps := appendStep(nil, stepAsk, received)
	ch.start = newProgress(store.Operation{
		Operation: s4t.Operation{
			ID: s4t.OperationID(s4t.NewID()), Kind: kind, Project: project, Object: object,
			Status: s4t.OperationRunning, Steps: appendStep(steps, stepQueue, received), CreatedAt: received,
		},
		Name: name,
	}, a)
	ch.start.since = ch.now // has the monotonic clock: what was received by wire has not
	ch.started = received
	return &ch.start.op.Operation
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

// see notes a step and shows what can be shown: steps are shown in the order
// of their numbers.
func (p *progress) see(number int, at time.Time) {
	if _, ok := p.seen[number]; ok || slices.ContainsFunc(p.op.Steps, func(s s4t.Step) bool { return s.Number >= number }) {
		return
	}
	p.seen[number] = at
	shown := false
	for {
		next := p.op.Steps[len(p.op.Steps)-1].Number + 1
		at, ok := p.seen[next]
		if !ok {
			break
		}
		p.op.Steps = appendStep(p.op.Steps, next, at)
		shown = true
	}
	if shown {
		close(p.more)
		p.more = make(chan struct{})
	}
}

// all returns the steps shown and the held ones, with those of extra: the
// whole list for an operation that ends.
func (p *progress) all(extra map[int]time.Time) []s4t.Step {
	steps := slices.Clone(p.op.Steps)
	last := steps[len(steps)-1].Number
	for n := last + 1; n <= stepDone; n++ {
		at, ok := p.seen[n]
		if !ok {
			at, ok = extra[n]
		}
		if ok {
			steps = appendStep(steps, n, at)
		}
	}
	return steps
}

// adopt takes over a new operation after its commit (step 3).
func (c *Conductor) adopt(p *progress, received time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p.see(stepReserve, c.now())
	c.running[p.op.ID] = p
}

// note records a step of a running operation.
func (c *Conductor) note(id s4t.OperationID, number int, at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p, ok := c.running[id]; ok {
		p.see(number, at)
	}
}

// noteBoard records that a board was told of a generation (step 5) or has
// received it (step 6). A step is taken when the last online board took it.
func (c *Conductor) noteBoard(board s4t.BoardID, generation int64, received bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.running {
		if want, ok := p.awaits.Boards[board]; !ok || generation < want {
			continue
		}
		p.told[board] = true
		if received {
			p.fetched[board] = true
		}
		p.count(now)
	}
}

// notePresence records that a board came or went: those that are away are not
// waited for.
func (c *Conductor) notePresence(board s4t.BoardID, online bool) {
	now := c.now()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.running {
		if _, ok := p.awaits.Boards[board]; !ok {
			continue
		}
		if online {
			p.online[board] = true
		} else {
			delete(p.online, board)
		}
		p.count(now)
	}
}

// count sees steps 5 and 6 when every online board took them.
func (p *progress) count(now time.Time) {
	told, fetched := len(p.online) > 0, len(p.online) > 0
	for b := range p.online {
		told, fetched = told && p.told[b], fetched && p.fetched[b]
	}
	if told {
		p.see(stepTell, now)
	}
	if fetched {
		p.see(stepReceive, now)
	}
}

// operationGet returns an operation. With Wait it answers when there is more
// to see than Steps steps, when the operation has ended, or after Wait.
func (c *Conductor) operationGet(ctx context.Context, req wire.OperationGet) (s4t.Operation, error) {
	what := fmt.Sprintf("show operation %q", req.ID)
	if err := allow(req.Caller, what, s4t.RoleReader); err != nil {
		return s4t.Operation{}, err
	}
	var late <-chan time.Time
	if req.Wait > 0 {
		select {
		case c.waiters <- struct{}{}:
			defer func() { <-c.waiters }()
			// The answer has to be on its way before the caller's deadline.
			wait := req.Wait
			if deadline, ok := ctx.Deadline(); ok {
				wait = min(wait, time.Until(deadline)*9/10)
			}
			t := time.NewTimer(wait)
			defer t.Stop()
			late = t.C
		default:
			req.Wait = 0
		}
	}
	for {
		op, more := c.operationNow(req.ID)
		if more == nil {
			stored, err := view(ctx, c, func(tx *store.Tx) (store.Operation, error) { return tx.Operation(req.ID) })
			if err != nil && s4t.KindOf(err) != s4t.NotFound {
				return s4t.Operation{}, err
			}
			if err != nil || !sees(req.Caller, stored.Project) {
				return s4t.Operation{}, s4t.Errorf(s4t.NotFound, what, "`s4t operation list` shows what there is", "it does not exist")
			}
			return stored.Operation, nil
		}
		if !sees(req.Caller, op.Project) {
			return s4t.Operation{}, s4t.Errorf(s4t.NotFound, what, "`s4t operation list` shows what there is", "it does not exist")
		}
		if req.Wait <= 0 || len(op.Steps) > req.Steps {
			return op, nil
		}
		select {
		case <-more:
		case <-late:
			return op, nil
		case <-ctx.Done():
			return op, nil
		}
	}
}

// operationNow returns a running operation, and what is closed when there is
// more to see of it; nil if it does not run.
func (c *Conductor) operationNow(id s4t.OperationID) (s4t.Operation, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, ok := c.running[id]
	if !ok {
		return s4t.Operation{}, nil
	}
	return p.op.Operation, p.more
}

// operationList returns the newest operations, oldest first.
func (c *Conductor) operationList(ctx context.Context, req wire.CallerRequest) ([]s4t.Operation, error) {
	if err := allow(req.Caller, "list operations", s4t.RoleReader); err != nil {
		return nil, err
	}
	stored, err := view(ctx, c, func(tx *store.Tx) ([]store.Operation, error) { return tx.Operations(scope(req.Caller)) })
	if err != nil {
		return nil, err
	}
	ops := make([]s4t.Operation, len(stored))
	for i, o := range stored {
		ops[i] = o.Operation
		if now, more := c.operationNow(o.ID); more != nil {
			ops[i] = now
		}
	}
	return ops, nil
}

// operationDone records step 10: the API has answered the user. It is the one
// step after the end.
func (c *Conductor) operationDone(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	now := c.now()
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		op, err := tx.Operation(s4t.OperationID(req.Ref))
		if err != nil || !sees(req.Caller, op.Project) || op.Status != s4t.OperationSucceeded {
			return err
		}
		if op.Steps[len(op.Steps)-1].Number >= stepTold {
			return nil
		}
		op.Steps = appendStep(op.Steps, stepTold, now)
		return tx.UpdateOperation(op)
	})
	return wire.Empty{}, err
}
