package vswitch

import (
	"encoding/binary"
	"net/netip"
)

// address is a MAC or an IP address as two machine words, so that comparing
// and hashing it costs next to nothing. A MAC and an IPv4 address are in lo,
// with a mark in hi that no IPv6 address of use has.
type address struct{ hi, lo uint64 }

const (
	markMAC  = 1 << 63 // 8000::/16 is unassigned
	markIPv4 = 0xffff  // hi of ::ffff:a.b.c.d shifted: 0:0:0:ffff::/64 is unassigned
)

// broadcast is the MAC ff:ff:ff:ff:ff:ff.
var broadcast = address{markMAC, 0xffffffffffff}

// zeroIPv4 is 0.0.0.0, zeroIPv6 is "::".
var (
	zeroIPv4 = address{markIPv4, 0}
	zeroIPv6 = address{}
)

func macAt(b []byte) address {
	return address{markMAC, uint64(binary.BigEndian.Uint16(b))<<32 | uint64(binary.BigEndian.Uint32(b[2:]))}
}

func ipv4At(b []byte) address { return address{markIPv4, uint64(binary.BigEndian.Uint32(b))} }

func ipv6At(b []byte) address {
	return address{binary.BigEndian.Uint64(b), binary.BigEndian.Uint64(b[8:])}
}

func ipOf(a netip.Addr) address {
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		return ipv4At(b[:])
	}
	b := a.As16()
	return ipv6At(b[:])
}

// putMAC writes a MAC to b.
func (a address) putMAC(b []byte) {
	binary.BigEndian.PutUint16(b, uint16(a.lo>>32))
	binary.BigEndian.PutUint32(b[2:], uint32(a.lo))
}

// putIPv6 writes an IPv6 address to b.
func (a address) putIPv6(b []byte) {
	binary.BigEndian.PutUint64(b, a.hi)
	binary.BigEndian.PutUint64(b[8:], a.lo)
}

// groupMAC reports whether a MAC is broadcast or multicast.
func (a address) groupMAC() bool { return a.lo&(1<<40) != 0 }

// isIPv4 reports whether a is an IPv4 address.
func (a address) isIPv4() bool { return a.hi == markIPv4 }

// multicast reports whether an IP address is a multicast group (224.0.0.0/4,
// ff00::/8).
func (a address) multicast() bool {
	if a.isIPv4() {
		return a.lo>>28 == 0xe
	}
	return a.hi>>56 == 0xff
}

// linkScope reports whether an IP group never leaves a link and is never
// snooped: 224.0.0.0/24 (RFC 4541, section 2.1.2), ff01::/16 and ff02::/16.
// mDNS is one of them.
func (a address) linkScope() bool {
	if a.isIPv4() {
		return a.lo>>8 == 0xe00000
	}
	return a.hi>>48 == 0xff02 || a.hi>>48 == 0xff01
}

// linkLocal reports whether a is in fe80::/10.
func (a address) linkLocal() bool { return a.hi>>54 == 0xfe80>>6 }

// eui64 is the link-local address that a kernel makes of a MAC (RFC 4291,
// appendix A).
func (a address) eui64() address {
	m := a.lo
	return address{0xfe80 << 48, (m>>24^0x020000)<<40 | 0xfffe<<24 | m&0xffffff}
}
