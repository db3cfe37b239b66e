package vnet

import (
	"fmt"
	"net/netip"
	"sort"

	"github.com/stack4things/s4t"
)

// routerBits is how many host bits a subnet has at least in which the first
// address is kept for a router: in a smaller one (/30, /126) that would be half
// of it.
const routerBits = 3

// keepsRouter reports whether the first address of a subnet is a router's.
func keepsRouter(p netip.Prefix) bool { return p.Addr().BitLen()-p.Bits() >= routerBits }

// Kept says, for people, what no port of a subnet gets, where that is much of
// it: ", ..." to go on a sentence with, or nothing.
func Kept(p netip.Prefix) string {
	host := p.Addr().BitLen() - p.Bits()
	switch {
	case host > 8:
		return ""
	case keepsRouter(p):
		return fmt.Sprintf(", whose first address, %v, is kept for a router", p.Masked().Addr().Next())
	case p.Addr().Is4():
		return fmt.Sprintf(", which has room for %d boards", 1<<host-2)
	}
	return fmt.Sprintf(", which has room for %d boards", 1<<host-1)
}

// maxTries bounds a search for a free address: far more than
// [s4t.MaxBridgePorts] and what a project may otherwise reserve.
const maxTries = 1 << 16

// NextFree returns the lowest address of prefix that a port may have and that
// used does not claim. Network and (IPv4) broadcast address are never returned,
// and in a /29 (/125) or larger the first one, a router's, neither. ok is false
// when the subnet is full.
func NextFree(prefix netip.Prefix, used func(netip.Addr) bool) (addr netip.Addr, ok bool) {
	prefix = prefix.Masked()
	addr = prefix.Addr()
	if !addr.IsValid() {
		return netip.Addr{}, false
	}
	addr = addr.Next()
	if keepsRouter(prefix) {
		addr = addr.Next()
	}
	for range maxTries {
		if !prefix.Contains(addr) {
			return netip.Addr{}, false
		}
		if addr.Is4() && !prefix.Contains(addr.Next()) { // broadcast
			return netip.Addr{}, false
		}
		if !used(addr) {
			return addr, true
		}
		addr = addr.Next()
	}
	return netip.Addr{}, false
}

// ChoosePrefix returns the first /24 of 10.77.0.0/16, then of 10.78.0.0/16 and
// upwards to 10.255.255.0/24, then of 172.16.0.0/12 and 192.168.0.0/16, that
// overlaps none of used; the zero Prefix when there is none. Home LANs rarely
// live in the first, and where a company has all of it, there are the others.
func ChoosePrefix(used []netip.Prefix) netip.Prefix {
	// By the number of a /24, so that what boards say, be it much, costs little.
	type span struct{ first, last uint32 }
	var taken []span
	number := func(a netip.Addr) uint32 {
		b := a.As4()
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2])
	}
	for _, p := range used {
		if p.Addr().Is4() {
			taken = append(taken, span{number(p.Masked().Addr()), number(lastAddr(p.Masked()))})
		}
	}
	sort.Slice(taken, func(i, j int) bool { return taken[i].first < taken[j].first })
	for _, block := range []span{{10<<16 | 77<<8, 10<<16 | 0xffff}, {172<<16 | 16<<8, 172<<16 | 0x1fff}, {192<<16 | 168<<8, 192<<16 | 168<<8 | 0xff}} {
		free := block.first
		for _, s := range taken {
			if s.first > free {
				break
			}
			free = max(free, s.last+1)
		}
		if free <= block.last {
			return netip.PrefixFrom(netip.AddrFrom4([4]byte{byte(free >> 16), byte(free >> 8), byte(free)}), 24)
		}
	}
	return netip.Prefix{}
}

// notPublic are the unicast blocks that nobody has on the Internet (IANA's
// special-purpose registries): private use, shared space, documentation,
// benchmarks, protocol assignments.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("fc00::/7"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("3fff::/20"),
}

// IsPublic reports whether a block has addresses that others may have on the
// Internet.
func IsPublic(p netip.Prefix) bool {
	for _, n := range notPublic {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return false
		}
	}
	return true
}

// ValidatePrefix checks the subnet of a network: /8 to /30 for IPv4, /48 to
// /126 for IPv6, no host bits set, unicast, neither loopback nor link-local.
// Whether it is private is not looked at: see [IsPublic].
func ValidatePrefix(p netip.Prefix) error {
	bad := func(why string) error {
		return s4t.Errorf(s4t.Invalid, "choose a subnet", "use one like 10.77.0.0/24 or fd00:77::/64", "%v %s", p, why)
	}
	if !p.IsValid() {
		return bad("is not a prefix")
	}
	a, bits := p.Addr(), p.Bits()
	last := lastAddr(p)
	switch {
	case a.Is4In6():
		return bad("is an IPv4-mapped IPv6 prefix; write it as IPv4")
	case p != p.Masked():
		return bad("has host bits set; " + p.Masked().String() + " is the subnet")
	case a.Is4() && (bits < 8 || bits > 30):
		return bad("is not between /8 and /30")
	case a.Is6() && (bits < 48 || bits > 126):
		return bad("is not between /48 and /126")
	case a.IsLoopback(), last.IsLoopback():
		return bad("is loopback")
	case a.IsLinkLocalUnicast(), last.IsLinkLocalUnicast():
		return bad("is link-local")
	case a.IsMulticast(), last.IsMulticast():
		return bad("is multicast")
	case a.Is4() && (a.As4()[0] == 0 || a.As4()[0] >= 240):
		return bad("is reserved") // RFC 1122 "this network", RFC 1112 class E
	case a.Is6() && a.IsUnspecified():
		return bad("is reserved")
	}
	return nil
}

// lastAddr returns the highest address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	a, _ := netip.AddrFromSlice(b)
	return a
}
