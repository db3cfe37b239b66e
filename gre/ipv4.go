package gre

import (
	"encoding/binary"
	"net/netip"
)

const (
	// IPv4Len is the length of the outer header: no options.
	IPv4Len = 20
	// Protocol is the IP protocol number of GRE.
	Protocol = 47
	// TTL of outer packets: what gretap uses for a frame that is not IP.
	TTL = 64

	maxIPv4 = 65535
	flagDF  = 0x4000
	flagMF  = 0x2000
	offMask = 0x1fff
)

// AppendIPv4 appends an IPv4 header for payloadLen bytes of GRE. DF is set, as
// by a gretap in its default pmtudisc mode: a frame that does not fit the path
// is to be dropped and told, not cut, and inside an rtunnel nothing has to be
// cut at all. It panics unless src and dst are IPv4 and payloadLen fits.
func AppendIPv4(b []byte, src, dst netip.Addr, ttl uint8, id uint16, payloadLen int) []byte {
	if payloadLen < 0 || payloadLen > maxIPv4-IPv4Len {
		panic("gre: payload does not fit an IPv4 packet")
	}
	s, d := src.As4(), dst.As4()
	at := len(b)
	b = append(b, 0x45, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(IPv4Len+payloadLen))
	b = binary.BigEndian.AppendUint16(b, id)
	b = binary.BigEndian.AppendUint16(b, flagDF)
	b = append(b, ttl, Protocol, 0, 0)
	b = append(b, s[:]...)
	b = append(b, d[:]...)
	binary.BigEndian.PutUint16(b[at+10:], checksum(b[at:at+IPv4Len]))
	return b
}

// ParseIPv4 checks the IPv4 header of packet and returns its addresses and its
// GRE part, which aliases packet. Options are skipped, bytes after the total
// length (Ethernet padding) are cut off, fragments are refused.
func ParseIPv4(packet []byte) (src, dst netip.Addr, payload []byte, err error) {
	bad := func(err error) (netip.Addr, netip.Addr, []byte, error) {
		return netip.Addr{}, netip.Addr{}, nil, err
	}
	if len(packet) < IPv4Len {
		return bad(ErrShort)
	}
	head := int(packet[0]&0x0f) * 4
	total := int(binary.BigEndian.Uint16(packet[2:]))
	switch {
	case packet[0]>>4 != 4 || head < IPv4Len || total < head || packet[9] != Protocol:
		return bad(ErrNotGRE)
	case total > len(packet):
		return bad(ErrShort)
	case binary.BigEndian.Uint16(packet[6:])&(flagMF|offMask) != 0:
		return bad(ErrNotGRE)
	case checksum(packet[:head]) != 0:
		return bad(ErrChecksum)
	}
	src = netip.AddrFrom4([4]byte(packet[12:16]))
	dst = netip.AddrFrom4([4]byte(packet[16:20]))
	return src, dst, packet[head:total], nil
}
