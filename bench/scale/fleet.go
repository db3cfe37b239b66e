package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t/bench/proc"
)

// maxInProcess is how many boards one process has: of its 20,000 descriptors each
// takes one, and a second one for a moment when it moves.
const maxInProcess = 12_500

// fleet is the boards, in as many processes as they need.
type fleet struct {
	members []*member

	mu   sync.Mutex // guards the fields below
	last []sample   // of each member
	said []sample   // sums
}

// member is a process of boards.
type member struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	made  chan struct{}
	ended chan struct{}
}

// sample is what a fleet said.
type sample struct {
	at                            time.Time
	online, tries, sessions, lost int
	vain                          int // dials that ended behind their TLS, without a session
}

// startFleet makes n boards, which wait to be released. stop ends it, also after an
// error.
func startFleet(ctx context.Context, b build, c *cluster, dir string, n, rate int) (*fleet, error) {
	processes := (n + maxInProcess - 1) / maxInProcess
	f := &fleet{last: make([]sample, processes)}
	for i := range processes {
		first, end := i*n/processes, (i+1)*n/processes
		m, err := f.startMember(ctx, b, c, dir, i, first, end-first, rate/processes)
		if m != nil {
			f.members = append(f.members, m)
		}
		if err != nil {
			return f, err
		}
	}
	for _, m := range f.members {
		select {
		case <-m.made:
		case <-m.ended:
			return f, errors.New("the fleet ended")
		}
	}
	return f, nil
}

func (f *fleet) startMember(ctx context.Context, b build, c *cluster, dir string, i, first, n, rate int) (*member, error) {
	admin, err := c.admin()
	if err != nil {
		return nil, err
	}
	state := filepath.Join(dir, "boards")
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // the boards' disks are not this machine's
		if state, err = os.MkdirTemp("/dev/shm", "s4t-bench-scale-"); err != nil {
			return nil, err
		}
	}
	urls := c.urls()
	what, _ := json.Marshal(map[string]any{"URL": urls[0], "URLs": urls, "CA": admin.CA, "First": first, "Boards": n, "Dir": state, "Rate": rate})
	cmd := exec.CommandContext(ctx, b.fleet, "-test.run=^$", "-test.bench=BenchmarkFleet", "-test.benchtime=1x", "-test.timeout=0")
	// The boards' memory is not the cloud's: theirs may be what saves the machine's time.
	cmd.Env, cmd.Stderr = append(os.Environ(), "S4T_FLEET="+string(what), "GOGC=200"), os.Stderr
	m := &member{cmd: cmd, made: make(chan struct{}), ended: make(chan struct{})}
	if m.in, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(m.ended) // last: who waits for it may end the program
		defer os.RemoveAll(state)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var s sample
			var ms int64
			if strings.Contains(lines.Text(), "fleet made") {
				close(m.made)
			} else if got, _ := fmt.Sscanf(lines.Text(), "fleet %d %d %d %d %d %d", &ms, &s.online, &s.tries, &s.sessions, &s.lost, &s.vain); got >= 5 { // an earlier build says no more
				s.at = time.UnixMilli(ms)
				f.hear(i, s)
			}
		}
		cmd.Wait()
	}()
	return m, nil
}

// hear takes what a member says.
func (f *fleet) hear(i int, s sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last[i] = s
	sum := sample{at: s.at}
	for _, l := range f.last {
		sum.online += l.online
		sum.tries += l.tries
		sum.sessions += l.sessions
		sum.lost += l.lost
		sum.vain += l.vain
	}
	f.said = append(f.said, sum)
}

// cpu is what its processes have used, in seconds, and rss their memory in MiB.
func (f *fleet) cpu() (seconds float64) {
	for _, m := range f.members {
		seconds += proc.CPU(m.cmd.Process.Pid)
	}
	return seconds
}

func (f *fleet) rss() (mib float64) {
	for _, m := range f.members {
		mib += proc.RSS(m.cmd.Process.Pid)
	}
	return mib
}

// release lets the boards go.
func (f *fleet) release() {
	for _, m := range f.members {
		io.WriteString(m.in, "go\n")
	}
}

// stop ends it.
func (f *fleet) stop() {
	for _, m := range f.members {
		m.in.Close()
	}
	for _, m := range f.members {
		select {
		case <-m.ended:
		case <-time.After(10 * time.Second):
			m.cmd.Process.Kill()
			<-m.ended
		}
	}
}

// now is what it said last.
func (f *fleet) now() (s sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.said) > 0 {
		s = f.said[len(f.said)-1]
	}
	return s
}

// samples are those since a time.
func (f *fleet) samples(from time.Time) (all []sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.said {
		if s.at.After(from) {
			s.at = time.Unix(0, int64(s.at.Sub(from))) // since then
			all = append(all, s)
		}
	}
	return all
}

// wait waits until all are online, and returns after how many seconds since
// began that was; -1 where it is not so within the limit.
func (f *fleet) wait(ctx context.Context, began time.Time, limit time.Duration, n int) float64 {
	shown := 0
	for time.Since(began) < limit && ctx.Err() == nil {
		time.Sleep(100 * time.Millisecond)
		s := f.now()
		if s.at.After(began) && s.online == n {
			return s.at.Sub(began).Seconds()
		}
		if t := int(time.Since(began).Seconds()) / 10; t > shown {
			shown = t
			fmt.Fprintf(os.Stderr, "  %d s: %d online, %d tries, %d sessions, %d lost\n", 10*t, s.online, s.tries, s.sessions, s.lost)
		}
	}
	return -1
}

// since is when so many were online first.
func since(all []sample, n int) float64 {
	for _, s := range all {
		if s.online >= n {
			return seconds(s)
		}
	}
	return -1
}

func seconds(s sample) float64 { return float64(s.at.UnixNano()) / 1e9 }

// rates finds how many came online a second in the best 5 s, and what part of
// it they did from 5 to 95 % of all, or to the end.
func rates(all []sample, n int) (peak, goodput float64) {
	for i, s := range all {
		for _, e := range all[i:] {
			if d := seconds(e) - seconds(s); d >= 5 || e.online == n && d >= 1 {
				peak = max(peak, float64(e.online-s.online)/d)
				break
			}
		}
	}
	from, to := since(all, n/20), since(all, n*95/100)
	if len(all) == 0 || peak == 0 || from < 0 {
		return peak, 0
	}
	last := all[len(all)-1]
	came := 0.9 * float64(n)
	if to < 0 {
		to, came = seconds(last), float64(last.online)-0.05*float64(n)
	}
	return peak, min(1, max(0, came/max(to-from, 0.25)/peak))
}
