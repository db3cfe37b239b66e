package cloudtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/queue"
)

// Every step is looked at until it has settled, so a few sequences take as
// long as many elsewhere: -rapid.checks and -rapid.steps ask for more.
func TestMain(m *testing.M) {
	if plugin.IsStub(os.Args) { // a guest of a board begins as this binary
		plugin.StubMain()
	}
	flag.Set("rapid.checks", "2")
	flag.Set("rapid.steps", "20")
	flag.Set("rapid.nofailfile", "true")
	goleak.VerifyTestMain(m)
}

// settle is how soon all must be as the model says, and settleMany the same where
// processes are killed beside others: an agent's silence is noticed first.
const (
	settle     = time.Minute
	settleMany = 2 * time.Minute
)

// greeting is what the service behind every board says.
const greeting = "hello\n"

// model is what the requests so far should have led to.
type model struct {
	cloud  *Cloud
	settle time.Duration
	client *apiclient.Client
	target int // TCP port of the service
	public s4t.PortRange

	boards   map[string]*Board
	bridges  map[string]map[string]bool // name: boards
	services map[string]bool            // boards whose service is exposed
	has      map[string]int             // board: devices it should have now
	drained  map[string]bool            // processes whose agent is drained
}

// reachable reports whether a board can follow what the cloud says.
func (m *model) reachable(board string) bool {
	return m.cloud.Running() && m.boards[board].Reachable()
}

// wanted is how many devices desired state gives a board.
func (m *model) wanted(board string) (n int) {
	for _, on := range m.bridges {
		if on[board] {
			n++
		}
	}
	return n
}

// check compares everything that can be seen with the model.
func (m *model) check(ctx context.Context) error {
	for name, b := range m.boards {
		if m.reachable(name) {
			m.has[name] = m.wanted(name)
		}
		want := m.has[name]
		if !b.Running() {
			want = 0
		}
		if got := b.Devices(); len(got) != want {
			return fmt.Errorf("%s has the devices %q, want %d", name, got, want)
		}
	}
	if !m.cloud.Running() {
		return m.checkListeners(nil)
	}
	boards, err := m.client.Boards(ctx, nil, "")
	if err != nil {
		return err
	}
	for _, b := range boards {
		if online := b.Status == s4t.BoardOnline; online != m.reachable(b.Name) {
			return fmt.Errorf("%s is %s, reachable %v", b.Name, b.Status, m.reachable(b.Name))
		}
	}
	if err := m.checkBridges(ctx); err != nil {
		return err
	}
	if err := m.checkServices(ctx); err != nil {
		return err
	}
	return m.checkAgents(ctx)
}

// checkAgents: an agent that does not run, or is drained, has nothing.
func (m *model) checkAgents(ctx context.Context) error {
	agents, err := m.client.Agents(ctx)
	for _, a := range agents {
		p := m.cloud.Process(string(a.ID))
		if p == nil { // one process does everything
			continue
		}
		if (!p.Running() || m.drained[p.Name]) && a.Boards+a.Networks+a.Services > 0 {
			return fmt.Errorf("%s has %d boards, %d networks, %d services; it runs %v, is drained %v", a.ID, a.Boards, a.Networks, a.Services, p.Running(), m.drained[p.Name])
		}
		if p.Running() && (a.Status == s4t.AgentDrained) != m.drained[p.Name] {
			return fmt.Errorf("%s is %s", a.ID, a.Status)
		}
	}
	return err
}

func (m *model) checkBridges(ctx context.Context) error {
	bridges, err := m.client.Bridges(ctx)
	if err != nil {
		return err
	}
	if len(bridges) != len(m.bridges) {
		return fmt.Errorf("there are %d bridges, want %d", len(bridges), len(m.bridges))
	}
	macs := map[string]bool{}
	subnets := map[string]map[string]bool{} // board: subnets
	for _, br := range bridges {
		want, addresses := m.bridges[br.Name], map[string]bool{}
		if len(br.Ports) != len(want) {
			return fmt.Errorf("bridge %s has %d ports, want %v", br.Name, len(br.Ports), want)
		}
		for _, p := range br.Ports {
			if !want[p.Board] || macs[p.MAC] {
				return fmt.Errorf("bridge %s has the port %+v", br.Name, p)
			}
			macs[p.MAC] = true
			for _, a := range p.Addresses {
				if addresses[a] {
					return fmt.Errorf("bridge %s gives %s twice", br.Name, a)
				}
				addresses[a] = true
			}
			if up := p.Status == s4t.PortUp; up != m.reachable(p.Board) {
				return fmt.Errorf("bridge %s: the port of %s is %s", br.Name, p.Board, p.Status)
			}
			if subnets[p.Board] == nil {
				subnets[p.Board] = map[string]bool{}
			}
			if subnets[p.Board][br.CIDR] {
				return fmt.Errorf("%s is on %s twice", p.Board, br.CIDR)
			}
			subnets[p.Board][br.CIDR] = true
		}
	}
	ports, err := m.client.Ports(ctx)
	if err != nil {
		return err
	}
	networks, err := m.client.Networks(ctx)
	if err != nil {
		return err
	}
	if len(ports) != len(macs) || len(networks) != len(bridges) {
		return fmt.Errorf("%d ports and %d networks for %d ports on %d bridges", len(ports), len(networks), len(macs), len(bridges))
	}
	return nil
}

func (m *model) checkServices(ctx context.Context) error {
	services, err := m.client.Services(ctx, "")
	if err != nil {
		return err
	}
	if len(services) != len(m.services) {
		return fmt.Errorf("there are %d services, want %d", len(services), len(m.services))
	}
	public := map[string]string{} // HOST:PORT: board
	for _, s := range services {
		addr := net.JoinHostPort(s.Host, strconv.Itoa(s.PublicPort))
		if other, taken := public[addr]; taken || !m.services[s.Board] {
			return fmt.Errorf("the service of %s has %s (of %q)", s.Board, addr, other)
		}
		public[addr] = s.Board
		if up := s.Status == s4t.ServiceUp; up != m.reachable(s.Board) {
			return fmt.Errorf("the service of %s is %s", s.Board, s.Status)
		}
	}
	operations, err := m.client.Operations(ctx)
	if err != nil {
		return err
	}
	for _, o := range operations {
		if o.Status == s4t.OperationRunning {
			return fmt.Errorf("operation %s still runs", o.Kind)
		}
	}
	return m.checkListeners(public)
}

// checkListeners dials every public port: those of services answer as their
// board can, the others refuse.
func (m *model) checkListeners(public map[string]string) error {
	for _, p := range m.cloud.Processes() {
		if !p.Has(cloud.TunnelAgent) {
			continue
		}
		for n := m.public.First; n <= m.public.Last; n++ {
			port := strconv.Itoa(n)
			if err := m.checkListener(net.JoinHostPort(p.IP, port), public[net.JoinHostPort(p.Host, port)]); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkListener dials one: of a board's service, or of nobody.
func (m *model) checkListener(addr, board string) error {
	c, err := net.Dial("tcp", addr)
	if board == "" {
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("the public port %s of nobody: %v", addr, err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("the public port of %s: %w", board, err)
	}
	defer c.Close()
	if !m.reachable(board) {
		return nil // it waits for the board to come back
	}
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if b, err := io.ReadAll(c); string(b) != greeting {
		return fmt.Errorf("the service of %s says %q, %v", board, b, err)
	}
	return nil
}

// settled waits until check finds nothing.
func (m *model) settled(t *rapid.T) {
	ctx, cancel := context.WithTimeout(context.Background(), m.settle)
	defer cancel()
	for {
		err := m.check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("not as it should be after %v: %v\n%s", m.settle, err, m)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// String shows the model.
func (m *model) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "cloud running %v, without %v, drained %v\n", m.cloud.Running(), m.ended(), slices.Collect(maps.Keys(m.drained)))
	for _, n := range m.names() {
		fmt.Fprintf(&s, "%s: running %v, proxy cut %v, exposed %v\n", n, m.boards[n].Running(), m.boards[n].Proxy.isCut(), m.services[n])
	}
	for n, on := range m.bridges {
		fmt.Fprintf(&s, "bridge %s: %v\n", n, slices.Sorted(maps.Keys(on)))
	}
	return s.String()
}

func (m *model) names() []string { return slices.Sorted(maps.Keys(m.boards)) }

// pick draws one of names; where there is none, the step is left out.
func pick(t *rapid.T, what string, names []string) string {
	if len(names) == 0 {
		t.Skip("no " + what)
	}
	sort.Strings(names)
	return rapid.SampledFrom(names).Draw(t, what)
}

// those of the boards that ok says.
func (m *model) those(ok func(name string, b *Board) bool) (names []string) {
	for n, b := range m.boards {
		if ok(n, b) {
			names = append(names, n)
		}
	}
	return names
}

// ended are the processes that do not run.
func (m *model) ended() (names []string) {
	for _, p := range m.cloud.Processes() {
		if !p.Running() {
			names = append(names, p.Name)
		}
	}
	return names
}

// spare are the processes that run beside another of their role which takes what
// they have.
func (m *model) spare() (names []string) {
	for _, p := range m.cloud.Processes() {
		for _, other := range m.cloud.Processes() {
			if p != other && p.Running() && other.Running() && slices.Equal(p.Roles, other.Roles) && !m.drained[other.Name] {
				names = append(names, p.Name)
				break
			}
		}
	}
	return names
}

// asked needs the cloud.
func (m *model) asked(t *rapid.T) {
	if !m.cloud.Running() {
		t.Skip("the cloud does not run")
	}
}

// done waits for an operation that must succeed, also where a process that is
// not alone in its role is killed meanwhile.
func (m *model) done(t *rapid.T, op s4t.Operation, err error) {
	if names := m.spare(); err == nil && len(names) > 0 && rapid.IntRange(0, 3).Draw(t, "kill one meanwhile") == 3 {
		m.cloud.Process(pick(t, "process", names)).Kill()
		m.client.Close() // a connection that was killed is none to ask over again
	}
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), m.settle)
		defer cancel()
		op, err = m.client.WaitOperation(ctx, op.ID, nil)
	}
	if err == nil && op.Status != s4t.OperationSucceeded {
		err = fmt.Errorf("it %s: %s", op.Status, op.Error)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, m)
	}
}

// refused is a request that must fail, with a kind.
func (m *model) refused(t *rapid.T, err error, kind s4t.Kind) {
	if s4t.KindOf(err) != kind {
		t.Fatalf("error %v, want %s\n%s", err, kind, m)
	}
}

func (m *model) actions(ctx context.Context) map[string]func(*rapid.T) {
	bridges := func() []string { return slices.Collect(maps.Keys(m.bridges)) }
	return map[string]func(*rapid.T){
		"": m.settled,
		"create a bridge": func(t *rapid.T) {
			m.asked(t)
			name := rapid.SampledFrom([]string{"red", "green", "blue"}).Draw(t, "bridge")
			on := rapid.SliceOfNDistinct(rapid.SampledFrom(m.names()), 1, len(m.boards), rapid.ID[string]).Draw(t, "boards")
			op, err := m.client.CreateBridge(ctx, apiclient.BridgeCreate{Name: name, Boards: on})
			if m.bridges[name] != nil {
				m.refused(t, err, s4t.Conflict)
				return
			}
			m.bridges[name] = map[string]bool{}
			for _, b := range on {
				m.bridges[name][b] = true
			}
			m.done(t, op, err)
		},
		"add to a bridge": func(t *rapid.T) {
			m.asked(t)
			name, b := pick(t, "bridge", bridges()), pick(t, "board", m.names())
			op, err := m.client.AddToBridge(ctx, name, apiclient.BridgeChange{Boards: []string{b}})
			if m.bridges[name][b] {
				m.refused(t, err, s4t.Conflict)
				return
			}
			m.bridges[name][b] = true
			m.done(t, op, err)
		},
		"remove from a bridge": func(t *rapid.T) {
			m.asked(t)
			name, b := pick(t, "bridge", bridges()), pick(t, "board", m.names())
			if len(m.bridges[name]) == 1 {
				t.Skip("the last board stays")
			}
			op, err := m.client.RemoveFromBridge(ctx, name, apiclient.BridgeChange{Boards: []string{b}})
			if !m.bridges[name][b] {
				m.refused(t, err, s4t.NotFound)
				return
			}
			delete(m.bridges[name], b)
			m.done(t, op, err)
		},
		"delete a bridge": func(t *rapid.T) {
			m.asked(t)
			name := pick(t, "bridge", bridges())
			op, err := m.client.DeleteBridge(ctx, name)
			delete(m.bridges, name)
			m.done(t, op, err)
		},
		"expose": func(t *rapid.T) {
			m.asked(t)
			b := pick(t, "board", m.names())
			op, err := m.client.ExposeService(ctx, b, apiclient.ServiceExpose{Service: strconv.Itoa(m.target)})
			if m.services[b] {
				m.refused(t, err, s4t.Conflict)
				return
			}
			m.services[b] = true
			m.done(t, op, err)
		},
		"hide": func(t *rapid.T) {
			m.asked(t)
			b := pick(t, "board", m.names())
			op, err := m.client.HideService(ctx, b, strconv.Itoa(m.target))
			if !m.services[b] {
				m.refused(t, err, s4t.NotFound)
				return
			}
			delete(m.services, b)
			m.done(t, op, err)
		},
		"stop a board": func(t *rapid.T) {
			m.boards[pick(t, "board", m.those(func(_ string, b *Board) bool { return b.Running() }))].Stop()
		},
		"kill a board": func(t *rapid.T) {
			m.boards[pick(t, "board", m.those(func(_ string, b *Board) bool { return b.Running() }))].Kill()
		},
		"start a board": func(t *rapid.T) {
			if err := m.boards[pick(t, "board", m.those(func(_ string, b *Board) bool { return !b.Running() }))].Start(); err != nil {
				t.Fatal(err)
			}
		},
		"cut a proxy": func(t *rapid.T) {
			m.boards[pick(t, "board", m.those(func(_ string, b *Board) bool { return !b.Proxy.isCut() }))].Proxy.Cut()
		},
		"heal a proxy": func(t *rapid.T) {
			m.boards[pick(t, "board", m.those(func(_ string, b *Board) bool { return b.Proxy.isCut() }))].Proxy.Heal()
		},
		"stop a process": func(t *rapid.T) {
			m.cloud.Process(pick(t, "process", m.spare())).Stop()
		},
		"kill a process": func(t *rapid.T) {
			m.cloud.Process(pick(t, "process", m.spare())).Kill()
		},
		"drain an agent": func(t *rapid.T) {
			m.asked(t)
			var names []string
			for _, name := range m.spare() {
				if p := m.cloud.Process(name); !m.drained[name] && (p.Has(cloud.WAMPAgent) || p.Has(cloud.TunnelAgent)) {
					names = append(names, name)
				}
			}
			name := pick(t, "process", names)
			if _, err := m.client.DrainAgent(ctx, name); err != nil {
				t.Fatal(err)
			}
			m.drained[name] = true
		},
		"undrain an agent": func(t *rapid.T) {
			m.asked(t)
			name := pick(t, "process", slices.Collect(maps.Keys(m.drained)))
			if _, err := m.client.UndrainAgent(ctx, name); err != nil {
				t.Fatal(err)
			}
			delete(m.drained, name)
		},
		"restart a tunnel agent": func(t *rapid.T) { // where there is one process, all of it
			m.asked(t)
			var names []string
			for _, p := range m.cloud.Processes() {
				if p.Running() && p.Has(cloud.TunnelAgent) {
					names = append(names, p.Name)
				}
			}
			p := m.cloud.Process(pick(t, "process", names))
			if rapid.Bool().Draw(t, "kill") {
				p.Kill()
			} else {
				p.Stop()
			}
			m.client.Close() // a connection that was killed is none to ask over again
			if err := p.Start(); err != nil {
				t.Fatal(err)
			}
		},
		"start a process": func(t *rapid.T) {
			m.asked(t)
			if err := m.cloud.Process(pick(t, "process", m.ended())).Start(); err != nil {
				t.Fatal(err)
			}
		},
		"end the cloud": func(t *rapid.T) {
			m.asked(t)
			m.client.Close()
			m.cloud.Stop()
		},
		"start the cloud": func(t *rapid.T) {
			if len(m.ended()) == 0 {
				t.Skip("it runs")
			}
			if err := m.cloud.Start(); err != nil {
				t.Fatal(err)
			}
		},
	}
}

// TestAnySequenceOfRequestsAndFaultsEndsAsTheModelSays drives a cloud and
// three boards with random requests, stops, kills and cuts. After each step
// presence, ports, devices, listeners and reservations must become what the
// model says; at the end nothing may run.
func TestAnySequenceOfRequestsAndFaultsEndsAsTheModelSays(t *testing.T) {
	checkModel(t, Config{})
}

// TestOverAQueueWithFaults does so where messages come twice, late or not at all.
func TestOverAQueueWithFaults(t *testing.T) {
	checkModel(t, Config{Faults: queue.Faults{Duplicate: 3, Late: 5, Lose: 4}})
}

// TestTwoOfEachRole does so with two conductors, two APIs, two WAMP agents and
// two tunnel agents, of which some are stopped, killed and started, too.
func TestTwoOfEachRole(t *testing.T) {
	checkModel(t, Config{Conductors: 2, APIs: 2, WAMPAgents: 2, TunnelAgents: 2})
}

// TestTwoOfEachRoleOnPostgreSQL does so on PostgreSQL, to which each conductor
// has connections of its own, over a queue with faults.
func TestTwoOfEachRoleOnPostgreSQL(t *testing.T) {
	pgtest.URL(t) // skips where there is none
	cfg := Config{Conductors: 2, APIs: 2, WAMPAgents: 2, TunnelAgents: 2, Faults: queue.Faults{Duplicate: 3, Late: 5, Lose: 4}}
	checkModel(t, cfg, func() string { return pgtest.URL(t) })
}

// checkModel drives clouds of this form; database, if it is given, makes the
// URL of an empty database for each.
func checkModel(t *testing.T, cfg Config, database ...func() string) {
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		t.Setenv(v, "")
	}
	target := serveGreeting(t)
	rapid.Check(t, func(rt *rapid.T) {
		dir, err := os.MkdirTemp("", "s4t-model-")
		if err != nil {
			rt.Fatal(err)
		}
		defer os.RemoveAll(dir)
		cfg.Dir = dir
		for _, url := range database {
			cfg.Database = url()
		}
		before := goleak.IgnoreCurrent()
		runModel(rt, cfg, target)
		err = goleak.Find(before)
		for late := time.Now().Add(time.Minute); err != nil && time.Now().Before(late); { // on a machine however busy
			err = goleak.Find(before)
		}
		if err != nil {
			rt.Fatal(err)
		}
	})
}

func runModel(t *rapid.T, cfg Config, target int) {
	const ports = 6
	public, err := FreePorts(ports)
	if err != nil {
		t.Fatal(err)
	}
	cfg.PublicPorts = public
	ctx := context.Background()
	m := &model{settle: settle, target: target, public: public,
		boards: map[string]*Board{}, bridges: map[string]map[string]bool{}, services: map[string]bool{}, has: map[string]int{}, drained: map[string]bool{}}
	if m.cloud, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if len(m.cloud.Processes()) > 1 {
		m.settle = settleMany
	}
	if err := m.cloud.Start(); err != nil {
		t.Fatal(err)
	}
	defer m.cloud.Stop()
	if m.client, err = m.cloud.Client(); err != nil {
		t.Fatal(err)
	}
	defer m.client.Close()
	for i := range 3 {
		made, err := m.client.CreateBoard(ctx, apiclient.BoardCreate{Name: "board" + strconv.Itoa(i+1)})
		if err != nil {
			t.Fatal(err)
		}
		b, err := m.cloud.Enrol(ctx, made)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := b.Start(); err != nil {
			t.Fatal(err)
		}
		m.boards[b.Name] = b
	}
	t.Repeat(m.actions(ctx))
	for _, b := range m.boards {
		b.Stop()
		if left := b.Devices(); len(left) > 0 {
			t.Fatalf("%s leaves the devices %q", b.Name, left)
		}
	}
}

// serveGreeting is a TCP service that greets and hangs up.
func serveGreeting(t *testing.T) (tcpPort int) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, greeting)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().(*net.TCPAddr).Port
}
