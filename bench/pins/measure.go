package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/bench/field"
)

// loop is an output and an input that shows it.
const loop = `
[[sim]]
device = "demo"
pin = "out"
wave = "output"
[[sim]]
device = "demo"
pin = "in"
wave = "input"
loop = "sim/demo/out"
`

// row of the table.
type row struct{ name, target, got string }

// report collects the rows, and prints them as they come.
type report struct{ rows []row }

func (r *report) add(name, target, got string, args ...any) {
	r.rows = append(r.rows, row{name, target, fmt.Sprintf(got, args...)})
	fmt.Printf("%-70s %-14s %s\n", name, target, r.rows[len(r.rows)-1].got)
}

// measureAll measures and writes the page.
func measureAll(ctx context.Context, bin, out, only string, rounds int) error {
	if err := exec.Command("ip", "link", "set", "lo", "up").Run(); err != nil {
		return fmt.Errorf("set lo up: %w", err)
	}
	// What is mounted here is nobody else's.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	r := &report{}
	measures := []struct {
		name string
		do   func(context.Context, *report, string, int) error
	}{{"read", measureFiles}, {"remote", measureRemote}, {"samples", measureSamples}, {"rest", measureRest}}
	var failed error
	for _, m := range measures {
		if only != "" && !slices.Contains(strings.Split(only, ","), m.name) {
			continue
		}
		if err := m.do(ctx, r, bin, rounds); err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	if failed != nil || out == "" || only != "" {
		return failed
	}
	return r.write(filepath.Join(out, "performance-pins.md"))
}

// measureFiles measures reads and edges through the tree, on the board and at
// another board.
func measureFiles(ctx context.Context, r *report, bin string, rounds int) error {
	f, err := field.New(bin)
	if err != nil {
		return err
	}
	defer f.Close()
	_, tree, err := board(ctx, f, "a", loop)
	if err != nil {
		return err
	}
	if _, _, err := board(ctx, f, "b", loop); err != nil {
		return err
	}
	var reads, edges, afar []float64
	in, out := filepath.Join(tree, "sim/demo/in/value"), filepath.Join(tree, "sim/demo/out/value")
	mount := filepath.Join(f.Dir, "mount")
	if _, err := f.Start("", "lightning-rod", "mount", mount, "--state", f.State("b")); err != nil {
		return err
	}
	far := filepath.Join(mount, "a/sim/demo/in/value")
	if err := waitFile(ctx, far); err != nil {
		return err
	}
	for range rounds {
		one, err := figures(ctx, "-reads", "-n", "20000", in)
		if err != nil {
			return err
		}
		reads = append(reads, field.Quantile(one, 0.5))
		if one, err = figures(ctx, "-edges", "-n", "2000", out, in); err != nil {
			return err
		}
		edges = append(edges, field.Quantile(one, 0.5))
		if one, err = figures(ctx, "-edges", "-n", "1000", out, far); err != nil {
			return err
		}
		afar = append(afar, field.Quantile(one, 0.5))
	}
	r.add("local read of an open pin of a running board, p50", "<= 8 us", "%.1f us", field.Quantile(reads, 0.5))
	r.add("write of a sim pin to poll(2) returning on its input, same board, p50", "<= 150 us", "%.0f us", field.Quantile(edges, 0.5))
	r.add("the same, poll on a mount at another board, loopback, p50", "<= 3 ms", "%.2f ms", field.Quantile(afar, 0.5)/1000)
	return nil
}

// board joins a board with these pins and a tree, and returns its process and
// the folder of the tree.
func board(ctx context.Context, f *field.Field, name, pins string) (*field.Process, string, error) {
	tree, config := filepath.Join(f.Dir, name, "io"), filepath.Join(f.Dir, name+".toml")
	if err := os.WriteFile(config, []byte(pins), 0o600); err != nil {
		return nil, "", err
	}
	p, err := f.Board(ctx, name, "--io", tree, "--io-config", config)
	return p, tree, err
}

// waitFile waits until a file is there.
func waitFile(ctx context.Context, name string) error {
	for due := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := exec.CommandContext(ctx, "stat", name).Run()
		if err == nil || time.Now().After(due) {
			return err
		}
	}
}

// measureRemote measures a read through the API, beside a bare round trip over
// the same connection.
func measureRemote(ctx context.Context, r *report, bin string, rounds int) error {
	f, err := field.New(bin)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, err := board(ctx, f, "a", loop); err != nil {
		return err
	}
	var reads, trips []float64
	for range rounds {
		var one []float64
		for i := range 1000 + warm {
			at := time.Now()
			if _, err := f.API.ReadPin(ctx, "a", "sim/demo/out"); err != nil {
				return err
			}
			if i >= warm {
				one = append(one, ms(at))
			}
		}
		reads = append(reads, field.Quantile(one, 0.5))
		trip, err := roundTrip()
		if err != nil {
			return err
		}
		trips = append(trips, trip)
	}
	r.add("read through the cloud, p50 (bare TCP round trip beside it)", "RTT + 1 ms", "%.2f ms (%.3f ms)", field.Quantile(reads, 0.5), field.Quantile(trips, 0.5))
	return nil
}

// roundTrip is the median of a byte's way there and back on loopback, in ms.
func roundTrip() (float64, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		for b := make([]byte, 1); ; {
			if _, err := c.Read(b); err != nil {
				return
			}
			c.Write(b)
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		return 0, err
	}
	defer c.Close()
	var list []float64
	for b, i := []byte{1}, 0; i < 1000; i++ {
		at := time.Now()
		if _, err := c.Write(b); err != nil {
			return 0, err
		}
		if _, err := c.Read(b); err != nil {
			return 0, err
		}
		list = append(list, ms(at))
	}
	return field.Quantile(list, 0.5), nil
}

func ms(since time.Time) float64 { return float64(time.Since(since).Nanoseconds()) / 1e6 }

// measureSamples lets a board with pins of 1 ms stream to one client, all on
// one core, with more and more pins until samples are merged.
func measureSamples(ctx context.Context, r *report, bin string, _ int) error {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return err
	}
	var one unix.CPUSet
	one.Set(0)
	best := 0.0
	defer func() { onCore(&all) }()
	if err := onCore(&one); err != nil { // what is started from here on inherits it
		return err
	}
	for _, pins := range []int{5, 10, 15, 20, 25, 30, 40} {
		rate, lost, err := streamed(ctx, bin, pins)
		if err != nil {
			return err
		}
		fmt.Printf("  %d pins of 1 ms: %.0f samples/s, %d merged\n", pins, rate, lost)
		if lost > 0 || rate < best { // behind: what comes is less, or is merged
			break
		}
		best = rate
	}
	r.add("samples from one board to a client of SSE, one core for all, none lost", ">= 20,000/s", "%.0f/s", best)
	return nil
}

// onCore binds all threads of this process.
func onCore(set *unix.CPUSet) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return err
	}
	for _, t := range tasks {
		var tid int
		fmt.Sscan(t.Name(), &tid)
		if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

// streamed is how many samples a second one client gets of so many pins, and how
// many were merged, or missing.
func streamed(ctx context.Context, bin string, pins int) (rate float64, lost uint64, err error) {
	f, err := field.New(bin)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var config strings.Builder
	for i := range pins {
		fmt.Fprintf(&config, "[[sim]]\ndevice = \"load\"\npin = \"p%d\"\nwave = \"sine\"\nperiod = \"1ms\"\n", i)
	}
	if _, _, err := board(ctx, f, "a", config.String()); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, 12*time.Second)
	defer cancel()
	s, err := f.API.WatchPins(ctx, "a", apiclient.PinsOptions{Once: true})
	if err != nil {
		return 0, 0, err
	}
	defer s.Close()
	last := map[string]uint64{}
	begin, n := time.Now().Add(2*time.Second), 0
	for m := range s.All() {
		if m.Notice != nil {
			continue
		}
		if time.Now().After(begin) {
			n++
			lost += m.Merged
			if seq, ok := last[m.Pin]; ok && m.Seq > seq+1+m.Merged {
				lost += m.Seq - seq - 1 - m.Merged
			}
		}
		last[m.Pin] = m.Seq
		if time.Since(begin) > 8*time.Second {
			break
		}
	}
	return float64(n) / time.Since(begin).Seconds(), lost, nil
}

// measureRest measures a board with 100 pins at 10 Hz that nobody watches, and
// one with a few, at rest.
func measureRest(ctx context.Context, r *report, bin string, _ int) error {
	f, err := field.New(bin)
	if err != nil {
		return err
	}
	defer f.Close()
	var config strings.Builder
	for i := range 100 {
		fmt.Fprintf(&config, "[[sim]]\ndevice = \"load\"\npin = \"p%d\"\nwave = \"sine\"\nperiod = \"100ms\"\n", i)
	}
	busy, _, err := board(ctx, f, "a", config.String())
	if err != nil {
		return err
	}
	rest, _, err := board(ctx, f, "b", loop)
	if err != nil {
		return err
	}
	time.Sleep(10 * time.Second)
	was, idle, at := busy.CPU(), rest.CPU(), time.Now()
	time.Sleep(20 * time.Second)
	took := time.Since(at).Seconds()
	r.add("CPU of 100 pins at 10 Hz that nobody watches (a board with 2 pins)", "<= 1 % of a core", "%.2f %% (%.2f %%)", (busy.CPU()-was)/took*100, (rest.CPU()-idle)/took*100)
	r.add("lightning-rod with HAL and tree, resident, at rest", "<= 12 MB", "%.1f MiB", rest.RSS())
	return nil
}

// write writes the page.
func (r *report) write(name string) error {
	var b strings.Builder
	b.WriteString("# Performance: pins\n\nWritten by `make bench-pins`, on the machine it ran on, all programs on it; medians of the rounds. What a file costs beside another FUSE library, and a tree of many boards: [performance-tree.md](performance-tree.md).\n\n| measure | target | measured |\n|---|---|---|\n")
	for _, l := range r.rows {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", l.name, l.target, l.got)
	}
	return os.WriteFile(name, []byte(b.String()), 0o644)
}
