package conductor

import (
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestCloudFacts: anybody is told the hosts of public ports, each once; admins what
// agents have room for, and until when the certificates of processes are good.
func TestCloudFacts(t *testing.T) {
	l := newLab(t)
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{ID: "tunnel-agent-2", Kind: wire.AgentTunnel, Incarnation: "x", URL: "https://two", Host: "another.example"})
	call[wire.AgentWelcome](l, wire.MethodAgentHello, wire.AgentHello{ID: "tunnel-agent-3", Kind: wire.AgentTunnel, Incarnation: "x", URL: "https://three", Host: "tunnel.example"})
	at := call[wire.CloudHosts](l, wire.MethodCloudHosts, wire.CloudHostsAsk{Caller: l.reader})
	if want := []string{"another.example", "tunnel.example"}; !slices.Equal(at.Hosts, want) {
		t.Errorf("hosts %q, want %q", at.Hosts, want)
	}
	until := time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
	beat := wire.ProcessBeat{Name: "one", Roles: []string{wire.ProcessConductor, wire.ProcessAPI}, Incarnation: "1", Host: "rack1", CertificateUntil: until}
	call[wire.Empty](l, wire.MethodProcessBeat, beat)
	beat.Name, beat.Roles = string(tunnelID), []string{wire.AgentTunnel}
	call[wire.Empty](l, wire.MethodProcessBeat, beat)
	beat.Name, beat.Roles, beat.CertificateUntil = "old", []string{wire.ProcessAPI}, time.Time{} // it does not say
	call[wire.Empty](l, wire.MethodProcessBeat, beat)
	for who, n := range map[wire.Caller]int{l.reader: 0, l.admin: 3} {
		at := call[wire.CloudHosts](l, wire.MethodCloudHosts, wire.CloudHostsAsk{Caller: who})
		var got []string
		for _, c := range at.Certificates {
			got = append(got, c.Process)
			if c.Host != "rack1" || !c.Until.Equal(until) {
				t.Errorf("certificate %+v", c)
			}
		}
		if want := []string{"api-one", "conductor-one", string(tunnelID)}[:n]; !slices.Equal(got, want) {
			t.Errorf("%s is told of the certificates of %q, want %q", who.Role, got, want)
		}
	}
	for _, a := range items[s4t.Agent](l, wire.MethodAgentsList, wire.ListRequest{Caller: l.admin}) {
		want := map[s4t.AgentID]int{wampID: agentRoom, tunnelID: 10}[a.ID]
		if a.Room != want {
			t.Errorf("%s has room for %d, want %d", a.ID, a.Room, want)
		}
	}
}
