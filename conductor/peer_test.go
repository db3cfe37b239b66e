package conductor

import (
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// second is a tunnel agent at a place, which does what it is told when the test says so.
type second struct {
	l   *lab
	id  s4t.AgentID
	seq int64
}

func newSecond(l *lab, id s4t.AgentID, place string) *second {
	l.t.Helper()
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{
		ID: id, Kind: wire.AgentTunnel, Incarnation: "s1", URL: "https://" + string(id) + ":8812", Host: string(id), PublicPorts: s4t.PortRange{First: 50000, Last: 50009}, Place: place, Peers: true,
	})
	return &second{l: l, id: id}
}

// apply takes the desired state, says that all of it is up but for peers with a
// problem, and returns it by kind.
func (a *second) apply(problem string) map[wire.Kind][]wire.Resource {
	a.l.t.Helper()
	d := call[wire.TunnelDesired](a.l, wire.MethodTunnelAsk, wire.TunnelAsk{Agent: a.id, Incarnation: "s1"})
	wants := map[wire.Kind][]wire.Resource{}
	a.seq++
	r := wire.TunnelReport{Agent: a.id, Incarnation: "s1", Seq: a.seq, Generation: d.Generation, Range: &wire.KeyRange{}, States: []wire.ResourceState{}}
	for _, w := range d.Resources {
		if w.Gone {
			continue
		}
		wants[w.Kind] = append(wants[w.Kind], w)
		s := wire.ResourceState{Kind: w.Kind, ID: w.ID, Up: true}
		if w.Kind == wire.KindPeer && problem != "" {
			s.Up, s.Problem = false, problem
		}
		r.States = append(r.States, s)
		r.Sum = r.Sum.Add(s.Sum())
	}
	slices.SortFunc(r.States, func(s, o wire.ResourceState) int { return s.Key().Compare(o.Key()) })
	call[wire.TunnelReported](a.l, wire.MethodTunnelReport, r)
	return wants
}

// settled makes a second agent do what it is told until an operation has ended.
func (a *second) settled(op s4t.Operation) {
	a.l.t.Helper()
	for late := time.Now().Add(time.Minute); time.Now().Before(late); time.Sleep(20 * time.Millisecond) {
		a.apply("")
		if now := call[s4t.Operation](a.l, wire.MethodOperationGet, wire.OperationGet{Caller: a.l.reader, ID: op.ID}); now.Status != s4t.OperationRunning {
			if now.Status != s4t.OperationSucceeded {
				a.l.t.Fatalf("%+v", now)
			}
			return
		}
	}
	a.l.t.Fatal("the operation does not end")
}

func TestABoardOfAnotherPlaceIsAtAnAgentThere(t *testing.T) {
	l := newLab(t)
	l.online("one")
	two := l.online("two")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "b", Boards: []string{"one"}}))
	call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "two", Labels: map[string]string{placeLabel: "catania"}})
	there := newSecond(l, "zz-agent", "catania")
	network := func() s4t.Network {
		return call[s4t.Network](l, wire.MethodNetworkGet, wire.RefRequest{Caller: l.reader, Ref: "b"})
	}
	if n := network(); n.TunnelAgent != tunnelID || len(n.TunnelAgents) > 0 {
		t.Fatalf("a network at one agent is shown as %+v", n)
	}
	add := wire.BridgeChange{Caller: l.member, Ref: "b", Boards: []string{"two"}}
	there.settled(call[s4t.Operation](l, wire.MethodBridgeAdd, add))
	id := wire.PeeringID(network().ID, tunnelID, there.id)
	wants := there.apply("")
	if len(wants[wire.KindNetwork]) != 1 || len(wants[wire.KindPort]) != 1 || len(wants[wire.KindPeer]) != 1 || wants[wire.KindPeer][0].ID != id {
		t.Errorf("the agent of the place is told %v", wants)
	}
	if got := wire.Specs[wire.TunnelPeer](wire.KindPeer, wants[wire.KindPeer]); len(got) != 1 || got[0].Dial || got[0].URL != tunnelURL || got[0].Agent != tunnelID {
		t.Errorf("its peer is %+v", got)
	}
	l.mu.Lock()
	url := two.ports()[0].URL
	l.mu.Unlock()
	if url != "https://zz-agent:8812" {
		t.Errorf("the board is told to dial %s", url)
	}
	n := network()
	if !slices.Equal(n.TunnelAgents, []s4t.AgentID{tunnelID, there.id}) || len(n.Problems) > 0 || n.TunnelAgent != tunnelID {
		t.Errorf("the network is at %v, own %s, problems %v", n.TunnelAgents, n.TunnelAgent, n.Problems)
	}

	// Who dials gets tickets, for what it is to dial.
	l.mu.Lock()
	incarnation := l.tunnel.incarnation
	l.mu.Unlock()
	text := call[wire.TunnelTicket](l, wire.MethodTunnelTicket, wire.TunnelTicketAsk{Agent: tunnelID, Incarnation: incarnation, Peering: id}).Ticket
	if ticket, err := wire.VerifyTicket(l.c.ticketKey(), text, l.c.now()); err != nil || ticket.Purpose != wire.PurposePeer || ticket.Agent != there.id || ticket.Peering != id || ticket.Incarnation != "s1" {
		t.Errorf("the ticket is %+v, %v", ticket, err)
	}
	for what, ask := range map[string]wire.TunnelTicketAsk{
		"who is dialled": {Agent: there.id, Incarnation: "s1", Peering: id},
		"another":        {Agent: tunnelID, Incarnation: incarnation, Peering: wire.PeeringID("other", tunnelID, there.id)},
	} {
		if _, err := try[wire.TunnelTicket](l, wire.MethodTunnelTicket, ask); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("%s: %v", what, err)
		}
	}

	// That they do not reach each other is said where both say so.
	l.mu.Lock()
	l.tunnel.problems[id] = "reach zz-agent: nobody answers"
	l.mu.Unlock()
	l.tunnelReport()
	there.apply("no answer")
	l.await("peer.down", "b")
	if n := network(); len(n.Problems) != 1 || n.Problems[0] != "tunnel agents tunnel-agent-1 and zz-agent do not reach each other: reach zz-agent: nobody answers" {
		t.Errorf("problems %q", n.Problems)
	}

	// The last board of the place takes its agent with it.
	there.settled(call[s4t.Operation](l, wire.MethodBridgeRemove, add))
	if wants := there.apply(""); len(wants) > 0 {
		t.Errorf("without boards the agent is told %v", wants)
	}
	l.tunnelApply() // it may be on its way
	if n := network(); len(n.TunnelAgents) > 0 || len(tunnelWants[wire.TunnelPeer](l, wire.KindPeer)) > 0 {
		t.Errorf("the network is still at %v", n.TunnelAgents)
	}
	there.settled(call[s4t.Operation](l, wire.MethodBridgeAdd, add))
	there.settled(call[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.member, Ref: "b"}))
	if wants := there.apply(""); len(wants) > 0 {
		t.Errorf("without the bridge the agent is told %v", wants)
	}
	err := l.db.View(t.Context(), func(tx *store.Tx) error {
		left, err := tx.Peerings(n.ID)
		if len(left) > 0 {
			t.Errorf("peerings %v are left", left)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
