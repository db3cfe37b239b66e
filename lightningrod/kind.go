package lightningrod

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// What a board may hold is a resource of a kind. Here is the registry of the
// kinds; each has a file of its own. The engine, the session, the report and the
// state on disk know none of them.

// reconciler makes the board have the resources of one kind. It may also be a
// retrier, a runner or a complainer.
type reconciler interface {
	// Apply makes the board have these resources of the kind, and no others.
	// When it returns, what should go is gone; what should come is on its way.
	// It returns the states of those that it does not even try. It is called from
	// one goroutine; the other methods from any.
	Apply(want []wire.Resource) (refused []wire.ResourceState)
	// States says of each that it tries, always in one order, whether it is up, or
	// why not. settled is false while one is on its way for the first time.
	States() (states []wire.ResourceState, settled bool)
}

// retrier is a reconciler that needs the cloud: a session has just begun, and
// what is missing is tried at once.
type retrier interface{ Retry() }

// runner is a reconciler with something that runs beside it, until ctx ends.
type runner interface {
	Run(ctx context.Context) error
}

// risky is a reconciler whose resources change how the board reaches the
// world, and so may cut it off the cloud: they are on trial first, see trial.go.
type risky interface{ MayCutOff() }

// complainer is a reconciler that may have something to tell the board's owner
// which is not one resource's own.
type complainer interface{ Problems() []string }

// register is the table of the kinds, in the order in which they are applied.
// It is called once; id and caps are set.
func (e *Engine) register(dial rtunnelDialer) error {
	policy := newStreamPolicy(e.id.Board, e.ticketKey, &e.clock, e.cfg.AllowTargets)
	policy.may = e.leases.may
	policy.admit, policy.shells, policy.recordings = e.profile.admit, e.shells, e.newRecordings()
	policy.perUser, policy.ssh, policy.changed = e.cfg.SourcePerUser, e.ssh, e.markDirty
	streams, err := e.newStreams(dial, policy)
	e.streams = streams
	if err != nil {
		return err
	}
	policy.ready = streams.up
	e.kinds.add(wire.KindService, policy) // before the streams that it lets in
	e.kinds.add(wire.KindPort, e.newPorts(dial))
	e.kinds.add(wire.KindStreams, streams)
	if e.guests != nil {
		e.guests.fetcher.dial = dial
		e.kinds.add(wire.KindPlugin, e.guests.plugins)
	}
	return nil
}

// kinds are the kinds that this board knows.
type kinds struct {
	known []knownKind

	mu      sync.Mutex // guards the fields below
	refused []wire.ResourceState
	held    []wire.ResourceState // of what is wanted and not applied
}

type knownKind struct {
	kind wire.Kind
	by   reconciler
}

func (k *kinds) add(kind wire.Kind, r reconciler) {
	k.known = append(k.known, knownKind{kind, r})
}

// find returns where a kind is among those that this board knows, behind them
// if it is not.
func (k *kinds) find(kind wire.Kind) int {
	for i, known := range k.known {
		if known.kind == kind {
			return i
		}
	}
	return len(k.known)
}

// risky reports whether resources of a kind may cut the board off.
func (k *kinds) risky(kind wire.Kind) bool {
	if i := k.find(kind); i < len(k.known) {
		_, ok := k.known[i].by.(risky)
		return ok
	}
	return false
}

// apply gives each kind its resources. The cloud may be newer and know others:
// those are refused. held are the states of those in whose place others are
// applied, or nothing.
func (k *kinds) apply(want []wire.Resource, held []wire.ResourceState) {
	of := make([][]wire.Resource, len(k.known)+1)
	for _, r := range want {
		if !r.Gone {
			i := k.find(r.Kind)
			of[i] = append(of[i], r)
		}
	}
	var refused []wire.ResourceState
	for i, known := range k.known {
		refused = append(refused, known.by.Apply(of[i])...)
	}
	for _, r := range of[len(k.known)] {
		refused = append(refused, refuse(r, wire.OldVersion, "this lightning-rod does not know the kind "+string(r.Kind)+"; update it"))
	}
	k.mu.Lock()
	k.refused, k.held = refused, held
	k.mu.Unlock()
}

// states returns the states of all resources, kind by kind. settled is false
// while one is on its way for the first time.
func (k *kinds) states() (states []wire.ResourceState, settled bool) {
	states, settled = []wire.ResourceState{}, true
	for _, known := range k.known {
		some, done := known.by.States()
		states, settled = append(states, some...), settled && done
	}
	k.mu.Lock()
	states = append(states, k.refused...)
	for _, h := range k.held {
		states = append(slices.DeleteFunc(states, func(st wire.ResourceState) bool { return st.Key() == h.Key() }), h)
	}
	k.mu.Unlock()
	for i := range states {
		states[i].Problem = s4t.Line(states[i].Problem, wire.MaxProblem)
	}
	return states, settled
}

// retry makes all try what is missing.
func (k *kinds) retry() {
	for _, known := range k.known {
		if r, ok := known.by.(retrier); ok {
			r.Retry()
		}
	}
}

// problems are what the kinds have to tell besides the states, and that this
// lightning-rod is too old for some.
func (k *kinds) problems() (lines []string) {
	for _, known := range k.known {
		if r, ok := known.by.(complainer); ok {
			lines = append(lines, r.Problems()...)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, st := range k.refused {
		if st.ProblemID == wire.OldVersion { // the first is enough
			return append(lines, st.Problem)
		}
	}
	return lines
}

// run starts what runs beside the kinds, until ctx ends.
func (k *kinds) run(ctx context.Context, running *sync.WaitGroup) {
	for _, known := range k.known {
		if r, ok := known.by.(runner); ok {
			running.Go(func() { r.Run(ctx) })
		}
	}
}

// close takes everything down.
func (k *kinds) close() { k.apply(nil, nil) }

// refuse is the state of a resource that is not even tried.
func refuse(r wire.Resource, id, why string) wire.ResourceState {
	return wire.ResourceState{Kind: r.Kind, ID: r.ID, ProblemID: id, Problem: why}
}

// decode reads the spec of a resource. One that is not understood is refused:
// ok is false.
func decode(r wire.Resource, spec any) (refused wire.ResourceState, ok bool) {
	if err := json.Unmarshal(r.Spec, spec); err != nil {
		return refuse(r, wire.OldVersion, "this lightning-rod does not understand what is wanted; update it ("+err.Error()+")"), false
	}
	return refused, true
}
