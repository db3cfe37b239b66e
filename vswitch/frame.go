package vswitch

import (
	"encoding/binary"
	"math/bits"
)

// offloadLen is the virtio_net_hdr before every frame.
const offloadLen = 10

// EtherTypes that the switch looks into.
const (
	typeIPv4 = 0x0800
	typeARP  = 0x0806
	typeVLAN = 0x8100 // IEEE 802.1Q
	typeQinQ = 0x88a8 // IEEE 802.1ad
	typeIPv6 = 0x86dd
	minType  = 0x0600 // less is the length of an 802.3 frame
)

// IP protocols that the switch looks into.
const (
	protoICMP   = 1
	protoIGMP   = 2
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// frame is what the switch knows of the frame it handles. A port has one, and
// its reader goroutine fills it anew for every frame.
type frame struct {
	pkt []byte // offload header and frame
	eth []byte // the frame (layer 3: the packet)

	dst, src address // MACs (layer 3: IP addresses)
	typ      uint16  // EtherType behind VLAN tags
	vlan     bool    // it has one
	l3       []byte  // from the IP or ARP header to the end of it; nil: neither
	ip       int     // 4, 6 or 0
	ipSrc    address
	ipDst    address
	proto    byte   // of what l4 holds
	l4       []byte // nil: not there, because this is a later fragment
	fragment bool   // any piece of a fragmented packet
	hash     uint32 // of the flow
	origin   Origin // that a peer is told, once told is set
	told     bool
}

// parse fills f. It reports false for what is no frame: too short, an IP or ARP
// header that says what the frame does not hold, or one in disguise.
func (f *frame) parse(pkt []byte, layer int) bool {
	if layer == 3 {
		return f.parsePacket(pkt)
	}
	if len(pkt) < offloadLen+14 {
		return false
	}
	eth := pkt[offloadLen:]
	f.pkt, f.eth = pkt, eth
	f.dst, f.src = macAt(eth), macAt(eth[6:])
	f.l3, f.l4, f.ip, f.proto, f.fragment, f.vlan = nil, nil, 0, 0, false, false
	at := 12
	f.typ = binary.BigEndian.Uint16(eth[at:])
	for n := 0; f.typ == typeVLAN || f.typ == typeQinQ; n++ {
		at += 4
		if n == 2 || len(eth) < at+2 {
			return false
		}
		f.vlan = true
		f.typ = binary.BigEndian.Uint16(eth[at:])
	}
	rest := eth[at+2:]
	switch f.typ {
	case typeIPv4:
		return f.parseIPv4(rest)
	case typeIPv6:
		return f.parseIPv6(rest)
	case typeARP:
		if len(rest) < arpLen {
			return false
		}
		f.l3 = rest[:arpLen]
	default:
		if f.typ < minType && disguised(rest) {
			return false
		}
	}
	f.hash = mix(f.src.lo^bits.RotateLeft64(f.dst.lo, 24), uint64(f.typ))
	return true
}

// disguised reports whether an 802.3 frame is IP, ARP or a VLAN tag in LLC and
// SNAP (RFC 1042, IEEE 802.1H). Nobody sends them so on Ethernet, but some hosts
// read them, and a guard could be evaded with it.
func disguised(b []byte) bool {
	if len(b) < 8 || b[0] != 0xaa || b[1]&^1 != 0xaa || b[3]|b[4] != 0 || b[5] != 0 && b[5] != 0xf8 {
		return false
	}
	switch binary.BigEndian.Uint16(b[6:]) {
	case typeIPv4, typeARP, typeIPv6, typeVLAN, typeQinQ:
		return true
	}
	return false
}

// parsePacket is parse for layer 3.
func (f *frame) parsePacket(pkt []byte) bool {
	if len(pkt) < offloadLen+20 {
		return false
	}
	f.pkt, f.eth = pkt, pkt[offloadLen:]
	f.l4, f.ip, f.proto, f.fragment, f.vlan = nil, 0, 0, false, false
	var ok bool
	switch f.eth[0] >> 4 {
	case 4:
		f.typ = typeIPv4
		ok = f.parseIPv4(f.eth)
	case 6:
		f.typ = typeIPv6
		ok = f.parseIPv6(f.eth)
	}
	f.dst, f.src = f.ipDst, f.ipSrc
	return ok
}

// parseIPv4 reads an IPv4 header (RFC 791).
func (f *frame) parseIPv4(b []byte) bool {
	if len(b) < 20 || b[0]>>4 != 4 {
		return false
	}
	head := int(b[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) {
		return false
	}
	f.ip, f.l3, f.proto = 4, b[:total], b[9]
	f.ipSrc, f.ipDst = ipv4At(b[12:]), ipv4At(b[16:])
	frag := binary.BigEndian.Uint16(b[6:])
	f.fragment = frag&0x3fff != 0
	if frag&0x1fff == 0 {
		f.l4 = b[head:total]
	}
	return f.parsePorts(f.ipSrc.lo<<32 ^ f.ipDst.lo&0xffffffff)
}

// parseIPv6 reads an IPv6 header (RFC 8200) and walks the extension headers.
// A first fragment that does not hold the whole chain is refused (RFC 7112),
// as a guard could be evaded with it.
func (f *frame) parseIPv6(b []byte) bool {
	if len(b) < 40 || b[0]>>4 != 6 {
		return false
	}
	total := 40 + int(binary.BigEndian.Uint16(b[4:]))
	if total > len(b) {
		return false
	}
	f.ip, f.l3 = 6, b[:total]
	f.ipSrc, f.ipDst = ipv6At(b[8:]), ipv6At(b[24:])
	hash := f.ipSrc.hi ^ bits.RotateLeft64(f.ipSrc.lo, 7) ^ bits.RotateLeft64(f.ipDst.hi, 23) ^ bits.RotateLeft64(f.ipDst.lo, 41)
	next, rest := b[6], b[40:total]
	for range 8 {
		var size int
		switch next {
		case 0, 43, 60: // hop-by-hop, routing, destination options
			if len(rest) < 8 {
				return false
			}
			size = 8 + int(rest[1])*8
		case 51: // authentication header, RFC 4302
			if len(rest) < 8 {
				return false
			}
			size = 8 + int(rest[1])*4
		case 44: // fragment
			if len(rest) < 8 {
				return false
			}
			f.fragment = true
			if binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0 { // a later one
				f.proto = rest[0]
				return f.parsePorts(hash)
			}
			size = 8
		default:
			f.proto, f.l4 = next, rest
			return f.parsePorts(hash)
		}
		if size > len(rest) {
			return false
		}
		next, rest = rest[0], rest[size:]
	}
	return false
}

// parsePorts finishes the hash of the flow with the ports. It refuses a TCP or
// UDP header that is cut (RFC 1858, RFC 7112).
func (f *frame) parsePorts(hash uint64) bool {
	var ports uint32
	switch f.proto {
	case protoTCP:
		if f.l4 != nil {
			if len(f.l4) < 20 {
				return false
			}
			ports = binary.BigEndian.Uint32(f.l4)
		}
	case protoUDP:
		if f.l4 != nil {
			if len(f.l4) < 8 {
				return false
			}
			ports = binary.BigEndian.Uint32(f.l4)
		}
	case protoICMP, protoIGMP, protoICMPv6:
		if f.l4 != nil && len(f.l4) < 4 {
			return false
		}
	}
	if f.fragment { // the pieces of a packet stay in one flow
		ports = 0
	}
	f.hash = mix(hash, uint64(ports)<<8|uint64(f.proto))
	return true
}

// segments is how many packets a super-frame stands for.
func (f *frame) segments() int {
	if f.pkt[1] == 0 { // gso_type NONE
		return 1
	}
	size := int(binary.LittleEndian.Uint16(f.pkt[4:]))
	if size == 0 {
		return 1
	}
	return (len(f.eth) + size - 1) / size
}

// mix hashes two words (the finaliser of MurmurHash3).
func mix(a, b uint64) uint32 {
	h := a ^ bits.RotateLeft64(b*0x9e3779b97f4a7c15, 31)
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	return uint32(h)
}
