package s4t

import (
	"net/netip"
	"time"
)

// Network is an isolated segment across boards.
type Network struct {
	ID            NetworkID     `json:"id"`
	Name          string        `json:"name"`
	Project       ProjectID     `json:"project"`
	Layer         int           `json:"layer"`         // 2 or 3
	Encapsulation Encapsulation `json:"encapsulation"` //
	MTU           int           `json:"mtu"`           // bytes of an IP packet
	Key           uint32        `json:"key"`           // GRE key (RFC 2890); unique per cloud
	TunnelAgent   AgentID       `json:"tunnel_agent"`  // where its switch runs
	Subnets       []Subnet      `json:"subnets"`
	AttachGRE     []GREEndpoint `json:"attach_gre,omitempty"` // of the data centre
	Uplink        *Uplink       `json:"uplink,omitempty"`     // to a Linux bridge of the cloud host
	CreatedAt     time.Time     `json:"created_at"`

	// Where one network is shown: all tunnel agents that it is at, where these are
	// several, and which of them do not reach each other, for people.
	TunnelAgents []AgentID `json:"tunnel_agents,omitempty"`
	Problems     []string  `json:"problems,omitempty"`
}

// Encapsulation says how frames travel inside a data rtunnel.
type Encapsulation string

// The encapsulations of a network.
const (
	EncapEthernet Encapsulation = "ethernet" // as they are (layer 3: IP packets as they are)
	EncapGRE      Encapsulation = "gre"      // Ethernet in GRE in IP between tunnel addresses: the paper's layering
)

// Subnet is an address block of a network.
type Subnet struct {
	ID      SubnetID     `json:"id"`
	Network NetworkID    `json:"network"`
	Project ProjectID    `json:"project"`
	CIDR    netip.Prefix `json:"cidr"`
}

// MTU bounds of a network: 576 is what IPv4 hosts must accept (RFC 791), 9000
// the usual jumbo frame.
const (
	MinMTU     = 576
	MaxMTU     = 9000
	DefaultMTU = 1500
)

// GREEndpoint is a GRE endpoint of the data centre on a layer-2 network: a
// VM's gretap, a router. The tunnel agent exchanges Ethernet in GRE in IPv4
// with it (RFC 2784, RFC 2890, protocol type 0x6558), always with a key.
type GREEndpoint struct {
	ID      EndpointID `json:"id"`
	Remote  string     `json:"remote"`          // its IPv4 address
	Local   string     `json:"local,omitempty"` // IPv4 address of the cloud host; empty: the one the route to Remote has
	Key     uint32     `json:"key"`             // the network's own by default
	Guards  PortGuards `json:"guards"`          // AllowAnySource always; Outward is of what goes there
	Status  PortStatus `json:"status"`          // up: the tunnel agent listens and sends; GRE has no notion of a peer being there
	Problem string     `json:"problem,omitempty"`
}

// MaxGREEndpoints bounds the endpoints of a network.
const MaxGREEndpoints = 16
