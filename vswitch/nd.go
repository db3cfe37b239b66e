package vswitch

import (
	"encoding/binary"
	"slices"
)

// Types of ICMPv6 (RFC 4861, RFC 2710, RFC 3810).
const (
	mldQuery            = 130
	mldReport           = 131
	mldDone             = 132
	routerSolicitation  = 133
	routerAdvert        = 134
	neighbourSolicit    = 135
	neighbourAdvert     = 136
	redirect            = 137
	mldReport2          = 143
	optionSourceMAC     = 1
	optionTargetMAC     = 2
	optionPrefix        = 3
	flagSolicited       = 0x40
	flagOverride        = 0x20
	allNodesMAC         = 0x333300000001
	minND               = 24 // bytes of a solicitation or advertisement
	prefixOptionLen     = 32
	prefixAutonomous    = 0x40
	routerAdvertOptions = 16
)

// guardND checks neighbour discovery (RFC 4861): source and target must be the
// port's own, and only an allowed port may be a router.
func (p *Port) guardND(f *frame, r *rules) reason {
	if f.l4 == nil || f.l4[0] < routerSolicitation || f.l4[0] > redirect {
		return pass
	}
	typ := f.l4[0]
	if f.fragment || f.l3[7] != 255 { // RFC 6980; RFC 4861, section 6.1
		return spoofedND
	}
	if typ == routerAdvert || typ == redirect {
		if !r.guards.AllowRA {
			return routerAdvertisement
		}
		if typ == routerAdvert {
			p.learnPrefixes(f)
		}
		return pass
	}
	if r.guards.AllowAnySource {
		return pass
	}
	options := f.l4[min(len(f.l4), minND):]
	if typ == routerSolicitation {
		options = f.l4[min(len(f.l4), 8):]
	} else {
		if len(f.l4) < minND {
			return invalid
		}
		target := ipv6At(f.l4[8:])
		owned := slices.Contains(r.own6, target)
		if typ == neighbourAdvert && !owned && !p.mayClaim(target, r) {
			return spoofedND
		}
		// A solicitation without a source asks whether its target is free
		// (RFC 4862, section 5.4.2): whose it is, is told.
		if typ == neighbourSolicit && f.ipSrc == zeroIPv6 && !owned && !p.mayClaim(target, r) {
			p.answerND(f, target)
			return spoofedND
		}
	}
	return checkMACs(options, r.mac)
}

// checkMACs checks that the options of neighbour discovery name no other MAC.
func checkMACs(options []byte, mac address) reason {
	for len(options) >= 8 {
		size := int(options[1]) * 8
		if size == 0 || size > len(options) {
			return invalid
		}
		if (options[0] == optionSourceMAC || options[0] == optionTargetMAC) && macAt(options[2:]) != mac {
			return spoofedND
		}
		options = options[size:]
	}
	return pass
}

// learnPrefixes notes the prefixes of a router advertisement that hosts make
// addresses of, with their valid lifetimes (RFC 4861, section 4.6.2).
func (p *Port) learnPrefixes(f *frame) {
	options := f.l4[min(len(f.l4), routerAdvertOptions):]
	for n := 0; n < maxPrefixes && len(options) >= 8; {
		size := int(options[1]) * 8
		if size == 0 || size > len(options) {
			return
		}
		if bits := options[2]; options[0] == optionPrefix && size == prefixOptionLen && options[3]&prefixAutonomous != 0 && bits >= 1 && bits <= 64 {
			mask := address{hi: ^uint64(0) << (64 - bits)}
			a := ipv6At(options[16:])
			p.sw.owners.advertise(p, address{a.hi & mask.hi, 0}, mask, binary.BigEndian.Uint32(options[4:]))
			n++
		}
		options = options[size:]
	}
}

// answerND answers a neighbour solicitation for an address of a guarded port on
// behalf of that port. It reports whether it did.
func (p *Port) answerND(f *frame, target address) bool {
	mac, ok := p.sw.guardedOwner(p, target)
	if !ok || f.vlan {
		return false
	}
	dst, dstIP, flags := f.src, f.ipSrc, byte(flagSolicited|flagOverride)
	if f.ipSrc == zeroIPv6 { // to all nodes, RFC 4861 section 7.2.4
		dst, dstIP, flags = address{markMAC, allNodesMAC}, address{0xff02 << 48, 1}, flagOverride
	}
	const size = 32 // with the option
	b := p.newReply(dst, mac, typeIPv6)
	ip := b[offloadLen+14:]
	putIPv6(ip, target, dstIP, size, 255)
	icmp := ip[40:][:size]
	icmp[0], icmp[4] = neighbourAdvert, flags
	target.putIPv6(icmp[8:])
	icmp[24], icmp[25] = optionTargetMAC, 1
	mac.putMAC(icmp[26:])
	binary.BigEndian.PutUint16(icmp[2:], checksumICMPv6(ip[8:40], icmp))
	p.sendReply(b[:offloadLen+14+40+size])
	return true
}

// putIPv6 writes an IPv6 header for ICMPv6.
func putIPv6(b []byte, src, dst address, payload int, hops byte) {
	b[0] = 6 << 4
	binary.BigEndian.PutUint16(b[4:], uint16(payload))
	b[6], b[7] = protoICMPv6, hops
	src.putIPv6(b[8:])
	dst.putIPv6(b[24:])
}

// checksumICMPv6 is the checksum of an ICMPv6 message whose own field is zero,
// with the pseudo header of addrs, the 32 bytes of source and destination (RFC
// 8200, section 8.1).
func checksumICMPv6(addrs, icmp []byte) uint16 {
	return ^fold(sum(addrs) + sum(icmp) + uint64(len(icmp)) + protoICMPv6)
}

func sum(b []byte) (n uint64) {
	for ; len(b) >= 2; b = b[2:] {
		n += uint64(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		n += uint64(b[0]) << 8
	}
	return n
}

func fold(n uint64) uint16 {
	for n > 0xffff {
		n = n>>16 + n&0xffff
	}
	return uint16(n)
}
