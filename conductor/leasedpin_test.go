package conductor

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// within waits until something is so.
func within(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// TestPinsGoBackToWhatTheOwnerHad: settings and value, when the lease by which they were changed is over.
func TestPinsGoBackToWhatTheOwnerHad(t *testing.T) {
	l := newLab(t)
	l.online("gate")
	owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
	call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "all", Boards: []string{"gate"}})
	one := 1.0
	var mu sync.Mutex
	pin := s4t.Pin{Name: "sim/demo/out", Writable: true, Direction: s4t.PinOut, Value: &one, Keys: []string{"label"}, Settings: map[string]string{"label": "lamp"}}
	holder := ""
	board := l.pins()
	board.answers(func(_ context.Context, req wire.BoardPins) (wire.PinAnswer, error) {
		mu.Lock()
		defer mu.Unlock()
		switch req.Ask.Do {
		case wire.PinWrite:
			v := req.Ask.Values["sim/demo/out"]
			pin.Value = &v
		case wire.PinSet:
			pin.Settings = maps.Clone(pin.Settings)
			maps.Copy(pin.Settings, req.Ask.Settings)
		case wire.PinClaim:
			holder = req.Ask.Holder
		case wire.PinRelease:
			if req.Ask.Holder == holder {
				holder = ""
			}
		}
		return wire.PinAnswer{Pins: []s4t.Pin{pin}}, nil
	})
	if _, err := l.askPins(l.foreign, wire.PinAsk{Do: wire.PinList}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("before the lease: %v", err)
	}
	held := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Boards: []string{"gate"}, Allow: []string{"pins"}, For: 600})
	for _, ask := range []wire.PinAsk{
		{Do: wire.PinClaim, Pins: []string{"sim/demo/out"}},
		{Do: wire.PinWrite, Values: map[string]float64{"sim/demo/out": 0}},
		{Do: wire.PinSet, Pins: []string{"sim/demo/out"}, Settings: map[string]string{"label": "mine"}},
		{Do: wire.PinWrite, Values: map[string]float64{"sim/demo/out": 7}},
	} {
		if _, err := l.askPins(l.foreign, ask); err != nil {
			t.Fatalf("%s: %v", ask.Do, err)
		}
	}
	board.mu.Lock()
	claim := board.asked[slices.IndexFunc(board.asked, func(p wire.BoardPins) bool { return p.Ask.Do == wire.PinClaim })].Ask
	board.mu.Unlock()
	if claim.For <= 0 || claim.For > 600e9 {
		t.Errorf("the claim lasts %v, the lease ten minutes", claim.For)
	}
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: held.Name})
	within(t, "the pin is the owner's again", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return *pin.Value == 1 && pin.Settings["label"] == "lamp" && holder == ""
	})
	within(t, "that is forgotten", func() bool {
		left := 0
		err := l.db.View(t.Context(), func(tx *store.Tx) error {
			b, err := tx.BoardsNamed(projectID, "gate")
			if err != nil {
				return err
			}
			kept, err := tx.LeasedPins(held.ID, b[0].ID)
			left = len(kept)
			return err
		})
		return err == nil && left == 0
	})
	for _, p := range []s4t.ProjectID{projectID, otherID} { // the owner is told what was done with it, and who did it
		err := l.db.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.AuditRecords(store.AuditFilter{Project: p}, wire.Page{})
			n := map[string]int{}
			for _, r := range all.Items {
				n[r.Action]++
			}
			if n["pin.claim"] != 1 || n["pin.write"] != 2 || n["pin.set"] != 1 || n["pin.restore"] != 1 {
				t.Errorf("the audit of project %s has %v", p, n)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}
