package tunnelagent

import "github.com/stack4things/s4t/wire"

// kinds are those that the agent has. Requests reach some of them besides
// desired state.
type kinds struct {
	networks  *networks
	ports     *ports
	endpoints *endpoints
	uplinks   *uplinks
	exposures *exposures
	streams   *streams
	peers     *peers
}

// newKinds registers them in the order in which they are applied: what is on a
// switch comes after it.
func newKinds(a *Agent) kinds {
	k := kinds{newNetworks(a), newPorts(a), newEndpoints(a), newUplinks(a), newExposures(a), newStreams(a), newPeers(a)}
	a.register(wire.KindNetwork, k.networks)
	a.register(wire.KindPeer, k.peers)
	a.register(wire.KindPort, k.ports)
	a.register(wire.KindGRE, k.endpoints)
	a.register(wire.KindUplink, k.uplinks)
	a.register(wire.KindService, k.exposures)
	a.register(wire.KindStreams, k.streams)
	return k
}
