package api

import (
	"context"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// as is a request of a project's member.
func as(t *testing.T, project s4t.ProjectID) context.Context {
	return context.WithValue(t.Context(), callerKey{}, wire.Caller{Project: project, Role: s4t.RoleReader})
}

func newTestAPI(t *testing.T) *API {
	t.Helper()
	a, err := New(Config{Queue: &bookQueue{valid: true}})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// TestAWatcherOfOneProjectNeverCostsAnothers is row 8 of the security review's
// table: a reader that opens streams until it is refused.
func TestAWatcherOfOneProjectNeverCostsAnothers(t *testing.T) {
	a := newTestAPI(t)
	limit := int(s4t.DefaultQuota[s4t.QuotaWatchers])
	for range limit {
		if _, err := a.watchEvents(as(t, "evil"), &eventAsk{}); err != nil {
			t.Fatal(err)
		}
	}
	_, err := a.watchEvents(as(t, "evil"), &eventAsk{})
	if err := kindOf(err); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "uses 128 of its 128 watchers") {
		t.Errorf("one more was answered with %v", err)
	}
	if _, err := a.watchEvents(as(t, "acme"), &eventAsk{}); err != nil {
		t.Errorf("another project's: %v", err)
	}
	if a.watchers.used("evil") != int64(limit) || a.watchers.used("acme") != 1 {
		t.Errorf("%d and %d are open", a.watchers.used("evil"), a.watchers.used("acme"))
	}
}

func TestWhereAllPlacesAreTakenWhoHasMostMakesRoom(t *testing.T) {
	var w watchers
	var many []*place
	for range maxWatchers {
		p, _, ok := w.enter("evil", s4t.Unlimited)
		if !ok {
			t.Fatal("refused before all places were taken")
		}
		many = append(many, p)
	}
	if _, full, ok := w.enter("evil", s4t.Unlimited); ok || !full {
		t.Error("one made room for its own project")
	}
	p, _, ok := w.enter("acme", 1)
	if !ok || !closed(many[len(many)-1].gone) || closed(many[0].gone) {
		t.Errorf("another project's was taken in: %v", ok)
	}
	w.leave(many[len(many)-1]) // it ends by and by
	if w.n != maxWatchers || w.used("evil") != maxWatchers-1 {
		t.Errorf("%d places, %d of the one with most", w.n, w.used("evil"))
	}
	if _, full, ok := w.enter("acme", 1); ok || full {
		t.Error("more than its quota")
	}
	w.leave(p)
	for _, p := range many {
		w.leave(p)
	}
	if w.n != 0 || len(w.projects) != 0 {
		t.Errorf("%d places of %d projects are left", w.n, len(w.projects))
	}
}
