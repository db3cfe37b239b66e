package s4t

// Uplink puts a layer-2 network into a Linux bridge of the cloud host, so that
// virtual machines, containers and physical LANs there join it.
type Uplink struct {
	Bridge   string        `json:"bridge"` // name of the Linux bridge on the host of the network's tunnel agent
	Guards   PortGuards    `json:"guards"` // AllowAnySource always: a bridge speaks for many; Outward is of what goes there
	Status   PortStatus    `json:"status"`
	Problem  string        `json:"problem,omitempty"`
	Counters *PortCounters `json:"counters,omitempty"` // in `network show` only; Rx is from the bridge
}
