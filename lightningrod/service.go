package lightningrod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// The second sequence of the paper (remote access), on the board: every stream
// brings a ticket, and this file decides what it opens.

const (
	maxSpent    = 4096            // stream tickets remembered until they expire; more are refused, never forgotten early
	dialTimeout = 5 * time.Second // for a service of the board or of its LAN
)

// gate decides which stream may reach what. It is used by many streams at
// once.
type gate struct {
	board s4t.BoardID
	clock *cloudClock
	allow []netip.Prefix // targets besides the board itself, by its owner's decision

	mu       sync.Mutex // guards the fields below
	key      ed25519.PublicKey
	services map[s4t.ServiceID]string // what is desired: id -> target
	spent    map[string]int64         // ticket id -> expiry, Unix seconds of the cloud's clock
}

func newGate(id Identity, clock *cloudClock, allow []netip.Prefix) *gate {
	return &gate{board: id.Board, clock: clock, allow: allow, key: id.TicketKey, spent: map[string]int64{}}
}

// set takes the services of a desired state, and its ticket key if it names
// one.
func (g *gate) set(d wire.BoardDesired) {
	services := make(map[s4t.ServiceID]string, len(d.Services))
	for _, s := range d.Services {
		services[s.ID] = net.JoinHostPort(s.Target, strconv.Itoa(s.TCPPort))
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.services = services
	if len(d.TicketKey) == ed25519.PublicKeySize {
		g.key = d.TicketKey
	}
}

// authorize checks the ticket of a stream and returns what it may reach,
// "host:port". A ticket for one stream works once.
func (g *gate) authorize(text string) (target string, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock.now()
	t, err := wire.VerifyTicket(g.key, text, now)
	if err != nil {
		return "", err
	}
	refuse := func(kind s4t.Kind, hint, format string, args ...any) (string, error) {
		return "", s4t.Errorf(kind, "open a stream on the board", hint, format, args...)
	}
	if t.Board != g.board {
		return refuse(s4t.Forbidden, "", "the ticket is for another board")
	}
	switch t.Purpose {
	case wire.PurposeService:
		if want, ok := g.services[t.Service]; !ok || want != t.Target {
			return refuse(s4t.Forbidden, "expose it again", "the service is not exposed (any more)")
		}
	case wire.PurposeStream:
		if err := g.spend(t, now); err != nil {
			return "", err
		}
	default:
		return refuse(s4t.Forbidden, "", "the ticket is for the purpose %q", t.Purpose)
	}
	return t.Target, nil
}

// spend notes that a ticket was used. mu is held.
func (g *gate) spend(t wire.Ticket, now time.Time) error {
	refuse := func(kind s4t.Kind, format string, args ...any) error {
		return s4t.Errorf(kind, "open a stream on the board", "ask for a new ticket", format, args...)
	}
	if t.ID == "" {
		return refuse(s4t.Forbidden, "the ticket has no id")
	}
	if _, used := g.spent[t.ID]; used {
		return refuse(s4t.Forbidden, "the ticket was used before")
	}
	if len(g.spent) >= maxSpent {
		for id, expires := range g.spent {
			if expires < now.Unix() {
				delete(g.spent, id)
			}
		}
		if len(g.spent) >= maxSpent {
			return refuse(s4t.TooMany, "the board opened %d streams within a minute", maxSpent)
		}
	}
	g.spent[t.ID] = t.Expires
	return nil
}

// dial connects to a target that authorize returned. What a name resolves to
// is checked at the moment of connecting, so that a name which changes its
// mind in between reaches nothing new.
func (g *gate) dial(ctx context.Context, target string) (net.Conn, error) {
	host, tcpPort, err := net.SplitHostPort(target)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "reach "+target, "give HOST:PORT", "%w", err)
	}
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{"127.0.0.1", "::1"}
	}
	dialer := net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return g.allowed(host, address)
	}}
	var first error
	for _, h := range hosts {
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(h, tcpPort))
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, dialFailed(target, first)
}

// allowed says whether a stream to host may connect to address, "ip:port".
func (g *gate) allowed(host, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip == netip.IPv6Loopback() || ip == netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
		return nil
	}
	for _, p := range g.allow {
		if p.Contains(ip) {
			return nil
		}
	}
	return s4t.Errorf(s4t.Forbidden, "reach "+host, "its owner can allow it: `lightning-rod run --allow-target "+netip.PrefixFrom(ip, ip.BitLen()).String()+"`", "the board lets streams reach itself only, not %s", ip)
}

// dialFailed says why a target was not reached.
func dialFailed(target string, err error) error {
	if e, ok := errors.AsType[*s4t.Error](err); ok {
		return e
	}
	op := "reach " + target + " on the board"
	if errors.Is(err, syscall.ECONNREFUSED) {
		return s4t.Errorf(s4t.Unavailable, op, "start the service there, or check the port", "nothing listens there")
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		return s4t.Errorf(s4t.Unavailable, op, "check the name on the board", "the board does not know the name %q", dns.Name)
	}
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
		return s4t.Errorf(s4t.Timeout, op, "check that the host is on", "no answer within %s", dialTimeout)
	}
	return s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
}
