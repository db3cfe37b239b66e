package lightningrod

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// SourcePerUser says which services of the board itself see an address
// of 127.0.0.0/8 that stands for the user ([s4t.LoopbackFor]), and not
// 127.0.0.1 for all: sshd and fail2ban punish by source, and would punish all
// for one.
type SourcePerUser int

// What may be chosen.
const (
	SourceForSSH SourcePerUser = iota // services of SSH
	SourceAlways                      // every service
	SourceNever                       // none
)

// loopback4 is the board itself.
var loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// sourceFor is the address to connect to the board itself from, nil
// where the kernel is to choose.
func (p *streamPolicy) sourceFor(who string, tcpPort int) net.Addr {
	if who == "" || p.perUser == SourceNever || p.perUser == SourceForSSH && !p.ssh.is(tcpPort) {
		return nil
	}
	return &net.TCPAddr{IP: s4t.LoopbackFor(who).AsSlice()}
}

const (
	// maxHalfOpen is how many connections to one SSH service of the board may be
	// there on which nobody has begun to log in: from the tenth that has not logged
	// in sshd drops new ones at random, of whomever they are (MaxStartups
	// 10:30:100, sshd_config(5)).
	maxHalfOpen = 9
	// maxHalfOpenOf is how many of them one user may have.
	maxHalfOpenOf = 5
	// halfOpenFor is when sshd ends who has not logged in (LoginGraceTime).
	halfOpenFor = 2 * time.Minute
	// silentFor is after how long one that has said nothing gives its place up:
	// an SSH client speaks at once (RFC 4253, section 4.2).
	silentFor = 5 * time.Second
	// begunBytes, both ways: who was only connected to has said less, and the
	// smallest login with any client more. That one has succeeded cannot be told
	// from outside: a quiet session has not many bytes more than one that waits for
	// a password.
	begunBytes = 2000
	// gateWait is how long one more waits for a place.
	gateWait = 4 * time.Second
	gateLook = 50 * time.Millisecond
)

// sshGate bounds the connections to the board's SSH services on which nobody has
// begun to log in.
type sshGate struct {
	mu   sync.Mutex          // guards open
	open map[int][]*halfOpen // by TCP port
}

// halfOpen is a connection on which a login may not have begun.
type halfOpen struct {
	who   string
	since time.Time
	conn  *net.TCPConn // nil: being dialled
}

// enter waits for a place. The caller says what has become of it with done.
func (g *sshGate) enter(ctx context.Context, who string, tcpPort int) (*halfOpen, error) {
	ctx, cancel := context.WithTimeout(ctx, gateWait)
	defer cancel()
	look := time.NewTicker(gateLook)
	defer look.Stop()
	for {
		if h := g.take(who, tcpPort, time.Now()); h != nil {
			return h, nil
		}
		select {
		case <-ctx.Done():
			return nil, s4t.Errorf(s4t.TooMany, "reach the SSH service of the board", "try again in a moment",
				"too many connections are open on which nobody logs in: at most %d, and %d of one user", maxHalfOpen, maxHalfOpenOf)
		case <-look.C:
		}
	}
}

// take takes a place if there is one, now.
func (g *sshGate) take(who string, tcpPort int, now time.Time) *halfOpen {
	g.mu.Lock()
	defer g.mu.Unlock()
	var open []*halfOpen
	var silent *halfOpen
	mine := 0
	for _, h := range g.open[tcpPort] {
		said, all, alive := h.traffic()
		if !alive || all >= begunBytes || now.Sub(h.since) > halfOpenFor {
			continue
		}
		open = append(open, h)
		if h.who == who {
			mine++
		}
		if said == 0 && h.conn != nil && now.Sub(h.since) > silentFor && silent == nil {
			silent = h
		}
	}
	g.open[tcpPort] = open
	if len(open) >= maxHalfOpen || mine >= maxHalfOpenOf {
		if silent != nil {
			silent.conn.Close()
		}
		return nil
	}
	h := &halfOpen{who: who, since: now}
	g.open[tcpPort] = append(open, h)
	return h
}

// done says that a place is used by conn, nil: by nobody.
func (g *sshGate) done(h *halfOpen, conn net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if h.conn, _ = conn.(*net.TCPConn); h.conn == nil {
		h.since = time.Time{}
	}
}

// traffic says how many bytes of a connection the service has taken, and how
// many there were both ways, as the kernel counts them (tcp_info, tcp(7)).
func (h *halfOpen) traffic() (said, all uint64, alive bool) {
	if h.conn == nil {
		return 0, 0, true
	}
	raw, err := h.conn.SyscallConn()
	if err != nil {
		return 0, 0, false
	}
	const established = 1 // TCP_ESTABLISHED, include/net/tcp_states.h
	err = raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		said = info.Bytes_acked
		if said > 0 {
			said-- // the SYN counts as one
		}
		all, alive = said+info.Bytes_received, info.State == established
	})
	return said, all, alive && err == nil
}

// dialOwn connects to an IPv4 address of the board itself for a user.
func (p *streamPolicy) dialOwn(ctx context.Context, dialer net.Dialer, who string, tcpPort int, address string) (conn net.Conn, err error) {
	if p.ssh.is(tcpPort) {
		place, err := p.gate.enter(ctx, who, tcpPort)
		if err != nil {
			return nil, err
		}
		defer func() { p.gate.done(place, conn) }()
	}
	dialer.LocalAddr = p.sourceFor(who, tcpPort)
	conn, err = dialer.DialContext(ctx, "tcp", address)
	if dialer.LocalAddr != nil && errors.Is(err, syscall.EADDRNOTAVAIL) { // a loopback of one address only
		dialer.LocalAddr = nil
		conn, err = dialer.DialContext(ctx, "tcp", address)
	}
	return conn, err
}
