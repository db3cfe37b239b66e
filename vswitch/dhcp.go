package vswitch

import "encoding/binary"

const (
	bootReply   = 2
	dhcpCookie  = 0x63825363
	dhcpOptions = 240 // offset of the options in a DHCP message (RFC 2131)
	dhcpACK     = 5
	dhcp6Reply  = 7 // RFC 8415
)

// dhcpServer reports whether a UDP datagram is what only a DHCP server, of the
// datagram's family, says.
func (f *frame) dhcpServer() bool {
	from, to := binary.BigEndian.Uint16(f.l4), binary.BigEndian.Uint16(f.l4[2:])
	if f.ip == 6 {
		return to == 546 || from == 547 && to != 547
	}
	if to == 68 {
		return true
	}
	msg := f.l4[8:]
	return from == 67 && len(msg) > 0 && msg[0] == bootReply // else it is a relay's request
}

// guardDHCP lets what only a DHCP server says pass from a port that may be
// one, and notes the leases (RFC 2131).
func (p *Port) guardDHCP(f *frame, r *rules) reason {
	if !f.dhcpServer() {
		return pass
	}
	if !r.guards.AllowDHCP {
		return dhcpServer
	}
	msg := f.l4[8:]
	if len(msg) < dhcpOptions || msg[0] != bootReply || msg[1] != 1 || msg[2] != 6 || binary.BigEndian.Uint32(msg[236:]) != dhcpCookie {
		return pass
	}
	for options := msg[dhcpOptions:]; len(options) >= 3 && options[0] != 255; {
		if options[0] == 0 { // padding
			options = options[1:]
			continue
		}
		if options[0] == 53 && options[2] == dhcpACK {
			p.lease(macAt(msg[28:]), ipv4At(msg[16:]))
			break
		}
		options = options[min(len(options), 2+int(options[1])):]
	}
	return pass
}

// guardDHCPv6 is the same for DHCPv6 (RFC 8415).
func (p *Port) guardDHCPv6(f *frame, r *rules) reason {
	if !f.dhcpServer() {
		return pass
	}
	if !r.guards.AllowDHCP {
		return dhcpServer
	}
	msg := f.l4[8:]
	if len(msg) < 4 || msg[0] != dhcp6Reply || p.sw.layer != 2 {
		return pass
	}
	eachOption(msg[4:], func(code uint16, body []byte) {
		if code != 3 || len(body) < 12 { // IA_NA
			return
		}
		eachOption(body[12:], func(code uint16, body []byte) {
			if code == 5 && len(body) >= 16 { // IAADDR
				p.lease(f.dst, ipv6At(body))
			}
		})
	})
	return pass
}

// eachOption walks DHCPv6 options.
func eachOption(b []byte, each func(code uint16, body []byte)) {
	for len(b) >= 4 {
		size := int(binary.BigEndian.Uint16(b[2:]))
		if 4+size > len(b) {
			return
		}
		each(binary.BigEndian.Uint16(b), b[4:4+size])
		b = b[4+size:]
	}
}

// lease gives an address to the port that has a MAC.
func (p *Port) lease(mac, ip address) {
	if e := p.sw.table.lookup(p, mac); e != nil && e.fixed {
		p.sw.owners.lease(e.port, ip, p.outside(), p.now)
	}
}
