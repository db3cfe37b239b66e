// Package tunnelagent is the WS tunnel agent: it terminates the boards' data
// rtunnels, switches the frames of virtual networks, and opens the public ports
// of exposed services.
//
// It decides nothing. The conductor gives it the whole state that it should
// have (wire.TunnelDesired); it makes that so and reports what it has. What it
// holds may be lost with the process: the boards dial again, and desired state
// is asked for again.
//
//	agent.go    the component: hello, beats, the loops of Run
//	desired.go  desired state is fetched and made so
//	door.go     /rtunnel: who may come in, for what
//	ticket.go   tickets are good once
//	bridge.go   networks, and the cloud half of ports
//	gre.go      what travels in GRE between boards and switch
//	endpoint.go GRE endpoints of the data centre
//	service.go  public ports and users' streams
//	report.go   what the conductor is told
package tunnelagent
