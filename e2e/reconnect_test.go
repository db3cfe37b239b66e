package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/lightningrod"
)

// TestFaultManyBoardsReconnect: 200 boards reconnect in the same instant, again and again,
// beside a bridge in use.
func TestFaultManyBoardsReconnect(t *testing.T) {
	if os.Getenv("S4T_RELIABILITY") == "" {
		t.Skip("it takes a minute: make test-faults")
	}
	const boards = 200
	w := newWorld(t)
	env := append(w.Env(), "S4T_E2E_BOARDS="+w.ContextFile(), "S4T_E2E_COUNT="+strconv.Itoa(boards), "S4T_E2E_STATE="+filepath.Join(w.Lab.Dir, "others"))
	run := func() *netlab.Process {
		p, err := w.Lab.User.Start("others", env, os.Args[0], "-test.run", "^TestHelperBoards$")
		must(t, err)
		return p
	}
	others := run()
	_, err := others.WaitLine("all ready", 0, 60*time.Second)
	must(t, err)
	to := addressOf(t, w.bridge, "board2", false)
	calm := latencies(t, w.Boards[0].Host, to, func() { time.Sleep(5 * time.Second) })
	var took []time.Duration
	storm := latencies(t, w.Boards[0].Host, to, func() {
		for range 3 {
			others.Kill()
			others = run()
			start := time.Now()
			_, err := others.WaitLine("all ready", 0, 60*time.Second)
			must(t, err)
			took = append(took, time.Since(start))
		}
	})
	figure(fmt.Sprintf("%d boards reconnect at once, from one machine, three times", boards),
		fmt.Sprintf("all online and ready after %.1f s at most; a live tunnel's round trip p50 %s, p99 %s (calm: %s, %s); none of %d pings lost",
			slices.Max(took).Seconds(), storm.at(50), storm.at(99), calm.at(50), calm.at(99), storm.sent))
	if storm.lost > 0 || storm.at(99) > time.Second {
		t.Errorf("%d of %d pings lost, p99 %v", storm.lost, storm.sent, storm.at(99))
	}
	others.Kill()

	// The cloud itself restarts under all of them.
	others = run()
	_, err = others.WaitLine("all ready", 0, 60*time.Second)
	must(t, err)
	lines := others.Lines()
	w.Process.Kill()
	must(t, w.Cloud.Run())
	start := time.Now()
	w.healsAndTidies(t, fmt.Sprintf("kill -9 of iotronic with %d more boards", boards))
	_, err = others.WaitLine("all ready", lines, 30*time.Second)
	must(t, err)
	figure(fmt.Sprintf("kill -9 of iotronic with %d boards", boards), fmt.Sprintf("the last is ready after %.1f s", time.Since(start).Seconds()))
	others.Kill()
}

// rtts are the round trips of a ping.
type rtts struct {
	all        []time.Duration // sorted
	sent, lost int
}

// at is a percentile.
func (r rtts) at(percent int) time.Duration {
	if len(r.all) == 0 {
		return 0
	}
	return r.all[min(len(r.all)-1, len(r.all)*percent/100)].Round(10 * time.Microsecond)
}

// latencies pings every 10 ms while something is done.
func latencies(t *testing.T, from *netlab.Host, to string, while func()) (r rtts) {
	t.Helper()
	p, err := from.Start("latencies", nil, "ping", "-n", "-i", "0.01", "-W", "1", to)
	must(t, err)
	_, err = p.WaitLine("64 bytes", 0, time.Minute)
	must(t, err)
	while()
	p.Signal(syscall.SIGINT)
	<-p.Done()
	text, err := os.ReadFile(p.Log)
	must(t, err)
	must(t, os.Remove(p.Log)) // the next starts afresh
	for line := range strings.Lines(string(text)) {
		if _, rest, ok := strings.Cut(line, " icmp_seq="); ok {
			fmt.Sscanf(rest, "%d", &r.sent)
		}
		if _, rest, ok := strings.Cut(line, " time="); ok {
			if ms, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " ms"), 64); err == nil {
				r.all = append(r.all, time.Duration(ms*float64(time.Millisecond)))
			}
		}
	}
	r.lost = r.sent - len(r.all) // what came after the last answer was still on its way
	slices.Sort(r.all)
	return r
}

// TestHelperBoards runs many boards in one process: it enrols those that have
// no state yet, and prints a line each time all have become ready once more.
func TestHelperBoards(t *testing.T) {
	file := os.Getenv("S4T_E2E_BOARDS")
	if file == "" {
		t.Skip("a helper process of other tests")
	}
	exit(runBoards(context.Background(), file, os.Getenv("S4T_E2E_STATE"), os.Getenv("S4T_E2E_COUNT")))
}

func runBoards(ctx context.Context, contextFile, state, count string) error {
	n, err := strconv.Atoi(count)
	if err != nil {
		return err
	}
	client, err := adminClient(contextFile)
	if err != nil {
		return err
	}
	defer client.Close()
	var ready atomic.Int64
	var running sync.WaitGroup
	for i := range n {
		name := "others" + strconv.Itoa(i)
		dir := filepath.Join(state, name)
		if _, err := os.Stat(dir); err != nil {
			b, err := client.CreateBoard(ctx, apiclient.BoardCreate{Name: name})
			if err != nil {
				return err
			}
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
			if _, err := lightningrod.Join(ctx, lightningrod.JoinConfig{State: dir, Join: b.Join}); err != nil {
				return err
			}
		}
		e, err := lightningrod.New(lightningrod.Config{State: dir, Ready: func(string, int64) {
			if ready.Add(1)%int64(n) == 0 {
				fmt.Println("all ready")
			}
		}})
		if err != nil {
			return err
		}
		running.Go(func() { e.Run(ctx) })
	}
	running.Wait()
	return nil
}

// adminClient speaks to the cloud of a context file.
func adminClient(file string) (*apiclient.Client, error) {
	cfg, err := readContext(file)
	if err != nil {
		return nil, err
	}
	return apiclient.New(cfg)
}

// readContext reads the current context of a file of s4t's.
func readContext(file string) (apiclient.Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return apiclient.Config{}, err
	}
	var f struct {
		Current  string
		Contexts map[string]struct{ URL, Token, CA string }
	}
	if err := toml.Unmarshal(text, &f); err != nil {
		return apiclient.Config{}, err
	}
	c := f.Contexts[f.Current]
	return apiclient.Config{URL: c.URL, Token: c.Token, CA: c.CA}, nil
}
