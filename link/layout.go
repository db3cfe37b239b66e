package link

import "encoding/binary"

// EtherTypes and IP protocols that matter to offloads.
const (
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	etherVLAN  = 0x8100
	etherQinQ  = 0x88a8
	protoTCP   = 6
	protoUDP   = 17
	protoIPIP  = 4
	protoIPv6  = 41
	protoGRE   = 47
	extHop     = 0  // IPv6 hop-by-hop options
	extRouting = 43 //
	extFrag    = 44 //
	extDest    = 60 //
)

// Bounds of the headers that we look through: two VLAN tags, and IPv6
// extension headers of together at most 256 bytes. Frames beyond them pass
// untouched where nothing is to be computed, and are refused where there is.
const (
	maxVLANTags   = 2
	maxExtension  = 256
	maxHeaders    = 14 + 2*4 + 40 + maxExtension + 60
	minTCPSegment = 48  // TCP_MIN_SND_MSS, net/ipv4/tcp.c: no kernel makes smaller ones
	maxUDPParts   = 128 // UDP_MAX_SEGMENTS, linux/udp.h
)

// layout is where the headers of a frame are, in bytes from its start.
type layout struct {
	l3       int // IP header
	l4       int // TCP, UDP, ... header; 0 in a fragment other than the first
	version  int // 4 or 6; 0: not IP
	proto    byte
	fragment bool // any fragment, also the first
}

// find walks the headers of frame. ok is false where they are cut short or
// contradict themselves; a frame that is not IP is ok, with version 0.
func find(frame []byte, layer int) (l layout, ok bool) {
	if layer == 3 {
		if len(frame) == 0 {
			return l, false
		}
		l.version = int(frame[0] >> 4)
		if l.version != 4 && l.version != 6 {
			return l, false
		}
	} else {
		l.l3 = 14
		if len(frame) < l.l3 {
			return l, false
		}
		ether := binary.BigEndian.Uint16(frame[12:])
		for tags := 0; ether == etherVLAN || ether == etherQinQ; tags++ {
			if tags == maxVLANTags {
				return l, true
			}
			l.l3 += 4
			if len(frame) < l.l3 {
				return l, false
			}
			ether = binary.BigEndian.Uint16(frame[l.l3-2:])
		}
		switch ether {
		case etherIPv4:
			l.version = 4
		case etherIPv6:
			l.version = 6
		default:
			return l, true
		}
	}
	if l.version == 4 {
		return l, l.findIPv4(frame)
	}
	return l, l.findIPv6(frame)
}

func (l *layout) findIPv4(frame []byte) bool {
	if len(frame) < l.l3+20 || frame[l.l3]>>4 != 4 {
		return false
	}
	head := int(frame[l.l3]&0x0f) * 4
	if head < 20 || len(frame) < l.l3+head {
		return false
	}
	l.proto = frame[l.l3+9]
	switch frag := binary.BigEndian.Uint16(frame[l.l3+6:]); {
	case frag&0x1fff != 0:
		l.fragment = true
		return true
	case frag&0x2000 != 0:
		l.fragment = true
	}
	l.l4 = l.l3 + head
	return true
}

func (l *layout) findIPv6(frame []byte) bool {
	if len(frame) < l.l3+40 || frame[l.l3]>>4 != 6 {
		return false
	}
	l.proto = frame[l.l3+6]
	at := l.l3 + 40
	for at <= l.l3+40+maxExtension {
		switch l.proto {
		case extHop, extRouting, extDest:
			if len(frame) < at+8 {
				return false
			}
			l.proto = frame[at]
			at += (int(frame[at+1]) + 1) * 8
		case extFrag:
			if len(frame) < at+8 {
				return false
			}
			l.fragment = true
			l.proto = frame[at]
			if binary.BigEndian.Uint16(frame[at+2:])&0xfff8 != 0 {
				return true
			}
			at += 8
		default:
			if len(frame) < at {
				return false
			}
			l.l4 = at
			return true
		}
	}
	return false
}
