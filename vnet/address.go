package vnet

import (
	"net/netip"

	"github.com/stack4things/s4t"
)

// firstPort is the offset of the first address that a port gets; the address
// before it is kept for a router.
const firstPort = 2

// maxTries bounds a search for a free address: far more than
// [s4t.MaxBridgePorts] and what a project may otherwise reserve.
const maxTries = 1 << 16

// NextFree returns the lowest address of prefix that a port may have and that
// used does not claim. Network and (IPv4) broadcast address and the router's
// are never returned. ok is false when the subnet is full.
func NextFree(prefix netip.Prefix, used func(netip.Addr) bool) (addr netip.Addr, ok bool) {
	prefix = prefix.Masked()
	addr = prefix.Addr()
	if !addr.IsValid() {
		return netip.Addr{}, false
	}
	for range firstPort {
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
// upwards to 10.255.255.0/24, that overlaps none of used; the zero Prefix when
// there is none. Home LANs rarely live there.
func ChoosePrefix(used []netip.Prefix) netip.Prefix {
	for b := 77; b <= 255; b++ {
		for c := range 256 {
			p := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(b), byte(c)}), 24)
			if !overlaps(p, used) {
				return p
			}
		}
	}
	return netip.Prefix{}
}

func overlaps(p netip.Prefix, used []netip.Prefix) bool {
	for _, u := range used {
		if p.Overlaps(u) {
			return true
		}
	}
	return false
}

// ValidatePrefix checks the subnet of a network: /8 to /30 for IPv4, /48 to
// /126 for IPv6, no host bits set, unicast, neither loopback nor link-local.
// Whether it is private is the user's choice.
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
