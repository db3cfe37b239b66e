package wire

import "github.com/stack4things/s4t"

// Methods of the conductor: uplinks.
const (
	MethodUplinkSet    = "network.uplink"        // UplinkSet -> s4t.Operation
	MethodUplinkRemove = "network.uplink_remove" // RefRequest -> s4t.Operation
)

// UplinkSet puts a network into a Linux bridge of the host of its tunnel
// agent, in place of the one it is in.
type UplinkSet struct {
	Caller Caller         `json:"caller"`
	Ref    string         `json:"ref"` // of the network
	Bridge string         `json:"bridge"`
	Guards s4t.PortGuards `json:"guards"` // AllowDHCP, AllowRA, StormLimit, RateLimit and Outward only
}
