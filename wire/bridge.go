package wire

import "github.com/stack4things/s4t"

// Step 2 of the paper's Fig. 3: the request as it is on the queue.

// Methods of the conductor: bridges and what is underneath.
const (
	MethodBridgeCreate = "bridge.create"      // BridgeCreate -> s4t.Operation
	MethodBridgeList   = "bridge.list"        // ListRequest -> List[s4t.Bridge]
	MethodBridgeGet    = "bridge.get"         // RefRequest -> s4t.Bridge
	MethodBridgeDelete = "bridge.delete"      // RefRequest -> s4t.Operation
	MethodBridgeAdd    = "bridge.add"         // BridgeChange -> s4t.Operation
	MethodBridgeRemove = "bridge.remove"      // BridgeChange -> s4t.Operation
	MethodNetworkList  = "network.list"       // ListRequest -> List[s4t.Network]
	MethodNetworkGet   = "network.get"        // RefRequest -> s4t.Network
	MethodAttachGRE    = "network.attach_gre" // NetworkGRE -> s4t.Operation
	MethodDetachGRE    = "network.detach_gre" // NetworkGRE -> s4t.Operation
	MethodSubnetList   = "subnet.list"        // ListRequest -> List[s4t.Subnet]
	MethodSubnetGet    = "subnet.get"         // RefRequest -> s4t.Subnet
	MethodPortList     = "port.list"          // ListRequest -> List[s4t.Port]
	MethodPortGet      = "port.get"           // RefRequest -> s4t.Port, with counters
	MethodNetworkPorts = "network.ports"      // RefRequest -> List[s4t.Port] of a network, with counters
)

// BridgeCreate is step 2 of the paper's Fig. 3.
type BridgeCreate struct {
	Caller        Caller            `json:"caller"`
	Name          string            `json:"name"`
	Boards        []string          `json:"boards"`          // names or ids, 1 or more
	Fleet         string            `json:"fleet,omitempty"` // name or id: its boards now, besides those that are named
	CIDR          string            `json:"cidr,omitempty"`  // "" chooses one; "none"
	CIDR6         string            `json:"cidr6,omitempty"`
	Layer         int               `json:"layer,omitempty"` // 2 by default
	Encapsulation s4t.Encapsulation `json:"encapsulation,omitempty"`
	MTU           int               `json:"mtu,omitempty"`
	Guards        s4t.PortGuards    `json:"guards"`
	RequireOnline bool              `json:"require_online,omitempty"`

	AllowPublicCIDR bool `json:"allow_public_cidr,omitempty"` // CIDR and CIDR6 may be blocks of the Internet
}

// BridgeChange adds boards to a bridge or removes them.
type BridgeChange struct {
	Caller        Caller         `json:"caller"`
	Ref           string         `json:"ref"`
	Boards        []string       `json:"boards"`
	Fleet         string         `json:"fleet,omitempty"` // name or id: its boards now, besides those that are named
	Guards        s4t.PortGuards `json:"guards"`          // of the added ports
	RequireOnline bool           `json:"require_online,omitempty"`
}

// NetworkGRE attaches a GRE endpoint of the data centre to a network, or takes
// it off: then Remote and Key say which.
type NetworkGRE struct {
	Caller Caller         `json:"caller"`
	Ref    string         `json:"ref"`
	Remote string         `json:"remote"`
	Local  string         `json:"local,omitempty"`
	Key    uint32         `json:"key,omitempty"` // 0: the network's own
	Guards s4t.PortGuards `json:"guards"`        // AllowDHCP, AllowRA and Outward only

	AllowLifted bool `json:"allow_lifted,omitempty"` // though guards of its ports are lifted
}
