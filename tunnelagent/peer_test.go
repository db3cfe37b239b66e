package tunnelagent

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

const (
	secondID s4t.AgentID = "tunnel-agent-2"
	thirdID  s4t.AgentID = "tunnel-agent-3"
)

// configForPeers asks who dials as a peer for a certificate.
func (r *rig) configForPeers(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if !slices.Contains(hello.SupportedProtos, PeerProtocol) {
		return nil, nil
	}
	cfg := r.server.TLS.Clone()
	cfg.GetConfigForClient, cfg.NextProtos, cfg.ClientAuth = nil, []string{"http/1.1"}, tls.RequireAnyClientCert
	return cfg, nil
}

// dialPeer dials another agent as this one.
func (r *rig) dialPeer(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) {
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw}) // of all servers of httptest
	d, err := dial.New(dial.Config{
		CA: ca, Env: func(string) string { return "" }, Protocol: PeerProtocol, Certificate: func() *tls.Certificate { return &r.server.TLS.Certificates[0] },
	})
	if err != nil {
		return nil, err
	}
	return d.Dial(ctx, url, rtunnel.Path, rtunnel.SubprotocolPeer, ticket)
}

// mesh has rigs be able to reach each other.
func mesh(rigs ...*rig) {
	for _, r := range rigs {
		r.conductor.mu.Lock()
		r.conductor.tickets = func(peering string) string {
			for _, o := range rigs {
				if o != r && strings.HasSuffix(peering, string(o.id)) {
					return o.sign(wire.Ticket{Purpose: wire.PurposePeer, Peering: peering}, nil)
				}
			}
			return ""
		}
		r.conductor.mu.Unlock()
	}
}

// peering is the resource of r for its peering with another.
func (r *rig) peering(network s4t.NetworkID, o *rig) wire.Resource {
	return wire.NewResource(wire.KindPeer, wire.PeeringID(network, r.id, o.id), wire.TunnelPeer{Network: network, Agent: o.id, URL: o.server.URL, Dial: r.id < o.id})
}

// host is a network with one port.
func host(network string, port, board, mac string) []wire.Resource {
	return []wire.Resource{
		wire.NewResource(wire.KindNetwork, network, wire.TunnelNetwork{Layer: 2, Encapsulation: s4t.EncapEthernet, MTU: 1500}),
		wire.NewResource(wire.KindPort, port, wire.TunnelPort{Network: s4t.NetworkID(network), Board: s4t.BoardID(board), MAC: mac}),
	}
}

func TestTwoNetworksSpanTwoAgents(t *testing.T) {
	one, two := newRig(t), newRigOf(t, secondID)
	mesh(one, two)
	var conns [2][2]*rtunnel.Conn // by agent and network
	for i, r := range []*rig{one, two} {
		o := []*rig{two, one}[i]
		var all []wire.Resource
		for _, n := range []string{"lab", "yard"} { // with the same MACs
			all = append(all, host(n, n+"-port", string(kitchen), []string{"02:00:00:00:00:01", "02:00:00:00:00:02"}[i])...)
			all = append(all, r.peering(s4t.NetworkID(n), o))
		}
		r.want(all...)
		for j, n := range []s4t.PortID{"lab-port", "yard-port"} {
			conns[i][j] = r.attach(kitchen, n)
			r.await("the port", portUp(n))
		}
	}
	for _, n := range []s4t.NetworkID{"lab", "yard"} {
		one.await("the peering", up(wire.KindPeer, wire.PeeringID(n, one.id, two.id)))
		two.await("the peering", up(wire.KindPeer, wire.PeeringID(n, one.id, two.id)))
	}
	for _, frame := range [][]byte{frameOf(2, 1, "there"), frameOf(2, 1, "once more")} {
		if err := conns[0][0].WriteMessage(rtunnel.OpBinary, frame); err != nil {
			t.Fatal(err)
		}
		if got := next(t, conns[1][0]); string(got) != string(frame) {
			t.Fatalf("%x arrived, not %x", got, frame)
		}
	}
	back := frameOf(1, 2, "back")
	if err := conns[1][1].WriteMessage(rtunnel.OpBinary, back); err != nil {
		t.Fatal(err)
	}
	if got := next(t, conns[0][1]); string(got) != string(back) {
		t.Fatalf("%x arrived, not %x: of another network?", got, back)
	}

	// A peering that is cut is there again by itself.
	two.agent.peers.mu.Lock()
	at := two.agent.peers.all[wire.PeeringID("lab", one.id, two.id)].attached
	two.agent.peers.mu.Unlock()
	at.conn.Close()
	<-at.done
	two.await("the peering", up(wire.KindPeer, wire.PeeringID("lab", one.id, two.id)))
	one.await("the peering", up(wire.KindPeer, wire.PeeringID("lab", one.id, two.id)))

	// It ends with the network at one of them.
	two.want(host("yard", "yard-port", string(kitchen), "02:00:00:00:00:02")...)
	one.await("the end of the peering", func(v view) bool {
		return !up(wire.KindPeer, wire.PeeringID("lab", one.id, two.id))(v)
	})
}

func TestWhoIsNoPeerIsRefused(t *testing.T) {
	one, two, three := newRig(t), newRigOf(t, secondID), newRigOf(t, thirdID)
	mesh(one, two, three)
	two.want(append(host("lab", "p", string(kitchen), "02:00:00:00:00:02"), two.peering("lab", one))...)
	id := wire.PeeringID("lab", one.id, two.id)
	ticket := func(peering string) string {
		return two.sign(wire.Ticket{Purpose: wire.PurposePeer, Peering: peering}, nil)
	}
	if _, err := two.dial(rtunnel.SubprotocolPeer, ticket(id)); s4t.KindOf(err) != s4t.Forbidden || !contains(err, "certificate") {
		t.Errorf("without a certificate: %v", err)
	}
	if _, err := three.dialPeer(t.Context(), two.server.URL, ticket(wire.PeeringID("lab", two.id, three.id))); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("of a network that it is not on: %v", err)
	}
	if _, err := three.dialPeer(t.Context(), two.server.URL, three.sign(wire.Ticket{Purpose: wire.PurposePeer, Peering: id}, nil)); s4t.KindOf(err) != s4t.Unauthenticated {
		t.Errorf("with a ticket that the conductor did not sign: %v", err)
	}
	if _, err := one.dialPeer(t.Context(), two.server.URL, two.sign(wire.Ticket{Purpose: wire.PurposePort, Board: kitchen, Port: "p"}, nil)); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("with the ticket of a board: %v", err)
	}
	conn, err := one.dialPeer(t.Context(), two.server.URL, ticket(id))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestWhyAnotherAgentIsNotReachedIsSaid(t *testing.T) {
	one, two := newRig(t), newRigOf(t, secondID)
	mesh(one, two)
	one.want(append(host("lab", "p", string(kitchen), "02:00:00:00:00:01"), one.peering("lab", two))...)
	id := wire.PeeringID("lab", one.id, two.id)
	one.await("why it is not reached", func(v view) bool {
		return strings.Contains(v.states[peerKey(id)].Problem, "reach tunnel-agent-2")
	})
	two.want(append(host("lab", "q", string(garden), "02:00:00:00:00:02"), two.peering("lab", one))...)
	one.await("the peering", func(v view) bool { s := v.states[peerKey(id)]; return s.Up && s.Problem == "" })
}
