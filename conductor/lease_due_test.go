package conductor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// made is a lease that has made a bridge and a service on the board "one".
func made(t *testing.T, l *lab) (f *fakeBoard, held s4t.Lease) {
	t.Helper()
	f = l.online("one")
	owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
	call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "all", Boards: []string{"one"}, MaxPriority: 5})
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "http"}))
	held = call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "night", Boards: []string{"one"}, For: 120})
	l.await("lease.began", string(held.ID))
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.foreign, Board: "one", Service: "ssh"}))
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.foreign, Name: "lan", Boards: []string{"one"}}))
	call[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.foreign, Board: "one", TCPPort: 22})
	return f, held
}

// leasesAt are the leases of which the tunnel agent is told for the streams of a board.
func leasesAt(l *lab, f *fakeBoard) map[s4t.LeaseID]int64 {
	l.tunnelApply()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range l.tunnel.desired {
		if r.Kind == wire.KindStreams && r.ID == string(f.id) {
			return wire.Specs[wire.TunnelStreams](r.Kind, []wire.Resource{r})[0].Leases
		}
	}
	return nil
}

// taken checks that nothing is left of what the lease made, and all of what the owner did.
func taken(t *testing.T, l *lab, f *fakeBoard) {
	t.Helper()
	l.done(s4t.Operation{ID: endOf(t, l)})
	err := l.db.View(t.Context(), func(tx *store.Tx) error {
		services, err := tx.ServicesOfBoard(f.id)
		if len(services) != 1 || services[0].Project != projectID {
			t.Errorf("services: %+v", services)
		}
		ports, err2 := tx.PortsOfBoard(f.id)
		if len(ports) != 0 || err2 != nil {
			t.Errorf("ports: %+v, %v", ports, err2)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if left := leasesAt(l, f); len(left) > 0 {
		t.Errorf("the tunnel agent is told of %v", left)
	}
	if b := call[s4t.Bridge](l, wire.MethodBridgeGet, wire.RefRequest{Caller: l.foreign, Ref: "lan"}); len(b.Ports) != 0 {
		t.Errorf("its bridge has %+v", b.Ports)
	}
	if _, err := try[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.foreign, Board: "one", TCPPort: 22}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a stream after the lease: %v", err)
	}
}

// endOf is the operation that took back what the lease made.
func endOf(t *testing.T, l *lab) s4t.OperationID {
	t.Helper()
	for _, op := range items[s4t.Operation](l, wire.MethodOperationList, wire.ListRequest{Caller: l.foreign}) {
		if op.Kind == kindLeaseEnd {
			return op.ID
		}
	}
	t.Fatal("no operation took it back")
	return ""
}

func TestWhatALeaseMadeEndsWithItsTime(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	f, held := made(t, l)
	if until := leasesAt(l, f)[held.ID]; until != held.Until.UnixMicro() {
		t.Errorf("the tunnel agent is told until %v, it is %v", until, held.Until.UnixMicro())
	}
	next := held.Until
	later := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "morning", Boards: []string{"one"}, From: &next, For: 600})
	l.ahead(60 * time.Second)
	if got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: "night"}); got.Status != s4t.LeaseActive {
		t.Errorf("before its end: %+v", got)
	}
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "morning"})
	later = call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "noon", Boards: []string{"one"}, From: &later.Until, For: 600})
	l.ahead(64 * time.Second)
	l.await("lease.ended", string(held.ID))
	if got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: string(held.ID)}); got.Status != s4t.LeaseEnded {
		t.Errorf("at its end: %+v", got)
	}
	if _, err := try[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: l.foreign, Ref: "one"}); s4t.KindOf(err) != s4t.Forbidden || !strings.Contains(err.Error(), "begins at") {
		t.Errorf("before the next begins: %v", err)
	}
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: later.Name})
	taken(t, l, f)
}

func TestWhatALeaseMadeEndsWhenItIsGivenBack(t *testing.T) {
	l := newLab(t)
	f, held := made(t, l)
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "night"})
	for _, p := range []s4t.ProjectID{otherID, projectID} { // who had it, and the owner
		l.mu.Lock()
		told := slices.ContainsFunc(l.events, func(e s4t.Event) bool {
			return e.Kind == "lease.began" && e.Object == string(held.ID) && e.Project == p
		})
		l.mu.Unlock()
		if !told {
			t.Errorf("project %s was not told that it began", p)
		}
	}
	taken(t, l, f)
	records := map[s4t.ProjectID]int{}
	err := l.db.View(t.Context(), func(tx *store.Tx) error {
		for _, p := range []s4t.ProjectID{otherID, projectID} {
			all, err := tx.AuditRecords(store.AuditFilter{Project: p}, wire.Page{})
			if err != nil {
				return err
			}
			for _, r := range all.Items {
				if r.Action == "service.expose" && r.User == "eve" {
					records[p]++
				}
			}
		}
		return nil
	})
	if err != nil || records[otherID] != 1 || records[projectID] != 1 {
		t.Errorf("who used and who lent have %v records of it: %v", records, err)
	}
}

// TestALeaseBeginsAndEndsByItself: nobody asks.
func TestALeaseBeginsAndEndsByItself(t *testing.T) {
	l := newLab(t)
	lend(t, l, "one")
	from := time.Now().Add(1500 * time.Millisecond)
	held := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, From: &from, For: 1})
	if held.Status != s4t.LeasePending {
		t.Errorf("%+v", held)
	}
	l.await("lease.began", string(held.ID))
	l.await("lease.ended", string(held.ID))
	got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: string(held.ID)})
	if got.Status != s4t.LeaseEnded || got.Until != held.Until {
		t.Errorf("%+v", got)
	}
}

// TestWhoIsPreemptedHasAMinute: then the lease of the higher priority begins.
func TestWhoIsPreemptedHasAMinute(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	lend(t, l, "one")
	low := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "low", Boards: []string{"one"}, For: 3600})
	high := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "high", Boards: []string{"one"}, For: 600, Priority: 3})
	told := l.await("lease.preempted", string(low.ID))
	if !strings.Contains(told.Detail, "priority 3") || !strings.Contains(told.Detail, "free again from") {
		t.Errorf("told %q", told.Detail)
	}
	l.ahead(62 * time.Second)
	l.await("lease.began", string(high.ID))
	got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: string(low.ID)})
	if got.Status != s4t.LeasePreempted || got.Next == nil || got.Next.Before(high.Until) {
		t.Errorf("low %+v, high ends at %v", got, high.Until)
	}
	if got = call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: "high"}); got.Status != s4t.LeaseActive {
		t.Errorf("high %+v", got)
	}
}
