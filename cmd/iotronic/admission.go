package main

import (
	"container/list"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	// maxGuests is how many connections may be neither a board's nor a
	// stream's at a time: in a TLS handshake, sending a request, being
	// answered, or kept idle. One more ends the one of its source that has been
	// quiet for longest. Each costs some 20 KB, most of it the TLS handshake's.
	maxGuests = 4096
	// silence ends a connection on which no byte of HTTP has come: the TLS
	// handshake counts too.
	silence = s4t.HandshakeTimeout
	// sampled is how many sources are compared, chosen at random, to find one
	// that has many connections: a flood from as many is no single source's.
	sampled = 64
)

// admission keeps strangers from taking what others need: file descriptors and
// memory. Connections that were handed over, with a ticket or to the WAMP
// router, are not its concern any more; those have bounds of their own.
type admission struct {
	mu      sync.Mutex // guards the fields below
	conns   map[net.Conn]*guest
	sources map[netip.Prefix]*list.List // of *guest, the longest quiet first
}

// guest is a connection that net/http serves.
type guest struct {
	conn   net.Conn
	source netip.Prefix
	place  *list.Element // in the list of its source
	clock  *time.Timer   // ends a connection that says nothing; nil once it spoke
}

func newAdmission() *admission {
	return &admission{conns: map[net.Conn]*guest{}, sources: map[netip.Prefix]*list.List{}}
}

// sourceOf is who a peer counts as: its IPv4 address, or its IPv6 /64, which
// one subscriber has whole.
func sourceOf(a net.Addr) netip.Prefix {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.Prefix{}
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.Is4() {
		return netip.PrefixFrom(ip, 32)
	}
	p, _ := ip.Prefix(64) // an IPv6 address has one
	return p
}

// state follows a connection, as [http.Server.ConnState].
func (a *admission) state(c net.Conn, st http.ConnState) {
	a.mu.Lock()
	defer a.mu.Unlock()
	g := a.conns[c]
	switch {
	case st == http.StateHijacked || st == http.StateClosed:
		if g != nil {
			a.forget(g)
		}
	case st == http.StateNew:
		if len(a.conns) >= maxGuests {
			a.makeRoom()
		}
		a.add(c)
	case g != nil:
		g.spoke()
		a.sources[g.source].MoveToBack(g.place)
	}
}

// add notes a new connection and starts its clock. mu is held.
func (a *admission) add(c net.Conn) {
	g := &guest{conn: c, source: sourceOf(c.RemoteAddr())}
	l := a.sources[g.source]
	if l == nil {
		l = list.New()
		a.sources[g.source] = l
	}
	g.place = l.PushBack(g)
	g.clock = time.AfterFunc(silence, func() { c.Close() })
	a.conns[c] = g
}

// spoke stops the clock.
func (g *guest) spoke() {
	if g.clock != nil {
		g.clock.Stop()
		g.clock = nil
	}
}

// forget takes a connection off the lists. mu is held.
func (a *admission) forget(g *guest) {
	g.spoke()
	delete(a.conns, g.conn)
	l := a.sources[g.source]
	if l.Remove(g.place); l.Len() == 0 {
		delete(a.sources, g.source)
	}
}

// makeRoom ends the connection that has been quiet for longest, of the source
// that has the most. mu is held.
func (a *admission) makeRoom() {
	var most *list.List
	seen := 0
	for _, l := range a.sources { // in random order
		if most == nil || l.Len() > most.Len() {
			most = l
		}
		if seen++; seen == sampled {
			break
		}
	}
	g := most.Front().Value.(*guest)
	a.forget(g)
	go g.conn.Close() // TLS may take its time to say goodbye
}
