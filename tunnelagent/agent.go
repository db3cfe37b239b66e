package tunnelagent

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/descriptors"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/lograte"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/registration"
	"github.com/stack4things/s4t/rtunnel"
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
	ID          s4t.AgentID                                                          // required: "tunnel-agent-1"
	URL         string                                                               // required: that boards and users reach it at: https://host:port
	Queue       Queue                                                                // required
	Validate    func(pkt []byte, layer int) error                                    // required: checks an offload header against its frame (link.Validate)
	Host        string                                                               // optional: host of public ports, as users are told it; default the URL's
	ListenHost  string                                                               // optional: address that public ports bind to; default all
	PublicPorts s4t.PortRange                                                        // optional: public ports; default 50000-60000
	OpenGRE     func(local, remote netip.Addr) (greSocket, error)                    // optional: makes the socket of a GRE endpoint; default link.OpenGRE
	Open        func(link.Config) (device, error)                                    // optional: makes the TAP of an uplink; default link.Open
	Apply       func([]vnet.Op) error                                                // optional: default link.Apply
	DialPeer    func(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) // optional: dials another tunnel agent, with the certificate of this one and [PeerProtocol]; default: none is reached
	Descriptors *descriptors.Pool                                                    // optional: of public ports and rtunnels; default: no bound
	Place       string                                                               // optional: where it is; boards with this label "place" prefer it
	Version     string                                                               // optional: of iotronic, as operators are shown it
	Log         *slog.Logger                                                         // optional: default discards
}

// Times of an agent.
const (
	callTimeout    = 5 * time.Second
	fetchInterval  = 30 * time.Second       // desired state is asked for even if no wake-up came
	cureInterval   = 2 * time.Second        // the same while something does not work
	uplinkInterval = 5 * time.Second        // the same while a network is in a Linux bridge, which others may take away
	sweepInterval  = time.Second            // also how soon an idle rtunnel is made small
	endTimeout     = 250 * time.Millisecond // for what left desired state to be closed before the next is looked at
	reportGap      = 5 * time.Millisecond   // between two reports
	portGrace      = 2 * time.Second        // how long a board may be ahead of our desired state
	workers        = 16                     // messages of the queue served at a time
	maxEvents      = 256                    // events of switches that wait to be told
	maxUsed        = 200_000                // used tickets that are remembered
)

// Agent is a tunnel agent. It serves [rtunnel.Path] with ServeHTTP, once
// [Agent.Ready] is closed.
//
// Lock order: applyMu before the mu of a kind, port.attachMu before ports.mu, and so of a peer;
// ports.mu, peers.mu -> Switch.mu -> loops.mu -> queue.mu. Agent.mu and reports.mu are
// taken last, and nothing is called with them held.
type Agent struct {
	cfg          Config
	incarnation  string
	registration *registration.Registration
	cpu          *cpuShares
	opener       *stream.Opener
	used         *wire.UsedTickets
	reports      reports
	kinds
	visitors  visitors // of all public ports
	awaits    awaits
	strangers strangers
	bundles   *bundles

	order []wire.Kind // in which kinds are applied
	kind  map[wire.Kind]reconciler

	wake   chan struct{}                // desired state may be newer, or something has ended; capacity 1
	cause  atomic.Pointer[queue.Origin] // of the last wake-up
	events chan vswitch.Event
	ready  chan struct{}

	applyMu sync.Mutex // held for a round, which one goroutine at a time applies

	mu       sync.Mutex      // guards the fields below
	lease    context.Context // that the agent serves for; nil: nobody may come
	handlers sync.WaitGroup  // that Run waits for
	closed   bool            // no more of them
	key      ed25519.PublicKey
	desired  desired
}

// strangers are the lines of the log that anybody may cause.
type strangers struct{ refused, broken, crowded, accept, apart lograte.Line }

// New returns an Agent that does nothing until Run.
func New(cfg Config) (*Agent, error) {
	const op = "make a tunnel agent"
	if cfg.ID == "" || cfg.URL == "" || cfg.Queue == nil || cfg.Validate == nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "ID, URL, Queue and Validate are required")
	}
	if cfg.PublicPorts == (s4t.PortRange{}) {
		cfg.PublicPorts = s4t.PortRange{First: 50000, Last: 60000}
	}
	if cfg.OpenGRE == nil {
		cfg.OpenGRE = openGRE
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
		cfg: cfg, incarnation: s4t.NewID(), cpu: newCPUShares(), opener: stream.NewOpener(nil), used: wire.NewUsedTickets(maxUsed),
		reports: newReports(), kind: map[wire.Kind]reconciler{}, desired: newDesired(),
		wake: make(chan struct{}, 1), events: make(chan vswitch.Event, maxEvents), ready: make(chan struct{}),
	}
	a.kinds = newKinds(a)
	a.bundles = newBundles(a)
	a.opener.Crowded = cfg.Descriptors.Crowded
	var err error
	a.registration, err = registration.New(registration.Config{
		Hello: wire.AgentHello{
			ID: cfg.ID, Kind: wire.AgentTunnel, Incarnation: a.incarnation, URL: cfg.URL, Host: cfg.Host, PublicPorts: cfg.PublicPorts, Place: cfg.Place, Version: cfg.Version, Peers: cfg.DialPeer != nil,
		},
		Queue: cfg.Queue, Uses: a.streams.uses, Registered: a.registered, Lost: a.lost, Log: cfg.Log,
	})
	return a, err
}

// register adds a kind; kinds are applied in the order in which they were
// registered. It is called before Run.
func (a *Agent) register(kind wire.Kind, r reconciler) {
	a.order = append(a.order, kind)
	a.kind[kind] = r
}

// Ready is closed when the conductor knows the agent, and the desired state of
// its start is applied.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run serves until ctx ends, or another incarnation of the agent has taken its
// place, which is an error of kind Conflict. Listeners, rtunnels and streams
// are closed when it returns. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicTunnelAgent, string(a.cfg.ID), workers, queue.Mux{
			wire.MethodAgentWake:    queue.Handle(a.agentWake),
			wire.MethodPortCounters: queue.Handle(a.portCounters),
			wire.MethodCounters:     queue.Handle(a.counters),
		}.Serve)
	})
	group.Go(func() error { return a.registration.Run(ctx) })
	group.Go(func() error { return a.follow(ctx) })
	group.Go(func() error { return a.tellStates(ctx) })
	group.Go(func() error { return a.tellEvents(ctx) })
	group.Go(func() error { a.sweep(ctx); return nil })
	err := group.Wait()
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.lost()
	a.handlers.Wait()
	return err
}

// registered is told that the conductor has heard our hello, and knows nothing
// else of us for certain.
func (a *Agent) registered(lease context.Context, welcome wire.AgentWelcome) error {
	if len(welcome.TicketKey) != ed25519.PublicKeySize {
		return s4t.Errorf(s4t.Internal, "say hello to the conductor", "", "its ticket key has %d bytes", len(welcome.TicketKey))
	}
	a.mu.Lock()
	a.key, a.lease = welcome.TicketKey, lease
	a.mu.Unlock()
	a.reports.remind()
	poke(a.wake)
	return nil
}

// lost closes all there is, public ports, rtunnels and streams: the lease has
// ended, and another agent may have them now.
func (a *Agent) lost() {
	a.mu.Lock()
	lease := a.lease
	a.lease = nil
	a.mu.Unlock()
	if lease != nil {
		a.clear(lease)
	}
}

// enter counts a handler that Run waits for, and returns the context that it
// must heed; nil where nobody may come.
func (a *Agent) enter() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lease == nil || a.closed || a.lease.Err() != nil {
		return nil
	}
	a.handlers.Add(1)
	return a.lease
}

// held returns the lease, nil where there is none.
func (a *Agent) held() context.Context {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lease
}

// call asks the conductor.
func (a *Agent) call(ctx context.Context, method string, req, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return a.cfg.Queue.Call(ctx, wire.TopicOf(method), method, req, reply)
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
			a.bundles.sweep(time.Now())
		}
	}
}

// agentWake is the conductor's wake-up.
func (a *Agent) agentWake(ctx context.Context, _ wire.AgentWake) (wire.Empty, error) {
	cause := queue.OriginOf(ctx)
	a.cause.Store(&cause)
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
