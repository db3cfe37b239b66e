package tunnelagent

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// Queue is what the agent needs of package queue.
type Queue interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
	Cast(ctx context.Context, topic, method string, req any) error
	Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error
}

// Config configures an [Agent].
type Config struct {
	ID          s4t.AgentID                                       // required: "tunnel-agent-1"
	URL         string                                            // required: that boards and users reach it at: https://host:port
	Queue       Queue                                             // required
	Validate    func(pkt []byte, layer int) error                 // required: checks an offload header against its frame (link.Validate)
	Host        string                                            // optional: host of public ports, as users are told it; default the URL's
	ListenHost  string                                            // optional: address that public ports bind to; default all
	PublicPorts string                                            // optional: range of public ports; default "50000-60000"
	OpenGRE     func(local, remote netip.Addr) (greSocket, error) // optional: makes the socket of a GRE endpoint; default link.OpenGRE
	Open        func(link.Config) (device, error)                 // optional: makes the TAP of an uplink; default link.Open
	Apply       func([]vnet.Op) error                             // optional: default link.Apply
	Log         *slog.Logger                                      // optional: default discards
}

// Times of an agent.
const (
	beatInterval   = 5 * time.Second // the conductor counts on it
	callTimeout    = 5 * time.Second
	fetchInterval  = 30 * time.Second       // desired state is asked for even if no wake-up came
	cureInterval   = 2 * time.Second        // the same while something does not work
	uplinkInterval = 5 * time.Second        // the same while a network is in a Linux bridge, which others may take away
	sweepInterval  = time.Second            // also how soon an idle rtunnel is made small
	minRetry       = 50 * time.Millisecond  // doubled up to maxRetry, +-20 %
	maxRetry       = 2 * time.Second        //
	endTimeout     = 250 * time.Millisecond // for what left desired state to be closed before the next is looked at
	reportGap      = 20 * time.Millisecond  // between two reports
	comeFirst      = 2 * time.Second        // how long a board may be ahead of our desired state
	workers        = 16                     // messages of the queue served at a time
	maxEvents      = 256                    // events of switches that wait to be told
)

// Agent is a tunnel agent. It serves [rtunnel.Path] with ServeHTTP, once
// [Agent.Ready] is closed.
type Agent struct {
	cfg         Config
	incarnation string
	first, last int // public ports
	turns       *turns
	opener      *stream.Opener
	spent       spent

	wake   chan struct{} // desired state may be newer; capacity 1
	report chan struct{} // what we have has changed; capacity 1
	hello  chan struct{} // the conductor may not know us; capacity 1
	events chan vswitch.Event
	ready  chan struct{}

	mu         sync.Mutex      // guards the fields below
	run        context.Context // of Run; nil before it
	doors      sync.WaitGroup  // handlers that Run waits for
	closed     bool            // no more of them
	key        ed25519.PublicKey
	generation int64 // applied
	seq        uint64
	begun      uint64        // fetches of desired state begun
	done       uint64        // the last that was applied
	applied    chan struct{} // closed when done changes, and replaced
	networks   map[s4t.NetworkID]*network
	ports      map[s4t.PortID]*port
	exposures  map[s4t.ServiceID]*exposure
	problems   map[string]string
}

// New returns an Agent that does nothing until Run.
func New(cfg Config) (*Agent, error) {
	const op = "make a tunnel agent"
	if cfg.ID == "" || cfg.URL == "" || cfg.Queue == nil || cfg.Validate == nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "ID, URL, Queue and Validate are required")
	}
	if cfg.OpenGRE == nil {
		cfg.OpenGRE = openGRE
	}
	if cfg.PublicPorts == "" {
		cfg.PublicPorts = "50000-60000"
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Open == nil {
		cfg.Open = func(cfg link.Config) (device, error) { return link.Open(cfg) }
	}
	if cfg.Apply == nil {
		cfg.Apply = link.Apply
	}
	cfg.Log = cfg.Log.With("agent", cfg.ID)
	if cfg.Host == "" {
		host, err := hostOf(cfg.URL)
		if err != nil {
			return nil, err
		}
		cfg.Host = host
	}
	a := &Agent{
		cfg: cfg, incarnation: s4t.NewID(),
		wake: make(chan struct{}, 1), report: make(chan struct{}, 1), hello: make(chan struct{}, 1),
		events: make(chan vswitch.Event, maxEvents), ready: make(chan struct{}), applied: make(chan struct{}),
		networks: map[s4t.NetworkID]*network{}, ports: map[s4t.PortID]*port{}, exposures: map[s4t.ServiceID]*exposure{},
		problems: map[string]string{},
	}
	if _, err := fmt.Sscanf(cfg.PublicPorts, "%d-%d", &a.first, &a.last); err != nil || a.first < 1 || a.last > 65535 || a.first > a.last {
		return nil, s4t.Errorf(s4t.Invalid, op, "give FIRST-LAST, for example 50000-60000", "%q is not a range of public ports", cfg.PublicPorts)
	}
	a.opener = stream.NewOpener(func() { poke(a.report) })
	a.turns = cpuTurns()
	return a, nil
}

// Ready is closed when the conductor knows the agent, and the desired state of
// its start is applied.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run serves until ctx ends. Listeners, rtunnels and streams are closed when
// it returns. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	a.mu.Lock()
	a.run = ctx
	a.mu.Unlock()
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicTunnelAgent, string(a.cfg.ID), workers, queue.Mux{
			wire.MethodAgentWake:    queue.Handle(a.agentWake),
			wire.MethodPortCounters: queue.Handle(a.portCounters),
			wire.MethodCounters:     queue.Handle(a.counters),
		}.Serve)
	})
	group.Go(func() error { a.announce(ctx); return nil })
	group.Go(func() error { a.follow(ctx); return nil })
	group.Go(func() error { a.tellState(ctx); return nil })
	group.Go(func() error { a.tellEvents(ctx); return nil })
	group.Go(func() error { a.sweep(ctx); return nil })
	err := group.Wait()
	a.close()
	return err
}

// close ends what the loops of Run made.
func (a *Agent) close() {
	a.mu.Lock()
	a.closed = true
	for id, e := range a.exposures {
		delete(a.exposures, id)
		e.cancel()
	}
	for _, n := range a.networks {
		n.close()
	}
	a.mu.Unlock()
	a.doors.Wait()
}

// enter counts a handler that Run waits for, and returns the context that it
// must heed; nil where Run is not on.
func (a *Agent) enter() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.run == nil || a.closed || a.run.Err() != nil {
		return nil
	}
	a.doors.Add(1)
	return a.run
}

// announce says hello until the conductor heard it, and then beats. A beat
// that is not heard makes it start over.
func (a *Agent) announce(ctx context.Context) {
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	for {
		if !a.retry(ctx, "say hello to the conductor", a.sayHello) {
			return
		}
		poke(a.wake)
		poke(a.report)
		for known := true; known; {
			select {
			case <-ctx.Done():
				return
			case <-a.hello:
				known = false
			case <-beat.C:
				callCtx, cancel := context.WithTimeout(ctx, callTimeout)
				err := a.cfg.Queue.Cast(callCtx, wire.TopicConductor, wire.MethodAgentBeat, wire.AgentBeat{ID: a.cfg.ID, Incarnation: a.incarnation})
				cancel()
				known = err == nil
			}
		}
	}
}

// sayHello tells the conductor that we are here, and learns the key that
// signs tickets.
func (a *Agent) sayHello(ctx context.Context) error {
	var welcome wire.AgentWelcome
	err := a.cfg.Queue.Call(ctx, wire.TopicConductor, wire.MethodAgentHello, wire.AgentHello{
		ID: a.cfg.ID, Kind: wire.AgentTunnel, Incarnation: a.incarnation, URL: a.cfg.URL, Host: a.cfg.Host, PublicPorts: a.cfg.PublicPorts,
	}, &welcome)
	if err != nil {
		return err
	}
	if len(welcome.TicketKey) != ed25519.PublicKeySize {
		return s4t.Errorf(s4t.Internal, "say hello to the conductor", "", "its ticket key has %d bytes", len(welcome.TicketKey))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.key = welcome.TicketKey
	return nil
}

// retry calls f until it succeeds, and returns false when ctx ends before. The
// first failure of a row is logged.
func (a *Agent) retry(ctx context.Context, what string, f func(context.Context) error) bool {
	wait := minRetry
	for {
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		err := f(callCtx)
		cancel()
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		level := slog.LevelDebug
		if wait == 8*minRetry { // still so after a third of a second: worth a line
			level = slog.LevelWarn
		}
		a.cfg.Log.Log(ctx, level, "cannot "+what, "err", err, "retry_in", wait)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))):
		}
		wait = min(2*wait, maxRetry)
	}
}

// sweep closes what has been silent for too long.
func (a *Agent) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			a.opener.Sweep()
		}
	}
}

// agentWake is the conductor's wake-up.
func (a *Agent) agentWake(context.Context, wire.AgentWake) (wire.Empty, error) {
	poke(a.wake)
	return wire.Empty{}, nil
}

// poke puts a token into a channel of capacity 1 unless one is there.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
