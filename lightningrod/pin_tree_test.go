package lightningrod

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// treeOf mounts the tree of a board's own pins while the test runs, and returns where.
func treeOf(t *testing.T, p *boardPins) (*pinTree, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "io")
	tree := newPinTree(dir, p.hal, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); tree.run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
			t.Error("the tree is still served")
		}
	})
	for at, problem := tree.state(); at == ""; at, problem = tree.state() {
		if problem != "" {
			if os.Getenv("S4T_NO_SKIPS") != "" {
				t.Fatal(problem)
			}
			t.Skip("no tree of files can be mounted here: " + problem)
		}
		time.Sleep(time.Millisecond)
	}
	return tree, dir
}

// inTree runs a Python program in a tree: who serves one must not use it.
func inTree(t *testing.T, dir, program string) string {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("S4T_NO_SKIPS") != "" {
			t.Fatal(err)
		}
		t.Skip("python3 is not installed")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", program, dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
	return string(out)
}

// TestPollOfTheBoardsOwnPins: poll(2) wakes for each edge that the pin tells, whichever
// they are, and for each value that somebody writes to an output.
func TestPollOfTheBoardsOwnPins(t *testing.T) {
	p, _ := pinsOf(t, testIO+"[[sim]]\ndevice = \"b\"\npin = \"level\"\nwave = \"output\"\nkind = \"analog\"\n")
	_, dir := treeOf(t, p)
	const program = `
import os, select, sys, threading
D = sys.argv[1] + "/sim/b/"
def put(f, v):
    f = os.open(D + f, os.O_WRONLY); os.write(f, str(v).encode()); os.close(f)
def polled(f):
    f = os.open(D + f, os.O_RDONLY); os.pread(f, 64, 0)
    p = select.poll(); p.register(f, select.POLLPRI)
    return f, p
def wakes(f, p, pin, v, want):
    t = threading.Timer(.05, put, (pin, v)); t.start()
    got = bool(p.poll(30000 if want else 300)); t.join()
    return "woken " + os.pread(f, 64, 0).decode().strip() if got else "quiet"
for edge in "rising", "falling", "both":
    put("out/value", 0); put("in/edge", edge)
    f, p = polled("in/value")
    print(edge, wakes(f, p, "out/value", 1, edge != "falling"), wakes(f, p, "out/value", 0, edge != "rising"))
for pin in "out", "level":
    f, p = polled(pin + "/value"); g, q = polled(pin + "/at")
    print(pin, wakes(f, p, pin + "/value", 1, True), bool(q.poll(30000)), wakes(f, p, pin + "/value", 0, True))
`
	const want = "rising woken 1 quiet\nfalling quiet woken 0\nboth woken 1 woken 0\nout woken 1 True woken 0\nlevel woken 1 True woken 0\n"
	if got := inTree(t, dir, program); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestTheTreeIsUnmountedByOthers: the status says so, also while somebody has a file open.
func TestTheTreeIsUnmountedByOthers(t *testing.T) {
	p, _ := pinsOf(t, testIO)
	tree, dir := treeOf(t, p)
	held := exec.Command("sh", "-c", "exec 3< $0/sim/b/out/value && echo open && read line && cat <&3", dir)
	in, err := held.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := held.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := held.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(20*time.Second, func() { _ = held.Process.Kill() })
	defer func() {
		_ = in.Close()
		_ = held.Wait()
		kill.Stop()
	}()
	line := make([]byte, 5)
	if _, err := io.ReadFull(out, line); err != nil {
		t.Fatalf("the file is not open: %v", err)
	}
	if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	if at, problem := tree.state(); at != "" || problem != errUnmounted.Error() {
		t.Errorf("it is at %q, %q", at, problem)
	}
}

// deadMount mounts what the server of a tree leaves that was killed.
func deadMount(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	fd, err := syscall.Open("/dev/fuse", syscall.O_RDWR|syscall.O_CLOEXEC, 0)
	if err == nil {
		err = syscall.Mount("s4t", dir, "fuse.s4t", 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd))
		syscall.Close(fd)
	}
	if err != nil {
		if os.Getenv("S4T_NO_SKIPS") != "" {
			t.Fatal(err)
		}
		t.Skipf("no tree of files can be mounted here: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// dead says whether what is at dir has died.
func dead(dir string) bool {
	_, err := os.ReadDir(dir)
	return errors.Is(err, syscall.ENOTCONN)
}

// TestWhatAKilledOneShowedIsUnmounted: by leave, and by the next that shows it elsewhere.
func TestWhatAKilledOneShowedIsUnmounted(t *testing.T) {
	state := stateDir(t.TempDir())
	first, second, others := deadMount(t), deadMount(t), deadMount(t)
	log := slog.New(slog.DiscardHandler)
	state.noteTree(first, log)
	state.noteTree(second, log)
	if dead(first) || !dead(second) {
		t.Errorf("the first is dead: %v; the second: %v", dead(first), dead(second))
	}
	id := testIdentity()
	id.URLs = []string{"https://127.0.0.1:1"}
	if err := state.saveIdentity(id); err != nil {
		t.Fatal(err)
	}
	if _, err := Leave(t.Context(), LeaveConfig{State: string(state)}); err != nil {
		t.Fatal(err)
	}
	if dead(second) || !dead(others) {
		t.Errorf("the second is dead: %v; another's: %v", dead(second), dead(others))
	}
	if _, err := os.Stat(string(state)); !os.IsNotExist(err) {
		t.Errorf("state: %v", err)
	}
}
