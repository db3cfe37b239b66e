package vswitch

import (
	"math"

	"github.com/stack4things/s4t"
)

// A network may be at several tunnel agents, each of which has a switch of it. A
// peer is the port behind which another of these switches is. All switches of a
// network are peers of each other, so a frame takes one hop more at most:
//
//   - What comes from a peer goes to no peer (split horizon, in [Port.send]). That
//     is why nothing can go round between switches, whatever they have learned.
//   - Guards are enforced where a frame comes in from its host. What a peer says is
//     believed: that it may say it of this network is for who adds it to see to.
//   - A frame for everybody goes once to each peer, which floods it to its hosts.
//   - A peer's frame says besides where it comes from ([Origin]), as what may leave
//     the network by an outward port is checked with what the first switch knows.
//   - What the ports of a switch are given is announced to its peers when either
//     comes, so that a host that moved is found at once where it is now.

// Origin is what one switch tells a peer of a frame besides the frame.
type Origin byte

// What it may say; several together.
const (
	Own      Origin = 1 << iota // the source is the host's own, as a frame has it that leaves the network
	Outside                     // it comes from others' machines, behind an outward port
	Announce                    // only the source is told: it is at this switch
	Probe                       // for loops, by the switch: no host wants it
)

// maxPeerAddresses bounds the addresses that are learned from one peer: of all
// hosts behind it.
const maxPeerAddresses = 32 << 10

// PeerConfig is of a port behind which another switch of the network is.
type PeerConfig struct {
	// Layout writes pkt with what is said of its origin, and all headers that it
	// has on the wire, to the start of dst, as [Wrapper.Put] does.
	Layout func(dst []byte, from Origin, pkt []byte) int
	// CutsLoops: of the two switches this one ends a loop that leads through both.
	CutsLoops bool
}

// peerGuards let everything come from a peer.
func peerGuards() s4t.PortGuards {
	return s4t.PortGuards{AllowAnySource: true, AllowDHCP: true, AllowRA: true, StormLimit: math.MaxInt32}
}

// SetOutward says whether the network has an outward port at any of its switches:
// only then is it told to peers whether a source is the host's own.
func (s *Switch) SetOutward(outward bool) { s.leads.Store(outward) }

// InputFrom is [Port.Input] of a peer's frame.
func (p *Port) InputFrom(from Origin, pkt []byte) {
	p.from = from
	p.Input(pkt)
}

// originOf is what a peer is told of a frame from p.
func (p *Port) originOf(f *frame) Origin {
	switch {
	case f.src == (address{}): // of the switch's own making
		return Own
	case p.outward.Load():
		return Outside
	case p.sw.leads.Load() && p.mayLeaveBy(s4t.OutwardGuards{AllowDHCP: true, AllowRA: true}, f) == pass:
		return Own
	}
	return 0
}

// outside reports whether the frame at hand comes from others' machines: by this
// port, or by one of a peer.
func (p *Port) outside() bool { return p.outward.Load() || p.peer != nil && p.from&Outside != 0 }

// spares reports whether d is left out of what p sends to several: what comes from
// a peer goes to no peer, and a host that is at two switches while it moves gets
// it once.
func (p *Port) spares(d *Port) bool {
	if p.peer == nil {
		return false
	}
	r := d.rules.Load()
	return d.peer != nil || r.leaving || r.twin == p.id && r.twin != ""
}

// learnFrom notes what the source of a peer's frame says. What is announced ends
// here.
func (p *Port) learnFrom(f *frame) reason {
	s := p.sw
	if s.layer == 2 {
		if why := s.loops.watch(p, f); why != pass {
			return why
		}
	}
	switch s.table.learn(p, f.src) {
	case moved:
		if s.layer == 2 && p.from&Announce == 0 {
			s.loops.suspect(p)
		}
	case full:
		return macLimited
	}
	if p.from&Announce == 0 {
		return pass
	}
	if s.layer == 2 && f.ip != 0 {
		s.owners.note(p, f.ipSrc)
	}
	return answered
}

// note writes that an address is behind a peer, where it is nobody's here: others
// may not claim it.
func (o *owners) note(p *Port, a address) {
	if a.multicast() || a == zeroIPv4 || a == zeroIPv6 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.m[a]
	if e != nil && (e.fixed || e.port == p) || p.closed.Load() || !o.makeRoom(p, p.now, false) {
		return
	}
	if e != nil {
		o.drop(e)
	}
	o.put(p, a, false, p.now)
}

// announce tells peers what a port is given: all of them of a port that came, or
// the one that came of all ports. The caller holds Switch.mu.
func (s *Switch) announce(p *Port) {
	for _, d := range *s.ports.Load() {
		switch {
		case d == p || (p.peer == nil) == (d.peer == nil):
		case p.peer != nil:
			s.announceTo(p, d)
		default:
			s.announceTo(d, p)
		}
	}
}

// announceTo tells one peer of one port.
func (s *Switch) announceTo(peer, p *Port) {
	r := p.rules.Load()
	if r.mac == (address{}) && s.layer == 2 || r.leaving {
		return
	}
	own := make([]address, 0, len(r.own4)+len(r.own6))
	for _, a := range r.own4 {
		own = append(own, address{markIPv4, uint64(a)})
	}
	own = append(own, r.own6...)
	if s.layer == 2 {
		s.tell(peer, r.mac, nil)
		if !r.guards.AllowAnySource {
			own = append(own, r.mac.eui64())
		}
	}
	for _, a := range own {
		s.tell(peer, r.mac, &a)
	}
}

// tell sends one announcement: the least frame with this source.
func (s *Switch) tell(peer *Port, mac address, ip *address) {
	b := make([]byte, offloadLen, offloadLen+14+40)
	if s.layer == 2 {
		b = b[:offloadLen+14]
		putEthernet(b[offloadLen:], broadcast, mac, typeProbe)
	}
	if ip != nil {
		typ, at := uint16(typeIPv6), len(b)
		if ip.isIPv4() {
			typ, b = typeIPv4, b[:at+20]
			b[at], b[at+3] = 0x45, 20
			b[at+12], b[at+13], b[at+14], b[at+15] = byte(ip.lo>>24), byte(ip.lo>>16), byte(ip.lo>>8), byte(ip.lo)
		} else {
			b = b[:at+40]
			b[at], b[at+6] = 0x60, 59 // no next header
			ip.putIPv6(b[at+8:])
		}
		if s.layer == 2 {
			putEthernet(b[offloadLen:], broadcast, mac, typ)
		}
	}
	if peer.out.put(&frame{pkt: b, eth: b[offloadLen:], origin: Own | Announce, told: true}) {
		peer.out.q.wakeUp()
	}
}
