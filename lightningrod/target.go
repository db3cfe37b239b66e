package lightningrod

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Whether something listens where the streams of a service go: of the board
// itself as the kernel's tables say, without a connection; of its LAN as the
// last stream found out.

const (
	lookBusy  = 2 * time.Second // between two looks at what listens here, while services are desired
	lookQuiet = time.Minute     // while none are, for the SSH host keys
)

// isOwn reports whether an address is the board itself: 127.0.0.1, ::1, or one
// of its interfaces'.
func isOwn(ip netip.Addr) bool {
	return ip == loopback4 || ip == netip.IPv6Loopback() || ownAddresses()[ip]
}

// ownAddresses are the board's.
func ownAddresses() map[netip.Addr]bool {
	own := map[netip.Addr]bool{loopback4: true, netip.IPv6Loopback(): true}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				own[ip.Unmap()] = true
			}
		}
	}
	return own
}

// Run implements runner: it looks at what listens on this board until ctx ends.
func (p *streamPolicy) Run(ctx context.Context) error {
	for {
		p.lookAtTargets()
		all, err := readListeners()
		if _, changed := p.ssh.keys(ctx, sshPort, all, err == nil); changed {
			p.changed()
		}
		p.mu.Lock()
		wait := lookQuiet
		if len(p.services) > 0 {
			wait = lookBusy
		}
		p.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-p.look:
		case <-time.After(wait):
		}
	}
}

// lookAtTargets looks at the targets that are the board itself.
func (p *streamPolicy) lookAtTargets() {
	p.mu.Lock()
	n := len(p.services)
	p.mu.Unlock()
	if n == 0 {
		return
	}
	all, err := readListeners()
	if err != nil {
		return // not known
	}
	own := ownAddresses()
	p.note(func(s *ownService) (listens, known bool) {
		hosts := []string{s.host}
		if s.host == "localhost" {
			hosts = []string{loopback4.String(), netip.IPv6Loopback().String()}
		}
		for _, h := range hosts {
			ip, err := netip.ParseAddr(h)
			if err != nil || !own[ip.Unmap().WithZone("")] {
				return false, false
			}
			if _, ok := all.at(ip, s.tcpPort); ok {
				return true, true
			}
		}
		return false, true
	}, func(s *ownService) string { return "nothing listens at " + s.target + " on the board" })
}

// reached notes how a stream to a target on the LAN fared.
func (p *streamPolicy) reached(target string, err error) {
	if k := s4t.KindOf(err); err != nil && k != s4t.Unavailable && k != s4t.Timeout {
		return // it was not tried
	}
	p.note(func(s *ownService) (listens, known bool) {
		if s.target != target {
			return false, false
		}
		ip, perr := netip.ParseAddr(s.host)
		own := s.host == "localhost" || perr == nil && isOwn(ip.Unmap().WithZone(""))
		return err == nil, !own
	}, func(*ownService) string { return err.Error() })
}

// note writes down of each service, where it is known, whether something
// listens, and why not.
func (p *streamPolicy) note(look func(*ownService) (listens, known bool), why func(*ownService) string) {
	changed := false
	p.mu.Lock()
	for _, s := range p.services {
		listens, known := look(s)
		if !known || s.state.ProblemID != "" && s.state.ProblemID != wire.TargetRefused {
			continue
		}
		id, problem := "", ""
		if !listens {
			id, problem = wire.TargetRefused, why(s)
		}
		changed = changed || s.state.ProblemID != id
		s.state.ProblemID, s.state.Problem = id, problem
	}
	p.mu.Unlock()
	if changed {
		p.changed()
	}
}
