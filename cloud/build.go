package cloud

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net/netip"
	"net/url"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/conductor"
	"github.com/stack4things/s4t/dashboard"
	"github.com/stack4things/s4t/descriptors"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/lograte"
	"github.com/stack4things/s4t/nameserver"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/tunnelagent"
	"github.com/stack4things/s4t/wampagent"
	"github.com/stack4things/s4t/wire"
)

// parts of a process. Those in front end first: they call those at the back.
type parts struct {
	front, back []task
	handlers    handlers
	descriptors *descriptors.Pool // of the tunnel agent
}

// build constructs the parts of the roles.
func (c *Cloud) build(ctx context.Context) (*parts, error) {
	limit := descriptors.Raise()
	pool, guests := room(limit)
	c.cfg.Log.Debug("descriptors", "limit", limit, "guests", guests)
	p := &parts{descriptors: pool, front: []task{{name: "certificates", run: c.at.certs.Run}}}
	for _, r := range []struct {
		role Role
		add  func(context.Context, *parts) error
	}{
		{Conductor, c.addConductor}, {API, c.addAPI}, {WAMPAgent, c.addWAMPAgent}, {TunnelAgent, c.addTunnelAgent},
	} {
		if !c.has(r.role) {
			continue
		}
		if err := r.add(ctx, p); err != nil {
			return nil, err
		}
	}
	c.addBeats(p)
	p.handlers.ready = c.ready
	if db := c.cfg.Store; db != nil {
		c.metrics.counter("s4t_database_commits_total", "Transactions that wrote.", func() float64 { n, _ := db.Written(); return float64(n) })
		c.metrics.counter("s4t_database_rows_total", "Rows that they wrote.", func() float64 { _, n := db.Written(); return float64(n) })
	}
	if c.cfg.MetricsListen != "" {
		l, err := listenForOperator(c.cfg.MetricsListen, c.metrics, c.ready)
		if err != nil {
			return nil, err
		}
		c.metrics.addr = l.Addr()
		p.front = append(p.front, task{name: "operator's port", run: l.run})
	}
	if c.listens() {
		c.metrics.counter("s4t_turned_away_total", "Boards that found no room and were told when to come back.", c.gate.sentAway)
		a := newAdmission(c.gate)
		a.max = guests
		srv := newHTTPServer(tellSource(c.cfg.TLS.proxies(), below(p.handlers.routes(), c.at.url, c.at.agentURL)), a, c.cfg.Log)
		l := roomyListener{c.at, a, c.cfg.Log, &lograte.Line{}}
		p.front = append(p.front, task{name: "HTTP server", run: func(ctx context.Context) error { return serveHTTP(ctx, srv, l) }})
	}
	return p, nil
}

func (c *Cloud) addConductor(ctx context.Context, p *parts) error {
	key, err := ticketKey(ctx, c.cfg.Store)
	if err != nil {
		return err
	}
	id, err := identity.New(identity.Config{Store: c.cfg.Store, Key: key, Log: c.cfg.Log})
	if err != nil {
		return err
	}
	if c.cfg.Bootstrap != nil {
		if err := c.cfg.Bootstrap(ctx, id, c.at.url, c.at.certs.trust()); err != nil {
			return err
		}
		note := c.at.certs.changed
		c.at.certs.changed = func(ctx context.Context, s shown) error {
			return errors.Join(note(ctx, s), c.cfg.Bootstrap(ctx, id, c.at.url, s.trust()))
		}
	}
	urls := c.cfg.BoardURLs
	if len(urls) == 0 && (c.has(WAMPAgent) || c.cfg.QueueURL == "") {
		urls = []string{c.at.url}
	}
	apiURL := c.cfg.APIURL
	if apiURL == "" && (c.has(API) || c.cfg.URL != "") {
		apiURL = c.at.url
	}
	mux := queue.Mux{wire.MethodCertificate: queue.Handle(c.at.certs.signFor)}
	id.Register(mux)
	con, err := conductor.New(conductor.Config{
		Store: c.cfg.Store, Queue: c.cfg.Queue, Mux: mux, TicketKey: key,
		URLs: urls, APIURL: apiURL, CAFingerprint: c.at.certs.fingerprint, Trust: c.at.certs.trust, Name: c.cfg.Name, Version: c.cfg.Version, Log: c.cfg.Log,
	})
	if err != nil {
		return err
	}
	p.back = append(p.back, task{name: "identity", run: id.Run}, task{name: "conductor", run: con.Run})
	return nil
}

func (c *Cloud) addAPI(_ context.Context, p *parts) error {
	cfg := api.Config{Queue: c.cfg.Queue, Version: c.cfg.Version, URL: c.at.url, Trust: c.at.certs.trust, Shown: c.at.certs.until, Log: c.cfg.Log}
	if c.cfg.MetricsListen != "" || c.tracing != nil {
		cfg.Around = c.around
	}
	if c.cfg.DNSZone != "" {
		if err := c.addNames(p); err != nil {
			return err
		}
		cfg.Zone, cfg.Heard = c.names.Zone(), c.names.Heard
	}
	rest, err := api.New(cfg)
	if err != nil {
		return err
	}
	p.handlers.api = rest.Handler()
	reach := newReach(c.cfg.Queue, c.at.url)
	if p.handlers.pages, err = dashboard.New(dashboard.Config{URL: cfg.URL, Connect: reach.origins}); err != nil {
		return err
	}
	p.front = append(p.front, task{name: "API", run: rest.Run}, task{name: "policy of the dashboard", run: reach.run})
	return nil
}

// addNames adds the name server of the zone in which services have names.
func (c *Cloud) addNames(p *parts) (err error) {
	cfg := nameserver.Config{Zone: c.cfg.DNSZone, Listen: c.cfg.DNSListen, Servers: c.cfg.DNSServers, Queue: c.cfg.Queue, Log: c.cfg.Log}
	if len(cfg.Servers) == 0 {
		u, err := url.Parse(c.at.url)
		if err != nil {
			return s4t.Errorf(s4t.Internal, "serve the DNS zone "+cfg.Zone, "", "%w", err)
		}
		if addr, err := netip.ParseAddr(u.Hostname()); err == nil {
			cfg.Addresses = []netip.Addr{addr}
		} else {
			cfg.Servers = []string{u.Hostname()}
		}
	}
	if c.names, err = nameserver.New(cfg); err != nil {
		return err
	}
	c.metrics.counter("s4t_dns_answers_total", "DNS queries that were answered.", c.names.Answered)
	c.metrics.counter("s4t_dns_limited_total", "DNS queries of sources that sent too many.", c.names.Limited)
	p.front = append(p.front, task{name: "name server", run: c.names.Run, ready: c.names.Ready()})
	return nil
}

func (c *Cloud) addWAMPAgent(_ context.Context, p *parts) error {
	agent, err := wampagent.New(wampagent.Config{ID: c.cfg.WAMPAgent, URL: c.at.agentURL, Queue: c.cfg.Queue, Place: c.cfg.Place, Version: c.cfg.Version, Log: c.cfg.Log})
	if err != nil {
		return err
	}
	p.handlers.wamp = agent.Handler()
	c.gate.arrivals = agent.Arrivals
	c.metrics.gauge("s4t_wamp_sessions", "Boards that have a session here.", func() float64 { return float64(agent.Sessions()) })
	p.front = append(p.front, task{name: "WAMP agent", run: agent.Run, ready: agent.Ready()}, task{name: "memory after a rush", run: newRush(agent.Sessions).run})
	return nil
}

func (c *Cloud) addTunnelAgent(_ context.Context, p *parts) error {
	peers, err := newPeerDialer(c.at.certs, c.cfg.PeerProxy)
	if err != nil {
		return err
	}
	agent, err := tunnelagent.New(tunnelagent.Config{
		ID: c.cfg.TunnelAgent, URL: c.at.agentURL, Queue: c.cfg.Queue, Validate: link.Validate, DialPeer: peers.dial,
		Host: cmp.Or(c.cfg.PublicHost, c.at.host), ListenHost: c.publicListen(), PublicPorts: c.cfg.PublicPorts, Descriptors: p.descriptors, Place: c.cfg.Place, Version: c.cfg.Version, Log: c.cfg.Log,
	})
	if err != nil {
		return err
	}
	p.handlers.rtunnel = agent
	p.front = append(p.front, task{name: "tunnel agent", run: agent.Run, ready: agent.Ready()})
	return nil
}

// publicListen is the address that public ports bind to. That nobody reaches it
// from outside is told: behind a reverse proxy on the same host it is so by
// default.
func (c *Cloud) publicListen() string {
	addr := cmp.Or(c.cfg.PublicListen, c.at.bind)
	host, err := netip.ParseAddr(c.at.host)
	here := c.at.host == "localhost" || err == nil && host.IsLoopback()
	if ip, err := netip.ParseAddr(addr); err == nil && ip.IsLoopback() && !here {
		c.cfg.Log.Warn("public ports are reached from this host only; say where they are to listen with --public-listen", "address", addr, "url", c.at.agentURL)
	}
	return addr
}

// ticketKey is the key that signs tickets. It is in the database, because
// several conductors share it.
func ticketKey(ctx context.Context, db *store.DB) (ed25519.PrivateKey, error) {
	var seed []byte
	err := db.Tx(ctx, func(tx *store.Tx) (err error) {
		seed, err = tx.Secret("ticket-key", func() ([]byte, error) {
			b := make([]byte, ed25519.SeedSize)
			rand.Read(b) // never fails (crypto/rand, Go 1.24)
			return b, nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, s4t.Errorf(s4t.Internal, "read the key that signs tickets", "", "it is damaged")
	}
	return ed25519.NewKeyFromSeed(seed), nil
}
