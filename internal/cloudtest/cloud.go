// Package cloudtest is a cloud and its boards in one process, for tests: package
// cloud on loopback with TLS and admission as they ship, one process that does
// everything or several of each role, and real boards whose devices are
// simulated. It needs no root and makes no network devices.
package cloudtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
)

// Name is what users know the cloud's host as; an agent in a process of its own
// is below it, like wamp-agent-2.cloud.test. Only [Cloud.Dial], and with it the
// [Proxy] of a board, leads there.
const Name = "cloud.test"

// tcpPort is the one port, under every name.
const tcpPort = "8812"

// Config of a [Cloud].
type Config struct {
	Dir         string        // required: CA, database, state of boards
	PublicPorts s4t.PortRange // optional: of each tunnel agent
	Database    string        // optional: URL; default SQLite in Dir
	Faults      queue.Faults  // optional: of the queue
	DNSZone     string        // optional: that services can have names in; see [Process.Resolver]

	// How many processes of each role there are. With all zero there is one
	// process with every role, as `iotronic serve` is; else at least one of each.
	Conductors, APIs, WAMPAgents, TunnelAgents int
}

// Cloud is a cloud whose processes can be started, stopped and killed. Its
// methods are for one goroutine, but [Cloud.Dial].
type Cloud struct {
	Dir   string
	Queue *queue.Mem // that all processes share

	cfg       Config
	processes []*Process
	boardURLs []string
	token, ca string // the admin's: set by the first start
	between   *Proxy // that tunnel agents reach each other through

	db      *store.DB // that several conductors on SQLite share; nil while none runs
	dbUsers int

	mu   sync.Mutex // guards the fields below, and those of processes that say so
	next int        // spreads users over APIs
}

// New returns a cloud that does not run yet.
func New(cfg Config) (*Cloud, error) {
	if cfg.Database == "" {
		cfg.Database = "sqlite:" + filepath.Join(cfg.Dir, "cloud.db")
	}
	c := &Cloud{Dir: cfg.Dir, cfg: cfg, Queue: queue.New(queue.WithFaults(cfg.Faults))}
	if cfg.Conductors+cfg.APIs+cfg.WAMPAgents+cfg.TunnelAgents == 0 {
		c.add("iotronic", Name, 1, cloud.AllRoles()...)
		c.boardURLs = []string{url(Name)}
		return c, nil
	}
	for _, r := range []struct {
		role cloud.Role
		n    int
	}{ // in the order in which they start
		{cloud.Conductor, cfg.Conductors}, {cloud.WAMPAgent, cfg.WAMPAgents}, {cloud.TunnelAgent, cfg.TunnelAgents}, {cloud.API, cfg.APIs},
	} {
		for i := 1; i <= max(r.n, 1); i++ {
			name := string(r.role) + "-" + strconv.Itoa(i)
			host := name + "." + Name
			switch r.role {
			case cloud.WAMPAgent:
				c.boardURLs = append(c.boardURLs, url(host))
			case cloud.API:
				host = Name
			}
			c.add(name, host, i, r.role)
		}
	}
	return c, nil
}

// add makes a process. Tunnel agents have an address each, because each may use
// every public port.
func (c *Cloud) add(name, host string, i int, roles ...cloud.Role) {
	ip := "127.0.0.1"
	if roles[0] == cloud.TunnelAgent {
		ip = "127.0.0." + strconv.Itoa(i)
	}
	c.processes = append(c.processes, &Process{Name: name, Roles: roles, Host: host, IP: ip, cloud: c, conns: map[*conn]bool{}})
}

func url(host string) string { return "https://" + net.JoinHostPort(host, tcpPort) }

// Processes are those of the cloud: "iotronic" alone, or "conductor-1" and so on,
// in the order in which they start.
func (c *Cloud) Processes() []*Process { return c.processes }

// Process is the one of this name, nil if there is none.
func (c *Cloud) Process(name string) *Process {
	for _, p := range c.processes {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Running reports whether of each role one runs.
func (c *Cloud) Running() bool {
	for _, r := range cloud.AllRoles() {
		if !slices.ContainsFunc(c.processes, func(p *Process) bool { return p.Running() && p.Has(r) }) {
			return false
		}
	}
	return true
}

// Start starts every process that does not run, and returns when all are ready.
func (c *Cloud) Start() error {
	for _, p := range c.processes {
		if err := p.Start(); err != nil {
			c.Stop()
			return err
		}
	}
	return nil
}

// Stop ends every process as SIGTERM does, conductors last. What is in the
// database stays.
func (c *Cloud) Stop() {
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].Stop()
	}
	if c.between != nil {
		c.between.close()
		c.between = nil
	}
}

// Client is the admin's; each of its connections goes to one of the APIs that
// run. The caller closes it.
func (c *Cloud) Client() (*apiclient.Client, error) {
	return apiclient.New(apiclient.Config{URL: url(Name), Token: c.token, CA: c.ca, Dial: c.Dial, Timeout: time.Minute})
}

// Dial connects to an address of the cloud: the one port of a process, or a
// public port.
func (c *Cloud) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return c.dial(ctx, new(net.Dialer), network, addr)
}

// dialFunc is what [Cloud.Dial] is.
type dialFunc = func(ctx context.Context, network, addr string) (net.Conn, error)

// From is [Cloud.Dial] from an address of 127.0.0.0/8: another source.
func (c *Cloud) From(source string) dialFunc {
	d := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		return c.dial(ctx, d, network, addr)
	}
}

func (c *Cloud) dial(ctx context.Context, d *net.Dialer, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p := c.find(host)
	if p == nil {
		return nil, fmt.Errorf("cloudtest: nobody runs as %s", host)
	}
	to := net.JoinHostPort(p.IP, port)
	if port == tcpPort {
		to = p.address()
	}
	raw, err := d.DialContext(ctx, network, to)
	if err != nil {
		return nil, err
	}
	return p.keep(raw)
}

// find returns a process that runs under a name: of several one after the other.
func (c *Cloud) find(host string) *Process {
	c.mu.Lock()
	defer c.mu.Unlock()
	var run []*Process
	for _, p := range c.processes {
		if p.Host == host && p.addr != "" {
			run = append(run, p)
		}
	}
	if len(run) == 0 {
		return nil
	}
	c.next++
	return run[c.next%len(run)]
}

// openStore opens the database that several conductors share. PostgreSQL, and one
// conductor, need none: each opens its own.
func (c *Cloud) openStore(p *Process) (*store.DB, error) {
	if c.cfg.Conductors < 2 || !p.Has(cloud.Conductor) || !strings.HasPrefix(c.cfg.Database, "sqlite:") {
		return nil, nil
	}
	if c.db == nil {
		db, err := store.Open(context.Background(), store.Config{URL: c.cfg.Database})
		if err != nil {
			return nil, err
		}
		c.db = db
	}
	c.dbUsers++
	return c.db, nil
}

func (c *Cloud) closeStore(db *store.DB) error {
	if db == nil {
		return nil
	}
	if c.dbUsers--; c.dbUsers > 0 {
		return nil
	}
	c.db = nil
	return db.Close()
}

// FreePorts finds n TCP ports of loopback in a row that are free, below those
// that the kernel gives to connections: one that was closed a moment ago keeps
// its port for a minute.
func FreePorts(n int) (s4t.PortRange, error) {
	last := errors.New("none were tried")
	for first := 21000; first+n < 32000; first += n {
		free := 0
		for p := first; p < first+n; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				last = err
				break
			}
			l.Close()
			free++
		}
		if free == n {
			return s4t.PortRange{First: first, Last: first + n - 1}, nil
		}
	}
	return s4t.PortRange{}, fmt.Errorf("cloudtest: no %d free ports in a row: %w", n, last)
}
