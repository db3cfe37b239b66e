package lightningrod

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wire"
)

// A port whose data rtunnel has just opened tells the network where its
// addresses are. The kernel did so when the device came up, but nobody heard
// it; and an address that belonged to another port a moment ago is still bound
// to that one's MAC in the others' tables, for up to half a minute.

const (
	etherLen = 14
	arpLen   = 28 // ARP for Ethernet and IPv4 (RFC 826)
	ip6Len   = 40
	naLen    = 32 // neighbour advertisement with a link-layer address (RFC 4861, section 4.4)
)

// announcements returns a packet for each address of a layer-2 port: an ARP
// announcement (RFC 5227, section 3) or an unsolicited neighbour advertisement
// (RFC 4861, section 7.2.6). Addresses were checked by the plan.
func announcements(d wire.DesiredPort) [][]byte {
	mac, err := net.ParseMAC(d.MAC)
	if d.Layer != 2 || err != nil || len(mac) != 6 {
		return nil
	}
	var out [][]byte
	for _, a := range d.Addresses {
		p, err := netip.ParsePrefix(a)
		switch {
		case err != nil:
		case p.Addr().Is4():
			out = append(out, announceARP(mac, p.Addr()))
		default:
			out = append(out, announceND(mac, p.Addr()))
		}
	}
	return out
}

// newFrame returns a packet with an Ethernet header, and its payload of n
// bytes.
func newFrame(dst, src net.HardwareAddr, etherType uint16, n int) (packet, payload []byte) {
	packet = make([]byte, link.HeaderLen+max(etherLen+n, 60)) // an offload header of zeros: a plain frame
	eth := packet[link.HeaderLen:]
	copy(eth, dst)
	copy(eth[6:], src)
	binary.BigEndian.PutUint16(eth[12:], etherType)
	return packet, eth[etherLen : etherLen+n]
}

func announceARP(mac net.HardwareAddr, ip netip.Addr) []byte {
	packet, p := newFrame(net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, mac, 0x0806, arpLen)
	copy(p, []byte{0, 1, 8, 0, 6, 4, 0, 1}) // Ethernet, IPv4, request
	copy(p[8:], mac)
	copy(p[14:], ip.AsSlice())
	copy(p[24:], ip.AsSlice())
	return packet
}

func announceND(mac net.HardwareAddr, ip netip.Addr) []byte {
	allNodes := netip.MustParseAddr("ff02::1").AsSlice()
	packet, p := newFrame(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, 0x86dd, ip6Len+naLen)
	p[0] = 6 << 4
	binary.BigEndian.PutUint16(p[4:], naLen)
	p[6], p[7] = 58, 255 // ICMPv6; a hop limit that no router lets through
	copy(p[8:], ip.AsSlice())
	copy(p[24:], allNodes)
	na := p[ip6Len:]
	na[0] = 136
	na[4] = 0x20 // override
	copy(na[8:], ip.AsSlice())
	na[24], na[25] = 2, 1 // target link-layer address, in units of 8 bytes
	copy(na[26:], mac)
	binary.BigEndian.PutUint16(na[2:], icmp6Sum(p[8:ip6Len], na))
	return packet
}

// icmp6Sum is the checksum of an ICMPv6 message of even length (RFC 4443,
// section 2.3) between the two addresses.
func icmp6Sum(addresses, message []byte) uint16 {
	sum := uint32(len(message)) + 58
	for _, b := range [2][]byte{addresses, message} {
		for i := 0; i < len(b); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(b[i:]))
		}
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
