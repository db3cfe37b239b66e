package s4t

import "time"

// AgentStatus is whether an agent serves.
type AgentStatus string

// The statuses of an agent.
const (
	AgentOnline   AgentStatus = "online"   // it takes what is new
	AgentDraining AgentStatus = "draining" // it takes nothing new, and what it has moves to others
	AgentDrained  AgentStatus = "drained"  // it has nothing any more that can move
	AgentOffline  AgentStatus = "offline"  // it is silent: what it had moves to others
)

// Agent is a process of the cloud that carries boards' sessions (a WAMP agent), or
// networks, streams and public ports (a tunnel agent).
type Agent struct {
	ID       AgentID     `json:"id"`
	Role     string      `json:"role"` // "wamp-agent" or "tunnel-agent"
	Status   AgentStatus `json:"status"`
	Place    string      `json:"place,omitempty"` // boards with this label "place" prefer it
	URL      string      `json:"url"`
	Version  string      `json:"version,omitempty"` // of iotronic
	Boards   int         `json:"boards"`            // with a session there, or whose streams go through it
	Room     int         `json:"room,omitempty"`    // WAMP agent: boards that it takes at most; tunnel agent: public ports that it has to give
	Networks int         `json:"networks"`
	Services int         `json:"services"` // public ports
	Fixed    int         `json:"fixed"`    // networks that do not move: with an uplink, or a GRE endpoint, on its host
	Lag      int64       `json:"lag"`      // generations of its desired state that it has not applied
	SeenAt   time.Time   `json:"seen_at"`
	Since    time.Time   `json:"since"` // when it was started, as the cloud heard it
}
