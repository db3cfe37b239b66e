package conductor

import (
	"fmt"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// BenchmarkBridge is the conductor's share of the time from a request to the
// end of its operation: checks, transactions, wake-ups and reports, with
// agents and boards that need no time.
func BenchmarkBridge(b *testing.B) {
	for _, boards := range []int{2, 100} {
		b.Run(fmt.Sprintf("boards=%d", boards), func(b *testing.B) {
			l := newLab(b)
			var names []string
			for i := range boards {
				names = append(names, l.online(fmt.Sprintf("b%d", i)).name)
			}
			n := 0
			for b.Loop() {
				n++
				call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: tunnelID, Incarnation: "t1"})
				call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"})
				name := fmt.Sprintf("lab%d", n)
				l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: name, Boards: names}))
				b.StopTimer()
				l.done(call[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.member, Ref: name}))
				b.StartTimer()
			}
		})
	}
}
