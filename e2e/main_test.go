// Package e2e tests the three programs as real processes in network
// namespaces, against things nobody here wrote: OpenSSH, avahi, iperf3, curl.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
)

var bin string // directory of the programs under test

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if bin = os.Getenv("S4T_BIN"); bin == "" {
			dir, err := os.MkdirTemp("", "s4t-bin-")
			if err != nil {
				panic(err)
			}
			defer os.RemoveAll(dir)
			out, err := exec.Command("go", "build", "-trimpath", "-o", dir, "../cmd/iotronic", "../cmd/lightning-rod", "../cmd/s4t").CombinedOutput()
			if err != nil {
				fmt.Fprintf(os.Stderr, "build the programs: %v\n%s", err, out)
				return 1
			}
			bin = dir
		}
		status := m.Run()
		if err := writeReliability(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return status
	}())
}

// newCloud makes a lab with a running cloud and boards named board1, board2, ...
func newCloud(t *testing.T, boards int, args ...string) *cloudlab.Cloud {
	t.Helper()
	return joinBoards(t, startCloud(t, newLab(t, boards), args...), boards)
}

// startCloud starts a cloud in a lab.
func startCloud(t *testing.T, lab *netlab.Lab, args ...string) *cloudlab.Cloud {
	t.Helper()
	c, err := cloudlab.Start(lab, bin, args...)
	if err != nil {
		t.Fatal(err)
	}
	showLogs(t, c)
	return c
}

// joinBoards joins boards named board1, board2, ...
func joinBoards(t *testing.T, c *cloudlab.Cloud, boards int) *cloudlab.Cloud {
	t.Helper()
	for i := range boards {
		if _, err := c.AddBoard(t.Context(), fmt.Sprintf("board%d", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func newLab(t *testing.T, boards int) *netlab.Lab {
	t.Helper()
	if why := netlab.Missing(); why != "" {
		t.Skip(why)
	}
	lab, err := netlab.New(boards)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lab.Close(); err != nil {
			t.Error(err)
		}
	})
	return lab
}

// showLogs prints the end of every program's log when the test has failed. The
// directory S4T_LOGS gets all of them, as they are, also of a test that has not.
func showLogs(t *testing.T, c *cloudlab.Cloud) {
	t.Cleanup(func() {
		logs, _ := filepath.Glob(filepath.Join(c.Lab.Dir, "*.log"))
		if dir := os.Getenv("S4T_LOGS"); dir != "" {
			must(t, os.MkdirAll(dir, 0o755))
			for _, f := range logs {
				b, err := os.ReadFile(f)
				must(t, err)
				must(t, os.WriteFile(filepath.Join(dir, t.Name()+"-"+filepath.Base(f)), b, 0o644))
			}
		}
		if !t.Failed() {
			return
		}
		for _, f := range logs {
			if b, err := os.ReadFile(f); err == nil {
				lines := strings.Split(strings.TrimSpace(string(b)), "\n")
				t.Logf("--- %s\n%s", filepath.Base(f), strings.Join(lines[max(0, len(lines)-40):], "\n"))
			}
		}
	})
}

// runS4T runs a command that must succeed and returns what it prints.
func runS4T(t *testing.T, c *cloudlab.Cloud, args ...string) string {
	t.Helper()
	out, err := c.S4T(t.Context(), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// s4tJSON runs a command that must succeed and decodes its JSON.
func s4tJSON(t *testing.T, c *cloudlab.Cloud, v any, args ...string) {
	t.Helper()
	if err := c.JSON(t.Context(), v, args...); err != nil {
		t.Fatal(err)
	}
}

// s4tFails runs a command that must exit with status.
func s4tFails(t *testing.T, c *cloudlab.Cloud, status int, args ...string) string {
	t.Helper()
	_, err := c.S4T(t.Context(), args...)
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != status {
		t.Fatalf("s4t %s: want exit status %d, got %v", strings.Join(args, " "), status, err)
	}
	return err.Error()
}

// within repeats try until it succeeds and returns how long that took; the
// test fails when it does not within limit: where reliability is measured. Elsewhere
// the machine may be busy with other tests, and it has a minute at least.
func within(t *testing.T, limit time.Duration, what string, try func() error) time.Duration {
	t.Helper()
	if os.Getenv("S4T_RELIABILITY") == "" {
		limit = max(limit, time.Minute)
	}
	start := time.Now()
	for {
		err := try()
		took := time.Since(start)
		switch {
		case err == nil && took <= limit:
			return took
		case err == nil:
			t.Fatalf("%s: took %v, want at most %v", what, took.Round(time.Millisecond), limit)
		case took > limit:
			t.Fatalf("%s: not within %v: %v", what, limit, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// ping pings once with a deadline of a second.
func ping(ctx context.Context, from *netlab.Host, to string) error {
	_, err := from.Run(ctx, "ping", "-n", "-c1", "-W1", to)
	return err
}

// pinger pings every 20 ms until stopped, then says how many were lost.
type pinger struct{ p *netlab.Process }

// pingers numbers them: each has a log of its own.
var pingers atomic.Int32

func startPinger(t *testing.T, from *netlab.Host, to string) pinger {
	t.Helper()
	p, err := from.Start(fmt.Sprintf("pinger%d", pingers.Add(1)), nil, "ping", "-n", "-i", "0.02", "-W", "1", to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.WaitLine("64 bytes", 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	return pinger{p}
}

// stop ends the pings and returns how many were sent and lost. It waits for one
// more answer first and judges what was sent before it: a ping that is on its
// way when the program ends is neither answered nor lost. If no answer comes,
// everything since the last one is lost.
func (p pinger) stop(t *testing.T) (sent, lost int) {
	t.Helper()
	_, silent := p.p.WaitLine("64 bytes", p.p.Lines(), 3*time.Second)
	answered := map[int]bool{}
	for _, l := range strings.Split(p.p.Tail(1<<20), "\n") {
		if _, seq, ok := strings.Cut(l, "icmp_seq="); ok && strings.HasPrefix(l, "64 bytes") {
			n, err := strconv.Atoi(strings.Fields(seq)[0])
			if err != nil {
				t.Fatalf("ping printed %q", l)
			}
			answered[n], sent = true, max(sent, n)
		}
	}
	p.p.Signal(syscall.SIGINT)
	<-p.p.Done()
	if silent != nil {
		summary := p.p.Tail(6)
		_, line, _ := strings.Cut(summary, "statistics ---\n")
		if _, err := fmt.Sscanf(line, "%d packets transmitted", &sent); err != nil {
			t.Fatalf("ping printed no summary:\n%s", summary)
		}
	}
	return sent, sent - len(answered)
}

// status fails unless a board has the status.
func status(t *testing.T, c *cloudlab.Cloud, board string, want s4t.BoardStatus) error {
	t.Helper()
	var b s4t.Board
	if err := c.JSON(t.Context(), &b, "board", "show", board); err != nil {
		return err
	}
	if b.Status != want {
		return fmt.Errorf("%s is %s, want %s", board, b.Status, want)
	}
	return nil
}
