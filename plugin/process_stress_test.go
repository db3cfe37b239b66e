package plugin

import (
	"os"
	"testing"
	"time"
)

// TestStress has stress-ng, which was not written here, try to get more than it was given. It takes
// time and a machine that has some to spare, so it runs when it is asked for: make bench-guests.
func TestStress(t *testing.T) {
	if os.Getenv("S4T_STRESS") == "" {
		t.Skip("measures for half a minute: make bench-guests")
	}
	s := makeSandbox(t)
	need(t, s, enforceCPU, "cgroup")
	need(t, s, enforceMemory, "cgroup")
	const processors, memory, window = 0.25, 64 << 20, 10 * time.Second
	if err := s.SetLimits(Limits{CPU: processors, Memory: memory, Processes: 64}); err != nil {
		t.Fatal(err)
	}
	uid := ownUser()
	dir := ownFolder(t, uid)
	p, err := s.Start(Spec{
		Name: "stress", Dir: dir, Write: []string{dir}, UID: uid, GID: uid,
		Argv: []string{program(t, "stress-ng"), "--cpu", "4", "--vm", "2", "--vm-bytes", "256M", "--fork", "2", "--temp-path", dir, "--timeout", "120s"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		before, start := s.Used(), time.Now()
		var most int64
		look := time.NewTicker(100 * time.Millisecond)
		for end := time.After(window); ; {
			select {
			case <-look.C:
				most = max(most, s.Used().Memory)
				continue
			case <-p.Done():
				t.Fatalf("stress-ng ended: %s", p.Exit())
			case <-end:
			}
			break
		}
		look.Stop()
		used, took := s.Used().CPU-before.CPU, time.Since(start)
		share := used.Seconds() / took.Seconds()
		t.Logf("stress-ng had %.2f %% of a processor over %v, and at most %.1f MB", 100*share, took.Round(time.Millisecond), float64(most)/(1<<20))
		if share > processors+0.02 || most > memory {
			t.Errorf("it was given %.0f %% and %d MB", 100*processors, memory>>20)
		}
	}
	p.Terminate(10 * time.Second)
}
