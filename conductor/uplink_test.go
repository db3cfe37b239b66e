package conductor

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestAnUplinksWholeLife(t *testing.T) {
	l := newLab(t)
	l.online("one")
	for _, name := range []string{"lab", "other"} {
		l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: name, Boards: []string{"one"}}))
	}
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "routed", Boards: []string{"one"}, Layer: 3}))
	show := func() *s4t.Uplink {
		return call[s4t.Network](l, wire.MethodNetworkGet, wire.RefRequest{Caller: l.reader, Ref: "lab"}).Uplink
	}

	for _, tt := range []struct {
		name   string
		caller wire.Caller
		ref    string
		bridge string
		kind   s4t.Kind
	}{
		{"by a member of the project", l.member, "lab", "br0", s4t.Forbidden},
		{"by a reader", l.reader, "lab", "br0", s4t.Forbidden},
		{"by somebody else", l.foreign, "lab", "br0", s4t.NotFound},
		{"of a network that does not exist", l.admin, "nowhere", "br0", s4t.NotFound},
		{"into what no bridge is called", l.admin, "lab", "br/0", s4t.Invalid},
		{"of layer 3", l.admin, "routed", "br0", s4t.Invalid},
	} {
		t.Run("an uplink "+tt.name, func(t *testing.T) {
			_, err := try[s4t.Operation](l, wire.MethodUplinkSet, wire.UplinkSet{Caller: tt.caller, Ref: tt.ref, Bridge: tt.bridge})
			if s4t.KindOf(err) != tt.kind {
				t.Errorf("%v", err)
			}
			_, err = try[s4t.Operation](l, wire.MethodUplinkRemove, wire.RefRequest{Caller: tt.caller, Ref: tt.ref})
			if tt.kind != s4t.Invalid && s4t.KindOf(err) != tt.kind {
				t.Errorf("its removal: %v", err)
			}
		})
	}

	l.mu.Lock()
	l.tunnel.problems["br0"] = "there is no br0"
	l.mu.Unlock()
	op := l.ended(call[s4t.Operation](l, wire.MethodUplinkSet, wire.UplinkSet{Caller: l.admin, Ref: "lab", Bridge: "br0", Guards: s4t.PortGuards{AllowDHCP: true, BridgeTo: "eth9", Outward: s4t.OutwardGuards{AllowRA: true}}}))
	if op.Status != s4t.OperationFailed || !strings.Contains(op.Error, "there is no br0") {
		t.Errorf("an uplink to a bridge that is not there: %+v", op)
	}
	if u := show(); u == nil || u.Status != s4t.PortPending || u.Problem != "there is no br0" {
		t.Errorf("it shows %+v", u)
	}
	l.mu.Lock()
	delete(l.tunnel.problems, "br0")
	l.mu.Unlock()
	l.tunnelReport()
	l.await("uplink.up", "lab")
	if u := show(); u.Status != s4t.PortUp || !u.Guards.AllowAnySource || !u.Guards.AllowDHCP || u.Guards.BridgeTo != "" || u.Counters == nil {
		t.Errorf("it shows %+v", u)
	}
	if u := tunnelWants[tunnelUplink](l, wire.KindUplink); len(u) != 1 || u[0].Bridge != "br0" || !u[0].Guards.AllowDHCP || u[0].Guards.Outward != (s4t.OutwardGuards{AllowRA: true}) {
		t.Errorf("the tunnel agent is told %+v", u)
	}
	if _, err := try[s4t.Operation](l, wire.MethodUplinkSet, wire.UplinkSet{Caller: l.admin, Ref: "other", Bridge: "br0"}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a second network in the bridge: %v", err)
	}

	l.done(call[s4t.Operation](l, wire.MethodUplinkSet, wire.UplinkSet{Caller: l.admin, Ref: "lab", Bridge: "br1"}))
	l.done(call[s4t.Operation](l, wire.MethodUplinkSet, wire.UplinkSet{Caller: l.admin, Ref: "other", Bridge: "br0"}))
	outward := s4t.PortGuards{Outward: s4t.OutwardGuards{AllowAnySource: true}}
	if _, err := try[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "out", Boards: []string{"one"}, Guards: outward}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("a port with guards of an uplink: %v", err)
	}
	m := call[wire.Metrics](l, wire.MethodMetrics, wire.MetricsAsk{Caller: l.reader})
	if len(m.Uplinks) != 2 || len(m.Ports) != 3 || m.Boards[s4t.BoardOnline] != 1 || m.Next != "" || m.Ports[0].Counters == nil || m.Uplinks[0].Counters == nil {
		t.Errorf("metrics %+v", m)
	}
	if m := call[wire.Metrics](l, wire.MethodMetrics, wire.MetricsAsk{Caller: l.foreign}); len(m.Uplinks)+len(m.Ports)+m.Boards[s4t.BoardOnline] != 0 {
		t.Errorf("a foreign project is shown %+v", m)
	}
	call[wire.Empty](l, wire.MethodTunnelEvent, wire.TunnelEvent{Agent: tunnelID, Kind: "port.loop", Port: s4t.PortID(tunnelWants[tunnelNetwork](l, wire.KindNetwork)[0].ID), Detail: "x"})
	l.await("port.loop", "lab")

	l.tunnelHello("t2") // it starts anew
	l.await("uplink.down", "lab")
	l.done(call[s4t.Operation](l, wire.MethodUplinkRemove, wire.RefRequest{Caller: l.admin, Ref: "lab"}))
	if u := show(); u != nil || len(tunnelWants[tunnelUplink](l, wire.KindUplink)) != 1 {
		t.Errorf("something is left: %+v", u)
	}
	l.done(call[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.member, Ref: "other"}))
}

func TestAPortThatBridgesALANSpeaksForIt(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "plant", Boards: []string{"one"}, Guards: s4t.PortGuards{BridgeTo: "eth1"}}))
	if g := f.ports()[0].Guards; g.BridgeTo != "eth1" || !g.AllowAnySource {
		t.Errorf("the board is told %+v", g)
	}
	if g := tunnelWants[tunnelPort](l, wire.KindPort)[0].Guards; !g.AllowAnySource {
		t.Errorf("the tunnel agent is told %+v", g)
	}
}
