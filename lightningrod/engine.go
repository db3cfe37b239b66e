package lightningrod

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/terminal"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

const (
	refreshInterval = time.Minute            // desired state is asked for even if no wake-up came
	maxRefresh      = 4 * time.Hour          // the longest that the cloud may make of it
	reportDelay     = 250 * time.Millisecond // how long a report waits for what is on its way
	retryCall       = time.Second            // after a call that failed while the session lives
)

// Config configures an [Engine].
type Config struct {
	State         string                               // optional: the state directory; default DefaultState
	AllowTargets  []netip.Prefix                       // optional: what streams may reach besides the board itself
	AllowTerminal string                               // optional: the user whose shells members of the project get as terminals, by the owner's word; default none
	AllowBridges  []string                             // optional: interfaces that a network may be bridged to, by the owner's word; default none
	SourcePerUser SourcePerUser                        // optional: which services of the board see an address for each user; default those of SSH
	Proxy         string                               // optional: HTTP proxy URL to the cloud in the place of the identity's
	Version       string                               // optional: of lightning-rod, as the cloud is told it
	SSHDir        string                               // optional: where the configuration and the public host keys of sshd are; default /etc/ssh
	Devices       *Devices                             // optional: where devices are made; default the kernel
	IO            string                               // optional: where the tree of the board's pins is mounted; default: nowhere
	IOConfig      string                               // optional: the file with what the owner says of pins (io-config); default: none
	Pins          *hal.Config                          // optional: drivers of pins and where they look; File, State and Log are set here; default those of the kernel where IO or IOConfig is set, else the board has no pins
	Guests        *GuestsConfig                        // optional: code of others runs here; default none does
	Moment        func() lease.Moment                  // optional: the clock by which leases end; default the kernel's since the boot, which nobody sets
	Ready         func(board string, generation int64) // optional: called each time the board is connected and has applied its desired state
	Log           *slog.Logger                         // optional: default discards
}

// Engine is a board at work. It makes the board what the cloud's desired state
// says, with or without the cloud at hand.
type Engine struct {
	cfg  Config
	dir  stateDir
	caps link.Capabilities

	id       Identity
	instance string // made anew by every start; tells a clone
	clock    cloudClock
	kinds    kinds
	streams  *streams // of kinds; set once
	ssh      *sshServices
	shells   *terminal.Host // nil: no terminals
	connect  func(ctx context.Context, urls []string) (cloud, error)
	retrust  func(ca []byte, systemRoots bool) error // of the dialler, see [dial.Dialer.Trust]
	dirty    chan struct{}                           // a state of a resource may have changed
	trial    *trial
	around   *around
	pins     *boardPins    // set by Run; nil: it has none
	remote   *remotePins   // set by Run
	profile  *profile      // set by openProfile
	guests   *guests       // set by Run; nil: no code of others runs here
	health   *health       // how the board is
	leases   *leases       // who holds it; set by build
	askAgain chan struct{} // of capacity 1: the desired state is to be asked for now
	end      func()        // ends the engine: its board has another owner
	moving   leaving

	applying sync.Mutex // held while a desired state is applied or written; taken first

	returnWithin time.Duration // of the last welcome; keepSession's alone

	mu        sync.Mutex // guards the fields below; taken last: a kind may hold a lock of its own
	desired   wire.BoardDesired
	kept      kept  // what is on disk
	heard     int64 // newest generation the cloud spoke of
	applied   int64
	session   cloud
	epoch     int64
	change    chan struct{} // closed when session changes, and replaced
	trouble   string        // why there is no session
	cause     string        // of the trouble: the ID of a diagnosis
	saving    string        // why desired state could not be kept
	recovered string        // what was lost on disk, until the cloud was told

	trust      wire.Trust // what the cloud announced of its certificate
	trustSaved bool       // it is on disk
	losing     string     // why it is not
}

// New returns an Engine that does nothing until Run.
func New(cfg Config) (*Engine, error) {
	if cfg.State == "" {
		cfg.State = DefaultState
	}
	if cfg.SSHDir == "" {
		cfg.SSHDir = "/etc/ssh"
	}
	if cfg.Ready == nil {
		cfg.Ready = func(string, int64) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Devices == nil {
		cfg.Devices = kernelDevices()
	}
	for _, p := range cfg.AllowTargets {
		if !p.IsValid() {
			return nil, s4t.Errorf(s4t.Invalid, "run lightning-rod", "use --allow-target CIDR", "a network of --allow-target is not valid")
		}
	}
	for _, name := range cfg.AllowBridges {
		if err := vnet.ValidInterfaceName(name); err != nil {
			return nil, err
		}
	}
	var shells *terminal.Host
	if cfg.AllowTerminal != "" {
		var err error
		if shells, err = terminal.NewHost(cfg.AllowTerminal, cfg.Log); err != nil {
			return nil, err
		}
	}
	return &Engine{
		shells: shells,
		cfg:    cfg, dir: stateDir(cfg.State), instance: s4t.NewID(),
		askAgain: make(chan struct{}, 1),
		ssh:      newSSHServices(cfg.SSHDir), health: newHealth("/", cfg.State, cfg.Version), dirty: make(chan struct{}, 1), end: func() {}, change: make(chan struct{}), retrust: func([]byte, bool) error { return nil },
	}, nil
}

// Run is the service: it applies the saved desired state, then keeps a control
// session with the cloud and follows what it says. It returns nil after ctx
// ended or the board left, and an error where going on is pointless: no
// identity, or another agent on the same state. Devices and connections are
// gone when it returns. Run is called once.
func (e *Engine) Run(ctx context.Context) error {
	err := e.run(ctx)
	for errors.Is(err, errNewOwner) && ctx.Err() == nil {
		e.cfg.Log.Info("the board has another owner; what the one before left on it goes")
		next, failed := New(e.cfg)
		if failed != nil {
			return failed
		}
		err = next.run(ctx)
	}
	return err
}

// run is Run until the board has another owner.
func (e *Engine) run(ctx context.Context) error {
	lock, err := e.dir.lock()
	if err != nil {
		return err
	}
	defer lock.Close()
	if e.id, err = e.dir.identity(); err != nil {
		return err
	}
	if e.cfg.Proxy != "" {
		e.id.Proxy = e.cfg.Proxy
	}
	if err := e.wipeOwner(); err != nil {
		return err
	}
	e.caps = e.cfg.Devices.Capabilities()
	if !e.caps.Networks {
		e.cfg.Log.Warn("virtual networks are not possible here; tunnels and commands work", "err", e.caps.Reason)
	}
	e.openProfile()
	if err := e.openPins(); err != nil {
		return err
	}
	e.recall()
	cfg := connectorConfig{Identity: e.id, Trust: e.trust, Doctor: e.doctor, HostKeys: e.ssh.answer, Log: e.cfg.Log}
	if e.pins != nil {
		cfg.Pins = e.pins.handler
	}
	c, err := newConnector(cfg)
	if err != nil {
		return err
	}
	e.retrust = c.dialer.Trust
	if err := e.openGuests(c.dialer.DialTLS); err != nil {
		return err
	}
	if e.guests != nil {
		e.profileGuests()
		c.cfg.Code = e.guests.runs.handler
	}
	running := false
	defer func() {
		if e.guests != nil && !running {
			e.guests.close()
		}
	}()
	if err := e.build(c.dialer, c.connect); err != nil {
		return err
	}
	sock, err := e.dir.listen(e.cfg.Log)
	if err != nil {
		return err
	}

	running = true
	ctx, cancel := context.WithCancel(ctx)
	changed := false // only keepSession's, until it has ended
	e.end = func() { changed = true; cancel() }
	var background sync.WaitGroup
	defer e.kinds.close() // when nothing uses them any more
	defer background.Wait()
	defer cancel()
	if e.dir.isReadOnly() {
		e.cfg.Log.Warn(readOnly, "state", string(e.dir))
	}
	if sock != nil {
		background.Go(func() {
			sock.serve(ctx, func(ctx context.Context, q string) any { return e.answer(ctx, q, cancel) }, e.remote.serve)
		})
	}
	if e.pins != nil {
		background.Go(func() { e.pins.run(ctx) })
	}
	background.Go(func() { e.profile.run(ctx) })
	if e.guests != nil {
		background.Go(func() { e.guests.run(ctx) })
	}
	background.Go(func() { e.judge(ctx) })
	background.Go(func() { e.tellHealth(ctx) })
	background.Go(func() { e.around.Run(ctx) })
	background.Go(func() { e.leases.run(ctx) })
	e.kinds.run(ctx, &background)
	if err := sweepHost(e.cfg.Devices.Sweep); err != nil {
		e.cfg.Log.Warn("what an earlier run left behind stays", "err", err)
	}
	e.restore()
	e.keepSession(ctx)
	if changed {
		return errNewOwner
	}
	return nil
}

// build makes the parts; nothing runs yet. id and caps are set.
func (e *Engine) build(dial rtunnelDialer, connect func(ctx context.Context, urls []string) (cloud, error)) error {
	e.connect = connect
	e.around = newAround(e.cfg.Devices.Survey, e.hosts)
	e.trial = newTrial(e.kinds.risky)
	e.holdLeases()
	return e.register(dial)
}

// holdLeases makes what knows who holds the board. id is set.
func (e *Engine) holdLeases() {
	e.leases = newLeases(e.id.Board, e.dir, e.cfg.Log)
	e.leases.key, e.leases.online, e.leases.end = e.ticketKey, e.isOnline, e.endLeased
	e.leases.owner = func() s4t.ProjectID { return e.wanted().Project }
	if e.cfg.Moment != nil {
		e.leases.moment = e.cfg.Moment
	}
	e.leases.fetch = func() { notify(e.askAgain) }
}

// restore applies the saved desired state: devices come up with their
// addresses even when the cloud is away.
func (e *Engine) restore() {
	k, found, damage := e.dir.kept(e.id.Board)
	if damage != "" {
		e.cfg.Log.Warn("state is fetched again from the cloud", "err", damage)
		e.mu.Lock()
		e.recovered = damage
		e.mu.Unlock()
	}
	if found {
		e.mu.Lock()
		e.kept = k
		e.mu.Unlock()
		e.trial.restore(k.Desired.Resources, k.Suspects)
	}
	if found { // the key that signed the book may be in it
		e.mu.Lock()
		e.desired = k.Desired
		e.mu.Unlock()
	}
	e.leases.restore()
	if found {
		e.apply(k.Desired)
	}
}

// urls returns where the cloud may be: what it said last, then what the join
// string said.
func (e *Engine) urls() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	urls := append([]string(nil), e.desired.URLs...)
	seen := map[string]bool{}
	for _, u := range urls {
		seen[u] = true
	}
	for _, u := range e.id.URLs {
		if !seen[u] {
			urls = append(urls, u)
		}
	}
	return urls
}

func (e *Engine) setSession(c cloud, epoch int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.session, e.epoch = c, epoch
	if c != nil {
		e.trouble, e.cause = "", ""
	}
	close(e.change)
	e.change = make(chan struct{})
	e.trial.session(c != nil)
}

// online returns the live session and its epoch, nil if there is none; changed
// is closed when that is not true any more.
func (e *Engine) online() (c cloud, epoch int64, changed <-chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.session, e.epoch, e.change
}

// isOnline is what ports and streams need of online.
func (e *Engine) isOnline() (bool, <-chan struct{}) {
	c, _, changed := e.online()
	return c != nil, changed
}

func (e *Engine) markDirty() { notify(e.dirty) }

// name is the board's name as the cloud last said it.
func (e *Engine) name() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.desired.Name != "" {
		return e.desired.Name
	}
	return e.id.Name
}

// ticketKey is the key that signs tickets: what the cloud said last, or at the
// join.
func (e *Engine) ticketKey() ed25519.PublicKey {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.desired.TicketKey) == ed25519.PublicKeySize {
		return e.desired.TicketKey
	}
	return e.id.TicketKey
}

var errNoSession = errors.New("no session with the cloud")

// tickets asks for exactly ask.Count tickets.
func (e *Engine) tickets(ctx context.Context, ask wire.BoardTicket) ([]string, error) {
	c, epoch, _ := e.online()
	if c == nil {
		return nil, s4t.Errorf(s4t.Unavailable, "ask for a ticket", "", "%w", errNoSession)
	}
	ask.Board, ask.Epoch = e.id.Board, epoch
	var t wire.BoardTickets
	if err := c.Call(ctx, wamp.Ticket, ask, &t); err != nil {
		return nil, fmt.Errorf("ask for a ticket: %w", err)
	}
	if len(t.Tickets) != ask.Count {
		return nil, s4t.Errorf(s4t.Internal, "ask for a ticket", "", "the cloud gave %d tickets for %d", len(t.Tickets), ask.Count)
	}
	return t.Tickets, nil
}

// answer serves the socket.
func (e *Engine) answer(ctx context.Context, question string, end func()) any {
	switch question {
	case askStatus:
		return e.Status()
	case askProfile:
		e.profile.read()
		return e.profile.now()
	case askLeave:
		a := leaveAnswer{Reason: errNoSession.Error()}
		if c, _, _ := e.online(); c != nil {
			ctx, cancel := context.WithTimeout(ctx, leaveTimeout)
			defer cancel()
			if err := c.Call(ctx, wamp.Leave, wire.Empty{}, nil); err != nil {
				a.Reason = err.Error()
			} else {
				a = leaveAnswer{Told: true}
			}
		}
		end()
		return a
	}
	return nil
}

// Status says how the board is.
func (e *Engine) Status() Status {
	states, _ := e.kinds.states()
	problems := e.problems()
	e.mu.Lock()
	defer e.mu.Unlock()
	s := statusOf(e.id, e.desired, states)
	s.Running, s.Connected, s.Epoch = true, e.session != nil, e.epoch
	s.Generation, s.AppliedGeneration = e.heard, e.applied
	s.Trouble, s.Cause = e.trouble, e.cause
	if e.session != nil {
		s.URL = e.session.URL()
	}
	s.Problems, s.ReadOnly = append(s.Problems, problems...), e.dir.isReadOnly()
	given := e.profile.now()
	s.Profile = &given
	if e.guests != nil {
		s.Plugins, s.Runtimes = e.guests.plugins.status(), e.guests.manager.Runtimes()
		s.Runs = e.guests.runs.status()
		for _, c := range e.guests.commands() {
			s.Commands = append(s.Commands, c.Name)
		}
	}
	if e.pins != nil {
		s.IO = e.pins.status()
		s.Problems = append(s.Problems, e.pins.problems()...)
	}
	return s
}
