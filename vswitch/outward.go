package vswitch

import (
	"slices"

	"github.com/stack4things/s4t"
)

// Behind an uplink or a GRE endpoint are machines that are not the project's,
// and whoever may lift the guards of a port of the network has no say over
// them. So what leaves by such a port is checked as if the guards of no port
// were lifted, but for what an admin lets out there, and more strictly than
// within: an address counts as a port's own only where the cloud or the data
// centre itself gave it, not because the port used it first or a DHCP server or
// router behind another port said so.

// mayLeave says whether a frame that has passed the guards of p may go out by
// d, behind which are others' machines. What comes from another such port, or
// from the switch itself, may.
func (p *Port) mayLeave(d *Port, f *frame) reason {
	if f.src == (address{}) || p.outside() {
		return pass
	}
	out := d.rules.Load().guards.Outward
	if p.peer == nil {
		return p.mayLeaveBy(out, f)
	}
	if f.ip != 0 {
		if why := p.mayLeaveIP(f, out.AllowDHCP, out.AllowRA); why != pass {
			return why
		}
	}
	switch {
	case out.AllowAnySource || p.from&Own != 0: // the first switch knows it
		return pass
	case f.typ == typeARP:
		return spoofedARP
	}
	return spoofedMAC
}

// mayLeaveBy is mayLeave for what comes from a host of this switch, and out as what
// may go there.
func (p *Port) mayLeaveBy(out s4t.OutwardGuards, f *frame) reason {
	r := p.rules.Load()
	if r.storm > defaultStorm && (f.dst.groupMAC() || p.sw.table.lookup(p, f.dst) == nil) && !p.outStorm.take(p.now, defaultStorm, f.segments()) {
		return storm
	}
	switch {
	case f.ip != 0:
		if why := p.mayLeaveIP(f, out.AllowDHCP, out.AllowRA); why != pass || out.AllowAnySource {
			return why
		}
	case out.AllowAnySource:
		return pass
	}
	if f.src != r.mac {
		return spoofedMAC
	}
	switch {
	case f.typ == typeARP:
		a := arp(f.l3)
		if ip := a.senderIP(); a.senderMAC() != r.mac || ip != zeroIPv4 && !p.given(ip, r) {
			return spoofedARP
		}
	case f.ip == 4:
		if !p.given(f.ipSrc, r) && (f.ipSrc != zeroIPv4 || !p.mayUse4(f, r)) {
			return spoofedIP
		}
	case f.ip == 6:
		if f.ipSrc != zeroIPv6 && !p.given(f.ipSrc, r) || f.ipSrc == zeroIPv6 && f.proto != protoICMPv6 {
			return spoofedIP
		}
		if f.proto == protoICMPv6 {
			return p.mayLeaveND(f, r)
		}
	}
	return pass
}

// mayLeaveIP is mayLeave for what only a DHCP server or an IPv6 router says.
func (p *Port) mayLeaveIP(f *frame, allowDHCP, allowRA bool) reason {
	switch {
	case f.l4 == nil:
	case f.proto == protoUDP && !allowDHCP && f.dhcpServer():
		return dhcpServer
	case f.proto == protoICMPv6 && f.ip == 6 && !allowRA && (f.l4[0] == routerAdvert || f.l4[0] == redirect):
		return routerAdvertisement
	}
	return pass
}

// mayLeaveND is mayLeave for neighbour discovery, whose form guardND has
// checked.
func (p *Port) mayLeaveND(f *frame, r *rules) reason {
	if f.l4 == nil {
		return pass
	}
	switch f.l4[0] {
	case routerSolicitation:
		return checkMACs(f.l4[min(len(f.l4), 8):], r.mac)
	case neighbourSolicit, neighbourAdvert:
		if len(f.l4) < minND {
			return invalid
		}
		// A solicitation without a source says that its target is about to be
		// used (RFC 4862, section 5.4.2).
		if (f.l4[0] == neighbourAdvert || f.ipSrc == zeroIPv6) && !p.given(ipv6At(f.l4[8:]), r) {
			return spoofedND
		}
		return checkMACs(f.l4[minND:], r.mac)
	}
	return pass
}

// given reports whether an address is the port's own because the cloud or the
// data centre gave it, or because its kernel makes it of the MAC that the cloud
// gave.
func (p *Port) given(a address, r *rules) bool {
	if a.isIPv4() {
		if slices.Contains(r.own4, uint32(a.lo)) {
			return true
		}
	} else if slices.Contains(r.own6, a) || r.mac != (address{}) && a == r.mac.eui64() {
		return true
	}
	e := p.claimed[mix(a.lo, a.hi)%uint32(len(p.claimed))].valid(a)
	if e == nil {
		e = p.sw.owners.find(a)
	}
	return e != nil && e.port == p && e.given
}
