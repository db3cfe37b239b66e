package cloudtest

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/fuse"
	"github.com/stack4things/s4t/lightningrod"
)

const loopIO = `
[[sim]]
device = "b"
pin = "out"
wave = "output"
[[sim]]
device = "b"
pin = "in"
wave = "input"
loop = "out"
`

// eachOther is what a program on each board does with the pins of the other: it polls an
// input, and writes the output that the input follows.
const eachOther = `
import os, select, sys
value = lambda pin: os.path.join(sys.argv[1], "sim", "b", pin, "value")
fd = os.open(value("in"), os.O_RDONLY)
poll = select.poll()
poll.register(fd, select.POLLPRI)
def read():
    os.lseek(fd, 0, 0)
    return os.read(fd, 64).decode().strip()
last = read()
for i in range(50):
    want = "0" if last == "1" else "1"
    out = os.open(value("out"), os.O_WRONLY)
    os.write(out, want.encode())
    os.close(out)
    while read() != want:
        if not poll.poll(20000):
            sys.exit("edge %d did not wake the poll" % i)
    last = want
print("done")
`

// mounted has the other boards' pins as files, for board b, while the test runs.
func mounted(t *testing.T, b *Board) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "boards")
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() {
		done <- lightningrod.Mount(ctx, lightningrod.MountConfig{Dir: dir, State: b.state, Ready: func() { close(ready) }})
	}()
	t.Cleanup(func() {
		unix.Unmount(dir, unix.MNT_DETACH)
		cancel()
		<-done
	})
	select {
	case <-ready:
	case err := <-done:
		done <- err
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("no tree within 30 s")
	}
	return dir
}

// program runs a program of the board: the test itself must not touch a tree that it
// serves.
func program(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// TestTwoBoardsMountEachOther: programs on both, at once, poll and write the pins of the
// other; when a board is away, its files say so, and when it is back they are there again.
func TestTwoBoardsMountEachOther(t *testing.T) {
	if err := fuse.CanMount(); err != nil {
		t.Skip("no tree of files can be mounted here: ", err)
	}
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3, whose programs use the trees")
	}
	c, err := New(Config{Dir: t.TempDir(), Conductors: 1, APIs: 1, WAMPAgents: 2, TunnelAgents: 1})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	client, err := c.Client()
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	config := filepath.Join(t.TempDir(), "io.toml")
	if err := os.WriteFile(config, []byte(loopIO), 0o600); err != nil {
		t.Fatal(err)
	}
	boards := map[string]*Board{}
	for _, name := range []string{"one", "two"} {
		made, err := client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: name})
		if err != nil {
			t.Fatal(err)
		}
		b, err := c.Enrol(t.Context(), made)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(b.Close)
		b.IOConfig = config
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		boards[name] = b
	}
	ofTwo := filepath.Join(mounted(t, boards["one"]), "two")
	ofOne := filepath.Join(mounted(t, boards["two"]), "one")
	listed := func(dir string) error {
		_, err := program(t, "sh", "-c", "until test -e "+filepath.Join(dir, "sim/b/out/value")+"; do sleep 0.05; done")
		return err
	}
	for _, dir := range []string{ofTwo, ofOne} {
		if err := listed(dir); err != nil {
			t.Fatalf("%s: %v", dir, err)
		}
	}
	ended := make(chan error, 2)
	for _, dir := range []string{ofTwo, ofOne} {
		go func() {
			out, err := program(t, "python3", "-c", eachOther, dir)
			if out != "done" {
				t.Errorf("%s: %s", dir, out)
			}
			ended <- err
		}()
	}
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}

	boards["two"].Stop()
	const read = "import os, sys\ntry:\n  print(open(sys.argv[1]).read())\nexcept OSError as e:\n  print(os.strerror(e.errno))"
	if out, err := program(t, "python3", "-c", read, filepath.Join(ofTwo, "sim/b/in/value")); err != nil || !strings.Contains(out, "No route to host") {
		t.Errorf("a board that is away: %q, %v", out, err)
	}
	if err := boards["two"].Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := program(t, "sh", "-c", "until cat "+filepath.Join(ofTwo, "sim/b/in/value")+"; do sleep 0.05; done"); err != nil {
		t.Errorf("a board that is back: %v", err)
	}
	if out, err := program(t, "python3", "-c", eachOther, ofTwo); err != nil {
		t.Errorf("a board that is back: %s, %v", out, err)
	}
}
