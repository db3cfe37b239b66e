package vswitch

import (
	"encoding/binary"
	"sync"
	"time"
)

const (
	// queryInterval is how often the hosts are asked which groups they want,
	// while such a group is in use (RFC 3376, section 8.2). An idle network is
	// not asked.
	queryInterval = 125 * time.Second
	// answerTime is how long a host may take to answer.
	answerTime = 10 * time.Second
	// newcomerTime is how long a port that was just added gets all groups: it
	// was asked for its groups, but has not answered.
	newcomerTime = 3 * time.Second
	// maxGroups bounds the groups of one port; with more it gets all.
	maxGroups = 128
)

// groups are the multicast groups (IP addresses) that hosts behind guarded
// ports joined, from IGMP (RFC 2236, RFC 3376) and MLD (RFC 2710, RFC 3810), as
// RFC 4541 describes it. A group that nobody joined goes to all ports, like
// one of link scope (mDNS among them); so snooping can only spare ports what
// they have not asked for when somebody else has.
type groups struct {
	mu        sync.RWMutex // guards the fields below and Port.snoop
	m         map[address]map[*Port]int64
	asked     int64 // when the hosts were asked last
	askedThen int64 // and the time before
}

// portSnoop is what groups know of a port.
type portSnoop struct {
	joined int   // groups
	all    bool  // it wants more than maxGroups
	router int64 // when it sent a query last: it gets all groups and all reports
}

// wants reports whether a port gets everything. The caller holds mu.
func (p *Port) wantsAll(now int64) bool {
	r := p.rules.Load()
	return r.guards.AllowAnySource || r.guards.AllowRA || p.snoop.all ||
		now-p.attached.Load() < int64(newcomerTime) ||
		p.snoop.router != 0 && now-p.snoop.router < 2*int64(queryInterval)+int64(answerTime)
}

// group forwards a frame to a broadcast or multicast MAC.
func (p *Port) group(f *frame, r *rules) reason {
	switch {
	case p.peer != nil && p.from&Probe != 0:
		return p.flood(f, (*Port).mayHaveOthers)
	case f.typ == typeARP && f.dst == broadcast && p.answerARP(f):
		return answered
	case f.proto == protoIGMP && f.ip == 4 && f.l4 != nil:
		return p.igmp(f, r)
	case f.proto == protoICMPv6 && f.ip == 6 && f.l4 != nil && !f.fragment:
		switch f.l4[0] {
		case mldQuery, mldReport, mldDone, mldReport2:
			return p.mld(f, r)
		case neighbourSolicit:
			if len(f.l4) >= minND && f.ipSrc != zeroIPv6 && p.answerND(f, ipv6At(f.l4[8:])) {
				return answered
			}
		case routerSolicitation:
			return p.toRouters(f, r)
		}
	case f.ip != 0 && f.ipDst.multicast() && !f.ipDst.linkScope():
		if why, ok := p.toMembers(f); ok {
			return why
		}
	}
	if !p.storm.take(p.now, r.storm, f.segments()) {
		return storm
	}
	p.flood(f, nil)
	return pass
}

// toMembers sends a frame to the members of its group; ok is false if it has
// none.
func (p *Port) toMembers(f *frame) (why reason, ok bool) {
	g := &p.sw.groups
	g.mu.RLock()
	members := g.m[f.ipDst]
	if len(members) == 0 {
		g.mu.RUnlock()
		return pass, false
	}
	due := p.now-g.asked > int64(queryInterval)
	valid := false
	for _, seen := range members {
		valid = valid || g.valid(seen, p.now)
	}
	if valid {
		for _, d := range *p.sw.ports.Load() {
			if d == p || p.spares(d) {
				continue
			}
			if seen, member := members[d]; member && g.valid(seen, p.now) || d.wantsAll(p.now) {
				p.send(d, f)
			}
		}
	}
	g.mu.RUnlock()
	if due {
		p.askAll()
	}
	return pass, valid
}

// valid reports whether a member that was seen then still is one: it answered
// one of the last two questions, or may still answer the last. The caller
// holds mu.
func (g *groups) valid(seen, now int64) bool {
	return seen >= g.askedThen || now-g.asked < int64(answerTime)
}

// hasHosts reports whether the port has hosts behind it, and not another switch,
// which asks its hosts itself.
func (p *Port) hasHosts() bool { return p.peer == nil }

// askAll asks all ports for their groups.
func (p *Port) askAll() {
	g := &p.sw.groups
	g.mu.Lock()
	if p.now-g.asked <= int64(queryInterval) {
		g.mu.Unlock()
		return
	}
	g.asked, g.askedThen = p.now, g.asked
	g.mu.Unlock()
	for _, q := range p.sw.queries() {
		f := frame{pkt: q, eth: q[offloadLen:]}
		if p.peer == nil {
			p.send(p, &f)
		}
		p.flood(&f, (*Port).hasHosts)
	}
}

// join and leave change a port's membership.
func (g *groups) join(p *Port, a address) {
	if !a.multicast() || a.linkScope() {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	members := g.m[a]
	if _, ok := members[p]; !ok {
		if p.snoop.joined >= maxGroups || p.closed.Load() {
			p.snoop.all = true
			return
		}
		p.snoop.joined++
		if members == nil {
			members = make(map[*Port]int64)
			g.m[a] = members
		}
	}
	members[p] = p.now
}

func (g *groups) leave(p *Port, a address) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.drop(p, a)
}

// drop takes a port out of a group. The caller holds mu.
func (g *groups) drop(p *Port, a address) {
	if _, ok := g.m[a][p]; ok {
		p.snoop.joined--
		if delete(g.m[a], p); len(g.m[a]) == 0 {
			delete(g.m, a)
		}
	}
}

// forget takes a port out of all groups.
func (g *groups) forget(p *Port) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for a := range g.m {
		g.drop(p, a)
	}
}

// toRouters forwards what only routers want: to the ports that may have one
// behind them. With none, it ends here.
func (p *Port) toRouters(f *frame, r *rules) reason {
	if !p.storm.take(p.now, r.storm, 1) {
		return storm
	}
	g := &p.sw.groups
	g.mu.RLock()
	defer g.mu.RUnlock()
	for _, d := range *p.sw.ports.Load() {
		if d == p || p.spares(d) {
			continue
		}
		rd := d.rules.Load()
		if rd.guards.AllowAnySource || rd.guards.AllowRA || d.snoop.router != 0 {
			p.send(d, f)
		}
	}
	return pass
}

// query notes that a router asks by this port, and passes the question on.
func (p *Port) query(f *frame, r *rules) reason {
	if !p.storm.take(p.now, r.storm, 1) {
		return storm
	}
	g := &p.sw.groups
	g.mu.Lock()
	p.snoop.router = p.now
	g.mu.Unlock()
	p.flood(f, nil)
	return pass
}

// Types of IGMP.
const (
	igmpQuery   = 0x11
	igmpReport1 = 0x12
	igmpReport2 = 0x16
	igmpLeave   = 0x17
	igmpReport3 = 0x22
)

// igmp handles a message of IGMP.
func (p *Port) igmp(f *frame, r *rules) reason {
	m, g := f.l4, &p.sw.groups
	if len(m) < 8 {
		return invalid
	}
	switch m[0] {
	case igmpQuery:
		return p.query(f, r)
	case igmpReport1, igmpReport2:
		g.join(p, ipv4At(m[4:]))
	case igmpLeave:
		p.leaveIfAlone(ipv4At(m[4:]), r)
	case igmpReport3:
		p.records(m[8:], int(binary.BigEndian.Uint16(m[6:])), 4, r)
	}
	return p.toRouters(f, r)
}

// mld handles a message of MLD.
func (p *Port) mld(f *frame, r *rules) reason {
	m, g := f.l4, &p.sw.groups
	if len(m) < 8 || m[0] != mldReport2 && len(m) < 24 {
		return invalid
	}
	switch m[0] {
	case mldQuery:
		return p.query(f, r)
	case mldReport:
		g.join(p, ipv6At(m[8:]))
	case mldDone:
		p.leaveIfAlone(ipv6At(m[8:]), r)
	case mldReport2:
		p.records(m[8:], int(binary.BigEndian.Uint16(m[6:])), 16, r)
	}
	return p.toRouters(f, r)
}

// records reads the n group records of an IGMPv3 or MLDv2 report (RFC 3376,
// section 4.2.4; RFC 3810, section 5.2.4); size is the bytes of an address.
func (p *Port) records(b []byte, n, size int, r *rules) {
	for ; n > 0 && len(b) >= 4+size; n-- {
		sources := int(binary.BigEndian.Uint16(b[2:]))
		a := ipv4At(b[4:])
		if size == 16 {
			a = ipv6At(b[4:])
		}
		switch b[0] {
		case 1, 3: // include: only what comes from these sources
			if sources == 0 {
				p.leaveIfAlone(a, r)
			} else {
				p.sw.groups.join(p, a)
			}
		case 2, 4, 5: // exclude, allow
			p.sw.groups.join(p, a)
		}
		b = b[min(len(b), 4+size+sources*size+int(b[1])*4):]
	}
}

// leaveIfAlone ends a membership. Behind a port with any source may be other
// members; it gets all groups anyway.
func (p *Port) leaveIfAlone(a address, r *rules) {
	if !r.guards.AllowAnySource {
		p.sw.groups.leave(p, a)
	}
}

// queries returns the general queries of IGMPv3 and MLDv2, to be answered
// within a second.
func (s *Switch) queries() [2][]byte {
	// IPv4 with the router alert option (RFC 3376, section 4).
	v4 := make([]byte, offloadLen+60)
	putEthernet(v4[offloadLen:], address{markMAC, 0x01005e000001}, s.mac, typeIPv4)
	ip := v4[offloadLen+14:]
	copy(ip, []byte{0x46, 0xc0, 0, 36, 0, 0, 0x40, 0, 1, protoIGMP, 0, 0, 0, 0, 0, 0, 224, 0, 0, 1, 0x94, 4, 0, 0})
	binary.BigEndian.PutUint16(ip[10:], ^fold(sum(ip[:24])))
	igmp := ip[24:36]
	igmp[0], igmp[1], igmp[8], igmp[9] = igmpQuery, 10, 2, byte(queryInterval/time.Second)
	binary.BigEndian.PutUint16(igmp[2:], ^fold(sum(igmp)))

	// IPv6 with the router alert in a hop-by-hop header (RFC 3810, section 5).
	v6 := make([]byte, offloadLen+14+40+8+28)
	putEthernet(v6[offloadLen:], address{markMAC, allNodesMAC}, s.mac, typeIPv6)
	ip = v6[offloadLen+14:]
	putIPv6(ip, s.mac.eui64(), address{0xff02 << 48, 1}, 8+28, 1)
	ip[6] = 0
	copy(ip[40:], []byte{protoICMPv6, 0, 5, 2, 0, 0, 1, 0})
	mld := ip[48:]
	mld[0], mld[24], mld[25] = mldQuery, 2, byte(queryInterval/time.Second)
	binary.BigEndian.PutUint16(mld[4:], 1000)
	binary.BigEndian.PutUint16(mld[2:], checksumICMPv6(ip[8:40], mld))
	return [2][]byte{v4, v6}
}
