package s4t

import "net/netip"

// SourceOf is who an address counts as, wherever something is shared out or
// counted by where it comes from: an IPv4 address, or the /64 of an IPv6
// address, which one subscriber has whole. An IPv4 address that is written as
// IPv6 is itself; of what is no address it is the zero prefix.
func SourceOf(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.Prefix(bits) // what is no address has none
	return p
}

// SourceOfPeer is the source of a peer, ADDRESS:PORT as net/http has it, as it
// is counted and shown: 192.0.2.1 or 2001:db8:1:2::/64. What is no such address
// is its own source.
func SourceOfPeer(remote string) string {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return remote
	}
	source := SourceOf(ap.Addr())
	if source.Addr().Is4() {
		return source.Addr().String()
	}
	return source.String()
}
