package conductor

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// allow lets a project have so many of a key.
func (l *lab) allow(key s4t.QuotaKey, limit int64) {
	l.t.Helper()
	call[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: l.admin, Ref: "default", Quota: map[s4t.QuotaKey]*int64{key: &limit}})
}

// TestWhatPassesAQuotaChangesNothing: each request that would take more than the
// project's share says so, and leaves everything as it was.
func TestWhatPassesAQuotaChangesNothing(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"one", "two", "three"} {
		l.online(name)
	}
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
	board := func() error {
		_, err := try[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "four"})
		return err
	}
	bridge := func() error {
		_, err := try[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "more", Boards: []string{"one", "two"}})
		return err
	}
	add := func() error {
		_, err := try[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.member, Ref: "lab", Boards: []string{"two", "three"}})
		return err
	}
	service := func() error {
		_, err := try[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "two", Service: "ssh"})
		return err
	}
	count := func() (counts map[s4t.QuotaKey]int64) {
		counts = map[s4t.QuotaKey]int64{}
		err := l.db.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.Quotas(projectID)
			for k, q := range all {
				counts[k] = q.Used
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return counts
	}
	for _, tt := range []struct {
		name  string
		key   s4t.QuotaKey
		limit int64
		do    func() error
	}{
		{"a board", s4t.QuotaBoards, 3, board},
		{"a network", s4t.QuotaNetworks, 1, bridge},
		{"ports of a new bridge", s4t.QuotaPorts, 2, bridge},
		{"ports that are added", s4t.QuotaPorts, 2, add},
		{"a service", s4t.QuotaServices, 1, service},
		{"a public port", s4t.QuotaPublicPorts, 1, service},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := count()
			l.allow(tt.key, tt.limit)
			err := tt.do()
			for _, says := range []string{fmt.Sprintf("of its %d ", tt.limit), fmt.Sprintf("`s4t project update default --quota %s=N`", tt.key)} {
				if s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), says) {
					t.Errorf("%v does not say %q", err, says)
				}
			}
			if after := count(); !maps.Equal(before, after) {
				t.Errorf("%v, and %v before", after, before)
			}
			l.allow(tt.key, s4t.Unlimited)
		})
	}
	for _, do := range []func() error{board, add, bridge, service} {
		if err := do(); err != nil {
			t.Errorf("without a limit: %v", err)
		}
	}
}

// TestBoardsThatNeverCameCostATunnelAgentNothing does row 1 again, small: bridges
// of boards that nobody has joined, and public ports of theirs.
func TestBoardsThatNeverCameCostATunnelAgentNothing(t *testing.T) {
	l := newLab(t)
	var names []string
	for n := range 5 {
		names = append(names, fmt.Sprint("b", n))
		call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: names[n]})
	}
	f := l.board("late") // has joined, and was never there
	wanted := func() (n int) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.tunnel.desired)
	}
	for _, name := range []string{"x", "y", "z"} {
		l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: name, Boards: append([]string{"late"}, names...), Encapsulation: s4t.EncapGRE}))
	}
	for _, name := range append([]string{"late"}, names...) {
		op := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: name, Service: "ssh"}))
		if s := call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object}); s.PublicPort == 0 || s.Status != s4t.ServicePending {
			t.Errorf("its public port is not reserved: %+v", s)
		}
	}
	l.tunnelApply()
	if n := wanted(); n != 0 {
		t.Errorf("the tunnel agent is to have %d things of boards that never came", n)
	}
	call[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: l.admin, Ref: "default", Weight: ref(3)})
	l.tunnelApply()
	if n := wanted(); n != 0 {
		t.Errorf("after a new weight, %d things", n)
	}
	// One comes: what it has is wanted, and nothing of the others.
	l.connect(f, "i1")
	l.await("service.up", "late")
	for range 3 {
		l.await("port.up", "late")
	}
	if ports, networks, services := tunnelWants[tunnelPort](l, wire.KindPort), tunnelWants[tunnelNetwork](l, wire.KindNetwork), tunnelWants[tunnelExposure](l, wire.KindService); len(ports) != 3 || len(networks) != 3 || len(services) != 1 {
		t.Errorf("%d ports, %d networks, %d services", len(ports), len(networks), len(services))
	}
	if b := l.bridgeNow("x"); b.Status != s4t.BridgeDegraded {
		t.Errorf("%+v", b)
	}
	// A bridge is made while one board has never been there; later it comes.
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "w", Boards: []string{"late", "b0"}}))
	if ports := tunnelWants[tunnelPort](l, wire.KindPort); len(ports) != 4 {
		t.Errorf("%d ports", len(ports))
	}
}

func ref[T any](v T) *T { return &v }

// TestAgentsTellWhatTheyHoldOfAQuota: their sum is what a project uses; who
// starts anew holds nothing.
func TestAgentsTellWhatTheyHoldOfAQuota(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	beat := func(use ...wire.Use) {
		t.Helper()
		call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: tunnelID, Incarnation: l.tunnel.incarnation, Use: use})
	}
	streams := func(project s4t.ProjectID) (q s4t.Quota) {
		t.Helper()
		err := l.db.View(t.Context(), func(tx *store.Tx) (err error) {
			q, err = tx.Quota(project, s4t.QuotaStreams)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	beat(wire.Use{Project: projectID, Key: s4t.QuotaStreams, Used: 7}, wire.Use{Project: otherID, Key: s4t.QuotaStreams, Used: 2})
	beat(wire.Use{Project: otherID, Key: s4t.QuotaStreams})
	beat()
	if a, b := streams(projectID).Used, streams(otherID).Used; a != 7 || b != 0 {
		t.Errorf("%d and %d streams", a, b)
	}
	_, err := try[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: tunnelID, Incarnation: "t1", Use: make([]wire.Use, wire.MaxPage+1)})
	if s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("too much of it: %v", err)
	}
	limit := func() wire.TunnelStreams {
		l.tunnelApply()
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, r := range l.tunnel.desired {
			if r.Kind == wire.KindStreams && r.ID == string(f.id) {
				return wire.Specs[wire.TunnelStreams](r.Kind, []wire.Resource{r})[0]
			}
		}
		return wire.TunnelStreams{}
	}
	if s := limit(); s.Project != projectID || s.Limit != s4t.DefaultQuota[s4t.QuotaStreams] || len(s.Leases) > 0 {
		t.Errorf("the tunnel agent is told %+v", s)
	}
	l.allow(s4t.QuotaStreams, 9)
	if s := limit(); s.Limit != 9 {
		t.Errorf("the tunnel agent is told %+v", s)
	}
	l.tunnelHello("t2")
	if q := streams(projectID); q != (s4t.Quota{Used: 0, Limit: 9}) {
		t.Errorf("an agent that started anew holds %+v", q)
	}
}

func TestHistoryIsCutByShares(t *testing.T) {
	for _, tt := range []struct {
		counts      []int
		most, total int
		want        int
	}{
		{[]int{}, 10, 100, 10},
		{[]int{3, 5}, 10, 100, 10},
		{[]int{3, 500}, 10, 100, 10},
		{[]int{3, 500, 500}, 60, 100, 48}, // who has little keeps it, the rest is halved
		{[]int{500, 500, 500, 500}, 60, 100, 25},
		{[]int{1, 1, 1}, 60, 2, 1},
	} {
		counts := map[int]int{}
		for i, n := range tt.counts {
			counts[i] = n
		}
		if got := fairShare(counts, tt.most, tt.total); got != tt.want {
			t.Errorf("%v, %d each, %d in all: %d, want %d", tt.counts, tt.most, tt.total, got, tt.want)
		}
	}

	// Row 8 again: the noise of one leaves the other's events and operations.
	l := newLab(t)
	l.online("one")
	quiet := len(items[s4t.Event](l, wire.MethodEventList, wire.EventList{Caller: l.reader}))
	op := l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		for range keepOfProject + 50 {
			tx.InsertEvents(s4t.Event{At: time.Now(), Kind: "noise", Project: otherID})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.c.trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := len(items[s4t.Event](l, wire.MethodEventList, wire.EventList{Caller: l.reader, After: 1})); n < quiet {
		t.Errorf("%d events of the quiet project, %d before", n, quiet)
	}
	call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.reader, ID: op.ID})
	for name, caller := range map[string]wire.Caller{"the noisy project": l.foreign, "all": l.admin} {
		if _, err := try[wire.List[s4t.Event]](l, wire.MethodEventList, wire.EventList{Caller: caller, After: 1}); s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s resumes where its history was cut: %v", name, err)
		}
	}
	if page, err := try[wire.List[s4t.Event]](l, wire.MethodEventList, wire.EventList{Caller: l.foreign}); err != nil || !slices.ContainsFunc(page.Items, func(e s4t.Event) bool { return e.Kind == "noise" }) {
		t.Errorf("its newest: %d, %v", len(page.Items), err)
	}
}
