package tunnelagent

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// reconciler makes the resources of one kind what desired state says. The next
// kind is one of these, registered in [New]; nothing between it and the
// conductor knows what its specs mean.
type reconciler interface {
	// apply makes so what has changed, and tries again what the round asks it
	// to: applying the same again changes nothing that works. Those that are
	// gone come first. It is called by one goroutine at a time.
	apply(rd *round, changed []wire.Resource)

	// state says whether a resource is up, or what of it stands in the way since
	// it was applied. It is called by any goroutine, and does not wait.
	state(id string) (up bool, problem error)
}

// round is one application of desired state. It is used by the goroutine that
// applies.
type round struct {
	lease  context.Context // what is made must end with it
	failed map[wire.ResourceKey]error
	due    map[wire.ResourceKey]time.Duration
	moved  []wire.ResourceKey // to be applied again in this round
	ended  []func()
}

func newRound(lease context.Context) *round {
	return &round{lease: lease, failed: map[wire.ResourceKey]error{}, due: map[wire.ResourceKey]time.Duration{}}
}

// fail says why a resource is not as it should be. It is applied again in the
// rounds to come.
func (rd *round) fail(key wire.ResourceKey, err error) {
	rd.failed[key] = err
	rd.due[key] = cureInterval
}

// recheck has a resource applied again in the next round, which comes after d
// at the latest.
func (rd *round) recheck(key wire.ResourceKey, d time.Duration) { rd.due[key] = d }

// again has a resource of a later kind applied in this round, though it has not
// changed: what it is on has.
func (rd *round) again(key wire.ResourceKey) { rd.moved = append(rd.moved, key) }

// end has f called at the end of the round, side by side with others. It may
// take long: the next round does not wait for it.
func (rd *round) end(f func()) { rd.ended = append(rd.ended, f) }

// each calls gone for each resource that is not wanted any more, and f for each
// that is, with its spec. What f returns, and a spec that is not understood, is
// why it is not as it should be.
func each[T any](rd *round, changed []wire.Resource, gone func(id string), f func(id string, want T) error) {
	for _, r := range changed {
		if r.Gone {
			gone(r.ID)
			continue
		}
		var want T
		err := json.Unmarshal(r.Spec, &want)
		if err != nil {
			err = s4t.Errorf(s4t.Internal, "apply "+string(r.Kind)+" "+r.ID, "bring conductor and tunnel agent to the same version", "its spec is not understood: %w", err)
		} else {
			err = f(r.ID, want)
		}
		if err != nil {
			rd.fail(r.Key(), err)
		}
	}
}

// diagnosed is an error with the id of its diagnosis.
type diagnosed struct {
	error
	id string // of a [wire.Diagnosis]
}

// Unwrap returns the error alone.
func (d diagnosed) Unwrap() error { return d.error }

// sayProblem writes err, which may be nil, into a state.
func sayProblem(s *wire.ResourceState, err error) {
	if err == nil {
		return
	}
	s.Problem = s4t.Line(err.Error(), wire.MaxProblem)
	if d, ok := errors.AsType[diagnosed](err); ok {
		s.ProblemID = d.id
	}
}
