package e2e

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
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

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/internal/rabbittest"
)

// Bounds of the drill.
const (
	// drillHeals is within what everything is as it must be, once the cause of a fault
	// has gone: an agent is given up after 10 s and its things are elsewhere after 15, and
	// the machine has other things to do, too.
	drillHeals = 30 * time.Second
	// drillGivesUp is when the drill does not wait any longer.
	drillGivesUp = 3 * time.Minute
)

// fault is something that happens to a part of the cloud, and how it ends.
type fault struct {
	kind, part string
	begin      func()
	end        func() // the cause goes
}

func (f fault) String() string { return f.kind + " of " + f.part }

// drill is a cloud of processes, each at a machine of its own, under load, to which
// faults happen.
type drill struct {
	*cluster
	rnd    *rand.Rand
	strict atomic.Bool // no request may be refused
	node   *rabbittest.Node
	db     *pgtest.Node
	ledger *ledger
	key    string // that opens board1's sshd

	mu     sync.Mutex // guards the fields below
	wrong  []string   // what must not be
	now    string     // the round that goes on
	refuse map[s4t.Kind]int
	asked  int
}

// TestCluster is `make test-cluster`: everything that a cloud is made of is killed,
// stopped, halted and cut off in a random order, under bridges with pings, a session of
// `s4t ssh`, public ports, commands, enrolments and bookings. After each fault all is as
// the ledger says, and nothing that was acknowledged is lost. S4T_SEED repeats an order.
func TestCluster(t *testing.T) {
	length, err := time.ParseDuration(os.Getenv("S4T_DRILL"))
	if err != nil {
		t.Skip("a drill of minutes: make test-cluster")
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("S4T_SEED"); s != "" {
		seed, err = strconv.ParseUint(s, 10, 64)
		must(t, err)
	}
	fmt.Printf("A drill of %v. The same order again: S4T_SEED=%d\n", length, seed)
	d := newDrill(t, bin)
	d.rnd = rand.New(rand.NewPCG(seed, 0))
	d.stage()
	d.load()
	d.settled("before any fault", drillGivesUp)
	before := d.figures()
	var rounds []round
	deck := d.shuffled()
	for end := time.Now().Add(length); time.Now().Before(end); {
		if len(deck) == 0 {
			deck = d.shuffled()
		}
		faults := deck[:1]
		if len(rounds)%4 == 3 && len(deck) > 1 && deck[0].part != deck[1].part {
			faults = deck[:2] // at once
		}
		rounds = append(rounds, d.round(faults))
		deck = deck[len(faults):]
	}
	d.settled("after all", drillGivesUp)
	d.calm(before)
	d.ledger.finish()
	d.report(rounds)
}

// newDrill makes a cluster of machines that can be cut off, one for each process.
func newDrill(t *testing.T, programs string) *drill {
	t.Helper()
	d := &drill{cluster: newCluster(t, 8, 4), refuse: map[s4t.Kind]int{}, now: "the start"}
	d.Bin = programs
	must(t, os.Chmod(d.Lab.Dir, 0o711)) // commands run there
	m := d.machines
	d.node, d.db = rabbittest.Own(t), pgtest.Own(t)
	d.broker(d.node, m[6])
	carryTo(t, m[7].Host, m[7].addr+":5432", d.db.Socket())
	db := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: m[7].addr + ":5432", Path: "/postgres", RawQuery: "sslmode=disable"}
	d.database = db.String()
	for i, p := range []placed{
		{role: "api,conductor", name: "c1", args: d.conductor("c1")},
		{role: "api,conductor", name: "c2", args: d.conductor("c2")},
		{role: "wamp-agent", name: "w1"}, {role: "wamp-agent", name: "w2"},
		{role: "tunnel-agent", name: "t1"}, {role: "tunnel-agent", name: "t2"},
	} {
		p.at, p.port = m[i], 8812
		p.args = append(p.args, "--metrics", p.at.addr+":9812")
		d.roster = append(d.roster, p)
	}
	return d
}

// load enrols the boards, and starts all that goes on meanwhile.
func (d *drill) load() {
	t := d.t
	commands := t.TempDir()
	marks := filepath.Join(d.Lab.Dir, "marks")
	must(t, os.WriteFile(filepath.Join(commands, "mark.toml"), fmt.Appendf(nil, `argv = ["/bin/sh", "-c", "echo \"$0\" >> %s", "{id}"]
timeout = "20s"
[params]
type = "object"
required = ["id"]
[params.properties]
id = { type = "string" }
`, marks), 0o644))
	for i, host := range d.Lab.Boards()[:3] {
		b := d.Adopt(&cloudlab.Board{Board: host, Name: fmt.Sprintf("board%d", i+1), Args: []string{"--commands", commands, "--io", "none"}})
		b.State = filepath.Join(d.Lab.Dir, b.Name)
		var made s4t.Board
		s4tJSON(t, d.Cloud, &made, "board", "create", b.Name)
		must(t, b.Join(made.Join))
		must(t, b.WaitReady(0, brokerPatience))
		if k := sshd(t, b).Key; d.key == "" {
			d.key = k
		}
	}
	d.ledger = newLedger(d, marks)
	d.ledger.begin()
}

// machineOf is that of a process.
func (d *drill) placed(name string) placed {
	return d.roster[slices.IndexFunc(d.roster, func(p placed) bool { return p.name == name })]
}

// hold is for how long a fault goes on.
func (d *drill) hold() time.Duration {
	return 5*time.Second + time.Duration(d.rnd.Int64N(int64(20*time.Second)))
}

// shuffled are all faults, in a random order.
func (d *drill) shuffled() (all []fault) {
	t := d.t
	for _, p := range d.roster {
		process := func() { d.start(p) }
		signal := func(s syscall.Signal) func() { return func() { must(t, d.processes[p.name].Signal(s)) } }
		all = append(all,
			fault{"kill -9", p.name, func() { d.processes[p.name].Kill() }, process},
			fault{"SIGTERM", p.name, func() { d.ends(p.name) }, process},
			fault{"SIGSTOP", p.name, signal(syscall.SIGSTOP), signal(syscall.SIGCONT)},
			fault{"cut", p.name, func() { must(t, p.at.Unplug()) }, func() { must(t, p.at.Plug()) }},
		)
	}
	broker, database := d.machines[6], d.machines[7]
	all = append(all,
		fault{"kill -9", "broker", func() { d.node.Kill(t) }, func() { d.node.Restart(t) }},
		fault{"SIGSTOP", "broker", func() { d.node.Pause(t) }, func() { d.node.Resume(t) }},
		fault{"cut", "broker", func() { must(t, broker.Unplug()) }, func() { must(t, broker.Plug()) }},
		fault{"kill -9", "database", func() { d.db.Kill(t) }, func() { d.db.Restart(t) }},
		fault{"SIGSTOP", "database", func() { d.db.Pause(t) }, func() { d.db.Resume(t) }},
		fault{"cut", "database", func() { must(t, database.Unplug()) }, func() { must(t, database.Plug()) }},
	)
	if only := os.Getenv("S4T_FAULT"); only != "" { // such as "cut of w1,kill -9 of t1"
		all = slices.DeleteFunc(all, func(f fault) bool { return !slices.Contains(strings.Split(only, ","), f.String()) })
		return append(all, all...)
	}
	d.rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

// ends ends a process in order.
func (d *drill) ends(name string) {
	p := d.processes[name]
	must(d.t, p.Signal(syscall.SIGTERM))
	select {
	case <-p.Done():
	case <-time.After(brokerPatience):
		d.isWrong("%s does not end within %v after SIGTERM", name, brokerPatience)
		p.Kill()
	}
}

// round is what one fault, or two at once, did.
type round struct {
	what            string
	held, healed    time.Duration
	silence, typing time.Duration // longest without a ping, and until a line of the session was back
	refused, asked  int
}

// round has faults happen, ends them, and measures how soon all is as it must be.
func (d *drill) round(faults []fault) round {
	var r round
	for _, f := range faults {
		r.what = strings.TrimPrefix(r.what+" and "+f.String(), " and ")
	}
	d.watch(r.what)
	began := time.Now()
	for _, f := range faults {
		f.begin()
	}
	enrolled := d.ledger.enrol()
	time.Sleep(d.hold()) // of the fault
	for _, f := range faults {
		f.end()
	}
	r.held = time.Since(began)
	r.healed = d.settled(r.what, drillHeals)
	<-enrolled
	r.silence, r.typing = d.ledger.seen()
	var refused map[s4t.Kind]int
	r.asked, refused = d.counted()
	for _, n := range refused {
		r.refused += n
	}
	fmt.Printf("%s  %-44s held %5.1fs healed %5.1fs  no ping for %4.1fs  ssh %4.1fs  %d of %d requests refused %v\n", time.Now().Format("15:04:05"), r.what, r.held.Seconds(), r.healed.Seconds(),
		r.silence.Seconds(), r.typing.Seconds(), r.refused, r.asked, refused)
	return r
}

// watch begins to count and to measure anew.
func (d *drill) watch(what string) {
	d.mu.Lock()
	d.now, d.asked, d.refuse = what, 0, map[s4t.Kind]int{}
	d.mu.Unlock()
	d.ledger.watch()
}

// counted is how many requests there were since watch, and the kinds of those that were refused.
func (d *drill) counted() (asked int, refused map[s4t.Kind]int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.asked, maps.Clone(d.refuse)
}

// settled waits until all is as it must be, and returns how long that took.
func (d *drill) settled(what string, bound time.Duration) time.Duration {
	began := time.Now()
	d.ledger.pause(true)
	defer d.ledger.pause(false)
	for late := false; ; time.Sleep(100 * time.Millisecond) { // between two looks
		err := d.ledger.check()
		took := time.Since(began)
		if err == nil {
			return took
		}
		if took > bound && !late {
			late = true
			d.isWrong("%s: not healed within %v: %v", what, bound, err)
		}
		if took > drillGivesUp {
			for _, w := range d.wrong {
				d.t.Error(w)
			}
			d.t.Fatalf("%s: not healed at all: %v", what, err)
		}
	}
}

// isWrong notes what must not be.
func (d *drill) isWrong(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	fmt.Printf("%s  WRONG (%s): %s\n", time.Now().Format("15:04:05"), d.now, text)
	d.wrong = append(d.wrong, d.now+": "+text)
}

// answered counts a request, and reports whether it was carried out. What is refused
// has to say why by its kind, so that who asked knows to come again.
func (d *drill) answered(what string, err error) bool {
	kind := s4t.KindOf(err)
	d.mu.Lock()
	d.asked++
	if err != nil {
		d.refuse[kind]++
	}
	d.mu.Unlock()
	switch {
	case err == nil:
		return true
	case d.strict.Load() || kind != s4t.Unavailable && kind != s4t.Timeout && kind != s4t.TooMany && kind != s4t.Offline:
		d.isWrong("%s: %v (%s)", what, err, kind)
	}
	return false
}

// report prints how long what took, by kind of fault and part.
func (d *drill) report(rounds []round) {
	byWhat := map[string][]round{}
	for _, r := range rounds {
		byWhat[r.what] = append(byWhat[r.what], r)
	}
	names := slices.SortedFunc(func(yield func(string) bool) {
		for n := range byWhat {
			if !yield(n) {
				return
			}
		}
	}, cmp.Compare[string])
	fmt.Printf("\n%-52s %5s %9s %9s %9s %9s\n", "fault", "times", "heal p50", "heal max", "no ping", "ssh")
	var all []time.Duration
	for _, n := range names {
		var heals []time.Duration
		var silence, typing time.Duration
		for _, r := range byWhat[n] {
			heals = append(heals, r.healed)
			silence, typing = max(silence, r.silence), max(typing, r.typing)
		}
		slices.Sort(heals)
		all = append(all, heals...)
		fmt.Printf("%-52s %5d %8.1fs %8.1fs %8.1fs %8.1fs\n", n, len(heals), heals[len(heals)/2].Seconds(), heals[len(heals)-1].Seconds(), silence.Seconds(), typing.Seconds())
	}
	if slices.Sort(all); len(all) > 0 {
		fmt.Printf("%-52s %5d %8.1fs %8.1fs\n", "all", len(all), all[len(all)/2].Seconds(), all[len(all)-1].Seconds())
	}
	fmt.Println(d.ledger.summary())
	for _, w := range d.wrong {
		d.t.Error(w)
	}
}
