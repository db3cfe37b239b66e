package conductor

import (
	"slices"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestCloudFacts: anybody is told the hosts of public ports, each once; admins what
// agents have room for.
func TestCloudFacts(t *testing.T) {
	l := newLab(t)
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{ID: "tunnel-agent-2", Kind: wire.AgentTunnel, Incarnation: "x", URL: "https://two", Host: "another.example"})
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{ID: "tunnel-agent-3", Kind: wire.AgentTunnel, Incarnation: "x", URL: "https://three", Host: "tunnel.example"})
	at := call[wire.CloudHosts](l, wire.MethodCloudHosts, wire.CloudHostsAsk{Caller: l.reader})
	if want := []string{"another.example", "tunnel.example"}; !slices.Equal(at.Hosts, want) {
		t.Errorf("hosts %q, want %q", at.Hosts, want)
	}
	for _, a := range items[s4t.Agent](l, wire.MethodAgentsList, wire.ListRequest{Caller: l.admin}) {
		want := map[s4t.AgentID]int{wampID: agentRoom, tunnelID: 10}[a.ID]
		if a.Room != want {
			t.Errorf("%s has room for %d, want %d", a.ID, a.Room, want)
		}
	}
}
