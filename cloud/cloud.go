package cloud

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/nameserver"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/amqp"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Queue is a driver of package queue, which says what each method promises.
type Queue interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
	Cast(ctx context.Context, topic, method string, req any) error
	Fanout(ctx context.Context, topic, method string, req any) error
	Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error
}

// Config of a [Cloud]. Which fields are required depends on the roles.
type Config struct {
	Roles []Role // required
	Name  string // optional: tells it from others with the same roles; the conductor is a server of this name

	// Data is the directory of the CA, mode 0700; required of a conductor with a CA of
	// our own (see TLS). The first start makes it: where several share the directory,
	// one starts before the others. With PostgreSQL the CA is in the database. Others
	// without it have a conductor sign their certificates.
	Data   string
	Listen string // ADDR:PORT of the one port; public ports bind to ADDR too. Required with any role but the conductor's
	URL    string // optional: what others are told of this port, https://NAME:PORT; default from Listen
	TLS    TLS

	// Advertise is the URL that boards, and users of streams and public ports, reach the
	// agents of this process at; optional: default URL.
	Advertise string

	Queue    Queue     // optional: that all processes share; default that of QueueURL
	QueueURL string    // optional: of the broker that all processes share, see package queue/amqp; default a queue inside this process
	Store    *store.DB // conductor: the database; the caller closes it
	Database string    // conductor: URL of the database, opened by Run where Store is nil

	// BoardURLs are the URLs of WAMP agents that boards are told while fewer than two
	// have said hello, in order of preference. Conductor; default: the URL of this port
	// where it is a WAMP agent's, else those of the agents that have.
	BoardURLs []string
	// APIURL is the URL of the API that plugins on boards are told. Conductor;
	// default: the URL of this port where the API is behind it, else plugins ask
	// at BoardURLs.
	APIURL string
	// Bootstrap is called before anything is served, to make the first user. It
	// is given the URL and whom the user is to trust, and called again when that
	// has changed. Conductor; optional.
	Bootstrap func(ctx context.Context, id *identity.Identity, url string, trust wire.Trust) error

	WAMPAgent   s4t.AgentID   // optional: id; default wamp-agent-1
	TunnelAgent s4t.AgentID   // optional: id; default tunnel-agent-1
	PublicPorts s4t.PortRange // tunnel agent; default 50000-60000

	PublicHost   string // tunnel agent; optional: the host name of public ports, as users are told it; default that of Advertise
	PublicListen string // tunnel agent; optional: address that public ports bind to; default that of Listen

	Place     string // agents; optional: where they are, as boards with this label "place" say it
	PeerProxy string // optional: http://host:port that other tunnel agents are reached through; default: none

	// MetricsListen is ADDR:PORT of a port for the operator, in plain HTTP: /metrics, /healthz
	// and /readyz. Optional: none.
	MetricsListen string

	// DNSZone is the DNS zone that services can have names in: API; optional: none. It is served
	// on DNSListen, ADDR:PORT, which is required then, by a name server that its parent zone
	// knows as DNSServers; default the host of URL where that is a name, else ns.DNSZone.
	DNSZone    string
	DNSListen  string
	DNSServers []string

	// Traces is the URL of an OTLP receiver that is told, over HTTP, what becomes of users'
	// requests. Optional: none is.
	Traces string

	Version string       // optional: of iotronic
	Log     *slog.Logger // optional: default discards
}

// TLS says who ends TLS and with what certificate. The zero value has a CA of our
// own issue it, which boards learn when they join.
type TLS struct {
	Off          bool           // a reverse proxy ends TLS
	TrustedProxy []netip.Prefix // reverse proxies whose X-Forwarded-For is believed; with Off peers from elsewhere, this host apart, are refused
	Cert, Key    string         // the operator's: PEM files, leaf first
	CA           string         // PEM file of the CA that signed Cert; empty: the system's roots know it
	NextCA       string         // announced to boards and users beside it: a PEM file, NextOwn or NextSystem; empty: nothing, but another of our own where ours ends soon
	CutOffBoards int            // a certificate is shown although up to so many boards do not trust it
}

// proxies are those that are believed.
func (t TLS) proxies() proxies { return proxies{prefixes: t.TrustedProxy, loopback: t.Off} }

// Cloud is one process of a cloud: the parts of its roles behind one port. See
// [New].
type Cloud struct {
	cfg    Config
	at     *listener          // of Run
	gate   *gate              // of its port
	names  *nameserver.Server // nil: there is none
	driver *amqp.Driver       // of the queue, where Run connects to a broker
	shared bool               // the queue is other processes', too

	metrics   *metrics
	tracing   *tracing // of Run; nil: nothing is traced
	readiness readiness
}

// New checks cfg. It does nothing else until Run.
func New(cfg Config) (*Cloud, error) {
	const op = "construct a cloud"
	missing := func(what string) error { return s4t.Errorf(s4t.Invalid, op, "", "%s is required", what) }
	c := &Cloud{gate: newGate()}
	if len(cfg.Roles) == 0 {
		return nil, missing("a role")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = slog.New(originLog{cfg.Log.Handler()})
	if cfg.Queue == nil && cfg.QueueURL != "" {
		var err error
		if c.driver, err = amqp.New(amqp.Config{URL: cfg.QueueURL, Name: cfg.Name, Log: cfg.Log}); err != nil {
			return nil, err
		}
		cfg.Queue = c.driver
	}
	c.shared = cfg.Queue != nil
	if cfg.Queue == nil {
		if err := CheckAlone(cfg.Roles); err != nil {
			return nil, err
		}
		cfg.Queue = queue.New(queue.WithLog(cfg.Log))
	}
	c.metrics = newMetrics(cfg)
	if cfg.MetricsListen != "" { // who shows nothing measures nothing
		cfg.Queue = measuredQueue{cfg.Queue, c.metrics}
	}
	c.cfg = cfg
	switch {
	case c.listens() && cfg.Listen == "":
		return nil, missing("Listen")
	case c.has(Conductor) && !cfg.TLS.Off && cfg.TLS.Cert == "" && cfg.Data == "":
		return nil, missing("Data, where the CA is")
	case c.has(Conductor) && cfg.Store == nil && cfg.Database == "":
		return nil, missing("Store or Database")
	case c.has(Conductor) && !c.listens() && cfg.URL == "" && len(cfg.BoardURLs) == 0:
		return nil, missing("URL, where users find the API,")
	}
	if c.cfg.WAMPAgent == "" {
		c.cfg.WAMPAgent = "wamp-agent-1"
	}
	if c.cfg.TunnelAgent == "" {
		c.cfg.TunnelAgent = "tunnel-agent-1"
	}
	if c.cfg.PublicPorts.Len() == 0 {
		c.cfg.PublicPorts = s4t.PortRange{First: 50000, Last: 60000}
	}
	return c, nil
}

func (c *Cloud) has(r Role) bool { return slices.Contains(c.cfg.Roles, r) }

// listens reports whether it has a port: the conductor alone needs none.
func (c *Cloud) listens() bool { return c.has(API) || c.has(WAMPAgent) || c.has(TunnelAgent) }

// URL is what others are told of the port: users, or, of a process that is an agent
// only, boards. It is known once Run called ready.
func (c *Cloud) URL() string {
	if !c.has(API) && !c.has(Conductor) {
		return c.at.agentURL
	}
	return c.at.url
}

// Addr is the address of the port, nil where there is none. It is known once Run
// called ready.
func (c *Cloud) Addr() net.Addr {
	if c.at.Listener == nil {
		return nil
	}
	return c.at.Addr()
}

// MetricsAddr is the address of the operator's port, nil where there is none. It is known once
// Run called ready.
func (c *Cloud) MetricsAddr() net.Addr { return c.metrics.addr }

// DNSAddr is the address of the name server, nil where there is none. It is known once Run
// called ready.
func (c *Cloud) DNSAddr() net.Addr {
	if c.names == nil {
		return nil
	}
	return c.names.Addr()
}

const (
	// stopTimeout is how long the front may take to say goodbye, and
	// giveUpTimeout is when Run ends in any case: everything that matters is in
	// the database, and the next start takes it from there.
	stopTimeout   = 2 * time.Second
	giveUpTimeout = 4 * time.Second
)

// Run runs every part until ctx ends, and returns nil then; or until one fails,
// and returns its error. ready is called once, when all answer. A conductor that
// has much to do after a restart may take its time: Run waits, and logs for what.
// It is called once.
func (c *Cloud) Run(ctx context.Context, ready func()) error {
	if c.driver != nil {
		// It ends last: what ends before says so through it.
		connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
		var broker sync.WaitGroup
		broker.Go(func() { c.driver.Run(connected) })
		defer broker.Wait()
		defer disconnect()
	}
	if c.has(Conductor) && c.cfg.Store == nil {
		db, err := c.openDatabase(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		defer db.Close()
		c.cfg.Store = db
	}
	if c.cfg.Traces != "" {
		t, err := newTracing(ctx, c.cfg)
		if err != nil {
			return err
		}
		defer t.close()
		c.tracing, c.cfg.Queue = t, tracedQueue{c.cfg.Queue, t}
	}
	at, err := c.listen(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	defer at.close()
	c.at = at
	p, err := c.build(ctx)
	if err != nil {
		return err
	}
	return c.run(ctx, p, ready)
}

// run runs the parts. The front (the port, the agents, the API) ends before the
// back, which it calls.
func (c *Cloud) run(asked context.Context, p *parts, ready func()) error {
	ctx, cancel := context.WithCancelCause(asked)
	defer cancel(nil)
	outcome := func() error {
		if asked.Err() != nil {
			return nil
		}
		return context.Cause(ctx)
	}
	backCtx, stopBack := context.WithCancel(context.WithoutCancel(ctx))
	defer stopBack()

	back := start(backCtx, p.back, cancel)
	front := start(ctx, p.front, cancel)
	if c.await(ctx, append(p.back, p.front...)) {
		ready()
	}
	<-ctx.Done()
	c.cfg.Log.Info("stopping", "why", context.Cause(ctx))

	deadline := time.After(giveUpTimeout)
	for _, g := range []struct {
		ended <-chan struct{}
		next  func()
	}{{front, stopBack}, {back, func() {}}} {
		select {
		case <-g.ended:
		case <-deadline:
			c.cfg.Log.Warn("not every part has ended in time; the process ends now")
			return outcome()
		}
		g.next()
	}
	return outcome()
}
