package conductor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// maxFleetResults bounds the results in one answer, in bytes; those of the other
// boards are asked for one by one.
const maxFleetResults = 4 << 20

// member is a board that a command of a fleet is meant for, or why it cannot be.
type member struct {
	store.Route
	err error
}

// commandFleet has many boards run a command, each as if it alone was asked.
func (c *Conductor) commandFleet(ctx context.Context, req wire.CommandFleet) (wire.CommandResults, error) {
	op := runOp(req.Command, "")
	if err := c.mayRun(ctx, op, &req.CommandRun); err != nil {
		return wire.CommandResults{}, err
	}
	switch {
	case req.Feed != nil:
		return wire.CommandResults{}, s4t.Errorf(s4t.Invalid, op, "stream it from one board", "what many boards say cannot be streamed")
	case len(req.Boards) > s4t.MaxFleetBoards:
		return wire.CommandResults{}, s4t.Errorf(s4t.TooMany, op, "ask some of them after the others", "%d boards are named, %d are possible at once", len(req.Boards), s4t.MaxFleetBoards)
	case req.Fleet == "" && len(req.Boards) == 0 || req.Fleet != "" && len(req.Boards) > 0:
		return wire.CommandResults{}, s4t.Errorf(s4t.Invalid, op, "", "either a fleet is named, or boards")
	}
	leave, err := c.fleetRuns.enter(op, req.Caller.Project)
	if err != nil {
		return wire.CommandResults{}, err
	}
	defer leave()
	members, err := view(ctx, c, func(tx *store.Tx) ([]member, error) { return c.members(tx, op, req) })
	if err != nil {
		return wire.CommandResults{}, err
	}
	results := wire.CommandResults{Items: make([]s4t.Operation, len(members))}
	began := time.Now()
	var size atomic.Int64
	var group errgroup.Group
	group.SetLimit(fleetTogether)
	for i, m := range members {
		group.Go(func() error {
			results.Items[i] = c.runOnMember(ctx, req.CommandRun, m, max(0, waitOf(req.CommandRun)-time.Since(began)))
			run := results.Items[i].Run
			run.Params = nil // the same of all
			if size.Add(int64(len(run.Result))) > maxFleetResults {
				run.Result = nil
			}
			return nil
		})
	}
	_ = group.Wait() // none returns an error
	return results, nil
}

// members are the boards that a request means, by name, each once.
func (c *Conductor) members(tx *store.Tx, op string, req wire.CommandFleet) ([]member, error) {
	refs := req.Boards
	if req.Fleet != "" {
		boards, err := fleetBoards(tx, req.Caller, op, req.Fleet)
		if err != nil {
			return nil, err
		}
		for _, b := range boards {
			refs = append(refs, string(b.ID))
		}
	}
	var members []member
	seen := map[s4t.BoardID]bool{}
	for _, ref := range refs {
		r, _, err := findRoute(tx, req.Caller, op, wire.MethodCommandFleet, ref)
		switch kind := s4t.KindOf(err); {
		case kind == s4t.NotFound || kind == s4t.Conflict || kind == s4t.Forbidden: // its own affair
			r.Name = s4t.Line(ref, s4t.MaxName)
		case err != nil:
			return nil, err
		case seen[r.ID]:
			continue
		}
		seen[r.ID] = err == nil
		members = append(members, member{r, err})
	}
	slices.SortStableFunc(members, func(a, b member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return members, nil
}

// runOnMember has one board run a command. What could not begin is an operation that
// failed and has no id.
func (c *Conductor) runOnMember(ctx context.Context, req wire.CommandRun, m member, wait time.Duration) s4t.Operation {
	op := runOp(req.Command, m.Name)
	err := m.err
	var run store.Run
	if err == nil {
		req.Board = string(m.ID)
		if run, err = c.runCommand(ctx, op, req, wait); err == nil {
			return run.Operation.Operation
		}
	}
	failed := s4t.Operation{
		ID: run.ID, Kind: store.KindRun, Project: m.Project, Object: string(m.ID), Status: s4t.OperationFailed, Steps: []s4t.Step{}, Error: fmt.Sprint(err), ErrorKind: s4t.KindOf(err), CreatedAt: c.now(),
		Run: &s4t.CommandRun{Board: m.Name, BoardID: m.ID, Command: req.Command},
	}
	if run.ID != "" { // it may run yet
		failed.Status = run.Status
	}
	return failed
}
