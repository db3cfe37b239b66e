package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/internal/rabbittest"
)

// clusterBound is within what a bridge, a session and a public port are back after
// their tunnel agent was killed.
const clusterBound = 15 * time.Second

// machine is one of the cluster's.
type machine struct {
	*netlab.Host
	addr string
}

// placed is a process of a cluster: where it is, and how it is started.
type placed struct {
	role, name string
	at         machine
	port       int
	args       []string
}

// cluster is a cloud of processes on machines, which are namespaces here.
type cluster struct {
	*cloudlab.Cloud
	t            *testing.T
	queue        string
	database     string
	openDatabase func() // until then nobody reaches it; nil: it is another server, which all reach
	machines     []machine
	roster       []placed
	processes    map[string]*netlab.Process
	rows         []string // of the table at the end
}

// places are where the tunnel agents of the demonstration are, and its boards.
var places = []string{"messina", "catania"}

// TestDemoCluster is `make demo-cluster`: three namespaces are three machines, with
// two of each role, and RabbitMQ and PostgreSQL at the first. Three boards are bridged, pinged,
// reached by SSH and at a public port, while a tunnel agent, a WAMP agent and a conductor are killed.
func TestDemoCluster(t *testing.T) {
	if os.Getenv("S4T_DEMO_CLUSTER") == "" {
		t.Skip("a drill of some minutes: make demo-cluster")
	}
	c := newCluster(t, 3, 3)
	db, err := url.Parse(pgtest.URL(t))
	must(t, err)
	if dir := db.Query().Get("host"); dir != "" { // of the socket
		c.openDatabase = func() { carryTo(t, c.Lab.Cloud, netlab.CloudAddr+":5432", filepath.Join(dir, ".s.PGSQL.5432")) }
		db.Host, db.RawQuery = netlab.CloudAddr+":5432", "sslmode=disable"
	}
	c.database = db.String()
	c.broker(rabbittest.Own(t), c.machines[0])
	m := c.machines
	c.roster = []placed{
		{"api,conductor", "c1", m[0], 8812, c.conductor("c1")},
		{"api,conductor", "c2", m[1], 8812, c.conductor("c2")},
		{"wamp-agent", "w1", m[1], 8813, nil},
		{"wamp-agent", "w2", m[2], 8813, nil},
		{"tunnel-agent", "t1", m[0], 8814, []string{"--place", places[0]}},
		{"tunnel-agent", "t2", m[2], 8814, []string{"--place", places[1]}},
	}
	fmt.Println("\nThe stage: three machines, RabbitMQ and PostgreSQL at the first")
	c.stage()
	c.enrol()
	c.firstPings()
	to, b := c.bridging()
	c.killings(to, b)
	fmt.Println("\nWhat took how long")
	for _, r := range c.rows {
		fmt.Println("  ", r)
	}
}

// newCluster makes the machines, and hosts for boards.
func newCluster(t *testing.T, machines, boards int) *cluster {
	t.Helper()
	lab := newLab(t, boards)
	c := &cluster{t: t, machines: []machine{{lab.Cloud, netlab.CloudAddr}}, processes: map[string]*netlab.Process{}}
	for i := range machines - 1 {
		h, addr, err := lab.AddMachine("machine" + strconv.Itoa(i+2))
		must(t, err)
		c.machines = append(c.machines, machine{h, addr})
	}
	c.Cloud = &cloudlab.Cloud{Lab: lab, Bin: bin, Data: filepath.Join(lab.Dir, "c1"), Listen: netlab.CloudAddr + ":8812"}
	showLogs(t, c.Cloud)
	return c
}

// broker has the processes find a RabbitMQ at a machine.
func (c *cluster) broker(node *rabbittest.Node, at machine) {
	c.t.Helper()
	addr := at.addr + ":5672"
	carryTo(c.t, at.Host, addr, node.Addr())
	q, err := url.Parse(node.URL(c.t))
	must(c.t, err)
	q.Host = addr
	c.queue = q.String()
}

// conductor is what the start of one says besides.
func (c *cluster) conductor(name string) []string {
	return []string{"--database", c.database, "--data", filepath.Join(c.Lab.Dir, name)}
}

// start starts `iotronic serve` at a machine.
func (c *cluster) start(p placed) {
	c.t.Helper()
	running, err := p.at.Start(p.name, nil, append([]string{filepath.Join(c.Bin, "iotronic"), "serve", "--role", p.role, "--name", p.name, "--queue", c.queue,
		"--listen", fmt.Sprintf("%s:%d", p.at.addr, p.port)}, p.args...)...)
	must(c.t, err)
	c.processes[p.name] = running
}

// took prints what was done, and keeps it for the table.
func (c *cluster) took(since time.Time, bound time.Duration, format string, args ...any) {
	c.t.Helper()
	took := time.Since(since)
	c.row(took, bound, fmt.Sprintf(format, args...))
}

func (c *cluster) row(took, bound time.Duration, what string) {
	c.t.Helper()
	limit := ""
	if bound > 0 {
		limit = fmt.Sprintf("of %v", bound)
	}
	c.rows = append(c.rows, fmt.Sprintf("%-72s %8s  %s", what, took.Round(time.Millisecond), limit))
	fmt.Printf("   ok  %s  %v\n", what, took.Round(time.Millisecond))
	if bound > 0 && took > bound {
		c.t.Errorf("%s: %v, allowed are %v", what, took, bound)
	}
}

// stage starts the cloud.
func (c *cluster) stage() {
	began := time.Now()
	for _, p := range c.roster {
		c.start(p)
	}
	if c.openDatabase != nil {
		for _, name := range []string{"c1", "c2"} {
			c.within(name+" waits for its database", func() error {
				if log := c.processes[name].Tail(9); !strings.Contains(log, "waits_for=\"the database\"") {
					return errors.New(log)
				}
				return nil
			})
		}
		c.took(began, 0, "six processes, of which the conductors say that they wait for PostgreSQL")
		began = time.Now()
		c.openDatabase()
	}
	for _, p := range c.processes {
		_, err := p.WaitLine("ready ", 0, brokerPatience)
		must(c.t, err)
	}
	c.took(began, 0, "PostgreSQL is there, and two of each role are ready")
}

// enrol joins the boards.
func (c *cluster) enrol() {
	for i := range c.Lab.Boards() {
		began := time.Now()
		b, err := c.AddBoard(c.t.Context(), fmt.Sprintf("board%d", i+1))
		must(c.t, err)
		c.s4t("board", "update", b.Name, "--label", "place="+places[i%2])
		c.took(began, 0, "%s joined, from behind a NAT of its own; it is in %s", b.Name, places[i%2])
	}
	fmt.Println(c.s4t("agent", "list"))
}

func (c *cluster) s4t(args ...string) string { c.t.Helper(); return runS4T(c.t, c.Cloud, args...) }

func (c *cluster) within(what string, try func() error) {
	c.t.Helper()
	within(c.t, brokerPatience, what, try)
}

// bridging makes a bridge of all boards and pings across it.
func (c *cluster) bridging() (to string, b s4t.Bridge) {
	c.t.Helper()
	began := time.Now()
	name := fmt.Sprintf("bridge%d", len(c.rows))
	s4tJSON(c.t, c.Cloud, &b, "bridge", "create", name, "--board", "board1", "--board", "board2", "--board", "board3")
	for _, board := range []string{"board3", "board2"} {
		to = addressOf(c.t, b, board, false)
		c.within("first ping to "+board, func() error { return ping(c.t.Context(), c.Boards[0].Host, to) })
	}
	var n s4t.Network
	s4tJSON(c.t, c.Cloud, &n, "network", "show", string(b.Network))
	where := "one tunnel agent"
	if len(n.TunnelAgents) > 1 {
		where = fmt.Sprintf("%d tunnel agents", len(n.TunnelAgents))
	}
	c.took(began, 0, "bridge of three boards at %s, from the request to pings across it", where)
	return to, b
}

// carrier is the tunnel agent of a bridge, by the name of its process, and a board
// whose streams go through it.
func (c *cluster) carrier(b s4t.Bridge) (string, *cloudlab.Board) {
	c.t.Helper()
	var n s4t.Network
	s4tJSON(c.t, c.Cloud, &n, "network", "show", string(b.Network))
	for _, b := range c.Boards {
		var now s4t.Board
		if s4tJSON(c.t, c.Cloud, &now, "board", "show", b.Name); now.TunnelAgent == n.TunnelAgent {
			return strings.TrimPrefix(string(n.TunnelAgent), "tunnel-agent-"), b
		}
	}
	c.t.Fatalf("no board's streams go through %s", n.TunnelAgent)
	return "", nil
}

// killings kills one process of each role, one after the other.
func (c *cluster) killings(to string, b s4t.Bridge) {
	t := c.t
	var n s4t.Network
	if s4tJSON(t, c.Cloud, &n, "network", "show", string(b.Network)); len(n.TunnelAgents) != 2 || len(n.Problems) > 0 {
		t.Errorf("the network is at %v, problems %v", n.TunnelAgents, n.Problems)
	}
	victim, carried := c.carrier(b)
	d := sshd(t, carried)
	began := time.Now()
	s := c.session(carried.Name, d.Key)
	s.say(t)
	c.took(began, 0, "an `s4t ssh` session to %s", carried.Name)
	began = time.Now()
	var service s4t.Service
	s4tJSON(t, c.Cloud, &service, "service", "expose", carried.Name, "ssh")
	banner := func() error {
		var services []s4t.Service
		if s4tJSON(t, c.Cloud, &services, "service", "list"); len(services) != 1 {
			return fmt.Errorf("there are %d services", len(services))
		}
		service = services[0]
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		conn, err := c.Lab.User.DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", service.Host, service.PublicPort))
		if err != nil {
			return err
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(2 * time.Second))
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.HasPrefix(line, "SSH-") {
			err = fmt.Errorf("it says %q", line)
		}
		return err
	}
	c.within("the public port", banner)
	c.took(began, 0, "%s's sshd exposed at %s:%d", carried.Name, service.Host, service.PublicPort)

	fmt.Printf("\nkill -9 of tunnel-agent-%s, which has the bridge, the session and the public port\n", victim)
	pings := startPinger(t, c.Boards[0].Host, to)
	kill := func(name string) time.Time { c.processes[name].Kill(); return time.Now() }
	began = kill(victim)
	pinged := make(chan time.Time, 1)
	go func() {
		for ping(t.Context(), c.Boards[0].Host, to) != nil && t.Context().Err() == nil {
			time.Sleep(50 * time.Millisecond) // between two that are tried
		}
		pinged <- time.Now()
	}()
	s.say(t)
	c.took(began, clusterBound, "the session of `s4t ssh` goes on")
	c.within("the public port", banner)
	c.took(began, clusterBound, "the public port is back at %s:%d", service.Host, service.PublicPort)
	at := <-pinged
	sent, gone := pings.stop(t)
	c.row(at.Sub(began), clusterBound, fmt.Sprintf("pings cross the bridge again (%d of %d were lost)", gone, sent))

	var board s4t.Board
	s4tJSON(t, c.Cloud, &board, "board", "show", "board1")
	lost := string(board.WAMPAgent)
	fmt.Printf("\nkill -9 of %s, which has board1's control session\n", lost)
	pings = startPinger(t, c.Boards[0].Host, to)
	began = kill(strings.TrimPrefix(lost, "wamp-agent-"))
	c.within("all boards at the other", func() error {
		for _, b := range c.Boards {
			var now s4t.Board
			if s4tJSON(t, c.Cloud, &now, "board", "show", b.Name); now.Status != s4t.BoardOnline || string(now.WAMPAgent) == lost {
				return fmt.Errorf("%s is %s at %s", b.Name, now.Status, now.WAMPAgent)
			}
		}
		return nil
	})
	c.took(began, clusterBound, "all boards have sessions at the other")
	if sent, gone = pings.stop(t); gone > 0 {
		t.Errorf("%d of %d pings were lost with a WAMP agent", gone, sent)
	}
	fmt.Printf("       none of %d pings was lost\n", sent)
	s.say(t)

	fmt.Println("\nkill -9 of conductor c2")
	began = kill("c2")
	c.within("a request", func() error { _, err := c.S4T(t.Context(), "board", "list"); return err })
	c.took(began, clusterBound, "requests are answered by the other")
	to, _ = c.bridging()
	s.say(t)
	fmt.Println()
	fmt.Println(c.s4t("agent", "list"))
	s.end(t)
}

// session is an `s4t ssh` to `cat`: it says what it hears.
type session struct {
	in    io.WriteCloser
	lines chan string
	said  int
	wait  func() error
}

func (c *cluster) session(board, key string) *session {
	cmd := c.Lab.User.Command(c.t.Context(), filepath.Join(bin, "s4t"), "ssh", board, "--user", "root", "--identity", key, "--ssh-option", "BatchMode=yes", "--", "cat")
	cmd.Env = append(os.Environ(), c.Env()...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	must(c.t, err)
	out, err := cmd.StdoutPipe()
	must(c.t, err)
	must(c.t, cmd.Start())
	s := &session{in: in, lines: make(chan string), wait: cmd.Wait}
	go func() {
		defer close(s.lines)
		for scan := bufio.NewScanner(out); scan.Scan(); {
			s.lines <- scan.Text()
		}
	}()
	return s
}

// say says a line and waits until it is back.
func (s *session) say(t *testing.T) {
	t.Helper()
	s.said++
	line := "line " + strconv.Itoa(s.said)
	_, err := io.WriteString(s.in, line+"\n")
	must(t, err)
	select {
	case got, open := <-s.lines:
		if !open || got != line {
			t.Fatalf("the session says %q, not %q", got, line)
		}
	case <-time.After(brokerPatience):
		t.Fatalf("%q does not come back", line)
	}
}

func (s *session) end(t *testing.T) {
	t.Helper()
	must(t, s.in.Close())
	for line := range s.lines {
		t.Errorf("%q came", line)
	}
	must(t, s.wait())
}
