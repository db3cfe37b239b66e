// Package tunnelagent is the WS tunnel agent: it terminates the boards' data
// rtunnels, switches the frames of virtual networks, and opens the public ports
// of exposed services.
//
// It decides nothing. The conductor gives it the state that it should have, as
// resources of kinds; it makes that so and reports what it has. What it holds
// may be lost with the process: the boards dial again, and desired state is
// asked for again. It serves while it holds a lease of the conductor's, and
// closes everything when that runs out.
//
// What knows no kind:
//
//	agent.go      the component: the loops of Run, the lease, the lock order
//	desired.go    desired state is asked for, as differences, and applied in rounds
//	reconciler.go what a kind is
//	report.go     what the conductor is told, as differences
//
// The kinds:
//
//	kinds.go      which there are, and in which order they are applied
//	bridge.go     network: a switch
//	peer.go       peer: the switch of a network at another tunnel agent
//	port.go       port: the cloud half of a port; gre.go: in GRE
//	endpoint.go   gre: a GRE endpoint of the data centre
//	uplink.go     uplink: a TAP in a Linux bridge of this host
//	service.go    service: a public port, and users' streams
//	streams.go    streams: the boards that may have idle rtunnels here
//
// What comes in besides:
//
//	http.go       /rtunnel: who may come in, for what
//	event.go      what only the data path sees
//	counters.go   what ports have counted
package tunnelagent
