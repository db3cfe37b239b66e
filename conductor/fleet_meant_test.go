package conductor

import (
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestAFleetIsMeantWhereBoardsAre names a fleet in each request that takes boards: its members at that
// time are meant, and no others later.
func TestAFleetIsMeantWhereBoardsAre(t *testing.T) {
	l := newLab(t)
	one, two := l.online("one"), l.online("two")
	l.online("three")
	lamps := call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "lamps", Boards: []string{"one", "two"}})
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "empty"})
	named := func(b s4t.Bridge) (names []string) {
		for _, p := range b.Ports {
			names = append(names, p.Board)
		}
		slices.Sort(names)
		return names
	}

	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}, Fleet: "lamps"}))
	if got := named(l.bridgeNow("lab")); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("bridge create: %v", got)
	}
	refusedAs[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "none", Fleet: "empty"}, s4t.Invalid, "no boards now")
	refusedAs[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.foreign, Name: "theirs", Fleet: string(lamps.ID)}, s4t.NotFound, "fleet")
	copied := call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "copy", Fleet: "lamps"})
	offer := call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: l.operator, Name: "spare", Fleet: "lamps"})
	if len(copied.Named) != 2 || len(offer.Named) != 2 {
		t.Errorf("%+v, %+v", copied, offer)
	}

	// A third one comes: what was made stays, what is asked for from now on has it.
	call[s4t.Fleet](l, wire.MethodFleetUpdate, wire.FleetUpdate{Caller: l.member, Ref: "lamps", Boards: &[]string{"one", "two", "three"}})
	if b := call[s4t.Offer](l, wire.MethodOfferGet, wire.RefRequest{Caller: l.member, Ref: "spare"}).Boards; len(b) != 2 || len(named(l.bridgeNow("lab"))) != 2 {
		t.Errorf("what was made has changed: %v", b)
	}
	l.done(call[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.member, Ref: "lab", Fleet: "lamps"}))
	if got := named(l.bridgeNow("lab")); len(got) != 3 {
		t.Errorf("bridge add: %v", got)
	}
	refusedAs[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.member, Ref: "lab", Fleet: "lamps"}, s4t.Invalid, "nothing to do")
	l.done(call[s4t.Operation](l, wire.MethodBridgeRemove, wire.BridgeChange{Caller: l.member, Ref: "lab", Boards: []string{"one"}}))
	l.done(call[s4t.Operation](l, wire.MethodBridgeRemove, wire.BridgeChange{Caller: l.member, Ref: "lab", Fleet: "lamps"}))
	if got := named(l.bridgeNow("lab")); len(got) != 0 {
		t.Errorf("bridge remove: %v", got)
	}
	again := call[s4t.Fleet](l, wire.MethodFleetUpdate, wire.FleetUpdate{Caller: l.member, Ref: "copy", Fleet: "lamps"})
	if len(again.Named) != 3 {
		t.Errorf("fleet update: %+v", again)
	}
	lease := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.member, Name: "night", Fleet: "lamps"})
	if len(lease.Boards) != 3 {
		t.Errorf("lease create: %+v", lease)
	}
	refusedAs[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.member, Fleet: "lamps", Count: 1}, s4t.Invalid, "by count")

	call[s4t.Fleet](l, wire.MethodFleetUpdate, wire.FleetUpdate{Caller: l.member, Ref: "lamps", Boards: &[]string{"one", "two"}})
	for _, fields := range []string{"", "name"} {
		list := call[wire.RawList](l, wire.MethodBoardList, wire.BoardList{Caller: l.reader, Fleet: "lamps", Fields: fields})
		if text := string(list.Items); strings.Count(text, `"name"`) != 2 || strings.Contains(text, "three") {
			t.Errorf("board list: %s", text)
		}
	}
	found := items[s4t.FoundBoard](l, wire.MethodBoardSearch, wire.BoardSearch{Caller: l.reader, Fleet: "lamps"})
	if len(found) != 2 || found[0].ID != one.id && found[0].ID != two.id {
		t.Errorf("board search: %+v", found)
	}
	refusedAs[wire.RawList](l, wire.MethodBoardList, wire.BoardList{Caller: l.reader, Fleet: "nothing"}, s4t.NotFound, "fleet")
}
