package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/labvm"
)

// guestsGuest runs the tests of package plugin's sandbox, on a machine that has cgroups of
// version 2 only.
const guestsGuest = `
mount -t cgroup2 none /sys/fs/cgroup
echo "root:x:0:0::/:/bin/sh" >/etc/passwd
cd /tmp
export S4T_CGROUP="cgroup v2"
/tools/plugin.test -test.v -test.timeout 600s -test.run \
'^(TestKernelEnforces|TestExit|TestErrorsOfTheExecAreErrorsOfStart|TestItGetsWhatItIsGiven|TestUserIsItsOwn|TestFilesThatItWasNotGiven|TestNetwork|TestForkBomb|TestMemoryHog|TestMemoryHogEndsWhole|TestTerminate|TestNothingOutlivesIt|TestLightningRodIsKilled|TestLimitsOfAll|TestUsed)$'
echo "VM tests ended with $?"
`

// TestVMGuests lets the kernel of a virtual machine with cgroups of version 2 judge how guests are
// bound and ended.
func TestVMGuests(t *testing.T) {
	dir := os.Getenv("S4T_VM")
	if dir == "" {
		t.Skip("boots a virtual machine: make test-vm")
	}
	if why := labvm.Missing(dir); why != "" {
		t.Skip(why)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 12*time.Minute)
	defer cancel()
	tests := filepath.Join(t.TempDir(), "plugin.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", tests, "github.com/stack4things/s4t/plugin")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests: %v\n%s", err, out)
	}
	argv, err := labvm.Command(labvm.Config{
		Dir: dir, Files: map[string]string{"plugin.test": tests}, Script: guestsGuest,
	}, filepath.Join(t.TempDir(), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput() // its end is that of the machine
	t.Logf("the machine ran for %v", time.Since(start).Round(time.Second))
	console := strings.ReplaceAll(string(out), "\r", "")
	if err != nil || !strings.Contains(console, "VM tests ended with 0") || strings.Contains(console, "--- SKIP") || !strings.Contains(console, "--- PASS: TestKernelEnforces") {
		t.Errorf("%v; the machine's console:\n%s", err, console)
	}
}
