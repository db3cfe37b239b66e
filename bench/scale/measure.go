package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t/bench/proc"
	_ "modernc.org/sqlite" // the cloud's database, into which the boards are written
)

// result of one build with one size of fleet. Times are in seconds, -1: never.
type result struct {
	Build     string
	Boards    int
	Online    float64 // from the first dial until all are online
	Half      float64 // half of them
	Tries     float64 // dials a board, until then
	Sessions  float64 // sessions a board, until then
	Peak      float64 // boards that came online a second, in the best 5 s
	Goodput   float64 // the same between 5 and 95 % of the boards, as a part of the peak
	Connect   float64 // CPU of the cloud a board until then, ms
	FleetCPU  float64 // the boards' own, ms
	MemoryKiB float64 // resident, a board, at rest, beyond an empty cloud's
	RestCPU   float64 // CPU of the cloud a board at rest, microseconds a second
	Ready     float64 // from its start after the kill until it says ready
	Back      float64 // from then until all are online again
	BackTries float64 // dials a board for it
	Error     string  `json:",omitempty"`
}

func (r result) String() string { b, _ := json.Marshal(r); return string(b) }

// measure has a fleet come to a cloud, rest, lose it and come back.
func measure(ctx context.Context, o options, b build, dir string, n int) (r result) {
	r = result{Build: b.name, Boards: n, Online: -1, Half: -1, Ready: -1, Back: -1}
	fail := func(err error) result { r.Error = fmt.Sprintf("%s, %d boards: %v", b.name, n, err); return r }
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	defer os.RemoveAll(dir)
	c := &iotronic{program: b.iotronic, data: filepath.Join(dir, "data"), log: o.log}
	defer c.kill()
	if _, err := c.start(ctx, o.limit); err != nil {
		return fail(err)
	}
	c.kill()
	if err := enrol(filepath.Join(c.data, "iotronic.db"), n); err != nil {
		return fail(err)
	}
	if _, err := c.start(ctx, o.limit); err != nil {
		return fail(err)
	}
	time.Sleep(2 * time.Second)
	empty := proc.RSS(c.pid())
	f, err := startFleet(ctx, b, c, dir, n, o.rate)
	if err != nil {
		return fail(err)
	}
	defer f.stop()

	cpu, own := proc.CPU(c.pid()), proc.CPU(f.pid())
	began := time.Now()
	f.release()
	all := f.wait(ctx, began, o.limit, n)
	r.Online, r.Half = all, since(f.samples(began), n/2)
	last := f.last()
	r.Tries, r.Sessions = float64(last.tries)/float64(n), float64(last.sessions)/float64(n)
	r.Peak, r.Goodput = rates(f.samples(began), n)
	r.Connect, r.FleetCPU = 1000*(proc.CPU(c.pid())-cpu)/float64(n), 1000*(proc.CPU(f.pid())-own)/float64(n)
	fmt.Fprintf(os.Stderr, "%s %d: online after %.1f s, %.2f tries, %.2f ms CPU (boards %.2f), goodput %.2f of %.0f/s\n", b.name, n, r.Online, r.Tries, r.Connect, r.FleetCPU, r.Goodput, r.Peak)
	if all >= 0 {
		time.Sleep(o.rest / 2)
		cpu, began = proc.CPU(c.pid()), time.Now()
		time.Sleep(o.rest)
		r.RestCPU = 1e6 * (proc.CPU(c.pid()) - cpu) / time.Since(began).Seconds() / float64(n)
		r.MemoryKiB = 1024 * (proc.RSS(c.pid()) - empty) / float64(n)
	}
	if o.quick {
		return r
	}
	// The last killed cloud's boards come back to it. One whose boards never
	// were online is killed all the same.
	before := f.last()
	c.kill()
	ready, err := c.start(ctx, o.limit)
	if err != nil {
		fmt.Fprintln(os.Stderr, b.name, n, "after kill -9:", err)
		return r // it never is
	}
	r.Ready = ready
	r.Back = f.wait(ctx, time.Now(), o.limit, n)
	r.BackTries = float64(f.last().tries-before.tries) / float64(n)
	return r
}

// iotronic is a cloud of one process.
type iotronic struct {
	program, data, log string
	url                string
	cmd                *exec.Cmd
	ended              chan struct{}
}

func (c *iotronic) pid() int { return c.cmd.Process.Pid }

// start returns how long it took until it said that it is ready, in seconds.
func (c *iotronic) start(ctx context.Context, limit time.Duration) (float64, error) {
	listen := "127.0.0.1:0"
	if c.url != "" {
		listen = strings.TrimPrefix(c.url, "https://")
	}
	level := c.log
	if level == "" {
		level = "error"
	}
	cmd := exec.CommandContext(ctx, c.program, "serve", "--data", c.data, "--listen", listen, "--log-level", level)
	if c.log != "" {
		cmd.Stderr = os.Stderr
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	c.cmd, c.ended = cmd, make(chan struct{})
	ready := make(chan string, 1)
	go func() {
		defer close(c.ended)
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
			}
		}
		cmd.Wait()
	}()
	select {
	case url, ok := <-ready:
		if !ok {
			return 0, errors.New("iotronic ended")
		}
		c.url = url
		return time.Since(began).Seconds(), nil
	case <-time.After(limit):
		return 0, errors.New("iotronic is not ready")
	}
}

// kill ends it as kill -9 does.
func (c *iotronic) kill() {
	if c.cmd == nil {
		return
	}
	c.cmd.Process.Kill()
	<-c.ended
	c.cmd = nil
}

// enrol writes boards into the database as if they had joined; their keys are
// those of lightningrod's fleet.
func enrol(file string, n int) error {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return err
	}
	defer db.Close()
	var project string
	if err := db.QueryRow(`SELECT id FROM projects LIMIT 1`).Scan(&project); err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for i := range n {
		seed := sha256.Sum256([]byte("fleet " + strconv.Itoa(i)))
		key := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
		id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
		if _, err := tx.Exec(`INSERT INTO boards (name, type, labels, location, code_used, public_key, tunnel_agent, streams_until, cloned_at, info, problems, id, project, created_at)
			VALUES (?, '', '{}', '', 1, ?, '', 0, 0, '', '', ?, ?, ?)`, "fleet"+strconv.Itoa(i), base64.StdEncoding.EncodeToString(key), id, project, time.Now().UnixMicro()); err != nil {
			return err
		}
		if _, err := tx.Exec(`INSERT INTO presence (board, status, epoch, generation, applied, report_seq, wamp_agent, incarnation, instance) VALUES (?, 'registered', 0, 1, 0, 0, '', '', '')`, id); err != nil {
			return err
		}
	}
	return tx.Commit()
}

// fleet is the process of the boards.
type fleet struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	made  chan struct{}
	ended chan struct{}

	mu   sync.Mutex // guards said
	said []sample
}

// sample is what a fleet said.
type sample struct {
	at                            time.Time
	online, tries, sessions, lost int
}

func startFleet(ctx context.Context, b build, c *iotronic, dir string, n, rate int) (*fleet, error) {
	ca, err := os.ReadFile(filepath.Join(c.data, "ca.pem"))
	if err != nil {
		return nil, err
	}
	state := filepath.Join(dir, "boards")
	if info, err := os.Stat("/dev/shm"); err == nil && info.IsDir() { // the boards' disks are not this machine's
		if state, err = os.MkdirTemp("/dev/shm", "s4t-bench-scale-"); err != nil {
			return nil, err
		}
	}
	what, _ := json.Marshal(map[string]any{"URL": c.url, "CA": string(ca), "Boards": n, "Dir": state, "Rate": rate})
	cmd := exec.CommandContext(ctx, b.fleet, "-test.run=^$", "-test.bench=BenchmarkFleet", "-test.benchtime=1x", "-test.timeout=0")
	cmd.Env, cmd.Stderr = append(os.Environ(), "S4T_FLEET="+string(what)), os.Stderr
	f := &fleet{cmd: cmd, made: make(chan struct{}), ended: make(chan struct{})}
	if f.in, err = cmd.StdinPipe(); err != nil {
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
		defer os.RemoveAll(state)
		defer close(f.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var s sample
			var ms int64
			if strings.Contains(lines.Text(), "fleet made") {
				close(f.made)
			} else if got, _ := fmt.Sscanf(lines.Text(), "fleet %d %d %d %d %d", &ms, &s.online, &s.tries, &s.sessions, &s.lost); got == 5 {
				s.at = time.UnixMilli(ms)
				f.mu.Lock()
				f.said = append(f.said, s)
				f.mu.Unlock()
			}
		}
		cmd.Wait()
	}()
	select {
	case <-f.made:
		return f, nil
	case <-f.ended:
		return nil, errors.New("the fleet ended")
	}
}

func (f *fleet) pid() int { return f.cmd.Process.Pid }

// release lets the boards go.
func (f *fleet) release() { io.WriteString(f.in, "go\n") }

// stop ends it.
func (f *fleet) stop() {
	f.in.Close()
	select {
	case <-f.ended:
	case <-time.After(10 * time.Second):
		f.cmd.Process.Kill()
		<-f.ended
	}
}

func (f *fleet) last() (s sample) {
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
		s := f.last()
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
