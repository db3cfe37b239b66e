package conductor

import (
	"context"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Where boards can be named a fleet can be, too: its boards at the time of the request are meant then, as
// if each was named. Who comes or goes later changes nothing of what was made.

// meant are the boards that a request means: those that it names and those of a fleet, each once. leave
// is optional: which of the fleet's are left out.
func (c *Conductor) meant(ctx context.Context, caller wire.Caller, op string, boards []string, fleet string, leave func(*store.Tx) (func(s4t.BoardID) bool, error)) ([]string, error) {
	if fleet == "" {
		return boards, nil
	}
	return view(ctx, c, func(tx *store.Tx) ([]string, error) {
		members, err := fleetBoards(tx, caller, op, fleet)
		if err != nil {
			return nil, err
		}
		out := func(s4t.BoardID) bool { return false }
		if leave != nil {
			if out, err = leave(tx); err != nil {
				return nil, err
			}
		}
		all := slices.Clone(boards)
		for _, b := range members {
			if !out(b.ID) && !slices.Contains(boards, b.Name) && !slices.Contains(boards, string(b.ID)) {
				all = append(all, string(b.ID)) // a name may mean several to who sees several projects
			}
		}
		if len(all) == 0 {
			why := "the fleet has no boards now"
			if len(members) > 0 {
				why = "there is nothing to do for the boards that the fleet has now"
			}
			return nil, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("`s4t fleet show %s` says who is a member", s4t.Line(fleet, s4t.MaxName)), "%s", why)
		}
		return all, nil
	})
}

// onBridge finds which boards are on a bridge now; not turns it round.
func onBridge(caller wire.Caller, op, ref string, not bool) func(*store.Tx) (func(s4t.BoardID) bool, error) {
	return func(tx *store.Tx) (func(s4t.BoardID) bool, error) {
		b, err := findBridge(tx, caller, op, ref)
		if err != nil {
			return nil, err
		}
		ports, err := tx.PortsOfNetwork(b.Network)
		on := map[s4t.BoardID]bool{}
		for _, p := range ports {
			on[p.BoardID] = true
		}
		return func(id s4t.BoardID) bool { return on[id] != not }, err
	}
}

// membersOf are the ids of the boards of a fleet; nil where none is named.
func membersOf(tx *store.Tx, caller wire.Caller, op, fleet string) (map[s4t.BoardID]bool, error) {
	if fleet == "" {
		return nil, nil
	}
	boards, err := fleetBoards(tx, caller, op, fleet)
	ids := map[s4t.BoardID]bool{}
	for _, b := range boards {
		ids[b.ID] = true
	}
	return ids, err
}
