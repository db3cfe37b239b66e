package vswitch

import (
	"encoding/binary"
	"slices"
)

// guard checks that a frame may come from the port: with AllowAnySource lifted
// or not, no DHCP server or IPv6 router speaks unless it was allowed.
func (p *Port) guard(f *frame, r *rules) reason {
	if !r.guards.AllowAnySource && f.src != r.mac {
		return spoofedMAC
	}
	switch {
	case f.ip != 0:
		return p.guardIP(f, r)
	case f.typ == typeARP:
		return p.guardARP(f, r)
	}
	return pass
}

// guardIP checks the IP source, and what DHCP and ND say inside.
func (p *Port) guardIP(f *frame, r *rules) reason {
	if f.ip == 4 {
		if !r.guards.AllowAnySource && !slices.Contains(r.own4, uint32(f.ipSrc.lo)) && !p.mayUse4(f, r) {
			return spoofedIP
		}
		if f.proto == protoUDP && f.l4 != nil {
			return p.guardDHCP(f, r)
		}
		return pass
	}
	if f.proto == protoICMPv6 && p.sw.layer == 2 {
		if why := p.guardND(f, r); why != pass {
			return why
		}
	}
	if !r.guards.AllowAnySource && !slices.Contains(r.own6, f.ipSrc) && !p.mayUse6(f, r) {
		return spoofedIP
	}
	if f.proto == protoUDP && f.l4 != nil {
		return p.guardDHCPv6(f, r)
	}
	return pass
}

// mayUse4 is for IPv4 sources that are not the port's own by configuration.
func (p *Port) mayUse4(f *frame, r *rules) bool {
	if f.ipSrc == zeroIPv4 { // a host that has no address yet
		switch f.proto {
		case protoUDP:
			return f.l4 != nil && binary.BigEndian.Uint32(f.l4) == 68<<16|67
		case protoIGMP: // RFC 3376, section 4.2.13
			return true
		}
		return false
	}
	return p.mayClaim(f.ipSrc, r)
}

// mayUse6 is the same for IPv6.
func (p *Port) mayUse6(f *frame, r *rules) bool {
	if f.ipSrc == zeroIPv6 { // DAD, router solicitation, MLD report (RFC 4862, RFC 3590)
		return f.proto == protoICMPv6
	}
	return p.mayClaim(f.ipSrc, r)
}

// mayClaim asks whose an address is, behind a small cache. On layer 3 its use
// says where it is, too.
func (p *Port) mayClaim(a address, r *rules) bool {
	c := &p.claimed[mix(a.lo, a.hi)%uint32(len(p.claimed))]
	if e := c.valid(a); e != nil {
		e.see(p.now)
	} else if e = p.sw.owners.claim(p, a, r); e != nil {
		*c = cached{a, e}
	} else {
		return false
	}
	if p.sw.layer == 3 {
		p.sw.table.learn(p, a)
	}
	return true
}

// guardARP checks an ARP packet (RFC 826): the sender must be the port's own.
func (p *Port) guardARP(f *frame, r *rules) reason {
	a := arp(f.l3)
	if !a.ethernetIPv4() {
		return invalid
	}
	if r.guards.AllowAnySource {
		return pass
	}
	if a.senderMAC() != r.mac {
		return spoofedARP
	}
	ip := a.senderIP()
	if ip == zeroIPv4 || slices.Contains(r.own4, uint32(ip.lo)) || p.mayClaim(ip, r) {
		return pass
	}
	return spoofedARP
}
