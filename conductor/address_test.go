package conductor

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// TestABlockHidesNothing does rows 10 and F2 again, at the cloud: a bridge whose
// addresses are the cloud's, a board's LAN or its DNS server is refused, names
// what is in the way, and leaves nothing.
func TestABlockHidesNothing(t *testing.T) {
	l := newLab(t)
	f := l.board("one")
	f.routes, f.resolvers = []string{"192.168.1.0/24", "10.77.0.0/16", "fd00:5::/64", "0.0.0.0/0", "nonsense"}, []string{"192.168.7.53", "fd00:6::53", "127.0.0.53"}
	l.connect(f, "i1")
	l.online("two")
	create := func(req wire.BridgeCreate) (s4t.Operation, error) {
		req.Caller = l.member
		if req.Boards == nil {
			req.Boards = []string{"two", "one"}
		}
		return try[s4t.Operation](l, wire.MethodBridgeCreate, req)
	}
	for _, tt := range []struct {
		name        string
		cidr, cidr6 string
		kind        s4t.Kind
		says        string
	}{
		{"the cloud's address", "203.0.113.0/24", "", s4t.Conflict, "203.0.113.10, an address of this cloud"},
		{"a tunnel agent's address", "10.200.0.0/24", "", s4t.Conflict, "10.200.0.5, an address of this cloud"},
		{"the LAN", "192.168.1.0/24", "", s4t.Conflict, `192.168.1.0/24, to which board "one" has a route of its own`},
		{"a part of the LAN", "192.168.1.128/25", "", s4t.Conflict, `"one" has a route`},
		{"more than the LAN", "192.168.0.0/20", "", s4t.Conflict, `"one" has a route`},
		{"the LAN, of IPv6", "none", "fd00:5::/64", s4t.Conflict, `"one" has a route`},
		{"a DNS server", "192.168.7.0/24", "", s4t.Conflict, `192.168.7.53, a DNS server of board "one"`},
		{"a DNS server, of IPv6", "none", "fd00:6::/64", s4t.Conflict, "a DNS server"},
		{"a block of the Internet", "8.8.8.0/24", "", s4t.Invalid, "--allow-public-cidr"},
		{"a block of the Internet, of IPv6", "none", "2001:470:1::/64", s4t.Invalid, "--allow-public-cidr"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := create(wire.BridgeCreate{Name: "lab", CIDR: tt.cidr, CIDR6: tt.cidr6})
			if s4t.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v, want %q", err, tt.says)
			}
		})
	}
	if all := items[s4t.Bridge](l, wire.MethodBridgeList, wire.ListRequest{Caller: l.member}); len(all) != 0 {
		t.Errorf("%+v is left", all)
	}
	op, err := create(wire.BridgeCreate{Name: "meant", CIDR: "8.8.8.0/24", AllowPublicCIDR: true, Boards: []string{"two"}})
	if err != nil {
		t.Fatal(err)
	}
	l.done(op)
	// One that is chosen keeps away from all of it; a board that joins later is
	// looked at as well.
	if op, err = create(wire.BridgeCreate{Name: "chosen"}); err != nil {
		t.Fatal(err)
	}
	l.done(op)
	if b := l.bridgeNow("chosen"); b.CIDR != "10.78.0.0/24" {
		t.Errorf("%s was chosen", b.CIDR)
	}
	if op, err = create(wire.BridgeCreate{Name: "lan", CIDR: "192.168.1.0/24", Boards: []string{"two"}}); err != nil {
		t.Fatal(err)
	}
	l.done(op)
	add := func(ref string) error {
		_, err := try[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.member, Ref: ref, Boards: []string{"one"}})
		return err
	}
	if err := add("lan"); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), `"one" has a route`) {
		t.Errorf("a board is added whose LAN it is: %v", err)
	}
	l.c.lookups.put("cloud.example", lookup{l.c.now(), []netip.Addr{netip.MustParseAddr("8.8.8.8")}}) // it has moved
	if err := add("meant"); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "an address of this cloud") {
		t.Errorf("a board is added to a bridge that has the cloud's new address: %v", err)
	}
}

func TestNamesOfTheCloudAreLookedUpOnce(t *testing.T) {
	l := newLab(t)
	if a, err := l.c.cloudAddresses(t.Context()); err != nil || len(a) != 2 {
		t.Errorf("%v, %v", a, err)
	}
	delete(l.names, "cloud.example") // nobody else reads it now
	if a, err := l.c.cloudAddresses(t.Context()); err != nil || len(a) != 2 {
		t.Errorf("a moment later: %v, %v", a, err)
	}
	if a := l.c.addressesOf(t.Context(), "nobody.example"); len(a) != 0 {
		t.Errorf("%v", a)
	}
	if a := l.c.addressesOf(t.Context(), "::ffff:192.0.2.1"); len(a) != 1 || a[0].String() != "192.0.2.1" {
		t.Errorf("%v", a)
	}
}

func TestASmallSubnetHasRoomForTwo(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.online("two")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}, CIDR: "10.9.0.0/30"}))
	for i, p := range l.bridgeNow("lab").Ports {
		if want := fmt.Sprintf("10.9.0.%d/30", i+1); p.Addresses[0] != want {
			t.Errorf("%s has %v", p.Board, p.Addresses)
		}
	}
	for cidr, says := range map[string]string{"10.9.0.0/30": ", which has room for 2 boards", "10.9.0.0/29": ", whose first address, 10.9.0.1, is kept for a router", "fd00::/126": ", which has room for 3 boards", "10.9.0.0/16": ""} {
		if got := vnet.Kept(netip.MustParsePrefix(cidr)); got != says {
			t.Errorf("%s: %q", cidr, got)
		}
	}
}

// FuzzReached: whatever a board says of what it reaches, a block can be looked
// at and chosen.
func FuzzReached(f *testing.F) {
	f.Add("192.168.1.0/24", "192.168.1.1")
	f.Add("::ffff:10.0.0.0/120", "fe80::1%eth0")
	f.Add("0.0.0.0/0", "127.0.0.53")
	f.Fuzz(func(t *testing.T, route, resolver string) {
		b := store.Board{Board: s4t.Board{Name: "one", Info: s4t.BoardInfo{Routes: []string{route}, Resolvers: []string{resolver}}.Clamp()}}
		used := occupied([]store.Board{b}, nil)
		if p := vnet.ChoosePrefix(used); p.IsValid() {
			if err := clearOfBoard("choose", b, []netip.Prefix{p}); err != nil {
				t.Errorf("%v was chosen: %v", p, err)
			}
		}
	})
}
