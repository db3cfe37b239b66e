package link

import "encoding/binary"

// Describe writes the offload header of a frame that did not come from a
// device, and so came without one, where the kernel has left work undone in it:
// a frame taken out of a tunnel may have been merged when it came in (GRO), or
// have come from a container of this host whose kernel left segmentation and
// checksum to a wire that there is not. Other frames get a header of zeros.
//
// Both are seen by the checksum: where it is still to be made, its field holds
// the sum of the pseudo header. A frame whose whole checksum happens to have
// that value is not harmed, for the one that is made then is the same.
// A TCP frame longer than a network of that mtu carries is a super-frame; its
// segments become as long as they may be.
//
// packet is header and frame; the result must still pass [Validate].
func Describe(packet []byte, layer, mtu int) {
	clear(packet[:min(len(packet), HeaderLen)])
	if len(packet) < HeaderLen {
		return
	}
	frame := packet[HeaderLen:]
	l, ok := find(frame, layer)
	if !ok || l.version == 0 || l.fragment || l.l4 == 0 {
		return
	}
	field := 16
	switch l.proto {
	case protoTCP:
		if len(frame) < l.l4+20 {
			return
		}
	case protoUDP:
		if len(frame) < l.l4+8 {
			return
		}
		field = 6
	default:
		return
	}
	n := l.end(frame) - l.l4
	if n < field+2 || l.end(frame) > len(frame) || binary.BigEndian.Uint16(frame[l.l4+field:]) != l.pseudo(frame, n) {
		return
	}
	h := Header{Flags: FlagNeedsChecksum, CSumStart: uint16(l.l4), CSumOffset: uint16(field)}
	if head := l.l4 + int(frame[l.l4+12]>>4)*4; l.proto == protoTCP && len(frame)-l.l3 > mtu && l.l3+mtu > head {
		h.GSOType, h.HdrLen, h.GSOSize = GSOTCPv4, uint16(head), uint16(l.l3+mtu-head)
		if l.version == 6 {
			h.GSOType = GSOTCPv6
		}
	}
	h.Put(packet)
}

// end is where the IP packet of a frame ends: behind it there may be padding.
func (l layout) end(frame []byte) int {
	if l.version == 4 {
		return l.l3 + int(binary.BigEndian.Uint16(frame[l.l3+2:]))
	}
	return l.l3 + 40 + int(binary.BigEndian.Uint16(frame[l.l3+4:]))
}
