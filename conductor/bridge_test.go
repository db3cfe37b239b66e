package conductor

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestABridgesWholeLife(t *testing.T) {
	l := newLab(t)
	one, two, three := l.online("one"), l.online("two"), l.board("three")

	op := l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two", string(three.id)}}))
	for i, s := range op.Steps {
		if s.Number != i+1 || s.Name != s4t.StepName[i+1] || s.At.IsZero() || s.TookMS < 0 || i > 0 && s.At.Before(op.Steps[i-1].At) {
			t.Errorf("step %d: %+v", i+1, s)
		}
	}
	if len(op.Steps) != 9 {
		t.Errorf("%d steps, want 9: %+v", len(op.Steps), op.Steps)
	}
	call[wire.Empty](l, wire.MethodOperationDone, wire.RefRequest{Caller: l.member, Ref: string(op.ID)})
	op = call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.reader, ID: op.ID})
	if n := len(op.Steps); n != 10 || op.Steps[9].Number != 10 || op.EndedAt == nil {
		t.Errorf("after the API answered: %+v", op)
	}

	b := l.bridgeNow("lab")
	if b.Status != s4t.BridgeDegraded || b.CIDR != "10.77.0.0/24" || b.CIDR6 != "" || b.MTU != 1500 || b.Layer != 2 || b.Encapsulation != s4t.EncapEthernet {
		t.Errorf("bridge: %+v", b)
	}
	for i, want := range []struct {
		board, address string
		status         s4t.PortStatus
	}{{"one", "10.77.0.2/24", s4t.PortUp}, {"two", "10.77.0.3/24", s4t.PortUp}, {"three", "10.77.0.4/24", s4t.PortPending}} {
		p := b.Ports[i]
		if p.Board != want.board || p.Addresses[0] != want.address || p.Status != want.status || !strings.HasPrefix(p.MAC, "02:") || len(p.Interface) > 15 {
			t.Errorf("port %d: %+v, want %+v", i, p, want)
		}
	}
	l.await("bridge.degraded", "lab")

	l.connect(three, "i1") // an offline board's port comes up with the board
	l.await("bridge.up", "lab")
	if d := three.ports(); len(d) != 1 || d[0].URL != tunnelURL || d[0].MTU != 1500 || three.streams() != nil {
		t.Errorf("desired state of three: %+v", d)
	}

	generation := l.boardNow("one").Generation
	l.done(call[s4t.Operation](l, wire.MethodBridgeRemove, wire.BridgeChange{Caller: l.member, Ref: "lab", Boards: []string{"two"}}))
	if b = l.bridgeNow("lab"); len(b.Ports) != 2 || b.Status != s4t.BridgeUp {
		t.Errorf("after remove: %+v", b)
	}
	l.done(call[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.member, Ref: "lab", Boards: []string{"two"}, Guards: s4t.PortGuards{AllowDHCP: true}}))
	b = l.bridgeNow("lab")
	if p := b.Ports[2]; p.Board != "two" || p.Addresses[0] != "10.77.0.3/24" || !p.Guards.AllowDHCP || p.Status != s4t.PortUp {
		t.Errorf("after add: %+v", p)
	}
	if now := l.boardNow("one").Generation; now != generation {
		t.Errorf("board one was told of others: generation %d, was %d", now, generation)
	}

	l.disconnect(three)
	l.await("port.down", "three")
	if got := l.bridgeNow("lab").Status; got != s4t.BridgeDegraded {
		t.Errorf("with a board offline the bridge is %s", got)
	}
	call[wire.Empty](l, wire.MethodBoardDelete, wire.RefRequest{Caller: l.member, Ref: "three"}) // the bridge shrinks
	if b = l.bridgeNow("lab"); len(b.Ports) != 2 || b.Status != s4t.BridgeUp {
		t.Errorf("after a board was deleted: %+v", b)
	}

	l.done(call[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.member, Ref: "lab"}))
	if len(one.ports()) != 0 || len(two.ports()) != 0 || len(tunnelWants[tunnelNetwork](l, wire.KindNetwork)) != 0 {
		t.Errorf("something is left: %+v %+v %+v", one.ports(), two.ports(), l.tunnel.desired)
	}
	if all := items[s4t.Network](l, wire.MethodNetworkList, wire.ListRequest{Caller: l.admin}); len(all) != 0 {
		t.Errorf("networks are left: %+v", all)
	}
	l.await("bridge.deleted", "lab")
}

func TestABridgeOfOfflineBoardsIsMadeAtOnce(t *testing.T) {
	l := newLab(t)
	l.board("one")
	l.board("two")
	op := l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}}))
	if last := op.Steps[len(op.Steps)-1]; last.Number != 9 {
		t.Errorf("steps: %+v", op.Steps)
	}
	if b := l.bridgeNow("lab"); b.Status != s4t.BridgeDown || b.Ports[0].Status != s4t.PortPending {
		t.Errorf("bridge: %+v", b)
	}
}

func TestWhatABridgeMayBe(t *testing.T) {
	l := newLab(t)
	for _, name := range []string{"one", "two", "three"} {
		l.online(name)
	}
	l.board("away")
	create := func(req wire.BridgeCreate) (s4t.Operation, error) {
		req.Caller = l.member
		if req.Boards == nil {
			req.Boards = []string{"one", "two"}
		}
		if req.Name == "" {
			req.Name = "lab"
		}
		return try[s4t.Operation](l, wire.MethodBridgeCreate, req)
	}
	op, err := create(wire.BridgeCreate{Name: "first", CIDR: "10.1.0.0/24", CIDR6: "fd00:1::/64"})
	if err != nil {
		t.Fatal(err)
	}
	l.done(op)
	for _, tt := range []struct {
		name string
		req  wire.BridgeCreate
		kind s4t.Kind
		says string
	}{
		{"without a board", wire.BridgeCreate{Boards: []string{}}, s4t.Invalid, "--board"},
		{"of a board that does not exist", wire.BridgeCreate{Boards: []string{"one", "kitchen"}}, s4t.NotFound, `"kitchen"`},
		{"of a board named twice", wire.BridgeCreate{Boards: []string{"one", "one"}}, s4t.Invalid, "twice"},
		{"with a name that is none", wire.BridgeCreate{Name: "a b"}, s4t.Invalid, "name"},
		{"with a name that exists", wire.BridgeCreate{Name: "first", Boards: []string{"three"}}, s4t.Conflict, "this name"},
		{"on layer 4", wire.BridgeCreate{Layer: 4}, s4t.Invalid, "layer 4"},
		{"with an unknown encapsulation", wire.BridgeCreate{Encapsulation: "vxlan"}, s4t.Invalid, "vxlan"},
		{"with gre on layer 3", wire.BridgeCreate{Encapsulation: s4t.EncapGRE, Layer: 3}, s4t.Invalid, "--layer 2"},
		{"on layer 3 without addresses", wire.BridgeCreate{Layer: 3, CIDR: "none"}, s4t.Invalid, "--cidr"},
		{"with an MTU that is too small", wire.BridgeCreate{MTU: 100}, s4t.Invalid, "576"},
		{"with IPv6 on an MTU that it does not run with", wire.BridgeCreate{MTU: 1000, CIDR6: "fd00:7::/64"}, s4t.Invalid, "1280"},
		{"with a subnet that is none", wire.BridgeCreate{CIDR: "10.0.0.0"}, s4t.Invalid, "10.0.0.0"},
		{"with IPv6 for IPv4", wire.BridgeCreate{CIDR: "fd00::/64"}, s4t.Invalid, "--cidr6"},
		{"with host bits", wire.BridgeCreate{CIDR: "10.9.0.1/24"}, s4t.Invalid, "10.9.0.0/24"},
		{"with a subnet that is too small", wire.BridgeCreate{CIDR: "10.9.0.0/30", Boards: []string{"one", "two", "three"}}, s4t.Conflict, "room for 2 boards; use a larger"},
		{"with a subnet of another bridge of a board", wire.BridgeCreate{CIDR: "10.1.0.128/25"}, s4t.Conflict, `"first"`},
		{"with an IPv6 subnet of another bridge of a board", wire.BridgeCreate{CIDR6: "fd00:1::/64"}, s4t.Conflict, `"first"`},
		{"with the same subnet but other boards is fine", wire.BridgeCreate{Name: "same", CIDR: "10.1.0.0/24", Boards: []string{"three"}}, "", ""},
		{"with an offline board when online ones are required", wire.BridgeCreate{Boards: []string{"one", "away"}, RequireOnline: true}, s4t.Offline, "away"},
		{"with a limit below zero", wire.BridgeCreate{Guards: s4t.PortGuards{StormLimit: -1}}, s4t.Invalid, "limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := create(tt.req)
			if s4t.KindOf(err) != tt.kind || tt.says != "" && !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v (%q), want %q saying %q", err, s4t.KindOf(err), tt.kind, tt.says)
			}
		})
	}
	for _, tt := range []struct {
		name, method string
		req          wire.BridgeChange
		kind         s4t.Kind
		says         string
	}{
		{"adding to a bridge that does not exist", wire.MethodBridgeAdd, wire.BridgeChange{Ref: "nope", Boards: []string{"three"}}, s4t.NotFound, "nope"},
		{"adding a board that is on it", wire.MethodBridgeAdd, wire.BridgeChange{Ref: "first", Boards: []string{"one"}}, s4t.Conflict, "already"},
		{"adding a board that is on another with the same subnet", wire.MethodBridgeAdd, wire.BridgeChange{Ref: "first", Boards: []string{"three"}}, s4t.Conflict, `"same"`},
		{"removing a board that is not on it", wire.MethodBridgeRemove, wire.BridgeChange{Ref: "first", Boards: []string{"three"}}, s4t.NotFound, "not on it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.req.Caller = l.member
			_, err := try[s4t.Operation](l, tt.method, tt.req)
			if s4t.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v (%q), want %q saying %q", err, s4t.KindOf(err), tt.kind, tt.says)
			}
		})
	}
	if all := items[s4t.Bridge](l, wire.MethodBridgeList, wire.ListRequest{Caller: l.member}); len(all) != 2 {
		t.Errorf("refused requests left something: %+v", all)
	}
}

func TestGREAndLayer3(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.online("two")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "g", Boards: []string{"one", "two"}, Encapsulation: s4t.EncapGRE}))
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "r", Boards: []string{"one"}, Layer: 3, CIDR6: "fd00:77::/64"}))
	if len(f.ports()) != 2 {
		t.Fatalf("ports: %+v", f.ports())
	}
	g, r := f.ports()[0], f.ports()[1]
	if g.Layer == 3 { // resources come by id
		g, r = r, g
	}
	shared := netip.MustParsePrefix("100.64.0.0/10")
	if g.GRE == nil || !shared.Contains(netip.MustParseAddr(g.GRE.Local)) || g.GRE.Remote != agentOuter || g.GRE.Key == 0 || g.MTU != 1458 {
		t.Errorf("gre: %+v", g)
	}
	if r.MAC != "" || r.Layer != 3 || len(r.Addresses) != 2 || r.Addresses[0] != "10.77.1.2/24" || r.Addresses[1] != "fd00:77::2/64" {
		t.Errorf("layer 3: %+v", r)
	}
	p := call[s4t.Port](l, wire.MethodPortGet, wire.RefRequest{Caller: l.reader, Ref: string(g.ID)})
	if p.Counters == nil || p.Counters.RxFrames != 7 || *p.GRE != *g.GRE {
		t.Errorf("port show: %+v", p)
	}
}

func TestNothingIsReservedTwice(t *testing.T) {
	l := newLab(t)
	l.beats()
	l.online("one")
	l.online("two")
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			if _, err := try[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: fmt.Sprintf("b%d", i), Boards: []string{"one", "two"}}); err != nil {
				t.Error(err)
			}
		})
	}
	taken := make(chan int, 12)
	for i := range 12 { // there are 10 public ports
		wg.Go(func() {
			op, err := try[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: fmt.Sprint(1000 + i)})
			switch {
			case err == nil:
				taken <- call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.member, Ref: op.Object}).PublicPort
			case s4t.KindOf(err) != s4t.TooMany:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	close(taken)
	ports := map[int]bool{}
	for p := range taken {
		if ports[p] || p < 50000 || p > 50009 {
			t.Errorf("public port %d", p)
		}
		ports[p] = true
	}
	if len(ports) != 10 {
		t.Errorf("%d public ports were given, there are 10", len(ports))
	}
	bridges := items[s4t.Bridge](l, wire.MethodBridgeList, wire.ListRequest{Caller: l.member})
	seen := map[string]bool{}
	for i, b := range bridges {
		for _, p := range b.Ports {
			for _, thing := range []string{p.MAC, p.Addresses[0], p.Interface} {
				if seen[thing] {
					t.Errorf("%s is there twice", thing)
				}
				seen[thing] = true
			}
		}
		for _, other := range bridges[:i] {
			if netip.MustParsePrefix(b.CIDR).Overlaps(netip.MustParsePrefix(other.CIDR)) {
				t.Errorf("%s and %s overlap", b.CIDR, other.CIDR)
			}
		}
	}
	if len(bridges) != 12 {
		t.Errorf("%d bridges", len(bridges))
	}
}
