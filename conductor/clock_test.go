package conductor

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestClockJumpsByYears: the wall clock of the cloud jumps while boards are
// connected. Nobody is taken for silent, requests are done, tickets are good
// for their minute, and what was under way still ends.
func TestClockJumpsByYears(t *testing.T) {
	const years = 10 * 365 * 24 * time.Hour
	for name, jump := range map[string]time.Duration{"ten years ahead": years, "ten years back": -years} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			f := l.online("one")
			late := l.online("late")
			l.mu.Lock()
			late.deaf = true
			l.mu.Unlock()
			waits := call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "waits", Boards: []string{"late"}})

			l.skew.Add(int64(jump))
			l.ahead(4 * time.Second)
			for _, b := range []string{"one", "late"} {
				if b := l.boardNow(b); b.Status != s4t.BoardOnline {
					t.Errorf("%s is %s", b.Name, b.Status)
				}
			}
			l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
			got := call[wire.BoardTickets](l, wire.MethodBoardTicket, wire.BoardTicket{Board: f.id, Epoch: f.epochNow(l), Purpose: wire.PurposePort, Port: f.ports()[0].ID, Count: 1})
			key := l.key.Public().(ed25519.PublicKey)
			for after, good := range map[time.Duration]bool{0: true, ticketLife - time.Second: true, ticketLife + 2*time.Second: false} {
				if _, err := wire.VerifyTicket(key, got.Tickets[0], l.c.now().Add(after)); (err == nil) != good {
					t.Errorf("the ticket after %v: %v", after, err)
				}
			}
			for range 8 { // agents are heard all the while
				l.ahead(operationTimeout / 8)
				call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"})
				call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: tunnelID, Incarnation: "t1"})
			}
			l.ahead(4 * time.Second)
			if op := call[s4t.Operation](l, wire.MethodOperationGet, wire.OperationGet{Caller: l.member, ID: waits.ID}); op.Status == s4t.OperationRunning {
				t.Errorf("what was under way still runs: %+v", op)
			}
		})
	}
}
