package nameserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
)

const (
	// workers take queries by UDP: more than wait for the conductor at a time, so that
	// what is known is told meanwhile.
	workers = 2 * maxAsks

	// burst is how many queries a source may send at once, and one more every refill.
	burst  = 200
	refill = 10 * time.Millisecond
	// maxSources bounds the sources whose queries are counted.
	maxSources = 10_000
)

// Config of a Server. Zone, Listen and Queue are required, and one of Servers and Addresses.
type Config struct {
	Zone   string // svc.example.org: its parent delegates it to the servers
	Listen string // ADDR:PORT, of UDP and TCP

	// Servers are the names of the zone's name servers, outside the zone. With none there
	// is one, ns.ZONE, and Addresses are its.
	Servers   []string
	Addresses []netip.Addr

	Queue Queue
	Log   *slog.Logger // discards by default
}

// Server is a name server. See [New].
type Server struct {
	cfg      Config
	zone     string // in lower case, with the dot at the end
	zoneName dnsmessage.Name
	mailbox  dnsmessage.Name // of who is responsible
	servers  []dnsmessage.Name
	names    *names
	udp, tcp *s4t.Budgets // of sources: who speaks TCP is who it says
	ready    chan struct{}
	addr     net.Addr

	said, held atomic.Uint64
}

// CheckZone says what is wrong with the name of a zone, and returns it as it is used: in
// lower case and without a dot at the end.
func CheckZone(zone string) (string, error) {
	const op = "serve a DNS zone"
	z := strings.ToLower(strings.TrimSuffix(zone, "."))
	if !isHostName(z) || len(z)+len("_._tcp.")+s4t.MaxDNSName > 253 {
		return "", s4t.Errorf(s4t.Invalid, op, "use a domain of yours, like svc.example.org", "%q is not the name of a zone", s4t.Line(zone, 80))
	}
	return z, nil
}

// CheckServers says what is wrong with the names of the name servers of a zone.
func CheckServers(zone string, servers []string) error {
	const op = "name the servers of a DNS zone"
	if len(servers) > 8 {
		return s4t.Errorf(s4t.TooMany, op, "name 8 at most", "there are %d", len(servers))
	}
	for _, name := range servers {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		_, err := netip.ParseAddr(name)
		if err == nil || !isHostName(name) {
			return s4t.Errorf(s4t.Invalid, op, "use names of hosts, like ns1.example.org", "%q is not one", s4t.Line(name, 80))
		}
		if name == zone || strings.HasSuffix(name, "."+zone) {
			return s4t.Errorf(s4t.Invalid, op, "use names of another zone, or none: then it is ns."+zone, "%s is in the zone, which has names of services only", name)
		}
	}
	return nil
}

// isHostName reports whether name is that of a host, in lower case.
func isHostName(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if !s4t.IsDNSLabel(label) {
			return false
		}
	}
	return len(name) <= 253
}

// New checks cfg. It does nothing else until Run.
func New(cfg Config) (*Server, error) {
	zone, err := CheckZone(cfg.Zone)
	if err == nil {
		err = CheckServers(zone, cfg.Servers)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Queue == nil || cfg.Listen == "" || len(cfg.Servers)+len(cfg.Addresses) == 0 {
		return nil, s4t.Errorf(s4t.Internal, "construct a name server", "", "Queue, Listen, and Servers or Addresses, are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if len(cfg.Servers) > 0 {
		cfg.Addresses = nil
	} else {
		cfg.Servers = []string{s4t.OwnDNSName + "." + zone}
	}
	s := &Server{
		cfg: cfg, zone: zone + ".", names: newNames(cfg.Queue, time.Now), ready: make(chan struct{}),
		udp: s4t.NewBudgets(burst, refill, maxSources), tcp: s4t.NewBudgets(burst, refill, maxSources),
	}
	if s.zoneName, err = dnsmessage.NewName(s.zone); err != nil {
		return nil, err
	}
	if s.mailbox, err = dnsmessage.NewName("hostmaster." + s.zone); err != nil {
		return nil, err
	}
	for _, name := range cfg.Servers {
		n, err := dnsmessage.NewName(lower(strings.TrimSuffix(name, ".")) + ".")
		if err != nil {
			return nil, err
		}
		s.servers = append(s.servers, n)
	}
	return s, nil
}

// Zone is the zone, in lower case and without a dot at the end.
func (s *Server) Zone() string { return strings.TrimSuffix(s.zone, ".") }

// Ready is closed once queries are taken.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Addr is where, of UDP and TCP. It is known once Ready is closed.
func (s *Server) Addr() net.Addr { return s.addr }

// Answered is how many queries were answered, and Limited how many of sources that sent too
// many were not, or with "ask again by TCP".
func (s *Server) Answered() float64 { return float64(s.said.Load()) }

// Limited is described at Answered.
func (s *Server) Limited() float64 { return float64(s.held.Load()) }

// moving are the events after which a name may stand for something else.
var moving = map[string]bool{"service.exposed": true, "service.updated": true, "service.moved": true, "service.hidden": true, "board.deleted": true, "project.deleted": true}

// Heard takes the events of the cloud; nil: some may be missing. It does not wait. An
// event that is lost costs an answer that is late by [TTL].
func (s *Server) Heard(events []s4t.Event) {
	changed := events == nil
	for _, e := range events {
		changed = changed || moving[e.Kind]
	}
	if changed {
		s.names.forget()
	}
}

// Run answers queries until ctx ends. It is called once.
func (s *Server) Run(ctx context.Context) error {
	l, c, err := listen(ctx, s.cfg.Listen)
	if err != nil {
		return err
	}
	s.addr = l.Addr()
	close(s.ready)
	s.cfg.Log.Info("DNS queries are answered", "zone", s.cfg.Zone, "address", s.addr)
	group, ctx := errgroup.WithContext(ctx)
	stop := context.AfterFunc(ctx, func() { l.Close(); c.Close() })
	defer stop()
	for range workers {
		group.Go(func() error { return s.serveUDP(ctx, c) })
	}
	group.Go(func() error { return s.serveTCP(ctx, l) })
	err = group.Wait()
	if ctx.Err() != nil && errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// listen opens one port for both. One that is chosen for TCP may be taken for UDP: then
// another one is.
func listen(ctx context.Context, addr string) (net.Listener, net.PacketConn, error) {
	var lc net.ListenConfig
	var err error
	for range 16 {
		var l net.Listener
		if l, err = lc.Listen(ctx, "tcp", addr); err != nil {
			break
		}
		var c net.PacketConn
		if c, err = lc.ListenPacket(ctx, "udp", l.Addr().String()); err == nil {
			return l, c, nil
		}
		l.Close()
		if _, port, _ := net.SplitHostPort(addr); port != "0" {
			break
		}
	}
	return nil, nil, s4t.Errorf(s4t.Unavailable, "listen for DNS on "+addr, "name another address of this machine with --dns; port 53 of 127.0.0.53 is often systemd-resolved's", "%w", err)
}

// serveUDP answers one datagram after the other.
func (s *Server) serveUDP(ctx context.Context, c net.PacketConn) error {
	buf := make([]byte, maxQuery+1)
	for {
		n, from, err := c.ReadFrom(buf)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			pause(ctx)
			continue
		}
		if n > maxQuery {
			continue
		}
		if reply := s.datagram(ctx, buf[:n], from); reply != nil {
			c.WriteTo(reply, from) // who does not get it asks again
		}
	}
}

// pause keeps an error that comes again from using a processor whole.
func pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}

// datagram is what is said to a datagram; nil: nothing.
func (s *Server) datagram(ctx context.Context, msg []byte, from net.Addr) []byte {
	if s.spends(s.udp, from) {
		reply := s.answer(ctx, msg, true)
		if reply != nil {
			s.said.Add(1)
		}
		return reply
	}
	if s.held.Add(1)%2 == 0 {
		return nil
	}
	q, _, ok := parse(msg)
	if !ok || q.question.Name.Length == 0 {
		return nil
	}
	q.edns = false // no more bytes than it sent
	reply, err := s.pack(q, reply{authoritative: true, truncated: true})
	if err != nil || len(reply) > len(msg) {
		return nil
	}
	return reply
}

// spends takes a query from the budget of its source.
func (s *Server) spends(b *s4t.Budgets, from net.Addr) bool {
	_, ok := b.Take(s4t.SourceOfPeer(from.String()), time.Now())
	return ok
}
