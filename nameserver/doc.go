// Package nameserver answers DNS queries for the zone in which exposed services have
// names: where the tunnel agent is that has a service now (A, AAAA, or CNAME where the
// agent's host is a name), and its public port (SRV).
//
// It is authoritative for this zone and for nothing else (REFUSED), does no recursion and no
// transfers, and has one record for who asks for ANY (RFC 8482). What a name stands for it asks
// the conductor, and remembers for some seconds, or until an event says that it has
// changed: any number of name servers give the same answers.
//
// Whoever can send a packet can ask, under anybody's address. So an answer has no more than
// what was asked for; a source has a budget, beyond which it hears half of the time, in no more
// bytes than it sent, to ask again by TCP; and few names are looked up at a time.
package nameserver
