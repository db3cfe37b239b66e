package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
)

// events prints the kind of each event, one a line, from the first on.
func events(t *testing.T, c *cloudlab.Cloud) *netlab.Process {
	t.Helper()
	p, err := c.Lab.User.Start("events", c.Env(), filepath.Join(bin, "s4t"), "event", "watch", "--after", "1", "-o", "name")
	must(t, err)
	return p
}

// healsAndTidies measures how long the world takes to work again, and checks
// that nothing is left over.
func (w *world) healsAndTidies(t *testing.T, fault string) {
	t.Helper()
	took := within(t, healLimit, "everything is back", func() error { return w.works(t) })
	t.Logf("healed in %v", took.Round(10*time.Millisecond))
	within(t, healLimit, "nothing is left over", func() error { return w.tidy(t) })
	healed(fault, took)
}

// TestFaultStateHalfWritten: a board whose saved state was cut short by a
// crash of its file system gets it again from the cloud, and says so.
func TestFaultStateHalfWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := events(t, w.Cloud)
	must(t, w.Boards[0].Process.Stop())
	file := filepath.Join(w.Boards[0].State, "desired.json")
	info, err := os.Stat(file)
	must(t, err)
	must(t, os.Truncate(file, info.Size()/2))
	must(t, w.Boards[0].Run())
	w.healsAndTidies(t, "a board's saved state half written")
	if _, err := watch.WaitLine("board.recovered", 0, healLimit); err != nil {
		t.Error(err)
	}
}

// TestFaultDiskFull: while the disk of the data directory is full, requests
// fail and say why, nothing is half done, and what runs goes on.
func TestFaultDiskFull(t *testing.T) {
	t.Parallel()
	lab := newLab(t, 2)
	data := filepath.Join(lab.Dir, "iotronic-data")
	must(t, os.Mkdir(data, 0o700))
	must(t, syscall.Mount("tmpfs", data, "tmpfs", 0, "size=8m"))
	t.Cleanup(func() { syscall.Unmount(data, syscall.MNT_DETACH) })
	w := newWorldOn(t, joinBoards(t, startCloud(t, lab), 2))

	ballast, err := os.Create(filepath.Join(data, "ballast"))
	must(t, err)
	block := make([]byte, 4096)
	for err == nil {
		_, err = ballast.Write(block)
	}
	ballast.Close()
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}

	made := 0
	refused := ""
	for ; refused == "" && made < 200; made++ {
		// What is in the log of the database already is written over first.
		if _, err := w.S4T(t.Context(), "board", "create", fmt.Sprintf("extra%d", made), "--label", "text="+strings.Repeat("x", 200)); err != nil {
			refused = err.Error()
			made--
		}
	}
	if !strings.Contains(refused, "disk of the database is full") || !strings.Contains(refused, "make room") {
		t.Errorf("after %d boards: %q", made, refused)
	}
	if out, err := w.S4T(t.Context(), "bridge", "create", "half", "--board", "board1", "--board", "board2"); err == nil {
		t.Errorf("a bridge is made on a full disk: %s", out)
	}
	var boards []s4t.Board
	s4tJSON(t, w.Cloud, &boards, "board", "list")
	if len(boards) != 2+made {
		t.Errorf("%d boards, want %d", len(boards), 2+made)
	}
	must(t, w.works(t)) // what runs goes on
	must(t, w.tidy(t))  // and no half of a bridge is there

	// A board that comes back now cannot be noted; it keeps trying.
	w.Boards[0].Process.Kill()
	must(t, w.Boards[0].Run())
	time.Sleep(4 * time.Second) // let it back off
	must(t, os.Remove(ballast.Name()))
	w.healsAndTidies(t, "the cloud's disk full, and a board restarted meanwhile")
	runS4T(t, w.Cloud, "board", "create", "later")
}

// TestFaultCloned: a copy of a board is refused and both are told; the first
// keeps working.
func TestFaultCloned(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	watch := events(t, w.Cloud)
	pings := startPinger(t, w.Boards[0].Host, addressOf(t, w.bridge, "board2", false))
	third, err := w.Lab.AddBoard()
	must(t, err)
	state := filepath.Join(w.Lab.Dir, "clone")
	must(t, os.Mkdir(state, 0o700))
	for _, f := range []string{"identity.json", "desired.json"} {
		b, err := os.ReadFile(filepath.Join(w.Boards[0].State, f))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(state, f), b, 0o600))
	}
	clone := w.Adopt(&cloudlab.Board{Board: third, Name: "clone", State: state})
	must(t, clone.Run())
	if _, err := watch.WaitLine("board.cloned", 0, time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, state := range []string{clone.State, w.Boards[0].State} {
		within(t, 5*time.Second, "the board is told: "+filepath.Base(state), func() error {
			out, err := w.Lab.User.Run(t.Context(), filepath.Join(bin, "lightning-rod"), "status", "--state", state, "-o", "json")
			if err != nil {
				return err
			}
			var s struct {
				Connected bool     `json:"connected"`
				Problems  []string `json:"problems"`
			}
			if err := json.Unmarshal([]byte(out), &s); err != nil {
				return err
			}
			if told := strings.Contains(strings.Join(s.Problems, " "), "identity") || strings.Contains(strings.Join(s.Problems, " "), "key"); !told || s.Connected == (state == clone.State) {
				return fmt.Errorf("connected %v, problems %q", s.Connected, s.Problems)
			}
			return nil
		})
	}
	must(t, status(t, w.Cloud, "board1", s4t.BoardOnline))
	if sent, lost := pings.stop(t); lost > 0 {
		t.Errorf("%d of %d pings of the first board were lost", lost, sent)
	}
	clone.Process.Stop()
	w.Boards = w.Boards[:2]
	w.healsAndTidies(t, "a board cloned, and the clone gone")
}

// TestFaultAgentUnderLoad: the tunnel agent dies while a bridge and a stream
// are full. What was under way may end; what is new works.
func TestFaultAgentUnderLoad(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("iperf3"); err != nil {
		t.Skip("needs iperf3 (make deps installs it)")
	}
	w := newWorld(t)
	to := addressOf(t, w.bridge, "board2", false)
	_, err := w.Boards[1].Host.Start("iperf3-server", nil, "iperf3", "-s")
	must(t, err)
	must(t, w.Boards[1].Host.WaitTCP("127.0.0.1", 5201, time.Minute))
	load, err := w.Boards[0].Host.Start("iperf3", nil, "iperf3", "-c", to, "-t", "60", "-i", "1", "--forceflush", "-P", "4")
	must(t, err)
	_, err = load.WaitLine("[SUM]   0.00-", 0, time.Minute)
	must(t, err)
	stream, err := w.Lab.User.Start("stream", w.Env(), filepath.Join(bin, "s4t"), "connect", "board1", "22")
	must(t, err)
	_, err = stream.WaitLine("SSH-2.0", 0, time.Minute)
	must(t, err)
	for range 3 {
		w.Process.Kill()
		must(t, w.Cloud.Run())
		took := within(t, healLimit, "new traffic passes", func() error { return w.works(t) })
		healed("the tunnel agent restarted under load", took)
	}
	select {
	case <-stream.Done():
	case <-time.After(15 * time.Second):
		t.Error("a stream of the dead agent does not end")
	}
	load.Kill()
	w.healsAndTidies(t, "the tunnel agent restarted under load, and the load gone")
}
