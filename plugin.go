package s4t

import (
	"encoding/json"
	"time"
)

// Bounds of plugins.
const (
	MaxBundle         = 256 << 20 // bytes of a bundle, packed
	MaxBundleUnpacked = 1 << 30   // bytes of it, unpacked
	MaxBundleFiles    = 20_000    // files and folders in it
	MaxPlugins        = 64        // on one board
	MaxVersions       = 100       // kept of one plugin
	MaxParams         = 64        // parameters that a plugin is injected with
	MaxParamsText     = 16 << 10  // bytes of their names and values together
)

// PluginID names a plugin of a project for ever.
type PluginID string

// Runtime is what runs the entry of a plugin.
type Runtime string

// The runtimes.
const (
	RuntimeExec   Runtime = "exec"   // a static binary, or a script with a shebang
	RuntimePython Runtime = "python" // the board's python3
	RuntimeWASI   Runtime = "wasi"   // a WASI preview 1 module
)

// PluginKind is what is expected of the process of a plugin.
type PluginKind string

// The kinds.
const (
	PluginService  PluginKind = "service"  // runs for ever: it is started again when it ends
	PluginJob      PluginKind = "job"      // runs until it is done
	PluginCallable PluginKind = "callable" // a service that answers commands
)

// Plugin is code that a project may put on boards.
type Plugin struct {
	ID        PluginID        `json:"id"`
	Name      string          `json:"name"`
	Project   ProjectID       `json:"project"`
	Version   string          `json:"version"` // the newest
	Runtime   Runtime         `json:"runtime"` // of the newest
	Kind      PluginKind      `json:"kind"`    // of the newest
	Commands  []Command       `json:"commands,omitempty"`
	Versions  []PluginVersion `json:"versions"` // newest first
	Boards    int             `json:"boards"`   // that have it
	CreatedAt time.Time       `json:"created_at"`
}

// PluginVersion is a bundle of a plugin.
type PluginVersion struct {
	Version   string    `json:"version"`
	Digest    string    `json:"digest"` // SHA-256 of the packed bundle, hex
	Size      int64     `json:"size"`   // bytes of it
	Key       string    `json:"key"`    // Ed25519 public key that signed it: base64
	CreatedAt time.Time `json:"created_at"`
}

// States of a plugin on a board.
const (
	PluginPending  = "pending"  // the board has not said anything of it yet: it is away, or about to
	PluginFetching = "fetching" // its bundle is on the way
	PluginStarting = "starting" // it runs, and is not healthy yet
	PluginRunning  = "running"
	PluginWaiting  = "waiting" // it ended, and is started again after a while
	PluginDone     = "done"    // a job that ended well
	PluginFailed   = "failed"  // it is not tried again until it is started, or changed
	PluginStopped  = "stopped"
)

// BoardPlugin is a plugin on a board.
type BoardPlugin struct {
	ID        string            `json:"id"`
	Board     string            `json:"board"` // name
	BoardID   BoardID           `json:"board_id"`
	Plugin    string            `json:"plugin"` // name
	PluginID  PluginID          `json:"plugin_id"`
	Project   ProjectID         `json:"project"`
	Version   string            `json:"version"` // that is wanted
	OnBoot    bool              `json:"onboot"`
	Wanted    string            `json:"wanted"` // running, stopped
	Params    map[string]string `json:"params,omitempty"`
	CreatedAt time.Time         `json:"created_at"`

	PluginState
}

// PluginState is what a board says of a plugin that it has.
type PluginState struct {
	State     string     `json:"state"`             // PluginPending ...
	Running   string     `json:"running,omitempty"` // the version that runs, where it is not the one that is wanted
	PID       int        `json:"pid,omitempty"`
	Since     *time.Time `json:"since,omitempty"` // it is in this state
	Restarts  int        `json:"restarts"`        // since it was started by somebody
	Exit      string     `json:"exit,omitempty"`  // how it ended last: "exit status 3", "killed: out of memory, it may have 64 MB"
	Health    string     `json:"health,omitempty"`
	CPU       float64    `json:"cpu_seconds"`
	Memory    int64      `json:"memory_bytes"`
	Disk      int64      `json:"disk_bytes"`        // of its folder
	Fetched   int64      `json:"fetched,omitempty"` // bytes of the bundle that are there, while it is on the way
	Problem   string     `json:"problem,omitempty"`
	Unlimited []string   `json:"unlimited,omitempty"` // limits that this board cannot enforce, one line each
}

// LogLine is a line that a plugin wrote.
type LogLine struct {
	Seq    uint64    `json:"seq"` // counts the lines of the plugin; a gap is what was lost
	At     time.Time `json:"at"`
	Stream string    `json:"stream"` // stdout, stderr; "agent": lightning-rod speaks of the plugin
	Text   string    `json:"text"`
}

// Command is something that a board does when it is told to, and a REST
// resource.
type Command struct {
	Name        string          `json:"name"`
	Board       string          `json:"board,omitempty"` // name
	BoardID     BoardID         `json:"board_id,omitempty"`
	Source      string          `json:"source,omitempty"` // CommandOfPlugin, CommandOfOwner
	Plugin      string          `json:"plugin,omitempty"`
	Description string          `json:"description,omitempty"`
	Params      json.RawMessage `json:"params,omitempty"` // JSON Schema of an object; absent: it takes none
	Result      json.RawMessage `json:"result,omitempty"` // JSON Schema; absent: anything
	Timeout     string          `json:"timeout"`          // "30s"
	Stream      bool            `json:"stream,omitempty"` // it says something while it runs
}

// Sources of a command.
const (
	CommandOfPlugin = "plugin"
	CommandOfOwner  = "owner"
)
