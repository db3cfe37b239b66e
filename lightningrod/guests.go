package lightningrod

import (
	"context"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/wire"
)

// GuestsConfig is what the owner of a board says of code that others run on it.
type GuestsConfig struct {
	Stub         []string // required: the command that becomes a guest: lightning-rod's own "plugin-exec", behind its path
	Keys         [][]byte // optional: Ed25519 keys of those whose plugins are taken; default any
	AllowNetwork bool     // optional: plugins that ask for the network get it
	Commands     string   // optional: the folder of the owner's own commands (commands.d); default none
}

// pluginsDir is where plugins are kept, in the state directory.
const pluginsDir = "plugins"

// guests is the code that others run on the board: plugins, the commands of them and
// of the board's owner, and how much of the board they get.
type guests struct {
	cfg     GuestsConfig
	board   s4t.BoardID
	online  func() (c cloud, epoch int64, changed <-chan struct{})
	urls    func() []string // of the cloud
	pins    *boardPins      // nil: the board has none
	log     *slog.Logger
	sandbox *plugin.Sandbox
	manager pluginManager
	plugins *plugins
	runs    *boardCommands
	fetcher *bundleFetcher
	dialTLS func(ctx context.Context, url string) (net.Conn, error)
	sockets string // the folder of plugins' sockets; empty: those in their own have short paths

	// Whoever sets these calls mark when they would answer otherwise.
	owned   func() []s4t.Command    // the commands of the board's owner
	profile func() s4t.BoardProfile // what the owner gives
	limits  func() plugin.Limits    // of all guests together

	telling codeTelling

	mu    sync.Mutex        // guards the fields below
	notes map[string]string // by plugin, what is to be told though it runs
	news  chan struct{}     // closed when what the cloud is told may be another, and replaced
}

// openGuests makes what runs guests; dialTLS connects to the cloud, below HTTP. Nothing of it runs yet. The lock of the state is
// held, the identity read, and pins opened.
func (e *Engine) openGuests(dialTLS func(ctx context.Context, url string) (net.Conn, error)) error {
	if e.cfg.Guests == nil {
		return nil
	}
	cfg := *e.cfg.Guests
	if len(cfg.Stub) == 0 {
		return s4t.Errorf(s4t.Invalid, "run plugins", "", "Guests.Stub is required")
	}
	g := &guests{
		cfg: cfg, board: e.id.Board, online: e.online, urls: e.urls, pins: e.pins, log: e.cfg.Log,
		owned:  func() []s4t.Command { return nil },
		limits: func() plugin.Limits { return plugin.Limits{} },
		notes:  map[string]string{}, news: make(chan struct{}),
	}
	e.dir.sweepPins()
	var err error
	if g.sockets, err = e.dir.openSockets(); err != nil {
		e.cfg.Log.Warn("plugins with sockets will not work", "err", err)
	}
	if g.sandbox, err = plugin.NewSandbox(plugin.SandboxConfig{Name: sandboxName(e.id.Board), Stub: cfg.Stub, Log: e.cfg.Log}); err != nil {
		return err
	}
	g.profile = func() s4t.BoardProfile {
		return s4t.BoardProfile{Open: true, Enforced: g.sandbox.Enforces(), Usage: []s4t.Usage{}}
	}
	g.dialTLS = dialTLS
	m, err := plugin.NewManager(plugin.ManagerConfig{
		Dir: e.dir.path(pluginsDir), Sockets: g.sockets, Sandbox: g.sandbox, Self: cfg.Stub[:len(cfg.Stub)-1], Keys: cfg.Keys, AllowNetwork: cfg.AllowNetwork,
		Fetch: g.fetch, Prepare: g.prepare, Taken: g.taken, Limits: func() plugin.Limits { return g.limits() }, Log: e.cfg.Log,
		Ended: func(w plugin.Wanted, used plugin.Used) { e.profile.ended(w, used) },
	})
	if err != nil {
		g.sandbox.Close()
		return err
	}
	g.manager = m
	g.plugins = &plugins{manager: m, note: g.noteOf, changed: func() { e.markDirty(); g.mark() }, want: map[string]wire.DesiredPlugin{}}
	g.fetcher = &bundleFetcher{
		online: e.isOnline, log: e.cfg.Log, pace: func(context.Context, int) error { return nil },
		ticket: func(ctx context.Context, id string) (string, error) {
			t, err := e.tickets(ctx, wire.BoardTicket{Purpose: wire.PurposeBundle, Plugin: id, Count: 1})
			if err != nil {
				return "", err
			}
			return t[0], nil
		},
	}
	e.guests = g
	e.openCommands()
	return nil
}

// sandboxName names the cgroup of a board's guests.
func sandboxName(board s4t.BoardID) string { return "lightning-rod-" + string(board) }

// run works the guests until ctx ends; none is left when it returns.
func (g *guests) run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() {
		if err := g.manager.Run(ctx); err != nil && ctx.Err() == nil {
			g.log.Error("plugins do not run any more", "err", err)
		}
	})
	running.Go(func() { g.sessions(ctx) })
	running.Go(func() { g.runs.run(ctx) })
	running.Wait()
	g.close()
}

// close ends what run worked, or what was opened and never run.
func (g *guests) close() {
	g.runs.close()
	g.plugins.end()
	if err := g.sandbox.Close(); err != nil {
		g.log.Warn("what guests ran in stays", "err", err)
	}
	if g.sockets != "" {
		os.RemoveAll(g.sockets)
	}
}

// mark says that what the cloud is told may be another.
func (g *guests) mark() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.news)
	g.news = make(chan struct{})
}

// changed is closed at the next mark.
func (g *guests) changed() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.news
}

// endGuests ends the guests that a lightning-rod left behind which was killed, and
// removes what they were given.
func endGuests(board s4t.BoardID, dir stateDir, log *slog.Logger) {
	if err := plugin.Clear(sandboxName(board)); err != nil {
		log.Warn("what guests ran in stays", "err", err)
	}
	dir.sweepPins()
	dir.sweepSockets()
}

// taken says who has a command of a name, besides plugins.
func (g *guests) taken(command string) (who string) {
	if slices.ContainsFunc(g.owned(), func(c s4t.Command) bool { return c.Name == command }) {
		return "the board's owner"
	}
	return ""
}
