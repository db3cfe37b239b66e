package wire

import (
	"github.com/stack4things/s4t"
)

// Methods of the conductor: for both kinds of agents.
const (
	MethodAgentHello   = "agent.hello"    // AgentHello -> AgentWelcome: an agent starts, or lost its queue
	MethodAgentBeat    = "agent.beat"     // AgentBeat (cast), every 5 s
	MethodTunnelAsk    = "tunnel.desired" // TunnelAsk -> TunnelDesired
	MethodTunnelReport = "tunnel.report"  // TunnelReport (cast): what the tunnel agent has
	MethodTunnelEvent  = "tunnel.event"   // TunnelEvent (cast): "port.loop" and the like
)

// Kinds of agents.
const (
	AgentWAMP   = "wamp-agent"
	AgentTunnel = "tunnel-agent"
)

// AgentHello says that an agent is there. A new incarnation has forgotten all
// sessions and ports of the one before.
type AgentHello struct {
	ID          s4t.AgentID `json:"id"`
	Kind        string      `json:"kind"`
	Incarnation string      `json:"incarnation"`
	URL         string      `json:"url"`                    // that boards and users reach it at: https://host:port
	Host        string      `json:"host,omitempty"`         // tunnel agent: host of public ports, as users are told it
	PublicPorts string      `json:"public_ports,omitempty"` // tunnel agent: "50000-60000"
}

// AgentWelcome answers it.
type AgentWelcome struct {
	TicketKey []byte `json:"ticket_key"` // Ed25519 public key that signs tickets
}

// AgentBeat says that an agent is still there.
type AgentBeat struct {
	ID          s4t.AgentID `json:"id"`
	Incarnation string      `json:"incarnation"`
}

// TunnelAsk asks for the whole state a tunnel agent should have.
type TunnelAsk struct {
	Agent s4t.AgentID `json:"agent"`
}

// TunnelDesired is that state.
type TunnelDesired struct {
	Generation int64            `json:"generation"`
	Networks   []TunnelNetwork  `json:"networks"`
	Exposures  []TunnelExposure `json:"exposures"`
	Boards     []s4t.BoardID    `json:"boards"` // that may have rtunnels for streams here; nil: not said

	Weights map[s4t.ProjectID]int `json:"weights,omitempty"` // of projects with ports here; one that is not listed has 1
}

// TunnelNetwork is a switch.
type TunnelNetwork struct {
	ID            s4t.NetworkID     `json:"id"`
	Layer         int               `json:"layer"`
	Encapsulation s4t.Encapsulation `json:"encapsulation"`
	MTU           int               `json:"mtu"`
	Key           uint32            `json:"key"`
	Ports         []TunnelPort      `json:"ports"`
	AttachGRE     []GREAttachment   `json:"attach_gre,omitempty"`
	Uplink        string            `json:"uplink,omitempty"` // name of a Linux bridge of the cloud host
	UplinkGuards  s4t.PortGuards    `json:"uplink_guards,omitzero"`
}

// TunnelPort is the cloud half of a port.
type TunnelPort struct {
	ID        s4t.PortID     `json:"id"`
	Board     s4t.BoardID    `json:"board"`
	Project   s4t.ProjectID  `json:"project"`
	MAC       string         `json:"mac,omitempty"`
	Addresses []string       `json:"addresses"`
	Guards    s4t.PortGuards `json:"guards"`
	GRE       *s4t.PortGRE   `json:"gre,omitempty"`
}

// GREAttachment is a GRE endpoint of the data centre on a network.
type GREAttachment struct {
	ID     s4t.EndpointID `json:"id"`
	Remote string         `json:"remote"`
	Local  string         `json:"local,omitempty"`
	Key    uint32         `json:"key"`
	Guards s4t.PortGuards `json:"guards"`
}

// TunnelExposure is a public port. Its ticket (PurposeService) goes with every
// stream, and the board checks it against its own desired state.
type TunnelExposure struct {
	ID         s4t.ServiceID `json:"id"`
	Board      s4t.BoardID   `json:"board"`
	PublicPort int           `json:"public_port"`
	Ticket     string        `json:"ticket"`
}

// TunnelReport is what the tunnel agent has. Ports and Exposures are whole
// lists of what is up; Streams are the boards with an idle data rtunnel.
type TunnelReport struct {
	Agent       s4t.AgentID       `json:"agent"`
	Incarnation string            `json:"incarnation"`
	Generation  int64             `json:"generation"`    // applied
	Seq         uint64            `json:"seq,omitempty"` // grows with each report of an incarnation: one that arrives late is dropped; 0 is never late
	Ports       []s4t.PortID      `json:"ports"`
	Exposures   []s4t.ServiceID   `json:"exposures"`
	Streams     []s4t.BoardID     `json:"streams"`
	Endpoints   []s4t.EndpointID  `json:"endpoints,omitempty"` // of GRE that are attached; a whole list too
	Uplinks     []s4t.NetworkID   `json:"uplinks,omitempty"`   // networks that are in their Linux bridge; a whole list too
	Problems    map[string]string `json:"problems,omitempty"`  // port, service or endpoint id -> what stands in the way
}

// TunnelEvent is something that only the data path sees.
type TunnelEvent struct {
	Agent  s4t.AgentID `json:"agent"`
	Kind   string      `json:"kind"` // "port.loop"
	Port   s4t.PortID  `json:"port,omitempty"`
	Board  s4t.BoardID `json:"board,omitempty"`
	Detail string      `json:"detail"`
}

// Methods of the tunnel agent.
const (
	MethodAgentWake    = "agent.wake"    // AgentWake (cast): a new generation
	MethodPortCounters = "port.counters" // PortCountersAsk -> s4t.PortCounters
)

// AgentWake is only a wake-up.
type AgentWake struct {
	Generation int64 `json:"generation"`
}

// PortCountersAsk asks for the counters of a port; with the id of a network,
// for those of its uplink.
type PortCountersAsk struct {
	Port s4t.PortID `json:"port"`
}
