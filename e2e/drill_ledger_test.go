package e2e

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// booked is what a user has asked for: boards of bridges by their names, and boards
// whose sshd is exposed.
type booked struct {
	bridges map[string]map[string]bool
	exposed map[string]bool
}

func (b booked) clone() booked {
	c := booked{map[string]map[string]bool{}, maps.Clone(b.exposed)}
	for name, on := range b.bridges {
		c.bridges[name] = maps.Clone(on)
	}
	return c
}

func (b booked) String() string {
	var s strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b.bridges)) {
		fmt.Fprintf(&s, "%s: %v; ", name, slices.Sorted(maps.Keys(b.bridges[name])))
	}
	fmt.Fprintf(&s, "exposed: %v", slices.Sorted(maps.Keys(b.exposed)))
	return s.String()
}

// doubt is a request of which nobody knows whether it was carried out: its answer
// was lost, or its operation has failed.
type doubt struct {
	before, after booked
	since         time.Time
}

// doubtful is how long a request may be under way after its answer was lost: a call of
// the queue takes at most 10 s.
const doubtful = 12 * time.Second

// ledger is the reference model of the drill: what was acknowledged, and what must be
// therefore.
type ledger struct {
	d     *drill
	marks string // file to which commands write what they are
	users []*apiclient.Client
	admin []*apiclient.Client
	base  s4t.Bridge // that nobody changes
	load  *load

	mu         sync.Mutex // guards the fields below
	paused     bool       // nothing new is asked for
	busy       string     // what is under way
	booked     booked
	doubt      *doubt
	operations map[s4t.OperationID]string // acknowledged, and not seen to have ended
	ended      map[s4t.OperationID]string // acknowledged, and seen so
	failed     []string                   // operations that ended so
	runs       map[string]bool            // commands by what they mark; true: acknowledged to have been done
	enrolled   int
}

func newLedger(d *drill, marks string) *ledger {
	l := &ledger{d: d, marks: marks, booked: booked{map[string]map[string]bool{}, map[string]bool{}}, operations: map[s4t.OperationID]string{}, ended: map[s4t.OperationID]string{}, runs: map[string]bool{}}
	token := ""
	for _, name := range []string{"c1", "c2"} {
		p := d.placed(name)
		cfg, err := readContext(d.ContextFile())
		must(d.t, err)
		cfg.URL, cfg.Dial, cfg.Timeout = fmt.Sprintf("https://%s:%d", p.at.addr, p.port), d.Lab.User.DialContext, 15*time.Second
		for _, list := range []*[]*apiclient.Client{&l.admin, &l.users} {
			c, err := apiclient.New(cfg)
			must(d.t, err)
			d.t.Cleanup(c.Close)
			*list = append(*list, c)
			if token == "" {
				token = tokenFor(d.t, c, "ann", "default", s4t.RoleMember)
			}
			cfg.Token = token
		}
	}
	return l
}

// pause has nothing new asked for, or again.
func (l *ledger) pause(p bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.paused = p
}

// check compares what can be seen, of both APIs, with what must be.
func (l *ledger) check() error {
	ctx, cancel := context.WithTimeout(l.d.t.Context(), 20*time.Second)
	defer cancel()
	l.mu.Lock()
	busy, operations := l.busy, maps.Clone(l.operations)
	l.mu.Unlock()
	for i, c := range l.admin {
		if err := l.checkAgents(ctx, c); err != nil {
			return fmt.Errorf("as c%d says: %w", i+1, err)
		}
	}
	for id, what := range operations {
		o, err := l.admin[0].Operation(ctx, id)
		if err != nil {
			return fmt.Errorf("operation %s (%s): %w", id, what, err)
		}
		if !o.Status.Ended() {
			return fmt.Errorf("operation %s (%s) is %s", id, what, o.Status)
		}
		l.hasEnded(o)
	}
	if busy != "" {
		return fmt.Errorf("%q is under way", busy)
	}
	for i, c := range l.users {
		if err := l.checkBooked(ctx, c); err != nil {
			return fmt.Errorf("as c%d says: %w", i+1, err)
		}
	}
	seen, _, _, err := l.seenBooked(ctx, l.users[0])
	if err != nil {
		return err
	}
	return l.checkBoards(ctx, seen)
}

// hasEnded notes that an acknowledged operation has.
func (l *ledger) hasEnded(o s4t.Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	what, ok := l.operations[o.ID]
	if !ok {
		return // seen before
	}
	delete(l.operations, o.ID)
	l.ended[o.ID] = what
	if o.Status != s4t.OperationSucceeded {
		l.failed = append(l.failed, fmt.Sprintf("%s: %s", what, o.Error))
	}
	if id, ok := strings.CutPrefix(what, "mark "); ok && o.Status == s4t.OperationSucceeded {
		l.runs[id] = true
	}
}

func (l *ledger) checkAgents(ctx context.Context, c *apiclient.Client) error {
	agents, err := c.Agents(ctx)
	if err != nil {
		return err
	}
	if len(agents) != 4 {
		return fmt.Errorf("there are %d agents", len(agents))
	}
	for _, a := range agents {
		if a.Status != s4t.AgentOnline {
			return fmt.Errorf("%s is %s", a.ID, a.Status)
		}
	}
	for _, b := range l.d.Boards {
		now, err := c.Board(ctx, b.Name)
		if err != nil {
			return err
		}
		if now.Status != s4t.BoardOnline {
			return fmt.Errorf("%s is %s", b.Name, now.Status)
		}
	}
	return nil
}

// seenBooked is what the cloud says that is booked, without the base, and whether all of
// it is up.
func (l *ledger) seenBooked(ctx context.Context, c *apiclient.Client) (b booked, services []s4t.Service, down error, err error) {
	b = booked{map[string]map[string]bool{}, map[string]bool{}}
	bridges, err := c.Bridges(ctx)
	if err != nil {
		return b, nil, nil, err
	}
	macs := map[string]string{}
	for _, br := range bridges {
		on := map[string]bool{}
		for _, p := range br.Ports {
			if other, twice := macs[p.MAC]; on[p.Board] || twice {
				return b, nil, nil, fmt.Errorf("bridge %s has a port twice: %+v, %s", br.Name, p, other)
			}
			on[p.Board], macs[p.MAC] = true, br.Name
			if p.Status != s4t.PortUp {
				down = fmt.Errorf("bridge %s: the port of %s is %s", br.Name, p.Board, p.Status)
			}
		}
		if br.Name != l.base.Name {
			b.bridges[br.Name] = on
		}
	}
	if services, err = c.Services(ctx, ""); err != nil {
		return b, nil, nil, err
	}
	for _, s := range services {
		b.exposed[s.Board] = true
		if s.Status != s4t.ServiceUp {
			down = fmt.Errorf("the service of %s is %s", s.Board, s.Status)
		}
	}
	return b, services, down, nil
}

// resolve ends a doubt by looking.
func (l *ledger) resolve(ctx context.Context) error {
	l.mu.Lock()
	doubt := l.doubt
	l.mu.Unlock()
	if doubt == nil {
		return nil
	}
	if time.Since(doubt.since) < doubtful {
		return fmt.Errorf("a request may be under way")
	}
	seen, _, _, err := l.seenBooked(ctx, l.users[0])
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(seen, doubt.before) && !reflect.DeepEqual(seen, doubt.after) {
		l.d.isWrong("a request was carried out in part, or is lost: it is %v, was %v, was to be %v", seen, doubt.before, doubt.after)
	}
	l.mu.Lock()
	l.booked, l.doubt = seen, nil
	l.mu.Unlock()
	return nil
}

// checkBooked fails unless what is booked is there, up, and reached at its public port.
func (l *ledger) checkBooked(ctx context.Context, c *apiclient.Client) error {
	seen, services, down, err := l.seenBooked(ctx, c)
	if err != nil {
		return err
	}
	l.mu.Lock()
	want, doubt := l.booked.clone(), l.doubt
	l.mu.Unlock()
	if !reflect.DeepEqual(seen, want) && (doubt == nil || !reflect.DeepEqual(seen, doubt.after)) {
		return fmt.Errorf("it is %v, must be %v", seen, want)
	}
	if down != nil {
		return down
	}
	at := map[string]int{} // host: public ports
	for _, s := range services {
		at[s.Host]++
		if err := l.greets(ctx, net.JoinHostPort(s.Host, strconv.Itoa(s.PublicPort))); err != nil {
			return fmt.Errorf("the public port of %s: %w", s.Board, err)
		}
	}
	for _, name := range []string{"t1", "t2"} { // nobody else's are open
		p := l.d.placed(name)
		out, err := p.at.Run(ctx, "ss", "-Hltn")
		if err != nil {
			return err
		}
		if n := len(strings.Split(strings.TrimSpace(out), "\n")); n != 2+at[p.at.addr] {
			return fmt.Errorf("%s has %d listeners for %d public ports:\n%s", name, n, at[p.at.addr], out)
		}
	}
	return nil
}

// greets fails unless an sshd answers.
func (l *ledger) greets(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	c, err := l.d.Lab.User.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	b := make([]byte, 4)
	if _, err := c.Read(b); err != nil || string(b) != "SSH-" {
		return fmt.Errorf("it says %q, %v", b, err)
	}
	return nil
}

// checkBoards fails unless boards have the devices that they must have, and the base
// carries pings.
func (l *ledger) checkBoards(ctx context.Context, want booked) error {
	for _, b := range l.d.Boards {
		n := 1 // of the base
		for _, on := range want.bridges {
			if on[b.Name] {
				n++
			}
		}
		out, err := b.Host.Run(ctx, "ip", "-br", "link")
		if err != nil {
			return err
		}
		if got := strings.Count(out, "s4t-"); got != n {
			return fmt.Errorf("%s has %d devices, must have %d:\n%s", b.Name, got, n, out)
		}
	}
	for _, board := range []string{"board2", "board3"} {
		if err := ping(ctx, l.d.Boards[0].Host, addressOf(l.d.t, l.base, board, false)); err != nil {
			return err
		}
	}
	return nil
}

// finish compares what is left at the end: events, operations, what commands did.
func (l *ledger) finish() {
	l.load.stop()
	l.finishEvents()
	text, err := os.ReadFile(l.marks)
	must(l.d.t, err)
	done := map[string]int{}
	for _, id := range strings.Fields(string(text)) {
		done[id]++
	}
	for id, acknowledged := range l.runs {
		if n := done[id]; n > 1 || acknowledged && n == 0 {
			l.d.isWrong("the command %s ran %d times; acknowledged: %v", id, n, acknowledged)
		}
	}
}

// summary says how much was done.
func (l *ledger) summary() string {
	s := fmt.Sprintf("%d operations acknowledged, of which %d failed; %d commands; %d boards enrolled and gone; %d events to each of %d readers",
		len(l.ended), len(l.failed), len(l.runs), l.enrolled, len(l.load.readers[0].heard), len(l.load.readers))
	for _, f := range l.failed {
		s += "\n  failed: " + f
	}
	return s
}
