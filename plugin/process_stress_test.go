package plugin

import (
	"os"
	"testing"
	"time"
)

// TestStress has stress-ng, which was not written here, try to get more than it was given: as a
// service, which is started again a second after it ended. It takes
// time and a machine that has some to spare, so it runs when it is asked for: make bench-guests.
func TestStress(t *testing.T) {
	if os.Getenv("S4T_STRESS") == "" {
		t.Skip("measures for a minute: make bench-guests")
	}
	for _, tt := range []struct {
		name, bytes string
		lives       bool
	}{
		{"wants more memory than it may have", "256M", false},
		{"wants less", "40M", true},
	} {
		t.Run(tt.name, func(t *testing.T) { stress(t, tt.bytes, tt.lives) })
	}
}

// stress runs stress-ng with so much memory for three windows of time.
func stress(t *testing.T, bytes string, lives bool) {
	s := heavy(makeSandbox(t))
	need(t, s, enforceCPU, "cgroup")
	need(t, s, enforceMemory, "cgroup")
	const processors, memory, window = 0.25, 64 << 20, 10 * time.Second
	if err := s.SetLimits(Limits{CPU: processors, Memory: memory, Processes: 64}); err != nil {
		t.Fatal(err)
	}
	uid := ownUser()
	dir := ownFolder(t, uid)
	start := func() *Process {
		p, err := s.Start(Spec{
			Name: "stress", Dir: dir, Write: []string{dir}, UID: uid, GID: uid,
			Argv: []string{program(t, "stress-ng"), "--cpu", "4", "--vm", "2", "--vm-bytes", bytes, "--fork", "2", "--temp-path", dir, "--timeout", "120s"},
		})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	p, ended := start(), 0
	var again <-chan time.Time // nil: it runs
	for range 3 {
		before, begun := s.Used(), time.Now()
		var most int64
		look := time.NewTicker(100 * time.Millisecond)
		for end := time.After(window); ; {
			done := p.Done()
			if again != nil {
				done = nil
			}
			select {
			case <-look.C:
				most = max(most, s.Used().Memory)
				continue
			case <-done:
				if ended++; lives || !p.Exit().OOM {
					t.Fatalf("stress-ng ended: %s", p.Exit())
				}
				again = time.After(firstWait)
				continue
			case <-again:
				p, again = start(), nil
				continue
			case <-end:
			}
			break
		}
		look.Stop()
		used, took := s.Used().CPU-before.CPU, time.Since(begun)
		share := used.Seconds() / took.Seconds()
		t.Logf("stress-ng had %.2f %% of a processor over %v, and at most %.1f MB; it ended %d times", 100*share, took.Round(time.Millisecond), float64(most)/(1<<20), ended)
		if share > processors+0.02 || most > memory {
			t.Errorf("it was given %.0f %% and %d MB", 100*processors, memory>>20)
		}
	}
	if !lives && ended == 0 {
		t.Error("it never ended")
	}
	p.Terminate(10 * time.Second)
}
