package vswitch

import (
	"math"
	"slices"
	"time"
)

const (
	// maxPrefixes bounds the prefixes that the routers of a network advertise.
	maxPrefixes = 16
	// leastLifetime is what an advertisement cannot shorten the lifetime of a
	// prefix below: hosts use their addresses as long (RFC 4862, section 5.5.3).
	leastLifetime = 2 * time.Hour
	// forever is the valid lifetime without end, in seconds on the wire.
	forever = math.MaxUint32
)

// prefix is one that a router advertised for hosts to make addresses of.
type prefix struct {
	addr, mask address
	port       *Port // the router's
	heard      int64 // when it was advertised last, of Switch.now
	until      int64 // end of its valid lifetime
	outside    bool  // the router is one of the data centre
}

func (x *prefix) contains(a address) bool {
	return !a.isIPv4() && a.hi&x.mask.hi == x.addr.hi && a.lo&x.mask.lo == x.addr.lo
}

// advertised reports whether an address is in a prefix that a router
// advertised, and whether one of the data centre did. The caller holds mu.
func (o *owners) advertised(a address, now int64) (is, given bool) {
	for i := range o.prefixes {
		if x := &o.prefixes[i]; x.contains(a) && now < x.until {
			is, given = true, given || x.outside
		}
	}
	return is, given
}

// advertise notes a prefix that a router behind p advertised for so many
// seconds. Where there are maxPrefixes one makes room: of the router that has
// most, the one that was not advertised for longest.
func (o *owners) advertise(p *Port, addr, mask address, seconds uint32) {
	now := p.now
	until := int64(math.MaxInt64)
	if seconds != forever {
		until = now + int64(seconds)*int64(time.Second)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prefixes = slices.DeleteFunc(o.prefixes, func(x prefix) bool { return x.until <= now })
	for i := range o.prefixes {
		if x := &o.prefixes[i]; x.port == p && x.addr == addr && x.mask == mask {
			x.heard = now
			x.until = max(until, min(x.until, now+int64(leastLifetime)))
			return
		}
	}
	if until <= now || p.closed.Load() {
		return
	}
	if len(o.prefixes) >= maxPrefixes {
		i := o.leastPrefix()
		o.prefixes = slices.Delete(o.prefixes, i, i+1)
	}
	o.prefixes = append(o.prefixes, prefix{addr, mask, p, now, until, p.outside()})
}

// leastPrefix returns the index of the prefix that makes room for another. The
// caller holds mu.
func (o *owners) leastPrefix() int {
	of := make(map[*Port]int, len(o.prefixes))
	for _, x := range o.prefixes {
		of[x.port]++
	}
	least := 0
	for i, x := range o.prefixes {
		y := o.prefixes[least]
		if of[x.port] > of[y.port] || of[x.port] == of[y.port] && x.heard < y.heard {
			least = i
		}
	}
	return least
}

// withdraw drops the prefixes of a router.
func (o *owners) withdraw(p *Port) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prefixes = slices.DeleteFunc(o.prefixes, func(x prefix) bool { return x.port == p })
}
