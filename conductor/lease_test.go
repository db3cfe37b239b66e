package conductor

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// lend makes boards of the lab's project with a label, and an offer of them to everybody.
func lend(t *testing.T, l *lab, names ...string) (owner wire.Caller, offer s4t.Offer) {
	t.Helper()
	for _, name := range names {
		call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name, Labels: map[string]string{"kind": "lamp"}})
	}
	owner = vouched(l.key, wire.Caller{User: "olga", Project: l.member.Project, Role: s4t.RoleManager})
	return owner, call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "lamps", Labels: map[string]string{"kind": "lamp"}, Allow: []string{"pins", "ssh"}, Max: 7200, MaxPriority: 5})
}

func TestABoardIsLentOnce(t *testing.T) {
	l := newLab(t)
	owner, offer := lend(t, l, "one", "two")
	if len(offer.Boards) != 2 {
		t.Fatalf("offered: %+v", offer)
	}
	night := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "night", Labels: map[string]string{"kind": "lamp"}, Count: 2, For: 3600})
	if night.Status != s4t.LeaseActive || len(night.Boards) != 2 || strings.Join(night.Allow, ",") != "ssh,pins" || night.Until.Sub(night.From) != time.Hour {
		t.Errorf("booked: %+v", night)
	}
	later := night.Until
	for name, tt := range map[string]struct {
		req  wire.LeaseCreate
		want s4t.Kind
	}{
		"one that is booked":      {wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}}, s4t.Conflict},
		"more than there are":     {wire.LeaseCreate{Caller: l.foreign, Count: 3, From: &later}, s4t.Conflict},
		"for longer than offered": {wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, From: &later, For: 7201}, s4t.Forbidden},
		"more than is allowed":    {wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, From: &later, Allow: []string{"plugins"}}, s4t.Forbidden},
		"of a priority too high":  {wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, From: &later, Priority: 6}, s4t.Forbidden},
		"nobody's":                {wire.LeaseCreate{Caller: l.foreign, Boards: []string{"three"}}, s4t.NotFound},
		"nothing":                 {wire.LeaseCreate{Caller: l.foreign}, s4t.Invalid},
		"a name twice":            {wire.LeaseCreate{Caller: l.foreign, Name: "night", Boards: []string{"one"}, From: &later}, s4t.Conflict},
	} {
		if _, err := try[s4t.Lease](l, wire.MethodLeaseCreate, tt.req); s4t.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	if _, err := try[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, For: 60}); err == nil || !strings.Contains(err.Error(), onTheSecond(later).Format(time.RFC3339)) {
		t.Errorf("the error does not say when it is free: %v", err)
	}
	if _, err := try[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: owner, Ref: "night"}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a name means one's own: %v", err)
	}
	got := call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: owner, Ref: string(night.ID)})
	if got.Status != s4t.LeaseRevoked {
		t.Errorf("taken back by the owner: %+v", got)
	}
	again := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, For: 60})
	if again = call[s4t.Lease](l, wire.MethodLeaseExtend, wire.LeaseExtend{Caller: l.foreign, Ref: again.Name, For: 60}); again.Until.Sub(again.From) != 2*time.Minute {
		t.Errorf("extended: %+v", again)
	}
	if _, err := try[s4t.Lease](l, wire.MethodLeaseExtend, wire.LeaseExtend{Caller: l.foreign, Ref: again.Name, For: 7200}); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("extended past the offer: %v", err)
	}
}

func TestAHundredWantTheLastBoard(t *testing.T) {
	l := newLab(t)
	lend(t, l, "one")
	var booked, refused atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := try[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Boards: []string{"one"}, For: 600})
			switch s4t.KindOf(err) {
			case s4t.Conflict:
				refused.Add(1)
			default:
				if err != nil {
					t.Error(err)
				}
				booked.Add(1)
			}
		})
	}
	wg.Wait()
	if booked.Load() != 1 || refused.Load() != 99 {
		t.Errorf("%d booked it, %d were refused", booked.Load(), refused.Load())
	}
}

func TestAHigherPriorityPreempts(t *testing.T) {
	l := newLab(t)
	lend(t, l, "one")
	low := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "low", Boards: []string{"one"}, For: 3600})
	share := call[s4t.Lease](l, wire.MethodLeaseShare, wire.LeaseShare{Caller: l.foreign, Ref: "low", To: string(l.member.Project), Allow: []string{"pins"}})
	high := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "high", Boards: []string{"one"}, For: 600, Priority: 3})
	got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.foreign, Ref: "low"})
	if got.Until != high.From || high.Status != s4t.LeasePending || got.Status != s4t.LeaseActive || !strings.Contains(got.Reason, "priority 3") || !strings.Contains(got.Reason, "free again") {
		t.Errorf("low %+v, high %+v", got, high)
	}
	if got = call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.member, Ref: string(share.ID)}); got.Until != high.From {
		t.Errorf("its share goes on until %v", got.Until)
	}
	if low.Until == got.Until {
		t.Error("it ends as if nothing were")
	}
}

func TestSharesEndWithTheirLease(t *testing.T) {
	l := newLab(t)
	lend(t, l, "one", "two")
	call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "both", Count: 2, For: 3600})
	if _, err := try[s4t.Lease](l, wire.MethodLeaseShare, wire.LeaseShare{Caller: l.foreign, Ref: "both", To: string(l.member.Project), Allow: []string{"plugins"}}); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("more was shared than there is: %v", err)
	}
	share := call[s4t.Lease](l, wire.MethodLeaseShare, wire.LeaseShare{Caller: l.foreign, Ref: "both", To: string(l.member.Project), Boards: []string{"two"}})
	if len(share.Boards) != 1 || share.Boards[0].Name != "two" {
		t.Errorf("shared: %+v", share)
	}
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "both"})
	if got := call[s4t.Lease](l, wire.MethodLeaseGet, wire.RefRequest{Caller: l.member, Ref: string(share.ID)}); got.Status != s4t.LeaseRevoked {
		t.Errorf("after its lease: %+v", got)
	}
}
