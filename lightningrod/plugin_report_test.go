package lightningrod

import (
	"testing"

	"github.com/stack4things/s4t"
)

// TestCommandsAreToldBeforeTheirPlugin: to each session's cloud, once; and nothing where
// there are no plugins.
func TestCommandsAreToldBeforeTheirPlugin(t *testing.T) {
	m := &fakeManager{}
	first, second := &codeCloud{fakeCloud: newFakeCloud(testDesired(1))}, &codeCloud{fakeCloud: newFakeCloud(testDesired(1))}
	g := guestsFor(first, m)
	g.telling.before(t.Context(), g, first, 7)
	if n := len(first.reports()); n != 0 {
		t.Errorf("told %d times of nothing", n)
	}
	m.commands = []s4t.Command{{Name: "add", Plugin: "meter"}}
	for range 2 {
		g.telling.before(t.Context(), g, first, 7)
	}
	if err := g.telling.send(t.Context(), g, first, 7, false); err != nil {
		t.Error(err)
	}
	if got := first.reports(); len(got) != 1 || len(got[0].Commands) != 2 || got[0].Epoch != 7 {
		t.Errorf("told %+v", got)
	}
	g.telling.before(t.Context(), g, second, 8)
	m.commands = nil
	g.telling.before(t.Context(), g, second, 8)
	if got := second.reports(); len(got) != 2 || len(got[0].Commands) != 2 || len(got[1].Commands) != 1 {
		t.Errorf("the next session is told %+v", got)
	}
}
