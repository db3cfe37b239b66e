// Package lightningrod is the engine of a board: it joins a cloud, keeps one
// control session with it, and makes the board what the cloud's desired state
// says: ports of virtual networks, and services that streams may reach.
//
// What is where, in the order of a board's life:
//
//	join.go     enrols: a code becomes an identity
//	state.go    the state directory: identity, last desired state, lock
//	engine.go   Run: saved state first, then sessions for ever
//	session.go  one control session over WAMP
//	bridge.go   steps 6 and 7 of the paper's Fig. 3: what ports there should be
//	port.go     one port: its device and its data rtunnel
//	service.go  the second sequence: which streams may reach what
//	status.go   the Unix socket behind `lightning-rod status` and `leave`
//	doctor.go   what stands between the board and the cloud
//	leave.go    un-enrols
//
// Nothing here listens on the outside; every connection is dialled by the
// board. Losing any state file but the identity costs a fetch, never the
// truth.
package lightningrod
