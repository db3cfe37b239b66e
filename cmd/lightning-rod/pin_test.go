package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/fuse"
	"github.com/stack4things/s4t/lightningrod"
)

// runningBoard starts lightning-rod as a process of its own, and waits until cond holds of
// its status.
func runningBoard(t *testing.T, state string, cond func(lightningrod.Status) bool, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, append([]string{"run", "--state", state}, args...)...)
	cmd.Env = append(os.Environ(), "S4T_TEST_PROGRAM=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	limit := time.After(20 * time.Second)
	for {
		s, err := lightningrod.ReadStatus(t.Context(), state)
		if err == nil && s.Running && s.IO != nil && cond(s) {
			return cmd
		}
		select {
		case <-limit:
			t.Fatalf("not within 20 s: %+v, %v", s, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// cat reads a file in a process of its own.
func cat(t *testing.T, file string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "cat", file).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestTheTreeAndItsEnds: the pins are files while lightning-rod runs. What it left when it
// was killed the next start clears; of two, the second says that the place is taken, and
// goes on; SIGTERM leaves nothing.
func TestTheTreeAndItsEnds(t *testing.T) {
	if err := fuse.CanMount(); err != nil {
		t.Skip("no tree of files can be mounted here: ", err)
	}
	state, dir := joinedState(t), filepath.Join(t.TempDir(), "io")
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	config := filepath.Join(t.TempDir(), "io.toml")
	text := "[[sim]]\ndevice = \"b\"\npin = \"out\"\nwave = \"output\"\n[[pin]]\nname = \"sim/b/out\"\nlabel = \"lamp\"\nfallback = \"hold\"\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	mounted := func(s lightningrod.Status) bool { return s.IO.Dir == dir && s.IO.Pins > 0 }
	value := filepath.Join(dir, "by-name", "lamp", "value")

	first := runningBoard(t, state, mounted, "--io", dir, "--io-config", config)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "sh", "-c", "echo 1 > "+value).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if v, err := cat(t, value); err != nil || v != "1" {
		t.Errorf("%q, %v", v, err)
	}

	taken := func(s lightningrod.Status) bool { return strings.Contains(s.IO.Problem, "mounted there") }
	second := runningBoard(t, joinedState(t), taken, "--io", dir)
	second.Process.Signal(syscall.SIGTERM)
	if err := second.Wait(); err != nil {
		t.Errorf("the second ended with %v", err)
	}
	if v, err := cat(t, value); err != nil || v != "1" {
		t.Errorf("after the second: %q, %v", v, err)
	}

	first.Process.Kill()
	first.Wait()
	if out, err := cat(t, value); err == nil {
		t.Errorf("a dead mount reads %q", out)
	}
	again := runningBoard(t, state, mounted, "--io", dir, "--io-config", config)
	if _, err := cat(t, value); err != nil {
		t.Errorf("after a crash: %v", err)
	}
	again.Process.Signal(syscall.SIGTERM)
	if err := again.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
	if list, err := os.ReadDir(dir); err != nil || len(list) > 0 {
		t.Errorf("it left %v, %v", list, err)
	}
}

// TestTheIOConfigIsChecked: a mistake in it is told with its place.
func TestTheIOConfigIsChecked(t *testing.T) {
	config := filepath.Join(t.TempDir(), "io.toml")
	if err := os.WriteFile(config, []byte("[[pin]]\nnam = \"sim/b/out\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := lightningRod(t, "run", "--state", joinedState(t), "--io", "none", "--io-config", config)
	if status != exitUsage || !strings.Contains(stderr, "nam") || !strings.Contains(stderr, "line 2") {
		t.Errorf("%d, %s", status, stderr)
	}
}
