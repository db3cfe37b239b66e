package bundle

import (
	"time"

	"github.com/stack4things/s4t"
)

// Manifest is what plugin.toml says.
type Manifest struct {
	Name        string         // of the plugin, as its author calls it
	Version     string         // 1 to MaxName characters of a-z A-Z 0-9 . _ + -
	Description string         // one line
	Runtime     s4t.Runtime    //
	Kind        s4t.PluginKind //
	Entry       []string       // path in the bundle, and arguments
	Protocol    string         // of a callable: ProtocolStdio, ProtocolSocket
	Parallel    int            // commands that a callable takes at a time; default 1
	Network     bool           // it asks for the network; the board's owner has the last word
	API         s4t.Role       // it asks to call the API with at most this role: reader, member; empty: not at all
	Pins        []string       // names or globs of the pins that it asks to use as files: "gpio/*/17", "by-name/door"
	Resources   Resources      //
	Health      Health         //
	Commands    []s4t.Command  // by name; Source and Plugin are empty
}

// DefaultProcesses is how many processes and threads a plugin may have whose manifest does not say.
const DefaultProcesses = 64

// How a callable plugin is spoken to.
const (
	ProtocolStdio  = "stdio"
	ProtocolSocket = "socket" // it listens at $S4T_SOCKET
)

// Resources bound a plugin, within the owner's profile. 0: as much as that.
type Resources struct {
	CPU       float64 // processors: 0.25
	Memory    int64   // bytes
	Disk      int64   // bytes of its folder
	Processes int     // 0: DefaultProcesses
}

// Health says when a plugin that runs is well.
type Health struct {
	Command  []string      // run in the plugin's sandbox: exit status 0 is well; none: well while it runs
	Interval time.Duration // default 10 s
	Timeout  time.Duration // default 5 s
	Retries  int           // so many failures in a row are one: it is started again; default 3
	Grace    time.Duration // from its start until it must be well; default 30 s; without a command: it must run so long, default 1 s
}
