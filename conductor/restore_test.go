package conductor

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestAgentsAndBoardsGoOnAfterARestore: the database is from a backup, and agents and
// boards have run on. They have seen later epochs and generations than the backup
// had; they say hello and connect, and all is as it was.
func TestAgentsAndBoardsGoOnAfterARestore(t *testing.T) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			l := newLabOn(t, engine == "postgres")
			f := l.online("one")
			l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
			epoch, generation := f.epochNow(l), f.desired.Generation
			if err := l.db.Restored(t.Context()); err != nil {
				t.Fatal(err)
			}
			if _, err := try[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"}); s4t.KindOf(err) != s4t.Unavailable {
				t.Errorf("an agent from before: %v", err)
			}
			if _, err := try[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: f.id, Epoch: epoch}); s4t.KindOf(err) != s4t.Conflict {
				t.Errorf("a session from before: %v", err)
			}
			if b := l.boardNow("one"); b.Status != s4t.BoardOffline {
				t.Errorf("the board is %s", b.Status)
			}
			l.wampHello("w1")
			l.tunnelHello("t1")
			l.connect(f, "i1")
			l.mu.Lock()
			if f.epoch <= epoch+1 || f.desired.Generation <= generation+1 || len(f.ports()) != 1 {
				t.Errorf("epoch %d after %d, generation %d after %d, ports %v", f.epoch, epoch, f.desired.Generation, generation, f.ports())
			}
			l.mu.Unlock()
			if b := l.bridgeNow("lab"); b.Status != s4t.BridgeUp {
				t.Errorf("the bridge is %s", b.Status)
			}
			l.done(call[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.member, Ref: "lab"}))
		})
	}
}
