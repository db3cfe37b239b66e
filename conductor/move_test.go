package conductor

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestABrokerThatWasAwayMovesNothing: where no agent was heard for a while, the first one
// that is heard again does not get what the others have; where the others stay silent, it does.
func TestABrokerThatWasAwayMovesNothing(t *testing.T) {
	needsClock(t)
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	const other = "tunnel-agent-other"
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{
		ID: other, Kind: wire.AgentTunnel, Incarnation: "o1", URL: "https://other:1", Host: "other.example", PublicPorts: s4t.PortRange{First: 50000, Last: 50009},
	})
	at := func() s4t.AgentID {
		t.Helper()
		return items[s4t.Network](l, wire.MethodNetworkList, wire.ListRequest{Caller: l.member})[0].TunnelAgent
	}
	otherBeats := func() {
		call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: other, Incarnation: "o1"})
	}
	l.ahead(agentTimeout + 4*time.Second) // nobody is heard
	otherBeats()
	l.ahead(agentTimeout / 2)
	if now := at(); now != tunnelID {
		t.Errorf("the network is at %s, which was heard first", now)
	}
	otherBeats()
	l.ahead(agentTimeout/2 + 2*time.Second)
	otherBeats()
	l.ahead(4 * time.Second)
	if now := at(); now != other {
		t.Errorf("its agent stays silent, and the network is at %s", now)
	}
}
