package lightningrod

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
)

// TestABoardRunsWithAReadOnlyState: with what is there. It says so, answers on
// its socket, and keeps a second one out.
func TestABoardRunsWithAReadOnlyState(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount file systems")
	}
	state := t.TempDir()
	if err := unix.Mount("none", state, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("needs to mount a tmpfs: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(state, unix.MNT_DETACH) })
	dir := stateDir(state)
	id := testIdentity()
	id.URLs = []string{"https://127.0.0.1:1"}
	if err := dir.saveIdentity(id); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", state, "", unix.MS_REMOUNT|unix.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Remove(dir.runtimePath(lockFile))
		os.Remove(runtimeDir) // where nobody else's is in it
	})
	engine := func() *Engine {
		e, err := New(Config{State: state, Devices: &Devices{
			Capabilities: func() link.Capabilities { return link.Capabilities{} },
			Apply:        func([]vnet.Op) (link.Outcome, error) { return link.Outcome{}, nil },
			Sweep:        func(func(string) bool) error { return nil },
		}})
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	e := engine()
	go func() { ended <- e.Run(ctx) }()
	var s Status
	for dir.ask(t.Context(), askStatus, &s) != nil {
		select {
		case err := <-ended:
			t.Fatalf("it does not run: %v", err)
		case <-t.Context().Done():
			t.Fatal("it does not answer")
		case <-time.After(10 * time.Millisecond):
		}
	}
	if !s.Running || !s.ReadOnly {
		t.Errorf("%+v", s)
	}
	if r, _ := e.report(1); !slices.ContainsFunc(r.Problems, func(p string) bool { return strings.Contains(p, "read-only") }) {
		t.Errorf("the cloud is told %q", r.Problems)
	}
	if err := engine().Run(t.Context()); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a second one: %v", err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if s, err := ReadStatus(t.Context(), state); err != nil || s.Running || !s.ReadOnly {
		t.Errorf("after its end: %+v, %v", s, err)
	}
}
