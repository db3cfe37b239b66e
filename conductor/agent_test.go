package conductor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestANewIncarnationHasForgottenTheOldOne(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))

	l.mu.Lock()
	l.tunnel.deaf = true
	l.mu.Unlock()
	l.tunnelHello("t2")
	if b := l.bridgeNow("lab"); b.Ports[0].Status != s4t.PortDown {
		t.Errorf("after the tunnel agent restarted the port is %s", b.Ports[0].Status)
	}
	if s := items[s4t.Service](l, wire.MethodServiceList, wire.ServiceList{Caller: l.reader})[0]; s.Status != s4t.ServicePending {
		t.Errorf("and the service %s", s.Status)
	}
	// A report that the old one had sent comes late.
	if _, err := try[wire.TunnelReported](l, wire.MethodTunnelReport, wire.TunnelReport{
		Agent: tunnelID, Incarnation: "t1", Generation: 99, States: []wire.ResourceState{{Kind: wire.KindPort, ID: string(f.ports()[0].ID), Up: true}},
	}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("the old one is not told that it was replaced: %v", err)
	}
	if b := l.bridgeNow("lab"); b.Ports[0].Status != s4t.PortDown {
		t.Error("a report of the old incarnation was taken")
	}
	l.mu.Lock()
	l.tunnel.deaf = false
	l.mu.Unlock()
	l.tunnelApply()
	if b := l.bridgeNow("lab"); b.Status != s4t.BridgeUp {
		t.Errorf("after it has all again the bridge is %s", b.Status)
	}

	l.wampHello("w2")
	if b := l.boardNow("one"); b.Status != s4t.BoardOffline || b.LastSeen == nil {
		t.Errorf("after the WAMP agent restarted the board is %s", b.Status)
	}
	l.await("agent.away", string(wampID))
	l.c.upkeep(t.Context()) // to the end of a round
	if b := l.bridgeNow("lab"); b.Ports[0].Status != s4t.PortDown {
		t.Errorf("and its port %s", b.Ports[0].Status)
	}
	if slices.ContainsFunc(l.kinds(), func(k string) bool { return strings.HasPrefix(k, "board.offline") }) {
		t.Error("the board, which may come back, was told of by itself")
	}
	if l.postgres {
		return // its clock cannot be moved
	}
	l.ahead(returnTime + time.Second)
	l.await("board.offline", "one")
}

func TestReportsThatOvertakeEachOther(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	l.mu.Lock()
	newer := l.tunnel.seq + 2
	l.mu.Unlock()
	all := &wire.KeyRange{}
	up := []wire.ResourceState{{Kind: wire.KindPort, ID: string(f.ports()[0].ID), Up: true}}
	call[wire.TunnelReported](l, wire.MethodTunnelReport, wire.TunnelReport{Agent: tunnelID, Incarnation: "t1", Seq: newer, Range: all, States: up})
	call[wire.TunnelReported](l, wire.MethodTunnelReport, wire.TunnelReport{Agent: tunnelID, Incarnation: "t1", Seq: newer - 1, Range: all})
	if b := l.bridgeNow("lab"); b.Status != s4t.BridgeUp {
		t.Errorf("a late report was taken: %s", b.Status)
	}
}

func TestASilentAgent(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	f := l.online("one")
	l.skew.Add(int64(time.Hour)) // the clock jumps, or this process stood still
	l.c.upkeep(t.Context())
	l.c.upkeep(t.Context())
	if b := l.boardNow("one"); b.Status != s4t.BoardOnline {
		t.Errorf("the agent had no time to be heard and the board is %s", b.Status)
	}
	l.ahead(agentTimeout + time.Second)
	if b := l.boardNow("one"); b.Status != s4t.BoardOffline {
		t.Errorf("its agent is silent and the board is %s", b.Status)
	}
	if _, err := try[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.member, Board: "one", TCPPort: 22}); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("stream: %v", err)
	}
	if _, err := try[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("a bridge without a tunnel agent: %v", err)
	}
	call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"})
	if b := l.boardNow("one"); b.Status != s4t.BoardOnline || b.Epoch != f.epoch {
		t.Errorf("the agent is back and the board is %s", b.Status)
	}
	l.ahead(agentTimeout + time.Second)
	l.disconnect(f) // while its agent is silent
	call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"})
	if b := l.boardNow("one"); b.Status != s4t.BoardOffline {
		t.Errorf("its session is over and the board is %s", b.Status)
	}
	for _, beat := range []wire.AgentBeat{{ID: wampID, Incarnation: "other"}, {ID: "nobody", Incarnation: "x"}} {
		if _, err := try[wire.Empty](l, wire.MethodAgentBeat, beat); s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("a beat without a hello: %v", err)
		}
	}
}

func TestAnAgentThatMoves(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{ID: tunnelID, Kind: wire.AgentTunnel, Incarnation: "t1", URL: "https://moved:1", Host: "moved", PublicPorts: s4t.PortRange{First: 1, Last: 2}})
	d := call[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: f.epoch})
	if specs[desiredPort](wire.KindPort, d.Resources)[0].URL != "https://moved:1" || d.Generation < 3 {
		t.Errorf("%+v", d)
	}
	for _, bad := range []any{
		map[string]any{"id": "x", "kind": wire.AgentTunnel, "incarnation": "1", "public_ports": "9-1"},
		map[string]any{"id": "x", "kind": wire.AgentTunnel, "incarnation": "1", "public_ports": "1-99999"},
		wire.AgentHello{ID: "x", Kind: "another", Incarnation: "1"},
		wire.AgentHello{Kind: wire.AgentWAMP, Incarnation: "1"},
	} {
		if _, err := try[wire.AgentWelcome](l, wire.MethodAgentHello, bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestALoopIsTold(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	call[wire.Empty](l, wire.MethodTunnelEvent, wire.TunnelEvent{Agent: tunnelID, Kind: "port.loop", Port: f.ports()[0].ID, Detail: "cut"})
	if e := l.await("port.loop", "one"); e.Detail != "cut" || e.Project != projectID {
		t.Errorf("%+v", e)
	}
	call[wire.Empty](l, wire.MethodTunnelEvent, wire.TunnelEvent{Agent: tunnelID, Kind: "port.loop", Port: "gone"})
}
