package conductor

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestGuardsBesideTheDataCentreAreAnAdmins does row 11 again: a member takes a
// board off a network that an admin has joined to the data centre, and adds it
// again with its guards lifted.
func TestGuardsBesideTheDataCentreAreAnAdmins(t *testing.T) {
	for name, join := range map[string]func(l *lab, allowLifted bool) (s4t.Operation, error){
		"uplink": func(l *lab, allowLifted bool) (s4t.Operation, error) {
			return try[s4t.Operation](l, wire.MethodUplinkSet, wire.UplinkSet{Caller: l.operator, Ref: "dc", Bridge: "br0", AllowLifted: allowLifted})
		},
		"GRE endpoint": func(l *lab, allowLifted bool) (s4t.Operation, error) {
			return try[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "dc", Remote: "192.0.2.7", AllowLifted: allowLifted})
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.online("one")
			l.online("two")
			l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "dc", Boards: []string{"one", "two"}}))
			op, err := join(l, false)
			if err != nil {
				t.Fatal(err)
			}
			l.done(op)
			remove := func() {
				t.Helper()
				l.done(call[s4t.Operation](l, wire.MethodBridgeRemove, wire.BridgeChange{Caller: l.member, Ref: "dc", Boards: []string{"two"}}))
			}
			add := func(caller wire.Caller, g s4t.PortGuards) (s4t.Operation, error) {
				return try[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: caller, Ref: "dc", Boards: []string{"two"}, Guards: g})
			}
			remove()
			for flag, g := range map[string]s4t.PortGuards{
				"--allow-any-source": {AllowAnySource: true}, "--allow-dhcp": {AllowDHCP: true}, "--allow-ra": {AllowRA: true}, "--bridge-to eth1": {BridgeTo: "eth1"},
				"--storm-limit 2000000000": {StormLimit: 2_000_000_000},
			} {
				if _, err := add(l.member, g); s4t.KindOf(err) != s4t.Forbidden || !strings.Contains(err.Error(), flag) || !strings.Contains(err.Error(), "role admin") {
					t.Errorf("%s by a member: %v", flag, err)
				}
			}
			// What lifts nothing is a member's, and an admin may lift.
			for _, tt := range []struct {
				caller wire.Caller
				g      s4t.PortGuards
			}{{l.member, s4t.PortGuards{}}, {l.member, s4t.PortGuards{StormLimit: 100, RateLimit: 1_000_000}}, {l.operator, s4t.PortGuards{AllowDHCP: true, AllowRA: true}}} {
				op, err := add(tt.caller, tt.g)
				if err != nil {
					t.Fatal(err)
				}
				l.done(op)
				if tt.g.AllowRA {
					break
				}
				remove()
			}
			if e := l.await("network.guards_lifted", "dc"); e.Board != "two" || e.Detail != "--allow-dhcp, --allow-ra" {
				t.Errorf("%+v", e)
			}
		})
		t.Run(name+" beside lifted guards", func(t *testing.T) {
			l := newLab(t)
			l.online("one")
			l.online("two")
			l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "dc", Boards: []string{"one"}}))
			l.done(call[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.member, Ref: "dc", Boards: []string{"two"}, Guards: s4t.PortGuards{AllowAnySource: true}}))
			if _, err := join(l, false); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "board two (--allow-any-source)") || strings.Contains(err.Error(), "board one") || !strings.Contains(err.Error(), "--allow-lifted") {
				t.Errorf("%v", err)
			}
			op, err := join(l, true)
			if err != nil {
				t.Fatal(err)
			}
			l.done(op)
			if e := l.await("network.guards_lifted", "dc"); e.Board != "two" {
				t.Errorf("%+v", e)
			}
		})
	}
}
