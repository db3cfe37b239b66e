package wire

import "time"

// MethodProcessBeat is what a process says of itself that others have to be told
// from, when it starts, every 30 s, and when it ends: ProcessBeat -> Empty. That
// agents are there they say by themselves ([MethodAgentBeat]).
const MethodProcessBeat = "process.beat"

// Roles of a [ProcessBeat], with [AgentWAMP] and [AgentTunnel].
const (
	ProcessAPI       = "api"
	ProcessConductor = "conductor"
)

// ProcessSilent is how long a process may be silent before it is away: two beats may
// be lost.
const ProcessSilent = 75 * time.Second

// ProcessBeat says that a process is there.
type ProcessBeat struct {
	Name        string   `json:"name"` // of an agent its id
	Roles       []string `json:"roles"`
	Incarnation string   `json:"incarnation"` // new with every start
	Host        string   `json:"host"`        // name of its machine
	URL         string   `json:"url,omitempty"`
	Version     string   `json:"version,omitempty"` // of iotronic
	Load        int64    `json:"load"`              // thousandths of a processor that it took since the beat before
	Ends        bool     `json:"ends,omitempty"`    // this is its last

	CertificateUntil time.Time `json:"certificate_until,omitzero"` // when the TLS certificate that it shows ends; absent: it shows none, or is of an older version
}
