package lightningrod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/rtunnel/resume"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/terminal"
	"github.com/stack4things/s4t/wire"
)

// The second sequence of the paper (remote access), on the board: every stream
// brings a ticket, and this file decides what it opens.

const (
	maxUsed     = 4096            // stream tickets remembered until they expire
	dialTimeout = 5 * time.Second // for a service of the board or of its LAN
)

// streamPolicy realises the kind service, which is a permission: it decides
// which stream may reach what. It is used by many streams at once.
type streamPolicy struct {
	board      s4t.BoardID
	key        func() ed25519.PublicKey // that signs tickets
	clock      *cloudClock
	allow      []netip.Prefix // targets besides the board itself, by its owner's decision
	perUser    SourcePerUser
	shells     *terminal.Host // users' terminals, by its owner's decision; nil: none
	recordings *recordings    // of those that are recorded
	ssh        *sshServices
	gate       sshGate
	changed    func()                                                                                                                  // the state of a service has changed
	admit      func(op string, code bool) error                                                                                        // see profile
	may        func(ctx context.Context, op string, project s4t.ProjectID, id s4t.LeaseID, a lease.Action) (by s4t.LeaseID, err error) // see leases

	used      *wire.UsedTickets
	resumable *resume.Keeper // users' streams that outlive a connection
	look      chan struct{}  // asks Run to look at the targets now

	mu       sync.Mutex // guards the fields below
	services []*ownService
	ready    func() bool // idle data rtunnels are there, on which streams come
}

// ownService is a service that is desired.
type ownService struct {
	id      s4t.ServiceID
	target  string             // host:port
	host    string             //
	tcpPort int                //
	state   wire.ResourceState // but for whether streams can come
}

func newStreamPolicy(board s4t.BoardID, key func() ed25519.PublicKey, clock *cloudClock, allow []netip.Prefix) *streamPolicy {
	return &streamPolicy{
		board: board, key: key, clock: clock, allow: allow, ssh: newSSHServices("/etc/ssh"), gate: sshGate{open: map[int][]*halfOpen{}},
		changed: func() {}, admit: func(string, bool) error { return nil },
		may: func(context.Context, string, s4t.ProjectID, s4t.LeaseID, lease.Action) (s4t.LeaseID, error) {
			return "", nil
		},
		used: wire.NewUsedTickets(maxUsed), resumable: resume.NewKeeper(resume.HoldTime), look: make(chan struct{}, 1), ready: func() bool { return true },
	}
}

// Apply implements reconciler. A service is up when its target may be reached,
// as far as that can be told before a name is looked up, and streams can come.
// Whether something listens there is told besides (target.go).
func (p *streamPolicy) Apply(want []wire.Resource) (refused []wire.ResourceState) {
	var services []*ownService
	for _, r := range want {
		var d wire.DesiredService
		if state, ok := decode(r, &d); !ok {
			refused = append(refused, state)
			continue
		}
		s := &ownService{
			id: s4t.ServiceID(r.ID), target: net.JoinHostPort(d.Target, strconv.Itoa(d.TCPPort)), host: d.Target, tcpPort: d.TCPPort,
			state: wire.ResourceState{Kind: r.Kind, ID: r.ID, Up: true},
		}
		if ip, err := netip.ParseAddr(d.Target); err == nil {
			if err := p.allowed(d.Target, ip); err != nil {
				s.state.Up, s.state.ProblemID, s.state.Problem = false, wire.TargetForbidden, err.Error()
			}
		}
		services = append(services, s)
	}
	p.mu.Lock()
	p.services = services
	p.mu.Unlock()
	p.lookAtTargets()
	notify(p.look)
	return refused
}

// States implements reconciler.
func (p *streamPolicy) States() (states []wire.ResourceState, settled bool) {
	ready := p.ready()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.services {
		state := s.state
		state.Up = state.Up && ready
		states = append(states, state)
	}
	return states, true
}

// connect decides about a stream and connects it to its target. source is the
// address that a public port's stream comes from. heldBy is the lease by which it is open; empty: it is of the
// board's own project.
func (p *streamPolicy) connect(ctx context.Context, ticket, source string) (local stream.HalfCloser, heldBy string, err error) {
	const op = "open a stream on the board"
	t, err := p.authorize(ticket)
	if err == nil {
		err = p.admit(op, false)
	}
	if err != nil {
		return nil, "", err
	}
	by, err := p.may(ctx, op, t.Project, t.Lease, neededByStream(t))
	if err != nil {
		return nil, "", err
	}
	local, err = p.open(ctx, t, source, by)
	return local, string(by), err
}

// neededByStream is the action that a lease must allow for a stream.
func neededByStream(t wire.Ticket) lease.Action {
	ssh := net.JoinHostPort(loopback4.String(), strconv.Itoa(s4t.KnownServices["ssh"]))
	if t.Target == wire.TargetTerminal || t.Purpose == wire.PurposeStream && t.Target == ssh {
		return lease.SSH
	}
	return lease.Service
}

// open connects a stream that is allowed by a lease, or by no lease.
func (p *streamPolicy) open(ctx context.Context, t wire.Ticket, source string, by s4t.LeaseID) (stream.HalfCloser, error) {
	who := t.User
	if t.Purpose == wire.PurposeService {
		who = source
	}
	dial := func() (stream.HalfCloser, error) {
		conn, err := p.dial(ctx, t.Target, who)
		if err != nil {
			return nil, err
		}
		half, ok := conn.(stream.HalfCloser)
		if !ok {
			conn.Close()
			return nil, s4t.Errorf(s4t.Internal, "reach "+t.Target, "", "a %T cannot be closed half", conn)
		}
		return half, nil
	}
	if t.Target == wire.TargetTerminal {
		dial = func() (stream.HalfCloser, error) { return p.openShell(t) }
	}
	if t.Resumable == "" {
		return dial()
	}
	return p.resumable.Open(resume.ID{Name: t.Resumable, User: t.User, Target: t.Target, By: string(by)}, t.Again, dial)
}

// openShell opens a terminal, which only streams that can be resumed have.
func (p *streamPolicy) openShell(t wire.Ticket) (stream.HalfCloser, error) {
	if p.shells == nil || t.Resumable == "" || t.Purpose != wire.PurposeStream {
		return nil, terminal.Refused()
	}
	if t.Recording == "" {
		return p.shells.Open(t.User, nil)
	}
	return p.shells.Open(t.User, p.recordings.of(t.Recording))
}

// authorize checks the ticket of a stream and returns what is granted. A ticket
// for one stream works once.
func (p *streamPolicy) authorize(text string) (wire.Ticket, error) {
	now := p.clock.now()
	t, err := wire.VerifyTicket(p.key(), text, now)
	if err != nil {
		return wire.Ticket{}, err
	}
	refuse := func(kind s4t.Kind, hint, format string, args ...any) (wire.Ticket, error) {
		return wire.Ticket{}, s4t.Errorf(kind, "open a stream on the board", hint, format, args...)
	}
	if t.Board != p.board {
		return refuse(s4t.Forbidden, "", "the ticket is for another board")
	}
	switch t.Purpose {
	case wire.PurposeService:
		p.mu.Lock()
		ok := slices.ContainsFunc(p.services, func(s *ownService) bool { return s.id == t.Service && s.target == t.Target })
		p.mu.Unlock()
		if !ok {
			return refuse(s4t.Forbidden, "expose it again", "the service is not exposed (any more)")
		}
	case wire.PurposeStream:
		if err := p.used.Use(t, now); err != nil {
			return wire.Ticket{}, err
		}
	default:
		return refuse(s4t.Forbidden, "", "the ticket is for the purpose %q", t.Purpose)
	}
	return t, nil
}

// dial connects to a target that authorize granted to who: a user, or an
// address. What a name resolves to is checked at the moment of connecting, so
// that a name which changes its mind in between reaches nothing new.
func (p *streamPolicy) dial(ctx context.Context, target, who string) (net.Conn, error) {
	host, text, err := net.SplitHostPort(target)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "reach "+target, "give HOST:PORT", "%w", err)
	}
	tcpPort, _ := strconv.Atoi(text)
	hosts := []string{host}
	if host == "localhost" {
		hosts = []string{loopback4.String(), "::1"}
	}
	dialer := net.Dialer{Timeout: dialTimeout, Control: func(_, address string, _ syscall.RawConn) error {
		return p.allowedAddress(host, address)
	}}
	var first error
	for _, h := range hosts {
		var conn net.Conn
		address := net.JoinHostPort(h, text)
		if ip, perr := netip.ParseAddr(h); perr == nil && ip.Is4() && isOwn(ip) {
			conn, err = p.dialOwn(ctx, dialer, who, tcpPort, address)
		} else {
			conn, err = dialer.DialContext(ctx, "tcp", address)
		}
		if err == nil {
			p.reached(target, nil)
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	err = dialFailed(target, first)
	p.reached(target, err)
	return nil, err
}

// allowedAddress says whether a stream to host may connect to address,
// "ip:port".
func (p *streamPolicy) allowedAddress(host, address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	return p.allowed(host, ap.Addr())
}

// allowed says whether a stream to host may connect to ip.
func (p *streamPolicy) allowed(host string, ip netip.Addr) error {
	ip = ip.Unmap().WithZone("")
	if isOwn(ip) {
		return nil
	}
	for _, network := range p.allow {
		if network.Contains(ip) {
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
