package wampagent

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
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
	ID    s4t.AgentID  // required: "wamp-agent-1"
	URL   string       // required: that boards reach it at: https://host:port
	Queue Queue        // required
	Log   *slog.Logger // optional: default discards
}

// Times of an agent.
const (
	beatInterval = 5 * time.Second // the conductor counts on it
	beatTimeout  = 3 * time.Second
	callTimeout  = 10 * time.Second // of what a board asks
	pingTimeout  = 2 * time.Second
	minRetry     = 50 * time.Millisecond
	maxRetry     = 2 * time.Second
)

// workers is how many messages of the queue are served at a time: most wait for
// a board.
const workers = 64

// Agent is a WAMP agent. It is ready for boards once [Agent.Ready] is closed.
type Agent struct {
	cfg         Config
	incarnation string // of this start
	router      *router.Router
	sessions    sessions
	hello       chan struct{} // the conductor does not know us: capacity 1
	ready       chan struct{}
	once        sync.Once
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
	a := &Agent{cfg: cfg, incarnation: s4t.NewID(), sessions: newSessions(), hello: make(chan struct{}, 1), ready: make(chan struct{})}
	r, err := router.New(router.Config{
		Identify:   a.identify,
		Join:       a.join,
		Check:      a.check,
		Procedures: []string{wamp.Connected, wamp.Desired, wamp.Report, wamp.Ticket, wamp.Leave},
		Serve:      a.serve,
		Joined:     a.sessions.joined,
		Left:       a.sessions.left,
		Log:        cfg.Log,
	})
	a.router = r
	return a, err
}

// Handler serves [wamp.Path].
func (a *Agent) Handler() http.Handler { return a.router }

// Ready is closed when the conductor knows the agent and boards may come.
func (a *Agent) Ready() <-chan struct{} { return a.ready }

// Run serves until ctx ends; every session has been told and has ended when it
// returns. The conductor learns of their end from the agent's next hello, or
// its silence. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return a.router.Run(ctx) })
	group.Go(func() error {
		return a.cfg.Queue.Serve(ctx, wire.TopicWAMPAgent, string(a.cfg.ID), workers, queue.Mux{
			wire.MethodBoardWake: queue.Handle(a.boardWake),
			wire.MethodBoardKick: queue.Handle(a.boardKick),
			wire.MethodBoardPing: queue.Handle(a.boardPing),
			wire.MethodBoardCall: queue.Handle(a.boardCall),
		}.Serve)
	})
	group.Go(func() error { a.announce(ctx); return nil })
	group.Go(func() error { a.tellEnds(ctx); return nil })
	return group.Wait()
}

// announce says hello until the conductor heard it, and then beats; whenever a
// beat is not heard it starts over.
func (a *Agent) announce(ctx context.Context) {
	beat := time.NewTicker(beatInterval)
	defer beat.Stop()
	select {
	case <-ctx.Done():
		return
	case <-a.router.Ready(): // a board that was told of this agent finds it
	}
	for again := false; ; again = true {
		if !a.retry(ctx, "say hello to the conductor", a.sayHello) {
			return
		}
		a.once.Do(func() { close(a.ready) })
		if again {
			a.checkSessions(ctx)
		}
		for heard := true; heard; {
			select {
			case <-ctx.Done():
				return
			case <-a.hello:
				heard = false
			case <-beat.C:
				if err := a.conduct(ctx, beatTimeout, wire.MethodAgentBeat, wire.AgentBeat{ID: a.cfg.ID, Incarnation: a.incarnation}, nil); err != nil && ctx.Err() == nil {
					a.cfg.Log.Warn("the conductor does not hear this agent", "err", err)
					heard = false
				}
			}
		}
	}
}

func (a *Agent) sayHello(ctx context.Context) error {
	return a.conduct(ctx, beatTimeout, wire.MethodAgentHello,
		wire.AgentHello{ID: a.cfg.ID, Kind: wire.AgentWAMP, Incarnation: a.incarnation, URL: a.cfg.URL}, nil)
}

// retry does fn until it succeeds, or ctx ends (false). What is only not there
// yet is logged once.
func (a *Agent) retry(ctx context.Context, what string, fn func(context.Context) error) bool {
	for wait := minRetry; ; wait = min(2*wait, maxRetry) {
		err := fn(ctx)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		if wait >= maxRetry/2 && wait < maxRetry {
			a.cfg.Log.Warn("cannot "+what+"; trying on", "err", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait/2 + rand.N(wait)):
		}
	}
}

// conduct calls the conductor.
func (a *Agent) conduct(ctx context.Context, timeout time.Duration, method string, req, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return a.cfg.Queue.Call(ctx, wire.TopicConductor, method, req, reply)
}

// identify is the router's question for a board's key.
func (a *Agent) identify(ctx context.Context, board s4t.BoardID) (who wire.BoardIdentity, err error) {
	err = a.conduct(ctx, callTimeout, wire.MethodBoardAuthenticate, wire.BoardAuthenticate{Board: board}, &who)
	return who, err
}

// check is the router's question whether join would succeed.
func (a *Agent) check(ctx context.Context, code string, key ed25519.PublicKey, name string) error {
	return a.conduct(ctx, callTimeout, wire.MethodBoardJoinCheck, wire.BoardJoin{Code: code, PublicKey: key, Name: name}, nil)
}

// join is the router's question what a code is worth.
func (a *Agent) join(ctx context.Context, code string, key ed25519.PublicKey, name string) (joined wire.BoardJoined, err error) {
	err = a.conduct(ctx, callTimeout, wire.MethodBoardJoin, wire.BoardJoin{Code: code, PublicKey: key, Name: name}, &joined)
	return joined, err
}
