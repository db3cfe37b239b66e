package vswitch

import "encoding/binary"

// arpLen is the bytes of an ARP packet for Ethernet and IPv4.
const arpLen = 28

// arp is such a packet (RFC 826).
type arp []byte

func (a arp) ethernetIPv4() bool {
	return binary.BigEndian.Uint64(a)&^0xffff == 0x0001_0800_06_04_0000
}
func (a arp) request() bool      { return binary.BigEndian.Uint16(a[6:]) == 1 }
func (a arp) senderMAC() address { return macAt(a[8:]) }
func (a arp) senderIP() address  { return ipv4At(a[14:]) }
func (a arp) targetIP() address  { return ipv4At(a[24:]) }

// answerARP answers a request for an address of a guarded port on behalf of
// that port, so that the others need not hear it. It reports whether it did.
func (p *Port) answerARP(f *frame) bool {
	a := arp(f.l3)
	target := a.targetIP()
	if f.vlan || !a.request() || target == a.senderIP() {
		return false
	}
	mac, ok := p.sw.guardedOwner(p, target)
	if !ok {
		return false
	}
	b := p.newReply(f.src, mac, typeARP)
	body := b[offloadLen+14:][:arpLen]
	copy(body, f.l3[:6])
	binary.BigEndian.PutUint16(body[6:], 2)
	mac.putMAC(body[8:])
	copy(body[14:], f.l3[24:28])
	copy(body[18:], f.l3[8:18])
	p.sendReply(b[:offloadLen+60]) // the least an Ethernet has
	return true
}

// guardedOwner returns the MAC of the guarded port, other than p, that an IP
// address belongs to. The data centre is told of those only that were given.
func (s *Switch) guardedOwner(p *Port, a address) (mac address, ok bool) {
	e := s.owners.find(a)
	if e == nil || e.port == p || !e.given && p.outside() || e.port.peer != nil {
		return mac, false
	}
	r := e.port.rules.Load()
	return r.mac, !r.guards.AllowAnySource
}

// replyLen bounds what the switch itself sends.
const replyLen = offloadLen + 14 + 86

// newReply begins a frame of the switch's own making in the port's buffer.
func (p *Port) newReply(dst, src address, typ uint16) []byte {
	b := p.reply[:]
	clear(b)
	putEthernet(b[offloadLen:], dst, src, typ)
	return b
}

func putEthernet(b []byte, dst, src address, typ uint16) {
	dst.putMAC(b)
	src.putMAC(b[6:])
	binary.BigEndian.PutUint16(b[12:], typ)
}

// sendReply sends a frame of the switch's own making to the port whose
// goroutine this is.
func (p *Port) sendReply(pkt []byte) {
	f := frame{pkt: pkt, eth: pkt[offloadLen:]}
	p.send(p, &f)
}
