package plugin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin/bundle"
)

// Wanted is a plugin that the board should have.
type Wanted struct {
	ID             string // names it for ever; a file name
	Name           string // unique on the board
	Version        string
	Digest         string // SHA-256 of its bundle, hex
	Size           int64
	Key, Signature []byte // Ed25519, of the digest: bundle.Sign
	Params         map[string]string
	OnBoot         bool  // it is started when lightning-rod starts, too
	Running        bool  //
	Start          int64 // grows with each time that somebody starts it anew
	Project        string
}

// same reports whether as much is wanted of a plugin.
func (w Wanted) same(was Wanted) bool {
	return w.Digest == was.Digest && w.Version == was.Version && w.Start == was.Start && w.Running == was.Running && w.OnBoot == was.OnBoot &&
		bytes.Equal(w.Key, was.Key) && bytes.Equal(w.Signature, was.Signature) && maps.Equal(w.Params, was.Params)
}

// State is how a plugin is.
type State struct {
	s4t.PluginState
	Up        bool   // what is wanted of it is so
	ProblemID string // of a wire.Diagnosis
	Settled   bool   // nothing is on the way: it stays so until something happens to it
}

// ManagerConfig configures a [Manager].
type ManagerConfig struct {
	Dir     string   // required: where bundles, their data and logs are kept
	Sandbox *Sandbox // required: what starts guests
	Sockets string   // a folder with a short path, for the sockets of plugins; default in Dir
	Self    []string // lightning-rod's own command, to which "plugin-host" is added; nil: there is no WASI

	Keys         [][]byte // Ed25519 keys whose bundles are taken; none: any
	AllowNetwork bool     // plugins that ask for the network get it

	// Fetch appends what is missing of a bundle to part, which is as long as what is
	// there. It says how much is there as it grows. An error is a reason to try again.
	Fetch func(ctx context.Context, w Wanted, part *os.File, progress func(n int64)) error

	// Prepare is called before each start, and says what the plugin gets besides.
	// dir is a folder for it that the plugin can read and cannot change; release is
	// called when the plugin has ended. Optional.
	Prepare func(id string, m bundle.Manifest, dir string, uid int) (env, read, write []string, release func(), err error)

	Limits func() Limits                     // of the owner's profile; only Disk is looked at. Optional
	Ended  func(w Wanted, used Used)         // called when a process of a plugin has ended, with all that it used. Optional
	Taken  func(command string) (who string) // who else has a command of that name; "": nobody. Optional
	Log    *slog.Logger                      // optional
}

// Manager has the plugins that its board should have: it fetches and checks their
// bundles, runs them, looks after them, and takes them away.
type Manager struct {
	cfg      ManagerConfig
	start    func(Spec) (process, error)
	enforces func() map[string]string
	runtimes map[string]string
	python   string // path
	root     bool   // guests get users of their own

	mu      sync.Mutex // guards the fields below
	guests  map[string]*guest
	changed chan struct{} // closed when a state is another
	paused  bool
	ctx     context.Context // of Run; nil: it does not run yet, or not any more
	running sync.WaitGroup
	users   map[string]int // of plugins, by ID
	ended   bool
}

// NewManager returns a Manager that does nothing until Run.
func NewManager(cfg ManagerConfig) (*Manager, error) {
	if cfg.Sandbox == nil {
		return nil, s4t.Errorf(s4t.Invalid, "make the manager of plugins", "", "Dir, Sandbox and Fetch are required")
	}
	return newManager(cfg, func(s Spec) (process, error) {
		p, err := cfg.Sandbox.Start(s)
		if err != nil {
			return nil, err // no *Process that is nil in an interface that is not
		}
		return p, nil
	}, cfg.Sandbox.Enforces)
}

func newManager(cfg ManagerConfig, start func(Spec) (process, error), enforces func() map[string]string) (*Manager, error) {
	if cfg.Dir == "" || cfg.Fetch == nil {
		return nil, s4t.Errorf(s4t.Invalid, "make the manager of plugins", "", "Dir, Sandbox and Fetch are required")
	}
	dir, err := filepath.Abs(cfg.Dir)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "make the manager of plugins", "", "%w", err)
	}
	cfg.Dir = dir
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Ended == nil {
		cfg.Ended = func(Wanted, Used) {}
	}
	if cfg.Limits == nil {
		cfg.Limits = func() Limits { return Limits{} }
	}
	m := &Manager{
		cfg: cfg, start: start, enforces: enforces, root: os.Geteuid() == 0 && !strings.HasPrefix(enforces()["user"], "no: "),
		guests: map[string]*guest{}, users: map[string]int{}, changed: make(chan struct{}),
	}
	m.runtimes, m.python = findRuntimes(cfg.Self)
	return m, nil
}

// Run looks after the plugins until ctx ends; then it ends them, and returns nil.
func (m *Manager) Run(ctx context.Context) error {
	if err := m.prepare(); err != nil {
		return err
	}
	m.mu.Lock()
	m.ctx = ctx
	for _, g := range m.guests {
		m.running.Go(func() { g.run(ctx) })
	}
	m.mu.Unlock()
	<-ctx.Done()
	m.mu.Lock()
	m.ctx, m.ended = nil, true
	guests := m.all()
	m.mu.Unlock()
	m.running.Wait()
	for _, g := range guests {
		g.log.close()
	}
	return nil
}

// prepare makes the folder of all plugins. Guests with users of their own come
// through it, and through the state directory that it is in, but cannot list them.
func (m *Manager) prepare() error {
	const op = "make the folder of plugins"
	if err := os.MkdirAll(m.cfg.Dir, 0o711); err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	if !m.root {
		return nil
	}
	entries, _ := os.ReadDir(m.cfg.Dir)
	for _, e := range entries {
		text, err := readUpTo(filepath.Join(m.cfg.Dir, e.Name(), stateFile), maxStateFile)
		if k, perr := parseKept(text); err == nil && perr == nil && k.UID != 0 {
			m.users[e.Name()] = k.UID
		}
	}
	for _, dir := range []string{m.cfg.Dir, filepath.Dir(m.cfg.Dir)} {
		info, err := os.Stat(dir)
		if err != nil {
			return s4t.Errorf(s4t.Internal, op, "", "%w", err)
		}
		if mode := info.Mode().Perm(); mode&0o011 != 0o011 {
			if err := os.Chmod(dir, mode|0o011); err != nil {
				return s4t.Errorf(s4t.Internal, op, "", "%w", err)
			}
		}
	}
	return nil
}

// Set says which plugins the board should have. Others are ended, and taken away with
// all that they kept, also those that an earlier lightning-rod left. It does not wait.
func (m *Manager) Set(want []Wanted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ended {
		return
	}
	wanted := map[string]bool{}
	for _, w := range want {
		if !validID(w.ID) {
			m.cfg.Log.Error("a plugin without a name that can be kept is left out", "plugin", s4t.Line(w.Name, s4t.MaxName))
			continue
		}
		wanted[w.ID] = true
		if g := m.guests[w.ID]; g != nil {
			g.set(w)
			continue
		}
		m.add(w)
	}
	for id, g := range m.guests {
		if !wanted[id] {
			g.leave()
		}
	}
	entries, _ := os.ReadDir(m.cfg.Dir)
	for _, e := range entries {
		if m.guests[e.Name()] == nil && e.IsDir() && validID(e.Name()) {
			os.RemoveAll(filepath.Join(m.cfg.Dir, e.Name()))
		}
	}
}

// add begins to look after a plugin. The caller has mu.
func (m *Manager) add(w Wanted) {
	g := newGuest(m, w)
	m.guests[w.ID] = g
	if ctx := m.ctx; ctx != nil {
		m.running.Go(func() { g.run(ctx) })
	}
}

// validID reports whether an ID may be the name of a folder.
func validID(id string) bool {
	return id != "" && len(id) <= s4t.MaxName && s4t.ValidCommandName(id) == nil
}

// drop forgets a guest that has left. It is called at the end of its goroutine.
func (m *Manager) drop(g *guest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	g.mu.Lock()
	gone, again := g.gone, g.again
	g.mu.Unlock()
	if gone {
		delete(m.guests, g.id)
		delete(m.users, g.id)
	}
	if again != nil && m.ctx != nil {
		m.add(*again)
	}
	m.tell()
}

// tell says that a state is another. The caller has mu.
func (m *Manager) tell() {
	close(m.changed)
	m.changed = make(chan struct{})
}

// Changed returns a channel that is closed when a state, or a command, is another
// than it is now.
func (m *Manager) Changed() <-chan struct{} {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.changed
}

// Pause ends all plugins, with TERM first, and starts none until it is over; then
// those are started again that should run. It does not wait.
func (m *Manager) Pause(on bool) {
	m.mu.Lock()
	m.paused = on
	guests := m.all()
	m.mu.Unlock()
	for _, g := range guests {
		g.wake()
	}
}

func (m *Manager) isPaused() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.paused
}

// all returns the guests by name. The caller has mu.
func (m *Manager) all() []*guest {
	list := make([]*guest, 0, len(m.guests))
	for _, g := range m.guests {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *guest) int { return strings.Compare(a.name(), b.name()) })
	return list
}

func (m *Manager) list() []*guest {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.all()
}

// States returns how each plugin is, by ID.
func (m *Manager) States() map[string]State {
	states := map[string]State{}
	for _, g := range m.list() {
		states[g.id] = g.state()
	}
	return states
}

// Commands returns the commands of the callable plugins that run and are well, by name.
func (m *Manager) Commands() []s4t.Command {
	list := []s4t.Command{}
	for _, g := range m.list() {
		r := g.well()
		if r == nil || r.talk == nil {
			continue
		}
		for _, c := range r.manifest.Commands {
			c.Source, c.Plugin = s4t.CommandOfPlugin, g.name()
			list = append(list, c)
		}
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	return list
}

// Call runs a command of a plugin and returns its result. What the plugin says
// meanwhile goes to output, which must not block, and is not called after Call has
// returned. When ctx ends the plugin is told to end the call; where it does not, it is
// ended itself, with TERM and with KILL, [s4t.CommandGrace] apart. A result that
// comes nevertheless is returned; else the error is the cause of ctx. Errors are
// Invalid where the command failed, NotFound, TooMany, and Unavailable where the plugin
// ended meanwhile.
func (m *Manager) Call(ctx context.Context, c Call, output func(json.RawMessage)) (json.RawMessage, error) {
	for _, g := range m.list() {
		r := g.well()
		if r == nil || r.talk == nil || !slices.ContainsFunc(r.manifest.Commands, func(has s4t.Command) bool { return has.Name == c.Command }) {
			continue
		}
		return r.talk.call(ctx, c, output, r.kill)
	}
	return nil, s4t.Errorf(s4t.NotFound, "run the command "+s4t.Line(c.Command, s4t.MaxName), "see the plugins' states",
		"no plugin that runs has it")
}

// Logs returns the lines that a plugin, by name, wrote after a line and since a time,
// oldest first and at most limit, and whether there are more.
func (m *Manager) Logs(name string, after uint64, since time.Time, limit int) (lines []s4t.LogLine, more bool, err error) {
	g, err := m.named("read the log of "+s4t.Line(name, s4t.MaxName), name)
	if err != nil {
		return nil, false, err
	}
	lines, more = g.log.last(after, since, limit)
	return lines, more, nil
}

// Follow gives fn the lines that a plugin, by name, wrote after a line, and those that
// it writes until cancel is called, or the plugin is taken away. Where fn is slow, lines
// may be missing: their numbers say so. It does not wait for fn.
func (m *Manager) Follow(name string, after uint64, fn func([]s4t.LogLine)) (cancel func(), err error) {
	g, err := m.named("follow the log of "+s4t.Line(name, s4t.MaxName), name)
	if err != nil {
		return nil, err
	}
	stop := make(chan struct{})
	go g.log.follow(after, stop, fn)
	return sync.OnceFunc(func() { close(stop) }), nil
}

func (m *Manager) named(op, name string) (*guest, error) {
	for _, g := range m.list() {
		if g.name() == name {
			return g, nil
		}
	}
	return nil, s4t.Errorf(s4t.NotFound, op, "`s4t plugin status BOARD` lists them", "the board has no plugin of that name")
}

// Runtimes says what runs plugins here, with versions; "no: " and why not for others.
func (m *Manager) Runtimes() map[string]string { return m.runtimes }

// takenBy says who has one of the commands of a manifest already, other than g.
func (m *Manager) takenBy(g *guest, commands []s4t.Command) error {
	guests := m.list()
	for _, c := range commands {
		if m.cfg.Taken != nil {
			if who := m.cfg.Taken(c.Name); who != "" {
				return fmt.Errorf("the command %s is of %s", c.Name, who)
			}
		}
		for _, other := range guests {
			if other != g && other.hasCommand(c.Name) {
				return fmt.Errorf("the command %s is of the plugin %s", c.Name, other.name())
			}
		}
	}
	return nil
}
