package cloudtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// Process is one process of a [Cloud]. Its methods are for one goroutine.
type Process struct {
	Name  string
	Roles []cloud.Role
	Host  string // name of its host; users are told public ports under it
	IP    string // what it stands for, in 127.0.0.0/8
	Place string // optional, before Start: where it is

	cloud *Cloud
	stop  func() // nil while it does not run
	kill  context.CancelFunc

	names string         // address of the name server, once it has one
	addr  string         // of the one port, empty while it takes nobody; Cloud.mu guards it
	conns map[*conn]bool // to it; Cloud.mu guards it
}

// startTimeout bounds a start: it is for one that hangs, on a machine however busy.
const startTimeout = time.Minute

// Has reports whether it has a role.
func (p *Process) Has(r cloud.Role) bool { return slices.Contains(p.Roles, r) }

// Running reports whether it runs.
func (p *Process) Running() bool { return p.stop != nil }

// Start starts it, and returns when it is ready: for an agent, when a conductor
// knows it. It does nothing where it runs.
func (p *Process) Start() error {
	if p.Running() {
		return nil
	}
	c := p.cloud
	if c.between == nil {
		proxy, err := newProxy(c.Dial)
		if err != nil {
			return err
		}
		c.between = proxy
	}
	db, err := c.openStore(p)
	if err != nil {
		return err
	}
	dir := "" // one without the conductor asks for its certificate
	if slices.Contains(p.Roles, cloud.Conductor) {
		dir = c.Dir
	}
	zone := ""
	if slices.Contains(p.Roles, cloud.API) {
		zone = c.cfg.DNSZone
	}
	alive, kill := context.WithCancel(context.Background())
	proc, err := cloud.New(cloud.Config{
		Roles: p.Roles, Name: p.Name, Data: dir, Listen: net.JoinHostPort(p.IP, "0"), URL: url(p.Host),
		Queue: mortal{c.Queue, alive}, Store: db, Database: c.cfg.Database, BoardURLs: c.boardURLs, APIURL: url(Name),
		DNSZone: zone, DNSListen: net.JoinHostPort(p.IP, "0"), DNSServers: []string{Name},
		Place: p.Place, PeerProxy: c.between.url(), WAMPAgent: p.agent("wamp-agent-1"), TunnelAgent: p.agent("tunnel-agent-1"), PublicPorts: c.cfg.PublicPorts,
		Bootstrap: func(ctx context.Context, id *identity.Identity, _ string, trust wire.Trust) error {
			_, err := id.Bootstrap(ctx, func(f identity.First) error { c.token, c.ca = f.Token.Secret, strings.Join(trust.CAs, ""); return nil })
			return err
		},
	})
	if err != nil {
		kill()
		return errors.Join(err, c.closeStore(db))
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- proc.Run(ctx, func() { close(ready) }) }()
	p.kill = kill
	p.stop = func() {
		cancel()
		<-ended
		kill()
		p.at("")
		c.closeStore(db)
	}
	late := time.NewTimer(startTimeout)
	defer late.Stop()
	select {
	case <-ready:
	case err = <-ended:
		ended <- err // for stop
		err = fmt.Errorf("cloudtest: %s ended: %w", p.Name, err)
	case <-late.C:
		err = fmt.Errorf("cloudtest: %s is not ready after %v", p.Name, startTimeout)
	}
	if err != nil {
		p.Stop()
		return err
	}
	if a := proc.DNSAddr(); a != nil {
		p.names = a.String()
	}
	if a := proc.Addr(); a != nil {
		p.at(a.String())
	}
	return nil
}

// Resolver asks the name server of a process with the API, by UDP from an address of
// 127.0.0.0/8.
func (p *Process) Resolver(source string) *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(source)}}
		return d.DialContext(ctx, "udp", p.names)
	}}
}

// agent is the id of the agent in it.
func (p *Process) agent(inAll s4t.AgentID) s4t.AgentID {
	if len(p.Roles) > 1 {
		return inAll
	}
	return s4t.AgentID(p.Name)
}

// Stop ends it as SIGTERM does.
func (p *Process) Stop() {
	if p.Running() {
		p.stop()
		p.stop = nil
	}
}

// Kill ends it without a word to anybody, as SIGKILL does: its connections and
// the queue have lost it before it begins to end. What it was writing to the
// database may still be written.
func (p *Process) Kill() {
	if !p.Running() {
		return
	}
	p.kill()
	p.at("")
	p.Stop()
}

// at notes where it takes connections; with nowhere, those that are there end.
func (p *Process) at(addr string) {
	p.cloud.mu.Lock()
	defer p.cloud.mu.Unlock()
	p.addr = addr
	if addr != "" {
		return
	}
	for c := range p.conns {
		c.Conn.Close()
	}
	clear(p.conns)
}

func (p *Process) address() string {
	p.cloud.mu.Lock()
	defer p.cloud.mu.Unlock()
	return p.addr
}

// conn is a connection to a process.
type conn struct {
	net.Conn
	process *Process
}

// keep notes a connection, to be ended with the process.
func (p *Process) keep(raw net.Conn) (net.Conn, error) {
	p.cloud.mu.Lock()
	defer p.cloud.mu.Unlock()
	if p.addr == "" {
		raw.Close()
		return nil, fmt.Errorf("cloudtest: %s has just ended", p.Name)
	}
	c := &conn{raw, p}
	p.conns[c] = true
	return c, nil
}

// Close forgets the connection, too.
func (c *conn) Close() error {
	c.process.cloud.mu.Lock()
	delete(c.process.conns, c)
	c.process.cloud.mu.Unlock()
	return c.Conn.Close()
}

// CloseWrite is for half-closes.
func (c *conn) CloseWrite() error { return c.Conn.(*net.TCPConn).CloseWrite() }

// mortal is a process's connection to the queue: nothing goes through it once
// alive has ended.
type mortal struct {
	queue *queue.Mem
	alive context.Context
}

// dead is what the process hears that was killed.
func (m mortal) dead(op string) error {
	if m.alive.Err() == nil {
		return nil
	}
	return s4t.Errorf(s4t.Unavailable, op, "", "the process was killed")
}

// both is ctx that ends with the process, too.
func (m mortal) both(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(m.alive, cancel)
	return ctx, func() { stop(); cancel() }
}

// Call is the driver's.
func (m mortal) Call(ctx context.Context, topic, method string, req, reply any) error {
	if err := m.dead("call " + method); err != nil {
		return err
	}
	ctx, done := m.both(ctx)
	defer done()
	return m.queue.Call(ctx, topic, method, req, reply)
}

// Cast is the driver's.
func (m mortal) Cast(ctx context.Context, topic, method string, req any) error {
	if err := m.dead("cast " + method); err != nil {
		return err
	}
	return m.queue.Cast(ctx, topic, method, req)
}

// Fanout is the driver's.
func (m mortal) Fanout(ctx context.Context, topic, method string, req any) error {
	if err := m.dead("fan out " + method); err != nil {
		return err
	}
	return m.queue.Fanout(ctx, topic, method, req)
}

// Serve is the driver's; what was being answered when the process was killed is
// answered with an error.
func (m mortal) Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error {
	both, done := m.both(ctx)
	defer done()
	err := m.queue.Serve(both, topic, server, workers, func(ctx context.Context, method string, body []byte) ([]byte, error) {
		reply, err := h(ctx, method, body)
		if dead := m.dead("answer " + method); dead != nil {
			return nil, dead
		}
		return reply, err
	})
	<-ctx.Done() // which follows at once
	return err
}
