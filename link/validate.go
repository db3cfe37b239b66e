package link

import (
	"encoding/binary"

	"github.com/stack4things/s4t"
)

// refused makes the errors of [Validate]: values, so that refusing a packet
// allocates nothing, however many come.
func refused(why string) error {
	return s4t.Errorf(s4t.Invalid, "check a packet", "", "%s", why)
}

// Errors of [Validate].
var (
	errLength   = refused("it is shorter than its headers or longer than a packet may be")
	errVersion  = refused("it is neither IPv4 nor IPv6")
	errFlags    = refused("its offload header has flags or a type that nobody sends")
	errChecksum = refused("its offload header asks for a checksum where none belongs")
	errGSO      = refused("its offload header does not fit the frame it describes")
	errSize     = refused("its segments are too small or too many")
)

// Validate checks a packet that came from outside: its length, and its offload
// header against the frame, so that what passes never makes the kernel of a
// device refuse it, and never makes a kernel or [Segment] read or write where
// no checksum or segment is. layer is 2 or 3.
//
// It rewrites what is only a hint: HdrLen becomes the true length of the
// headers, a checksum that the sender's kernel verified is verified again by
// the receiver, and a TCP super-frame without a partial checksum gets one.
// Nothing else of the packet is changed.
//
// A checksum is computed over, and written into, bytes that guards have looked
// at before. It is allowed therefore only in the place of a TCP or UDP
// checksum, or behind a whole UDP, IP-in-IP or GRE header (where tunnels of the
// user's own carry such frames), never in ARP, ICMP, IP headers or fragments.
func Validate(packet []byte, layer int) error {
	if len(packet) > MaxPacket {
		return errLength
	}
	if layer == 3 {
		if len(packet) < HeaderLen+20 {
			return errLength
		}
		if v := packet[HeaderLen] >> 4; v != 4 && (v != 6 || len(packet) < HeaderLen+40) {
			return errVersion
		}
	} else if len(packet) < HeaderLen+14 {
		return errLength
	}
	flags, kind := packet[0], packet[1]
	if flags|kind == 0 {
		clear(packet[2:HeaderLen])
		return nil
	}
	if flags&^(FlagNeedsChecksum|FlagDataValid) != 0 {
		return errFlags
	}
	if kind == GSONone && flags&FlagNeedsChecksum == 0 {
		clear(packet[:HeaderLen])
		return nil
	}
	frame := packet[HeaderLen:]
	l, ok := find(frame, layer)
	if !ok || l.version == 0 || l.fragment || l.l4 == 0 {
		return errGSO
	}
	h := ParseHeader(packet)
	if kind == GSONone {
		return h.validateChecksum(packet, l)
	}
	return h.validateGSO(packet, l)
}

// validateChecksum checks where a checksum is asked for.
func (h Header) validateChecksum(packet []byte, l layout) error {
	frame := packet[HeaderLen:]
	start, end := int(h.CSumStart), int(h.CSumStart)+int(h.CSumOffset)+2
	if end > len(frame) || start > maxHeaders || h.CSumOffset&1 != 0 {
		return errChecksum
	}
	switch {
	case start == l.l4 && l.proto == protoTCP && h.CSumOffset == 16:
	case start == l.l4 && l.proto == protoUDP && h.CSumOffset == 6:
	case h.CSumOffset != 16 && h.CSumOffset != 6:
		return errChecksum
	case l.proto == protoUDP && start >= l.l4+8+20:
	case l.proto == protoIPIP && start >= l.l4+20:
	case l.proto == protoIPv6 && start >= l.l4+40:
	case l.proto == protoGRE && start >= l.l4+4+20:
	default:
		return errChecksum
	}
	Header{Flags: FlagNeedsChecksum, CSumStart: h.CSumStart, CSumOffset: h.CSumOffset}.Put(packet)
	return nil
}

// validateGSO checks that a super-frame is one of the kind it says.
func (h Header) validateGSO(packet []byte, l layout) error {
	frame := packet[HeaderLen:]
	var sum uint16 // offset of the checksum in its header
	var head int   // bytes of all headers
	switch h.GSOType &^ GSOECN {
	case GSOTCPv4, GSOTCPv6:
		if want := versionOf(h.GSOType); l.version != want || l.proto != protoTCP || len(frame) < l.l4+20 {
			return errGSO
		}
		offset := int(frame[l.l4+12]>>4) * 4
		if offset < 20 {
			return errGSO
		}
		head, sum = l.l4+offset, 16
		if h.GSOSize < minTCPSegment {
			return errSize
		}
	case GSOUDP:
		if h.GSOType&GSOECN != 0 || l.proto != protoUDP || len(frame) < l.l4+8 {
			return errGSO
		}
		if int(binary.BigEndian.Uint16(frame[l.l4+4:])) != len(frame)-l.l4 {
			return errGSO
		}
		head, sum = l.l4+8, 6
		if h.GSOSize == 0 || len(frame)-head > int(h.GSOSize)*maxUDPParts {
			return errSize
		}
	default:
		return errFlags
	}
	switch {
	case len(frame) < head, h.GSOSize == 0xffff: // GSO_BY_FRAGS, linux/skbuff.h
		return errGSO
	case !l.lengthIs(frame):
		return errGSO
	case h.Flags&FlagNeedsChecksum != 0:
		if int(h.CSumStart) != l.l4 || h.CSumOffset != sum {
			return errChecksum
		}
	case h.GSOType == GSOUDP:
		return errChecksum // the kernel wants it partial
	default:
		binary.BigEndian.PutUint16(frame[l.l4+16:], l.pseudo(frame, len(frame)-l.l4))
	}
	Header{
		Flags: FlagNeedsChecksum, GSOType: h.GSOType, HdrLen: uint16(head), GSOSize: h.GSOSize,
		CSumStart: uint16(l.l4), CSumOffset: sum,
	}.Put(packet)
	return nil
}

// versionOf returns the IP version of a TCP super-frame.
func versionOf(kind uint8) int {
	if kind&^GSOECN == GSOTCPv4 {
		return 4
	}
	return 6
}

// lengthIs reports whether the IP header's length is that of the frame: a
// super-frame has no padding.
func (l layout) lengthIs(frame []byte) bool {
	if l.version == 4 {
		return int(binary.BigEndian.Uint16(frame[l.l3+2:])) == len(frame)-l.l3
	}
	return int(binary.BigEndian.Uint16(frame[l.l3+4:])) == len(frame)-l.l3-40
}

// addrs returns the source and destination addresses as they stand, one after
// the other.
func (l layout) addrs(frame []byte) []byte {
	if l.version == 4 {
		return frame[l.l3+12 : l.l3+20]
	}
	return frame[l.l3+8 : l.l3+40]
}

// pseudo returns the sum, not complemented, over the pseudo header of TCP or
// UDP with n bytes of header and payload: what a partial checksum starts from.
func (l layout) pseudo(frame []byte, n int) uint16 {
	return fold(sum64(l.addrs(frame), uint64(l.proto)+uint64(n)))
}
