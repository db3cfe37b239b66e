package conductor

import (
	"context"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestWhoSpeaksOverTheQueueIsNobodyByThat lets an agent that was taken over
// call, as an admin that no conductor has resolved, what users may call.
func TestWhoSpeaksOverTheQueueIsNobodyByThat(t *testing.T) {
	l := newLab(t)
	l.online("one")
	claimed := wire.Caller{User: "ann", Project: otherID, Role: s4t.RoleAdmin, Until: l.admin.Until}
	stolen := l.reader
	stolen.Role = s4t.RoleAdmin
	for name, caller := range map[string]wire.Caller{"a caller of its own": claimed, "a caller made stronger": stolen} {
		for method := range l.c.cfg.Mux {
			asksAsNobody := method == wire.MethodEventFeed || method == wire.MethodOperationFeed || method == wire.MethodServiceLookup || method == wire.MethodAgentsReach // DNS tells everybody, and so do policies of pages
			if topic := wire.TopicOf(method); asksAsNobody || topic != wire.TopicConductor && topic != wire.TopicQuestions {
				continue
			}
			_, err := try[any](l, method, struct {
				Caller wire.Caller `json:"caller"`
				Ref    string      `json:"ref"`
				Board  string      `json:"board"`
				Name   string      `json:"name"`
			}{caller, "one", "one", "one"})
			if s4t.KindOf(err) != s4t.Unauthenticated {
				t.Errorf("%s, %s: %v", name, method, err)
			}
		}
	}
	// On the topics of agents and boards there are no methods of users.
	for _, topic := range []string{wire.TopicAgents, wire.TopicBoards} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := l.q.Call(ctx, topic, wire.MethodBoardDelete, wire.RefRequest{Caller: l.admin, Ref: "one"}, nil)
		cancel()
		if s4t.KindOf(err) != s4t.NotFound {
			t.Errorf("%s: %v", topic, err)
		}
	}
	if n := len(items[s4t.Board](l, wire.MethodBoardList, wire.BoardList{Caller: l.admin})); n != 1 {
		t.Errorf("%d boards are left", n)
	}
}
