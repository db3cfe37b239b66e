package cloudtest

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/link"
)

// moving is a cloud with boards on one bridge, each with an exposed service.
type moving struct {
	*Cloud
	t      *testing.T
	client *apiclient.Client
	boards []*Board
}

// newMoving makes one with n boards.
func newMoving(t *testing.T, cfg Config, n int) *moving {
	m := newMovingAt(t, cfg, func(*Cloud) {})
	var names []string
	for i := range n {
		names = append(names, "board"+strconv.Itoa(i+1))
		m.board(names[i])
	}
	op, err := m.client.CreateBridge(t.Context(), apiclient.BridgeCreate{Name: "red", Boards: names})
	m.done(op, err)
	target := serveGreeting(t)
	for _, name := range names {
		op, err := m.client.ExposeService(t.Context(), name, apiclient.ServiceExpose{Service: strconv.Itoa(target)})
		m.done(op, err)
	}
	return m
}

// newMovingAt makes one without boards, whose processes are as before says.
func newMovingAt(t *testing.T, cfg Config, before func(*Cloud)) *moving {
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
		t.Setenv(v, "")
	}
	ports, err := FreePorts(8)
	if err != nil {
		t.Fatal(err)
	}
	cfg.Dir, cfg.PublicPorts = t.TempDir(), ports
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	before(c)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	m := &moving{Cloud: c, t: t}
	if m.client, err = c.Client(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.client.Close)
	return m
}

// board adds a board that is online.
func (m *moving) board(name string) {
	m.t.Helper()
	m.boardWith(name, nil)
}

// boardWith adds one with labels.
func (m *moving) boardWith(name string, labels map[string]string) {
	m.t.Helper()
	made, err := m.client.CreateBoard(m.t.Context(), apiclient.BoardCreate{Name: name, Labels: labels})
	if err != nil {
		m.t.Fatal(err)
	}
	b, err := m.Enrol(m.t.Context(), made)
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(b.Close)
	if err := b.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.boards = append(m.boards, b)
	ctx, cancel := context.WithTimeout(m.t.Context(), time.Minute)
	defer cancel()
	if _, err := m.client.WaitBoard(ctx, name, s4t.BoardOnline); err != nil {
		m.t.Fatal(err)
	}
}

func (m *moving) done(op s4t.Operation, err error) {
	m.t.Helper()
	if err == nil {
		op, err = m.client.WaitOperation(m.t.Context(), op.ID, nil)
	}
	if err != nil || op.Status != s4t.OperationSucceeded {
		m.t.Fatalf("%+v, %v", op, err)
	}
}

// within waits until look finds nothing, and returns how long that took.
func (m *moving) within(d time.Duration, look func(context.Context) error) time.Duration {
	m.t.Helper()
	start := time.Now()
	ctx, cancel := context.WithTimeout(m.t.Context(), d)
	defer cancel()
	for {
		err := look(ctx)
		if err == nil {
			return time.Since(start)
		}
		select {
		case <-ctx.Done():
			m.t.Fatalf("not after %v: %v", d, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// servedWithout checks that the bridge and every service is up, and nothing of it
// at one agent; a service is asked.
func (m *moving) servedWithout(agent string) func(context.Context) error {
	return func(ctx context.Context) error {
		networks, err := m.client.Networks(ctx)
		if err != nil {
			return err
		}
		for _, n := range networks {
			if string(n.TunnelAgent) == agent {
				return fmt.Errorf("network %s is at %s", n.Name, agent)
			}
		}
		ports, err := m.client.Ports(ctx)
		if err != nil {
			return err
		}
		for _, p := range ports {
			if p.Status != s4t.PortUp {
				return fmt.Errorf("the port of %s is %s: %s", p.Board, p.Status, p.Problem)
			}
		}
		services, err := m.client.Services(ctx, "")
		if err != nil {
			return err
		}
		for _, s := range services {
			if s.Host == agent+"."+Name {
				return fmt.Errorf("the service of %s is at %s", s.Board, agent)
			}
			if s.Status != s4t.ServiceUp {
				return fmt.Errorf("the service of %s is %s", s.Board, s.Status)
			}
			if err := m.greets(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

func (m *moving) greets(ctx context.Context, s s4t.Service) error {
	c, err := m.Dial(ctx, "tcp", net.JoinHostPort(s.Host, strconv.Itoa(s.PublicPort)))
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Second))
	if b, err := io.ReadAll(c); string(b) != greeting {
		return fmt.Errorf("the service of %s says %q, %w", s.Board, b, err)
	}
	return nil
}

// name gives every service a DNS name, and returns these by board.
func (m *moving) name() map[string]string {
	m.t.Helper()
	services, err := m.client.Services(m.t.Context(), "")
	if err != nil {
		m.t.Fatal(err)
	}
	names := map[string]string{}
	for _, s := range services {
		name := s.Board + "-web"
		names[s.Board] = name + "." + m.cfg.DNSZone
		s, err := m.client.UpdateService(m.t.Context(), s.Board, string(s.ID), apiclient.ServiceUpdate{DNSName: &name})
		if err != nil || s.FQDN != names[s.Board] {
			m.t.Fatalf("%+v, %v", s, err)
		}
	}
	return names
}

// namesLead checks that the name of each board's service leads to where it is.
func (m *moving) namesLead(names map[string]string) func(context.Context) error {
	return func(ctx context.Context) error {
		services, err := m.client.Services(ctx, "")
		if err != nil {
			return err
		}
		for _, s := range services {
			label, zone, _ := strings.Cut(names[s.Board], ".")
			_, found, err := m.Process("api-1").Resolver("127.0.0.1").LookupSRV(ctx, label, "tcp", zone+".")
			if err != nil || len(found) != 1 {
				return fmt.Errorf("%s: %v, %w", names[s.Board], found, err)
			}
			if found[0].Target != s.Host+"." || int(found[0].Port) != s.PublicPort {
				return fmt.Errorf("%s is at %s port %d, its name leads to %s port %d", s.Board, s.Host, s.PublicPort, found[0].Target, found[0].Port)
			}
		}
		return nil
	}
}

// silent checks that nobody listens on the public ports of a process.
func (m *moving) silent(name string) {
	m.t.Helper()
	for n := m.cfg.PublicPorts.First; n <= m.cfg.PublicPorts.Last; n++ {
		c, err := net.Dial("tcp", net.JoinHostPort(m.Process(name).IP, strconv.Itoa(n)))
		if err == nil {
			c.Close()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			m.t.Errorf("public port %d of %s: %v", n, name, err)
		}
	}
}

// TestWhatATunnelAgentHadMovesWhenItIsKilled: bridges and exposures are back at
// another without anybody's doing, and the one that was killed has nothing of it
// when it comes back.
func TestWhatATunnelAgentHadMovesWhenItIsKilled(t *testing.T) {
	m := newMoving(t, Config{Conductors: 2, APIs: 1, WAMPAgents: 1, TunnelAgents: 2, DNSZone: "svc.test"}, 3)
	networks, err := m.client.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent := string(networks[0].TunnelAgent)
	names := m.name()
	m.within(time.Minute, m.namesLead(names))
	events, err := m.client.Events(t.Context(), apiclient.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	m.Process(agent).Kill()
	t.Logf("served again after %v", m.within(time.Minute, m.servedWithout(agent)))
	t.Logf("and names lead there after %v", m.within(time.Minute, m.namesLead(names)))
	kinds := map[string]int{}
	for e := range events.All() {
		if kinds[e.Kind]++; kinds["network.moved"] == 1 && kinds["service.moved"] >= 1 {
			break
		}
	}
	if err := m.Process(agent).Start(); err != nil {
		t.Fatal(err)
	}
	m.silent(agent)
	m.within(time.Minute, m.servedWithout(agent))
}

// at returns how many boards are online, and how many of them at a WAMP agent.
func (m *moving) at(ctx context.Context, agent string) (online, there int, err error) {
	boards, err := m.client.Boards(ctx, nil, "")
	for _, b := range boards {
		if b.Status == s4t.BoardOnline {
			online++
			if string(b.WAMPAgent) == agent {
				there++
			}
		}
	}
	return online, there, err
}

// gone checks that all boards are online, and none at a WAMP agent.
func (m *moving) gone(agent string) func(context.Context) error {
	return func(ctx context.Context) error {
		online, there, err := m.at(ctx, agent)
		if err == nil && (online != len(m.boards) || there > 0) {
			err = fmt.Errorf("%d of %d boards are online, %d at %s", online, len(m.boards), there, agent)
		}
		return err
	}
}

// TestBoardsAreAtAnotherWAMPAgentWhenTheirsIsKilled and go to the one that is left.
func TestBoardsAreAtAnotherWAMPAgentWhenTheirsIsKilled(t *testing.T) {
	m := newMoving(t, Config{Conductors: 1, APIs: 1, WAMPAgents: 3, TunnelAgents: 1}, 3)
	b, err := m.client.Board(t.Context(), "board1")
	if err != nil {
		t.Fatal(err)
	}
	agent := string(b.WAMPAgent)
	m.Process(agent).Kill()
	t.Logf("all online elsewhere after %v", m.within(time.Minute, m.gone(agent)))
	m.within(time.Minute, m.servedWithout("nobody"))
}

// TestADrainedWAMPAgentIsEmptiedAndNobodyIsOffline: boards move to the other, and no
// event says that one was away; back again after that.
func TestADrainedWAMPAgentIsEmptiedAndNobodyIsOffline(t *testing.T) {
	m := newMoving(t, Config{Conductors: 2, APIs: 1, WAMPAgents: 2, TunnelAgents: 1}, 4)
	events, err := m.client.Events(t.Context(), apiclient.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	for _, agent := range []string{"wamp-agent-1", "wamp-agent-2"} {
		start := time.Now()
		if a, err := m.client.DrainAgent(t.Context(), agent); err != nil || a.Status != s4t.AgentDraining {
			t.Fatalf("%+v, %v", a, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if a, err := m.client.WaitDrained(ctx, agent, nil); err != nil || a.Boards != 0 {
			t.Fatalf("%+v, %v", a, err)
		}
		t.Logf("%s is empty after %v", agent, time.Since(start))
		m.within(time.Minute, m.gone(agent))
		other := map[string]string{"wamp-agent-1": "wamp-agent-2", "wamp-agent-2": "wamp-agent-1"}[agent]
		if _, err := m.client.DrainAgent(t.Context(), other); s4t.KindOf(err) != s4t.Conflict {
			t.Errorf("the last one is drained: %v", err)
		}
		if a, err := m.client.UndrainAgent(t.Context(), agent); err != nil || a.Status != s4t.AgentOnline {
			t.Fatalf("%+v, %v", a, err)
		}
	}
	drained := 0
	for e := range events.All() {
		switch e.Kind {
		case "agent.drained":
			drained++
		case "board.offline", "port.down", "service.down", "bridge.down", "bridge.degraded", "agent.away":
			t.Errorf("%s of %s: %s", e.Kind, e.Name, e.Detail)
		}
		if drained == 2 {
			break
		}
	}
	m.within(time.Minute, m.servedWithout("nobody"))
}

// TestADrainedTunnelAgentIsEmptied: what it has is served by the other, and no event
// says that any of it was down.
func TestADrainedTunnelAgentIsEmptied(t *testing.T) {
	m := newMoving(t, Config{Conductors: 2, APIs: 1, WAMPAgents: 1, TunnelAgents: 2}, 3)
	networks, err := m.client.Networks(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent := string(networks[0].TunnelAgent)
	events, err := m.client.Events(t.Context(), apiclient.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Close()
	from, to := m.boards[0], m.boards[1]
	stop := m.converse(from, to)
	start := time.Now()
	if _, err := m.client.DrainAgent(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if a, err := m.client.WaitDrained(ctx, agent, nil); err != nil || a.Networks != 0 || a.Services != 0 {
		t.Fatalf("%+v, %v", a, err)
	}
	took := time.Since(start)
	t.Logf("%s is empty after %v", agent, took)
	if took < 10*time.Second {
		t.Errorf("it was let go of after %v: boards need the time to come over", took)
	}
	sent, heard := stop()
	t.Logf("%d frames were sent from %s to %s meanwhile", sent, from.Name, to.Name)
	for n := range sent {
		if heard[n] != 1 {
			t.Errorf("frame %d came %d times", n, heard[n])
		}
	}
	m.within(time.Minute, m.servedWithout(agent))
	m.silent(agent)
	for e := range events.All() {
		if e.Kind == "agent.drained" {
			break
		}
		switch e.Kind {
		case "board.offline", "port.down", "bridge.down", "bridge.degraded", "agent.away":
			t.Errorf("%s of %s: %s", e.Kind, e.Name, e.Detail)
		}
	}
	if a, err := m.client.UndrainAgent(t.Context(), agent); err != nil || a.Status != s4t.AgentOnline {
		t.Fatalf("%+v, %v", a, err)
	}
}

// converse has one board send a frame to another every few milliseconds, until stop
// is called, which returns how many it sent and how often each came.
func (m *moving) converse(from, to *Board) (stop func() (sent uint32, heard map[uint32]int)) {
	m.t.Helper()
	ports, err := m.client.Ports(m.t.Context())
	if err != nil {
		m.t.Fatal(err)
	}
	frame := make([]byte, link.HeaderLen+60)
	device := ""
	for _, p := range ports {
		mac, err := net.ParseMAC(p.MAC)
		if err != nil {
			m.t.Fatal(err)
		}
		switch p.Board {
		case from.Name:
			device = p.Interface
			copy(frame[link.HeaderLen+6:], mac)
		case to.Name:
			copy(frame[link.HeaderLen:], mac)
		}
	}
	const mark = link.HeaderLen + 14
	frame[mark-2], frame[mark-1] = 0x88, 0xb5 // IEEE 802 local experimental
	var mu sync.Mutex
	heard := map[uint32]int{}
	came := make(chan uint32, 1)
	to.Hear(func(_ string, f []byte) {
		if len(f) < mark+4 || f[mark-2] != 0x88 {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		n := binary.BigEndian.Uint32(f[mark:])
		heard[n]++
		select {
		case <-came:
		default:
		}
		came <- n
	})
	say := func(n uint32) {
		f := slices.Clone(frame)
		binary.BigEndian.PutUint32(f[mark:], n)
		if !from.Say(device, f) {
			m.t.Errorf("the device of %s has gone", from.Name)
		}
	}
	ended, done := make(chan struct{}), make(chan uint32)
	go func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := uint32(0); ; n++ {
			say(n)
			select {
			case <-ended:
				done <- n + 1
				return
			case <-tick.C:
			}
		}
	}()
	return func() (uint32, map[uint32]int) {
		close(ended)
		sent := <-done
		late := time.After(time.Minute)
		for last := uint32(0); last+1 < sent; { // the last one has come, or does not
			select {
			case last = <-came:
			case <-late:
				m.t.Errorf("the last frame did not come")
				last = sent
			}
		}
		mu.Lock()
		defer mu.Unlock()
		return sent, maps.Clone(heard)
	}
}
