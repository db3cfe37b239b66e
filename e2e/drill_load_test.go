package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/internal/netlab"
)

// load is what goes on during the drill.
type load struct {
	ctx     context.Context
	cancel  context.CancelFunc
	workers sync.WaitGroup
	readers []*reader
	pings   *netlab.Process
	session *session

	mu     sync.Mutex    // guards the fields below
	offset int64         // up to where the pings' log was read
	typing time.Duration // the longest until a line of the session came back, since watch
	since  time.Time     // when the line was said that is under way; zero: none is
}

// begin starts it: a bridge with pings, an `s4t ssh` session, who follows events at each
// API, who books, who runs commands, and who looks.
func (l *ledger) begin() {
	d := l.d
	s4tJSON(d.t, d.Cloud, &l.base, "bridge", "create", "base", "--board", "board1", "--board", "board2", "--board", "board3")
	ctx, cancel := context.WithCancel(d.t.Context())
	l.load = &load{ctx: ctx, cancel: cancel}
	for _, c := range l.admin {
		s, err := c.Events(ctx, apiclient.EventsOptions{})
		must(d.t, err)
		r := &reader{stream: s, grown: make(chan struct{})}
		l.load.readers = append(l.load.readers, r)
		go r.read(d)
	}
	to := addressOf(d.t, l.base, "board3", false)
	within(d.t, brokerPatience, "first ping", func() error { return ping(ctx, d.Boards[0].Host, to) })
	var err error
	l.load.pings, err = d.Boards[0].Host.Start("pings", nil, "ping", "-n", "-D", "-i", "0.1", "-W", "1", to)
	must(d.t, err)
	l.load.session = d.session("board1", d.key)
	l.load.session.say(d.t)
	l.load.workers.Go(l.book)
	l.load.workers.Go(l.run)
	l.load.workers.Go(l.look)
	go l.talk()
}

// stop ends it.
func (w *load) stop() {
	w.cancel()
	w.workers.Wait()
	w.session.in.Close()
	w.pings.Signal(syscall.SIGINT)
}

// sleep waits, and reports false at the end of the load.
func (w *load) sleep(d time.Duration) bool {
	select {
	case <-w.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// watch begins a round.
func (l *ledger) watch() {
	l.load.pinged() // what was before it
	l.load.mu.Lock()
	defer l.load.mu.Unlock()
	l.load.typing = 0
}

// seen is the longest time without a ping since watch, and until a line of the session
// came back.
func (l *ledger) seen() (silence, typing time.Duration) {
	silence = l.load.pinged()
	l.load.mu.Lock()
	defer l.load.mu.Unlock()
	typing = l.load.typing
	if !l.load.since.IsZero() {
		typing = max(typing, time.Since(l.load.since))
	}
	return silence, typing
}

// pinged reads the log of the pings on, and returns the longest time between two answers.
func (w *load) pinged() (silence time.Duration) {
	f, err := os.Open(w.pings.Log)
	if err != nil {
		return 0
	}
	defer f.Close()
	f.Seek(w.offset, io.SeekStart)
	text, _ := io.ReadAll(f)
	var last float64
	end := strings.LastIndexByte(string(text), '\n') + 1
	for line := range strings.Lines(string(text[:end])) {
		at, _, ok := strings.Cut(strings.TrimPrefix(line, "["), "] 64 bytes")
		now, err := strconv.ParseFloat(at, 64)
		if !ok || err != nil {
			continue
		}
		if last > 0 {
			silence = max(silence, time.Duration((now-last)*float64(time.Second)))
		}
		last = now
	}
	w.offset += int64(end)
	return silence
}

// talk says a line over the session each half second, and waits for it.
func (l *ledger) talk() {
	w := l.load
	for n := 2; w.sleep(500 * time.Millisecond); n++ {
		line := "line " + strconv.Itoa(n)
		w.mu.Lock()
		w.since = time.Now()
		w.mu.Unlock()
		_, err := io.WriteString(w.session.in, line+"\n")
		var got string
		if err == nil {
			select {
			case got = <-w.session.lines:
			case <-w.ctx.Done():
				return
			}
		}
		if w.ctx.Err() != nil {
			return
		}
		if got != line {
			l.d.isWrong("the session of `s4t ssh` says %q, not %q: %v", got, line, err)
			return
		}
		w.mu.Lock()
		w.typing, w.since = max(w.typing, time.Since(w.since)), time.Time{}
		w.mu.Unlock()
	}
}

// look asks for what there is, at both APIs by turns.
func (l *ledger) look() {
	for n := 0; l.load.sleep(200 * time.Millisecond); n++ {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.load.ctx), 15*time.Second)
		l.ask(n, "list boards", func(c *apiclient.Client) error { _, err := c.Boards(ctx, nil, ""); return err })
		cancel()
	}
}

// ask asks one API and, in a strict drill, the other one where the first does not take
// it, as a load balancer or a user does. It reports whether it was carried out.
func (l *ledger) ask(n int, what string, request func(*apiclient.Client) error) bool {
	err := request(l.users[n%2])
	if l.d.strict.Load() && s4t.KindOf(err) == s4t.Unavailable {
		err = request(l.users[(n+1)%2])
	}
	return l.d.answered(what, err)
}

// run has a board mark that a command ran.
func (l *ledger) run() {
	for n := 0; l.load.sleep(500 * time.Millisecond); n++ {
		id := "m" + strconv.Itoa(n)
		l.mu.Lock()
		l.runs[id] = false
		l.mu.Unlock()
		params, _ := json.Marshal(map[string]string{"id": id})
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.load.ctx), 40*time.Second)
		var r apiclient.Run
		done := l.ask(n, "run a command", func(c *apiclient.Client) (err error) {
			r, err = c.RunCommand(ctx, l.d.Boards[n%3].Name, "mark", apiclient.RunOptions{Params: params, Key: id})
			return err
		})
		cancel()
		if !done {
			continue
		}
		l.mu.Lock()
		if r.Pending == nil {
			l.runs[id] = true
		} else {
			l.operations[r.Pending.ID] = "mark " + id
		}
		l.mu.Unlock()
	}
}

// book changes what is booked, one thing after the other.
func (l *ledger) book() {
	rnd := rand.New(rand.NewPCG(1, 2))
	for n := 0; l.load.sleep(300 * time.Millisecond); n++ {
		l.mu.Lock()
		wait := l.paused
		if !wait {
			l.busy = "book"
		}
		l.mu.Unlock()
		if wait {
			continue
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(l.load.ctx), 3*time.Minute)
		if l.resolve(ctx) == nil {
			l.bookOne(ctx, rnd, n)
		}
		cancel()
		l.mu.Lock()
		l.busy = ""
		l.mu.Unlock()
	}
}

func (l *ledger) bookOne(ctx context.Context, rnd *rand.Rand, n int) {
	board := l.d.Boards[rnd.IntN(len(l.d.Boards))].Name
	name := []string{"red", "blue"}[rnd.IntN(2)]
	l.mu.Lock()
	before := l.booked
	after := before.clone()
	l.mu.Unlock()
	var what string
	var ask func(c *apiclient.Client) (s4t.Operation, error)
	on := after.bridges[name]
	change := apiclient.BridgeChange{Boards: []string{board}}
	switch pick := rnd.IntN(3); {
	case pick == 0 && after.exposed[board]:
		delete(after.exposed, board)
		what, ask = "hide "+board, func(c *apiclient.Client) (s4t.Operation, error) { return c.HideService(ctx, board, "ssh") }
	case pick == 0:
		after.exposed[board] = true
		what, ask = "expose "+board, func(c *apiclient.Client) (s4t.Operation, error) {
			return c.ExposeService(ctx, board, apiclient.ServiceExpose{Service: "ssh"})
		}
	case on == nil:
		after.bridges[name] = map[string]bool{board: true}
		what, ask = "create "+name+" with "+board, func(c *apiclient.Client) (s4t.Operation, error) {
			return c.CreateBridge(ctx, apiclient.BridgeCreate{Name: name, Boards: []string{board}})
		}
	case !on[board]:
		on[board] = true
		what, ask = "add "+board+" to "+name, func(c *apiclient.Client) (s4t.Operation, error) { return c.AddToBridge(ctx, name, change) }
	case len(on) > 1:
		delete(on, board)
		what, ask = "remove "+board+" from "+name, func(c *apiclient.Client) (s4t.Operation, error) { return c.RemoveFromBridge(ctx, name, change) }
	default:
		delete(after.bridges, name)
		what, ask = "delete "+name, func(c *apiclient.Client) (s4t.Operation, error) { return c.DeleteBridge(ctx, name) }
	}
	l.mu.Lock()
	l.busy = what
	l.mu.Unlock()
	var op s4t.Operation
	sure := l.ask(n, what, func(c *apiclient.Client) (err error) { op, err = ask(c); return err })
	if sure {
		var err error
		l.mu.Lock()
		l.operations[op.ID] = what
		l.mu.Unlock()
		if op, err = l.users[n%2].WaitOperation(ctx, op.ID, nil); err != nil {
			l.d.isWrong("%s, which was acknowledged: %v", what, err)
			return
		}
		l.hasEnded(op)
		sure = op.Status == s4t.OperationSucceeded
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if sure {
		l.booked = after
	} else {
		l.doubt = &doubt{before, after, time.Now()}
	}
}

// enrol makes a board, has it join from the spare host, and deletes it. The channel is
// closed when that is done.
func (l *ledger) enrol() <-chan struct{} {
	done := make(chan struct{})
	l.mu.Lock()
	l.enrolled++
	name := "extra" + strconv.Itoa(l.enrolled)
	l.mu.Unlock()
	host := l.d.Lab.Boards()[3]
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(l.d.t.Context(), drillGivesUp)
		defer cancel()
		n := 0
		again := func(what string, try func(c *apiclient.Client) error) bool {
			for ; ctx.Err() == nil; n++ {
				if l.d.answered(what, try(l.admin[n%2])) {
					return true
				}
				time.Sleep(time.Second) // a user who tries again
			}
			l.d.isWrong("%s: not within %v", what, drillGivesUp)
			return false
		}
		var made s4t.Board
		tried := false
		if !again("create "+name, func(c *apiclient.Client) (err error) {
			made, err = c.CreateBoard(ctx, apiclient.BoardCreate{Name: name})
			if s4t.KindOf(err) == s4t.Conflict && tried { // it was made, and the answer lost
				made, err = c.UpdateBoard(ctx, name, apiclient.BoardUpdate{NewCode: true})
			}
			tried = true
			return err
		}) {
			return
		}
		state := filepath.Join(l.d.Lab.Dir, name)
		var p *netlab.Process
		for joined := false; !joined; {
			var err error
			if p, err = host.Start(name, nil, filepath.Join(l.d.Bin, "lightning-rod"), "join", made.Join, "--state", state, "--io", "none"); err != nil {
				l.d.isWrong("start %s: %v", name, err)
				return
			}
			_, err = p.WaitLine("ready "+name+" ", 0, time.Minute)
			if joined = err == nil; joined {
				break
			}
			if ctx.Err() != nil {
				l.d.isWrong("%s does not join: %s", name, p.Tail(5))
				return
			}
			p.Kill()
		}
		again("delete "+name, func(c *apiclient.Client) error {
			err := c.DeleteBoard(ctx, name)
			if s4t.KindOf(err) == s4t.NotFound { // the answer was lost
				return nil
			}
			return err
		})
		p.Kill()
	}()
	return done
}

// reader follows events for the whole time.
type reader struct {
	stream *apiclient.EventStream

	mu    sync.Mutex // guards the fields below
	heard []s4t.Event
	grown chan struct{}
}

func (r *reader) read(d *drill) {
	for e := range r.stream.All() {
		r.mu.Lock()
		if n := len(r.heard); n > 0 && e.ID <= r.heard[n-1].ID || e.Kind == apiclient.EventReset {
			d.isWrong("after event %+v comes %+v", r.heard[max(n-1, 0)], e)
		}
		r.heard = append(r.heard, e)
		close(r.grown)
		r.grown = make(chan struct{})
		r.mu.Unlock()
	}
	if err := r.stream.Err(); err != nil {
		d.isWrong("who follows events: %v", err)
	}
}

func (r *reader) last() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.heard) == 0 {
		return 0
	}
	return r.heard[len(r.heard)-1].ID
}

// reached is closed once the reader has heard of an event, or after a minute.
func (r *reader) reached(event func(s4t.Event) bool) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		end := time.After(time.Minute)
		for from := 0; ; {
			r.mu.Lock()
			grown, news := r.grown, r.heard[from:]
			from = len(r.heard)
			r.mu.Unlock()
			if slices.ContainsFunc(news, event) {
				return
			}
			select {
			case <-grown:
			case <-end:
				return
			}
		}
	}()
	return done
}

// figure of a process.
type processFigures struct{ goroutines, resident float64 }

// figures asks each process.
func (d *drill) figures() map[string]processFigures {
	all := map[string]processFigures{}
	client := &http.Client{Transport: &http.Transport{DialContext: d.Lab.User.DialContext, DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for _, p := range d.roster {
		res, err := client.Get("http://" + p.at.addr + ":9812/metrics")
		must(d.t, err)
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		must(d.t, err)
		var f processFigures
		for line := range strings.Lines(string(text)) {
			for name, to := range map[string]*float64{"go_goroutines ": &f.goroutines, "process_resident_memory_bytes ": &f.resident} {
				if v, ok := strings.CutPrefix(line, name); ok {
					*to, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
				}
			}
		}
		all[p.name] = f
	}
	return all
}

// calm fails unless each process has about as many goroutines and as much memory as
// before all faults.
func (d *drill) calm(before map[string]processFigures) {
	var now map[string]processFigures
	grown := ""
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Second) { // between two looks
		now, grown = d.figures(), ""
		for name, was := range before {
			if f := now[name]; f.goroutines > 1.3*was.goroutines+50 || f.resident > 1.5*was.resident+64<<20 {
				grown += fmt.Sprintf("%s has %.0f goroutines and %.0f MiB, before %.0f and %.0f; ", name, f.goroutines, f.resident/(1<<20), was.goroutines, was.resident/(1<<20))
			}
		}
		if grown == "" || time.Now().After(end) {
			break
		}
	}
	if grown != "" {
		d.isWrong("%s", grown)
	}
	for _, p := range d.roster {
		f, was := now[p.name], before[p.name]
		fmt.Printf("%s: %.0f goroutines (before: %.0f), %.0f MiB resident (%.0f)\n", p.name, f.goroutines, was.goroutines, f.resident/(1<<20), was.resident/(1<<20))
	}
}
