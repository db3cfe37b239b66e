package plugin

import (
	"log/slog"
	"os"
	"time"
)

// Limits bound a process and all its children, or all guests together. 0 is no limit.
type Limits struct {
	CPU       float64 // processors: 0.25
	Memory    int64   // bytes, swap included
	Processes int     // and threads
	Disk      int64   // bytes in its folder; where the kernel cannot say so, whoever starts it looks
}

// SandboxConfig configures a [Sandbox].
type SandboxConfig struct {
	Name string       // required: of the cgroup that all guests share, unique on the machine: "lightning-rod-<board id>"
	Stub []string     // required: the command that becomes the guest: lightning-rod's own "plugin-exec"
	Log  *slog.Logger // optional
}

// Spec says what is run, and what it gets. What is not named here it does not get.
type Spec struct {
	Name     string   // of its cgroup: unique among those that run
	Argv     []string // required; Argv[0] is a path
	Env      []string // all of its environment
	Dir      string   // its working directory
	UID, GID int      // its user and group; 0: lightning-rod's own
	Limits   Limits
	Network  bool     // it sees the board's network; false: none, not even loopback
	Read     []string // paths that it may read and execute, besides the system's
	Write    []string // paths that it may change
	Stdin    *os.File // nil: nothing
	Stdout   *os.File // nil: discarded
	Stderr   *os.File
}

// Exit is how a process ended.
type Exit struct {
	Code   int    // exit status; -1: by a signal
	Signal string // "SIGKILL"
	OOM    bool   // the kernel killed it for want of memory
}

// Used is what a process and its children have used.
type Used struct {
	CPU       time.Duration
	Memory    int64 // bytes, now
	Processes int
}
