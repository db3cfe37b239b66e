package wampagent

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/registration"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
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
	ID    s4t.AgentID // required: "wamp-agent-1"
	URL   string      // required: that boards reach it at: https://host:port
	Queue Queue       // required

	Place   string // optional: where it is; boards with this label "place" prefer it
	Version string // optional: of iotronic, as operators are shown it

	Log *slog.Logger // optional: default discards
}

// Times of an agent.
const (
	callTimeout = 10 * time.Second // of what a board asks
	tellTimeout = 3 * time.Second  // of what is told again
	pingTimeout = 2 * time.Second
	endTimeout  = 10 * time.Second // for all sessions to be ended when the lease is lost
)

const (
	workers  = 64  // messages of the queue that are served at a time
	waiters  = 256 // questions: each waits for a board, and costs nothing meanwhile
	together = 8   // sessions that the conductor is asked about at a time

	endsTogether = 64 // ends of sessions that it is told of at a time: it writes them together
)

// Agent is a WAMP agent. It is ready for boards once [Agent.Ready] is closed.
type Agent struct {
	cfg          Config
	incarnation  string // of this start
	registration *registration.Registration
	router       *router.Router
	sessions     sessions
	questions    *questions
	check        chan struct{} // the conductor may have forgotten sessions: capacity 1
	mounts       *mounts
	sending      sync.WaitGroup        // samples to boards that watch others
	leaving      chan []wire.Elsewhere // where boards are to go, as it was said last: capacity 1
	ready        chan struct{}

	mu    sync.Mutex      // guards the fields below; nothing is called with it held
	lease context.Context // that boards are served for; nil: nobody may come
}

// New returns an Agent that does nothing until Run.
func New(cfg Config) (*Agent, error) {
	if cfg.ID == "" || cfg.URL == "" || cfg.Queue == nil {
		return nil, s4t.Errorf(s4t.Invalid, "make a WAMP agent", "", "ID, URL and Queue are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Log = cfg.Log.With("agent", cfg.ID)
	a := &Agent{cfg: cfg, incarnation: s4t.NewID(), sessions: newSessions(), questions: newQuestions(), mounts: newMounts(), leaving: make(chan []wire.Elsewhere, 1), check: make(chan struct{}, 1), ready: make(chan struct{})}
	var err error
	a.registration, err = registration.New(registration.Config{
		Hello: wire.AgentHello{ID: cfg.ID, Kind: wire.AgentWAMP, Incarnation: a.incarnation, URL: cfg.URL, Place: cfg.Place, Version: cfg.Version},
		Queue: cfg.Queue, Registered: a.registered, Leased: a.leased, Lost: a.lost, Log: cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	a.router, err = router.New(router.Config{
		Identify:   a.identify,
		Join:       a.join,
		Check:      a.checkCode,
		Procedures: []string{wamp.Connected, wamp.Desired, wamp.Report, wamp.Ticket, wamp.Leave, wamp.Pins, wamp.Samples, wamp.Remote, wamp.Health, wamp.Code, wamp.Runs, wamp.Token, wamp.Lines, wamp.Recording},
		InOrder:    []string{wamp.Samples},
		Serve:      a.serve,
		Joined:     a.sessions.joined,
		Left:       a.sessions.left,
		Log:        cfg.Log,
	})
	return a, err
}

// Handler serves [wamp.Path].
func (a *Agent) Handler() http.Handler { return a.router }

// Arrivals says how boards get to their sessions.
func (a *Agent) Arrivals() router.Arrivals { return a.router.Arrivals() }

// Sessions is how many boards have a session here.
func (a *Agent) Sessions() int { return a.router.Sessions() }

// Ready is closed when the conductor knows the agent and boards may come.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run serves until ctx ends, or another incarnation of the agent has taken its
// place, which is an error of kind Conflict; every session has been told and
// has ended when it returns. The conductor learns of their end from the agent's
// next hello, or its silence. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.router.Run(ctx) })
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicWAMPAgent, string(a.cfg.ID), workers, queue.Mux{
			wire.MethodBoardWake: queue.Handle(a.boardWake),
			wire.MethodBoardKick: queue.Handle(a.boardKick),
			wire.MethodBoardPing: queue.Handle(a.boardPing),
		}.Serve)
	})
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicWAMPQuestions, string(a.cfg.ID), waiters, queue.Mux{
			wire.MethodBoardCall: queue.Handle(a.boardCall),
		}.Serve)
	})
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicWAMPPins, string(a.cfg.ID), pinWorkers, queue.Mux{
			wire.MethodPinsOfBoard: queue.Handle(a.pinsOfBoard),
			wire.MethodPinsWatch:   queue.Handle(a.pinsWatch),
			wire.MethodPinsSamples: queue.Handle(a.pinsSamples),
		}.Serve)
	})
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicWAMPCommands, string(a.cfg.ID), commandWorkers, queue.Mux{
			wire.MethodCodeAsk: queue.Handle(a.codeAsk),
		}.Serve)
	})
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicEvents, "", 1, queue.Mux{wire.MethodNews: queue.Handle(a.news)}.Serve)
	})
	group.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-a.router.Ready(): // a board that was told of this agent finds it
			return a.registration.Run(ctx)
		}
	})
	group.Go(func() error { a.checkSessions(ctx); return nil })
	group.Go(func() error { a.tellEnds(ctx); return nil })
	group.Go(func() error { a.tellNews(ctx); return nil })
	group.Go(func() error { a.empty(ctx); return nil })
	defer a.sending.Wait() // the router has stopped: they end
	return group.Wait()
}

// registered is told that the conductor has heard our hello: boards may come.
// Of sessions that are there already it may know nothing.
func (a *Agent) registered(lease context.Context, _ wire.AgentWelcome) error {
	a.mu.Lock()
	a.lease = lease
	a.mu.Unlock()
	select {
	case <-a.ready:
		poke(a.check)
	default:
		close(a.ready)
	}
	return nil
}

// lost ends all sessions: the lease has ended, and the boards may be another
// agent's now.
func (a *Agent) lost() {
	ctx, cancel := context.WithTimeout(context.Background(), endTimeout)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(workers)
	for _, s := range a.sessions.all() {
		group.Go(func() error {
			a.kick(ctx, s, wamp.ReasonStale, "this WAMP agent has lost touch with the cloud")
			return nil
		})
	}
	_ = group.Wait() // none returns an error
}

// serving returns an error where the agent may serve nobody.
func (a *Agent) serving(op string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.lease == nil || a.lease.Err() != nil {
		return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the WAMP agent is out of touch with the cloud")
	}
	return nil
}

// poke puts a token into a channel of capacity 1 unless one is there.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// conduct calls the conductor.
func (a *Agent) conduct(ctx context.Context, timeout time.Duration, method string, req, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.cfg.Queue.Call(ctx, wire.TopicOf(method), method, req, reply)
}

// identify is the router's question for a board's key.
func (a *Agent) identify(ctx context.Context, board s4t.BoardID) (who wire.BoardIdentity, err error) {
	if err := a.serving("let board " + string(board) + " in"); err != nil {
		return who, err
	}
	err = a.conduct(ctx, callTimeout, wire.MethodBoardAuthenticate, wire.BoardAuthenticate{Board: board}, &who)
	return who, err
}

// checkCode is the router's question whether join would succeed.
func (a *Agent) checkCode(ctx context.Context, req wire.BoardJoin) error {
	if err := a.serving("check a code"); err != nil {
		return err
	}
	return a.conduct(ctx, callTimeout, wire.MethodBoardJoinCheck, req, nil)
}

// join is the router's question what a code is worth.
func (a *Agent) join(ctx context.Context, req wire.BoardJoin) (joined wire.BoardJoined, err error) {
	if err := a.serving("join a board"); err != nil {
		return joined, err
	}
	err = a.conduct(ctx, callTimeout, wire.MethodBoardJoin, req, &joined)
	return joined, err
}
