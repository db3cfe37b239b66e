package gre

import (
	"encoding/binary"
	"errors"
)

// EtherTypes of a payload.
const (
	ProtoIPv4 = 0x0800
	ProtoIPv6 = 0x86dd
	ProtoTEB  = 0x6558 // Transparent Ethernet Bridging: the payload is an Ethernet frame
)

// Lengths of a header as [Header.Append] writes it, in bytes.
const (
	HeaderLen    = 4 // without a key
	KeyHeaderLen = 8 // with a key
)

// Bits of the first two bytes (RFC 2784 section 2.1, RFC 2890 section 2).
const (
	flagChecksum = 0x8000
	flagKey      = 0x2000
	flagSequence = 0x1000
	flagRefused  = 0x4c00 // routing (RFC 1701), strict source route, bit 5: a receiver must discard
	versionMask  = 0x0007
)

// Errors of [Parse] and [ParseIPv4]. They are values so that refusing a packet
// allocates nothing.
var (
	ErrShort       = errors.New("gre: the packet is cut short")
	ErrUnsupported = errors.New("gre: routing, a reserved bit or a version other than 0 is set")
	ErrChecksum    = errors.New("gre: the checksum is wrong")
	ErrNotGRE      = errors.New("gre: not a whole IPv4 packet with protocol 47")
	ErrEndpoint    = errors.New("gre: the packet is of another tunnel")
	ErrTooLong     = errors.New("gre: the frame does not fit an IPv4 packet")
)

// A Header is the part of a GRE packet before the payload.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-----------------+-----+-------------------------------+
//	|C|0|K|S|    reserved     | ver |  Proto (EtherType, big endian) |
//	+-+-+-+-+-----------------+-----+-------------------------------+
//	|  Checksum (if C)              |  Reserved (if C)              |
//	|  Key (if K, big endian)                                       |
//	|  Sequence number (if S)                                       |
//	+---------------------------------------------------------------+
//
// Append never sets C or S, as a kernel gretap does not by default.
type Header struct {
	Proto  uint16 // EtherType of the payload
	Key    uint32 // the network on this tunnel
	HasKey bool   // without it Key is 0 and not on the wire; key 0 on the wire is another tunnel than no key
}

// Append appends h to b and returns the extended slice. It allocates only if b
// lacks the capacity.
func (h Header) Append(b []byte) []byte {
	var flags uint16
	if h.HasKey {
		flags = flagKey
	}
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, h.Proto)
	if h.HasKey {
		b = binary.BigEndian.AppendUint32(b, h.Key)
	}
	return b
}

// Parse splits packet into its header and payload, which aliases packet. A
// checksum is verified, a sequence number is skipped: order is kept by the
// rtunnel, and a gretap peer that counts does not need an echo.
func Parse(packet []byte) (h Header, payload []byte, err error) {
	if len(packet) < HeaderLen {
		return Header{}, nil, ErrShort
	}
	flags := binary.BigEndian.Uint16(packet)
	if flags&(flagRefused|versionMask) != 0 {
		return Header{}, nil, ErrUnsupported
	}
	h.Proto = binary.BigEndian.Uint16(packet[2:])
	n := HeaderLen
	if flags&flagChecksum != 0 {
		n += 4
	}
	if flags&flagKey != 0 {
		if len(packet) < n+4 {
			return Header{}, nil, ErrShort
		}
		h.Key, h.HasKey = binary.BigEndian.Uint32(packet[n:]), true
		n += 4
	}
	if flags&flagSequence != 0 {
		n += 4
	}
	if len(packet) < n {
		return Header{}, nil, ErrShort
	}
	if flags&flagChecksum != 0 && checksum(packet) != 0 {
		return Header{}, nil, ErrChecksum
	}
	return h, packet[n:], nil
}

// checksum returns the Internet checksum of b (RFC 1071): 0 for a b that holds
// a right one.
func checksum(b []byte) uint16 {
	var sum uint64
	for len(b) >= 4 {
		sum += uint64(binary.BigEndian.Uint32(b))
		b = b[4:]
	}
	if len(b) >= 2 {
		sum += uint64(binary.BigEndian.Uint16(b))
		b = b[2:]
	}
	if len(b) == 1 {
		sum += uint64(b[0]) << 8
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
