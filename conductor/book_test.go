package conductor

import (
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// bookOf is the book that a board has now, with a good signature.
func bookOf(t *testing.T, l *lab, f *fakeBoard) wire.Book {
	t.Helper()
	d := call[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: f.epochNow(l)})
	b, err := wire.VerifyBook(l.key.Public().(ed25519.PublicKey), f.id, d.Book)
	if err != nil {
		t.Fatal(err)
	}
	if b.Number != d.Generation || b.Owner != projectID || b.Time == 0 {
		t.Errorf("the book is %+v, in generation %d", b, d.Generation)
	}
	return b
}

// TestABoardIsToldWhoHoldsIt: with each change of that, under a number that grows.
func TestABoardIsToldWhoHoldsIt(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			l := newLabOn(t, engine == "postgres")
			f := l.online("one")
			before := bookOf(t, l, f)
			if len(before.Held) != 0 {
				t.Errorf("a board that is not lent: %+v", before)
			}
			owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
			call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "all", Boards: []string{"one"}, MaxPriority: 5})
			held := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "night", Boards: []string{"one"}, Allow: []string{"pins", "ssh"}, For: 3600})
			grown := func(what string, leases int) wire.Book {
				t.Helper()
				b := bookOf(t, l, f)
				if b.Number <= before.Number || len(b.Held) != leases {
					t.Errorf("%s: %+v after %d", what, b, before.Number)
				}
				before = b
				return b
			}
			e := grown("lent", 1).Held[0]
			if e.Lease != held.ID || e.Project != otherID || e.Name != "night" || e.From != held.From.UnixMicro() || e.Until != held.Until.UnixMicro() || !slices.Equal(e.Allow, []string{"ssh", "pins"}) {
				t.Errorf("of %+v it is told %+v", held, e)
			}
			longer := call[s4t.Lease](l, wire.MethodLeaseExtend, wire.LeaseExtend{Caller: l.foreign, Ref: "night", For: 60})
			if e := grown("extended", 1).Held[0]; e.Until != longer.Until.UnixMicro() {
				t.Errorf("until %d, %d is told", longer.Until.UnixMicro(), e.Until)
			}
			share := call[s4t.Lease](l, wire.MethodLeaseShare, wire.LeaseShare{Caller: l.foreign, Ref: "night", To: string(projectID)})
			if b := grown("shared", 2); !slices.ContainsFunc(b.Held, func(e wire.BookEntry) bool { return e.Lease == share.ID && e.Parent == held.ID }) {
				t.Errorf("the share is not in %+v", b)
			}
			l.connect(f, "i1")
			l.mu.Lock()
			welcomed, err := wire.VerifyBook(l.key.Public().(ed25519.PublicKey), f.id, f.desired.Book)
			l.mu.Unlock()
			if err != nil || len(welcomed.Held) != 2 {
				t.Errorf("it is welcomed with %+v, %v", welcomed, err)
			}
			call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "night"})
			grown("given back", 0)
		})
	}
}

// TestWhoTakesALeaseBackCanWaitForIt: who gave it back, and who lent it.
func TestWhoTakesALeaseBackCanWaitForIt(t *testing.T) {
	l := newLab(t)
	_, held := made(t, l)
	owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
	back := call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: owner, Ref: string(held.ID)})
	if back.Status != s4t.LeaseRevoked || back.Operation == "" {
		t.Fatalf("%+v", back)
	}
	for name, caller := range map[string]wire.Caller{"the owner": owner, "who had it": l.foreign} {
		deadline := time.Now().Add(time.Minute)
		for {
			op, err := try[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: caller, ID: back.Operation})
			if err != nil || op.Kind != kindLeaseEnd {
				t.Fatalf("%s sees %+v, %v", name, op, err)
			}
			if op.Status == s4t.OperationSucceeded {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s: it is %s", name, op.Status)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	stranger := vouched(l.key, wire.Caller{User: "s", Project: "0a1b2c3d-0000-4000-8000-00000000000f", Role: s4t.RoleMember})
	if _, err := try[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: stranger, ID: back.Operation}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a stranger: %v", err)
	}
}

// TestStreamsByALeaseCountForWhoHasIt: the tunnel agent is told of its quota, and of a new one.
func TestStreamsByALeaseCountForWhoHasIt(t *testing.T) {
	l := newLab(t)
	f, held := made(t, l)
	lessee := func() wire.Lessee {
		l.tunnelApply()
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range l.tunnel.desired {
			if r.Kind == wire.KindStreams && r.ID == string(f.id) {
				return wire.Specs[wire.TunnelStreams](r.Kind, []wire.Resource{r})[0].Lessees[held.ID]
			}
		}
		return wire.Lessee{}
	}
	if got := lessee(); got != (wire.Lessee{Project: otherID, Limit: s4t.DefaultQuota[s4t.QuotaStreams]}) {
		t.Errorf("the tunnel agent is told %+v", got)
	}
	nine := int64(9)
	call[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: l.admin, Ref: string(otherID), Quota: map[s4t.QuotaKey]*int64{s4t.QuotaStreams: &nine}})
	if got := lessee(); got.Limit != 9 {
		t.Errorf("the tunnel agent is told %+v", got)
	}
}
