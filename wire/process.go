package wire

// MethodProcessBeat is what a process says of itself that others have to be told
// from and that has the API or a conductor, when it starts, every 30 s, and when it
// ends: ProcessBeat -> Empty. Agents beat by themselves ([MethodAgentBeat]).
const MethodProcessBeat = "process.beat"

// Roles of a [ProcessBeat].
const (
	ProcessAPI       = "api"
	ProcessConductor = "conductor"
)

// ProcessBeat says that a process is there.
type ProcessBeat struct {
	Name        string   `json:"name"`
	Roles       []string `json:"roles"`
	Incarnation string   `json:"incarnation"` // new with every start
	Host        string   `json:"host"`        // name of its machine
	URL         string   `json:"url,omitempty"`
	Version     string   `json:"version,omitempty"` // of iotronic
	Load        int64    `json:"load"`              // thousandths of a processor that it took since the beat before
	Ends        bool     `json:"ends,omitempty"`    // this is its last
}
