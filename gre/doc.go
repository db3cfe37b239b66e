// Package gre encodes and decodes GRE headers (RFC 2784, with the key and
// sequence number fields of RFC 2890) and the IPv4 header around them, byte
// for byte as a kernel gretap device does. It does no I/O, starts no goroutine
// and keeps no state.
//
// An encapsulated frame is
//
//	outer IPv4 (20 bytes, protocol 47) | GRE (8 bytes with a key) | Ethernet frame
//
// The paper cites RFC 1701; a header without routing is the same bytes here.
package gre
