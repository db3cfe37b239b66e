package e2e

import (
	"context"
	"os/exec"
	"testing"

	"github.com/stack4things/s4t/internal/pagelab"
)

// here is this machine, as where a browser runs.
type here struct{}

func (here) Command(ctx context.Context, argv ...string) *exec.Cmd {
	return exec.CommandContext(ctx, argv[0], argv[1:]...)
}

// TestDashboardAfterAnHour leaves a page open for an hour of 100 events a second, told as
// fast as it reads: what it keeps of them does not grow.
func TestDashboardAfterAnHour(t *testing.T) {
	t.Parallel()
	needBrowser(t)
	const (
		hour = 360_000
		most = 5e6 // bytes
	)
	s, err := pagelab.Start(1000)
	must(t, err)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	b := startBrowser(t, here{})
	b.do(nil, "open", step{"as": "admin", "link": s.Link()})
	s.Await()
	heap := func(events int, last string) float64 {
		s.Replay(events, last)
		b.do(nil, "shows", step{"as": "admin", "text": last})
		var used float64
		b.do(&used, "heap", step{"as": "admin"})
		return used
	}
	before := heap(20_000, "the-first-minutes") // what it keeps at most, it has then
	after := heap(hour, "the-end-of-the-hour")
	t.Logf("the heap was %.1f MB, and %.1f MB after %d events", before/1e6, after/1e6, hour)
	if after-before > most {
		t.Errorf("the heap grew by %.1f MB, want at most %.1f", (after-before)/1e6, most/1e6)
	}
}
