package vswitch

// maxClaims bounds the addresses that one port may claim.
const maxClaims = 64

// owners says whose an IP address is. An address of a port's configuration is
// fixed. Others belong to the port that used them first: link-local IPv6
// addresses, those in a prefix that an allowed router advertised, those that an
// allowed DHCP server leased (which go to whom it leased them), and on a port
// that may be a DHCP server or router, its own. They stay its own as long as
// the port stays; where it has maxClaims, one that it did not use for ageing
// makes room for the next, so that a host may have another temporary address
// every day (RFC 8981).
type owners struct {
	entries
	prefixes []prefix // at most maxPrefixes; guarded by mu
}

// owner returns the port that an address belongs to, nil if nobody's.
func (o *owners) owner(a address) *Port {
	if e := o.find(a); e != nil {
		return e.port
	}
	return nil
}

// claim returns the entry of an address that is the port's, and makes it so if
// it is nobody's and may be claimed; nil if it is not.
func (o *owners) claim(p *Port, a address, r *rules) *entry {
	o.mu.RLock()
	e := o.m[a]
	may, given := e == nil, false
	if may {
		may, given = o.claimable(a, r, p.now)
	}
	o.mu.RUnlock()
	switch {
	case e != nil && e.port == p:
		e.see(p.now)
		return e
	case !may || p.owned.full(p.now):
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if e := o.m[a]; e != nil { // somebody was faster, or the cloud
		if e.port != p {
			return nil
		}
		return e
	}
	if p.closed.Load() || !o.makeRoom(p, p.now, false) {
		return nil
	}
	e = o.put(p, a, false, p.now)
	e.given = given
	return e
}

// claimable reports whether an address that is nobody's may be claimed by a
// port with these rules, and whether a router of the data centre gave it. The
// caller holds mu.
func (o *owners) claimable(a address, r *rules, now int64) (may, given bool) {
	if a.multicast() || a == zeroIPv6 || a == zeroIPv4 || a == (address{markIPv4, 0xffffffff}) {
		return false, false
	}
	if a.isIPv4() {
		return r.guards.AllowDHCP, false
	}
	may, given = o.advertised(a, now)
	return may || a.linkLocal() || r.guards.AllowRA, given
}

// lease gives an address that a DHCP server leased to a port; given says that
// the server is the data centre's, whose leases others do not take away. now is
// the server's.
func (o *owners) lease(p *Port, a address, given bool, now int64) {
	if a.multicast() || a == zeroIPv4 || a == zeroIPv6 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.m[a]
	if e != nil && (e.fixed || e.given && !given || e.port == p && e.given == given) || p.closed.Load() || !o.makeRoom(p, now, false) {
		return
	}
	if e != nil {
		o.drop(e)
	}
	o.put(p, a, false, now).given = given
}

// forget drops all addresses of a port, and the prefixes of a router behind it.
func (o *owners) forget(p *Port) {
	o.entries.forget(p)
	o.withdraw(p)
}
