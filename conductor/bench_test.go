package conductor

import (
	"context"
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

// BenchmarkPinRead is a read of a pin whose board answers at once: what the
// conductor and the queue take of it.
func BenchmarkPinRead(b *testing.B) {
	l := newLab(b)
	p := l.pins()
	f := l.online("gate")
	p.answers(func(context.Context, wire.BoardPins) (wire.PinAnswer, error) {
		p.mu.Lock()
		p.asked = p.asked[:0]
		p.mu.Unlock()
		return wire.PinAnswer{Samples: []s4t.Sample{{Pin: "sim/demo/out", Seq: 1, Value: 0.5}}}, nil
	})
	for name, board := range map[string]string{"name": "gate", "id": string(f.id)} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := l.c.pinAsk(b.Context(), wire.PinRequest{Caller: l.reader, Board: board, Ask: readOut}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
