package wire

import (
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// Methods of the conductor: for both kinds of agents.
const (
	MethodAgentHello   = "agent.hello"    // AgentHello -> AgentWelcome: an agent starts, or lost its queue
	MethodAgentBeat    = "agent.beat"     // AgentBeat -> AgentLease, every 5 s
	MethodAgentsCame   = "agent.came"     // a fan-out to all conductors: another WAMP agent is there
	MethodTunnelAsk    = "tunnel.desired" // TunnelAsk -> TunnelDesired
	MethodTunnelReport = "tunnel.report"  // TunnelReport -> TunnelReported: what the tunnel agent has
	MethodTunnelTicket = "tunnel.ticket"  // TunnelTicketAsk -> TunnelTicket: to dial another tunnel agent
	MethodTunnelEvent  = "tunnel.event"   // TunnelEvent (cast): "port.loop" and the like
)

// Methods of the conductor: agents, for admins.
const (
	MethodAgentsList  = "agents.list"  // ListRequest -> List[s4t.Agent]
	MethodAgentsGet   = "agents.get"   // RefRequest -> s4t.Agent
	MethodAgentsDrain = "agents.drain" // AgentDrain -> s4t.Agent
)

// MethodAgentsReach of the conductor: AgentsReach -> AgentsAt, for an API process, which tells
// browsers what addresses its pages may connect to.
const MethodAgentsReach = "agents.reach"

// AgentsReach asks, without a caller, where tunnel agents are reached: boards and users are told
// with each ticket.
type AgentsReach struct{}

// MaxAgentsAt bounds the URLs of an [AgentsAt].
const MaxAgentsAt = 64

// AgentsAt answers it.
type AgentsAt struct {
	URLs []string `json:"urls"` // those of agents that are there first
}

// AgentDrain has an agent give up what it has, or take it back.
type AgentDrain struct {
	Caller Caller `json:"caller"`
	Ref    string `json:"ref"`
	Drain  bool   `json:"drain"`
}

// Kinds of agents.
const (
	AgentWAMP   = "wamp-agent"
	AgentTunnel = "tunnel-agent"
)

// AgentHello says that an agent is there. A new incarnation has forgotten all
// sessions and ports of the one before, and takes its place.
type AgentHello struct {
	ID          s4t.AgentID   `json:"id"`
	Kind        string        `json:"kind"`
	Incarnation string        `json:"incarnation"`
	URL         string        `json:"url"`                   // that boards and users reach it at: https://host:port
	Host        string        `json:"host,omitempty"`        // tunnel agent: host of public ports, as users are told it
	PublicPorts s4t.PortRange `json:"public_ports,omitzero"` // tunnel agent: "50000-60000"
	Place       string        `json:"place,omitempty"`       // where it is, as its operator calls it: boards of that place prefer it
	Version     string        `json:"version,omitempty"`     // of iotronic
	Peers       bool          `json:"peers,omitempty"`       // tunnel agent: it can be at a network together with others
}

// AgentWelcome answers it.
type AgentWelcome struct {
	TicketKey []byte        `json:"ticket_key"` // Ed25519 public key that signs tickets
	Lease     time.Duration `json:"lease"`      // see AgentLease
}

// AgentBeat says that an agent is still there. It is a Conflict where another
// incarnation has taken its place, for good, and Unavailable where the agent
// has to say hello first.
type AgentBeat struct {
	ID          s4t.AgentID `json:"id"`
	Incarnation string      `json:"incarnation"`
	Use         []Use       `json:"use,omitempty"` // what has changed since the beat that was answered last; at most [MaxPage]
}

// Use is how much of a quota a project uses at one agent now.
type Use struct {
	Project s4t.ProjectID `json:"project"`
	Key     s4t.QuotaKey  `json:"key"`
	Used    int64         `json:"used"`
}

// AgentLease answers it: for so long, counted from when the beat was sent, the
// agent may serve without being heard again.
type AgentLease struct {
	Lease time.Duration `json:"lease"`

	// Elsewhere are, for a WAMP agent that is drained, those that its boards are to
	// go to: each gets so many of them as its weight is of all weights.
	Elsewhere []Elsewhere `json:"elsewhere,omitempty"`
}

// Elsewhere is a WAMP agent that has room for boards of another.
type Elsewhere struct {
	URL    string `json:"url"`
	Weight int    `json:"weight"`
}

// TunnelAsk asks for what has changed in the state that a tunnel agent should
// have since a generation that it has; since 0 for all of it.
type TunnelAsk struct {
	Agent       s4t.AgentID `json:"agent"`
	Incarnation string      `json:"incarnation"`
	Since       int64       `json:"since"`
	After       string      `json:"after,omitempty"` // Next of the answer before
}

// TunnelDesired answers it, in pages of at most [MaxPage] resources in the
// order in which they changed. Generation is the newest when this page was
// read. With the last page (Next is empty) the agent has that generation: its
// resources have the sum Sum, and where they do not, it asks for all. Whole is
// set where the answer begins anew, whatever was asked: what is not listed from
// the first page to the last is not wanted.
type TunnelDesired struct {
	Generation int64      `json:"generation"`
	Whole      bool       `json:"whole,omitempty"`
	Resources  []Resource `json:"resources"`
	Next       string     `json:"next,omitempty"`
	Sum        Sum        `json:"sum"`
}

// TunnelNetwork is a switch.
type TunnelNetwork struct {
	Layer         int               `json:"layer"`
	Encapsulation s4t.Encapsulation `json:"encapsulation"`
	MTU           int               `json:"mtu"`
	Key           uint32            `json:"key"`
	Project       s4t.ProjectID     `json:"project"`
	Weight        int               `json:"weight"` // of the project, beside others on a busy agent

	Outward bool `json:"outward,omitempty"` // others' machines are on it, at this tunnel agent or another
}

// TunnelPeer is the other end of a peering: a tunnel agent where the network is, too.
type TunnelPeer struct {
	Network s4t.NetworkID `json:"network"`
	Agent   s4t.AgentID   `json:"agent"`
	URL     string        `json:"url"`
	Dial    bool          `json:"dial,omitempty"` // this end dials
}

// PeeringID is the id of a network's peering of two tunnel agents. Whose id is lower
// dials.
func PeeringID(network s4t.NetworkID, a, b s4t.AgentID) string {
	return string(network) + "/" + string(min(a, b)) + "/" + string(max(a, b))
}

// PeeringNetwork is the network of an id of [PeeringID].
func PeeringNetwork(id string) s4t.NetworkID {
	network, _, _ := strings.Cut(id, "/")
	return s4t.NetworkID(network)
}

// TunnelTicketAsk asks for a ticket for a peering of which the agent is the end that
// dials.
type TunnelTicketAsk struct {
	Agent       s4t.AgentID `json:"agent"`
	Incarnation string      `json:"incarnation"`
	Peering     string      `json:"peering"`
}

// TunnelTicket answers it.
type TunnelTicket struct {
	Ticket string `json:"ticket"`
}

// TunnelStreams says whose streams those of a board are, and how many the
// project may have open at this agent. The ID of the resource is the board.
type TunnelStreams struct {
	Project s4t.ProjectID `json:"project"`
	Limit   int64         `json:"limit"` // s4t.QuotaStreams of the project

	// Leases are those by which others have streams of the board, and until when, in
	// microseconds since 1970: what is open by one that is not there, or over, ends.
	Leases map[s4t.LeaseID]int64 `json:"leases,omitempty"`

	// Lessees are the projects for which streams by those leases count, where it is another than the
	// board's own.
	Lessees map[s4t.LeaseID]Lessee `json:"lessees,omitempty"`
}

// Lessee is who has streams by a lease.
type Lessee struct {
	Project s4t.ProjectID `json:"project"`
	Limit   int64         `json:"limit"` // s4t.QuotaStreams of it
}

// TunnelPort is the cloud half of a port.
type TunnelPort struct {
	Network   s4t.NetworkID  `json:"network"`
	Board     s4t.BoardID    `json:"board"`
	Project   s4t.ProjectID  `json:"project"`
	MAC       string         `json:"mac,omitempty"`
	Addresses []string       `json:"addresses"`
	Guards    s4t.PortGuards `json:"guards"`
	GRE       *s4t.PortGRE   `json:"gre,omitempty"`

	// While the board moves from one tunnel agent to another, both have its port: so
	// that it gets once what goes to all, the one knows that it leaves, the other
	// whom it leaves.
	Leaving bool        `json:"leaving,omitempty"`
	Twin    s4t.AgentID `json:"twin,omitempty"`
}

// GREAttachment is a GRE endpoint of the data centre on a network.
type GREAttachment struct {
	Network s4t.NetworkID  `json:"network"`
	Remote  string         `json:"remote"`
	Local   string         `json:"local,omitempty"`
	Key     uint32         `json:"key"`
	Guards  s4t.PortGuards `json:"guards"`
}

// TunnelUplink puts the network of its ID into a Linux bridge of the cloud
// host. The guards are of what comes from the bridge, Guards.Outward of what
// goes there.
type TunnelUplink struct {
	Bridge string         `json:"bridge"`
	Guards s4t.PortGuards `json:"guards"`
}

// TunnelExposure is a public port. Its ticket (PurposeService) goes with every
// stream, and the board checks it against its own desired state.
type TunnelExposure struct {
	Board      s4t.BoardID `json:"board"`
	PublicPort int         `json:"public_port"`
	Ticket     string      `json:"ticket"`
	Lease      s4t.LeaseID `json:"lease,omitempty"` // by which it is exposed; empty: it is of the board's own project
}

// TunnelReport is what has changed in what the tunnel agent has, since what
// the conductor answered to last; at most [MaxPage] states. Seq grows with each
// report of an incarnation: one that arrives late is dropped. With Range it
// lists all it has to say between two keys instead: what is not listed there is
// not up. Sum is that of all states, and is compared where Generation is the
// newest and More is false.
type TunnelReport struct {
	Agent       s4t.AgentID     `json:"agent"`
	Incarnation string          `json:"incarnation"`
	Seq         int64           `json:"seq"`
	Generation  int64           `json:"generation"` // applied
	States      []ResourceState `json:"states"`
	Range       *KeyRange       `json:"range,omitempty"`
	More        bool            `json:"more,omitempty"` // another one follows at once
	Sum         Sum             `json:"sum"`
}

// KeyRange is what lies after one key, up to and with another; a zero key is
// no bound.
type KeyRange struct {
	After ResourceKey `json:"after"`
	UpTo  ResourceKey `json:"up_to"`
}

// TunnelReported answers it. Whole asks for all states, in ranges: the sums
// differ.
type TunnelReported struct {
	Whole bool `json:"whole,omitempty"`
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
