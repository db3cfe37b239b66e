// Package s4t holds the nouns of Stack4Things: boards, networks, ports,
// bridges, services, operations, and the identity of those who use them.
//
// It does no I/O and starts no goroutine. The JSON of these types is the JSON
// of the REST API and of `s4t -o json`; there is no second representation.
package s4t
