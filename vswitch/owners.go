package vswitch

import (
	"sync"
	"sync/atomic"
)

const (
	maxClaims   = 64 // addresses that one port may claim
	maxPrefixes = 16 // prefixes that routers of the network advertise
)

// claims says which port an IP address belongs to. An address of a port's
// configuration is fixed. Others belong to the port that used them first, as
// long as that port stays: link-local IPv6 addresses, those in a prefix that an
// allowed router advertised, those that an allowed DHCP server leased (which
// go to whom it leased them), and on a port that may be a DHCP server or
// router, its own.
type claims struct {
	gen atomic.Uint64 // grows when an address changes hands

	mu       sync.RWMutex // guards the fields below and Port.claims
	m        map[address]claim
	prefixes []prefix
}

type claim struct {
	port  *Port
	fixed bool
}

type prefix struct{ addr, mask address }

func (x prefix) contains(a address) bool {
	return !a.isIPv4() && a.hi&x.mask.hi == x.addr.hi && a.lo&x.mask.lo == x.addr.lo
}

// owner returns the port that an address belongs to, nil if nobody's.
func (c *claims) owner(a address) *Port {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.m[a].port
}

// claim reports whether an address is the port's, and makes it so if it is
// nobody's and may be claimed.
func (c *claims) claim(p *Port, a address, r *rules) bool {
	c.mu.RLock()
	owner := c.m[a].port
	may := owner == nil && c.claimable(a, r)
	c.mu.RUnlock()
	if owner != nil || !may {
		return owner == p
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if owner := c.m[a].port; owner != nil {
		return owner == p
	}
	if p.claims >= maxClaims || p.closed.Load() {
		return false
	}
	p.claims++
	c.m[a] = claim{p, false}
	return true
}

// claimable reports whether an address that is nobody's may be claimed by a
// port with these rules. The caller holds mu.
func (c *claims) claimable(a address, r *rules) bool {
	if a.multicast() || a == zeroIPv6 || a == zeroIPv4 || a == (address{markIPv4, 0xffffffff}) {
		return false
	}
	if a.isIPv4() {
		return r.guards.AllowDHCP
	}
	if a.linkLocal() || r.guards.AllowRA {
		return true
	}
	for _, x := range c.prefixes {
		if x.contains(a) {
			return true
		}
	}
	return false
}

// fix gives an address to a port for as long as it stays. It reports false if
// it is fixed to another.
func (c *claims) fix(p *Port, a address) bool { return c.give(p, a, true) }

// lease gives an address that a DHCP server leased to a port.
func (c *claims) lease(p *Port, a address) {
	if !a.multicast() && a != zeroIPv4 && a != zeroIPv6 {
		c.give(p, a, false)
	}
}

func (c *claims) give(p *Port, a address, fixed bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.m[a]
	switch {
	case old.port == p && old.fixed == fixed:
		return true
	case old.fixed:
		return old.port == p
	case !fixed && p.claims >= maxClaims:
		return false
	}
	if old.port != nil {
		old.port.claims--
		c.gen.Add(1)
	}
	if !fixed {
		p.claims++
	}
	c.m[a] = claim{p, fixed}
	return true
}

// advertise notes a prefix that a router advertised.
func (c *claims) advertise(x prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, known := range c.prefixes {
		if known == x {
			return
		}
	}
	if len(c.prefixes) < maxPrefixes {
		c.prefixes = append(c.prefixes, x)
	}
}

// forget drops all addresses of a port.
func (c *claims) forget(p *Port) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for a, x := range c.m {
		if x.port == p {
			delete(c.m, a)
		}
	}
	p.claims = 0
	c.gen.Add(1)
}
