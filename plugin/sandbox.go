package plugin

import (
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
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
	Title    string   // what errors call it; default Name
	Argv     []string // required; Argv[0] is a path
	Env      []string // all of its environment
	Dir      string   // its working directory
	UID, GID int      // its user and group; 0: lightning-rod's own
	Groups   []int    // its supplementary groups
	Trusted  bool     // it is the board's owner's: it sees the board as it is, and keeps what its user may do
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
	OOM    bool   // it was killed, whole, because it wanted more memory than there was for it
	Memory int64  // how much that was then, in bytes; 0: there is no limit
}

// String is one clause: "exit status 3", "killed: out of memory, it may have 64 MB".
func (e Exit) String() string {
	switch {
	case e.OOM && e.Memory >= 1<<20:
		return fmt.Sprintf("killed: out of memory, it may have %d MB", e.Memory>>20)
	case e.OOM:
		return "killed: out of memory"
	case e.Signal != "":
		return "killed by " + e.Signal
	}
	return fmt.Sprintf("exit status %d", e.Code)
}

// Used is what a process and its children have used.
type Used struct {
	CPU       time.Duration
	Memory    int64 // bytes, now
	Processes int
}

// What [Sandbox.Enforces] speaks of.
const (
	enforceCPU       = "cpu"
	enforceMemory    = "memory"
	enforceProcesses = "processes"
	enforceDisk      = "disk"
	enforceNetwork   = "network"
	enforceFiles     = "files"
	enforceUser      = "user"
)

// probeUID is the user that the probe of a sandbox becomes: nobody.
const probeUID = 65534

// Sandbox is the place of all guests of a board: it starts them, bounds each and
// all together, and ends them.
type Sandbox struct {
	cfg      SandboxConfig
	group    *group            // of all guests
	enforces map[string]string // by what; not changed after NewSandbox
	exposed  bool              // of tests: guests may be started that could read lightning-rod's files

	// forks are run on one thread that lives as long as the sandbox: the kernel
	// kills a guest when the thread that forked it ends (prctl(2),
	// PR_SET_PDEATHSIG), and Go's threads may end at any time.
	forks  chan func()
	forker sync.WaitGroup

	oom      *oomEvents // of all guests and each; nil: the kernel ends a guest whole by itself, or tells nobody
	watching sync.WaitGroup

	watcher    sync.Once // starts it, with the first guest
	endWatcher func()    // nil: there is none; not changed after the first guest was started

	setting sync.Mutex // held while limits are put into force; taken before mu

	mu       sync.Mutex // guards the fields below
	limits   Limits
	running  map[*Process]bool
	starting sync.WaitGroup
	started  int
	closed   bool
	past     time.Duration // CPU of those that ended
}

// NewSandbox makes the cgroups of all guests, and kills what is left in them of a
// lightning-rod that was killed. It starts the stub once to see what
// this machine can enforce; what it cannot is no error.
func NewSandbox(cfg SandboxConfig) (*Sandbox, error) { return newSandbox(cfg, findHierarchies()) }

func newSandbox(cfg SandboxConfig, h *hierarchies) (*Sandbox, error) {
	const op = "make the sandbox of plugins"
	if cfg.Name == "" || strings.ContainsAny(cfg.Name, "/\n") || len(cfg.Stub) == 0 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "Name and Stub are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sandbox{cfg: cfg, forks: make(chan func()), running: map[*Process]bool{}}
	if err := h.clear(cfg.Name); err != nil {
		cfg.Log.Warn("guests of an earlier run are left", "err", err)
	}
	s.group = h.newGroup(cfg.Name)
	s.group.setWeight()
	s.watchMemory()
	s.forker.Go(s.fork)
	report, err := s.probe()
	if err != nil {
		s.Close()
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "start %q: %w", cfg.Stub[0], err)
	}
	s.enforces = s.group.enforces(report[enforceUser])
	maps.Copy(s.enforces, report)
	s.enforces[enforceDisk] = "rlimit and by looking"
	return s, nil
}

// fork runs what is to be forked, on one thread.
func (s *Sandbox) fork() {
	runtime.LockOSThread()
	for f := range s.forks {
		f()
	}
	runtime.UnlockOSThread()
}

// Enforces says of each limit by what it is kept on this machine ("cgroup v2"),
// or "no: " and why it is not: cpu, memory, processes, disk, network, files, user.
func (s *Sandbox) Enforces() map[string]string { return maps.Clone(s.enforces) }

// SetLimits bounds all guests together, at once, also those that run. Where there is no
// cgroup for a limit, it bounds each guest that is started from now on. Who holds more memory
// than there is from now on is killed, largest first.
func (s *Sandbox) SetLimits(l Limits) error {
	s.setting.Lock()
	defer s.setting.Unlock()
	s.mu.Lock()
	s.limits = l
	s.mu.Unlock()
	running := s.guests()
	// A group may not have more than the one that it is in (v1 refuses it), so
	// those inside give way while the outer one is set.
	for _, p := range running {
		_ = p.group.setCPU(0)
	}
	err := s.group.setLimits(l, func() bool { return killLargest(running) })
	for _, p := range running {
		_ = p.group.setCPU(least(p.spec.Limits.CPU, l.CPU))
	}
	if err != nil {
		return s4t.Errorf(s4t.Unavailable, "limit plugins", "", "%w", err)
	}
	return nil
}

// guests are those that run.
func (s *Sandbox) guests() []*Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.running))
}

// killLargest kills the process that holds the most memory, and says whether there was one.
func killLargest(running []*Process) bool {
	var largest *Process
	var most int64 = -1
	for _, p := range running {
		if !p.ended() {
			if m := p.Used().Memory; m > most {
				largest, most = p, m
			}
		}
	}
	if largest == nil {
		return false
	}
	largest.starved.Store(true)
	largest.Kill()
	return true
}

// least is the smaller of two limits, of which 0 is none.
func least[N int | int64 | float64](a, b N) N {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// within is l, no more than outer.
func (l Limits) within(outer Limits) Limits {
	return Limits{
		CPU:       least(l.CPU, outer.CPU),
		Memory:    least(l.Memory, outer.Memory),
		Processes: least(l.Processes, outer.Processes),
		Disk:      least(l.Disk, outer.Disk),
	}
}

// Used is what all guests have used since the sandbox was made.
func (s *Sandbox) Used() Used {
	s.mu.Lock()
	u := Used{CPU: s.past}
	running := slices.Collect(maps.Keys(s.running)) // in the same moment
	s.mu.Unlock()
	for _, p := range running {
		one := p.Used()
		u.CPU += one.CPU
		u.Memory += one.Memory
		u.Processes += one.Processes
	}
	return u
}

// Clear kills and removes what a lightning-rod that was killed has left in the cgroups of a sandbox.
func Clear(name string) error {
	if err := findHierarchies().clear(name); err != nil {
		return s4t.Errorf(s4t.Internal, "clear the sandbox of plugins", "", "%w", err)
	}
	return nil
}

// Close kills all guests and removes the cgroups. Nothing can be started after it.
func (s *Sandbox) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	s.mu.Unlock()
	s.starting.Wait()
	running := s.guests()
	for _, p := range running {
		p.signalAll(killSignal)
	}
	for _, p := range running {
		<-p.done
	}
	if s.endWatcher != nil {
		s.endWatcher()
	}
	close(s.forks)
	s.forker.Wait()
	if s.oom != nil {
		s.oom.f.Close()
	}
	s.watching.Wait()
	if err := s.group.remove(); err != nil {
		return s4t.Errorf(s4t.Internal, "close the sandbox of plugins", "", "%w", err)
	}
	return nil
}
