package router

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	nexus "github.com/gammazero/nexus/v3/router"
	"github.com/gammazero/nexus/v3/router/auth"
	nwamp "github.com/gammazero/nexus/v3/wamp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lograte"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// Session is a board's WAMP session.
type Session struct {
	ID    uint64 // WAMP session id
	Board s4t.BoardID
}

// Config configures a [Router]. The functions are called from many goroutines.
type Config struct {
	// Identify returns the key of a board. Required.
	Identify func(ctx context.Context, board s4t.BoardID) (wire.BoardIdentity, error)
	// Join binds a key to the board of a code. The key's owner is proven, the
	// code is not. Required.
	Join func(ctx context.Context, code string, key ed25519.PublicKey, name string) (wire.BoardJoined, error)
	// Check tells whether Join would, and changes nothing. Required.
	Check func(ctx context.Context, code string, key ed25519.PublicKey, name string) error
	// Procedures that the cloud serves: names with wamp.CloudPrefix. Required.
	Procedures []string
	// InOrder are those of them that are served one at a time for each session, in
	// the order in which it called. Optional.
	InOrder []string
	// Serve serves them. ctx ends with Run, not with the session. Required.
	Serve func(ctx context.Context, from Session, procedure, arg string) (string, error)
	// Joined is called for each session before the board is told that it is
	// welcome, Left once when it has ended. A Serve of it may come after Left,
	// never before Joined. Neither may block, or use the Router. Required.
	Joined, Left func(Session)
	// Log is for what the operator should know. Optional: default discards.
	Log *slog.Logger
}

// Bounds of the router.
const (
	maxSessions   = 16384
	maxHandshakes = 1024 // of them, those that are not welcomed yet
	maxServing    = 32   // calls of one board to the cloud at a time
	maxOfBoard    = 2    // sessions of one board: a new one, and the one before it that is not known to be dead yet

	sayWithin  = 10 * time.Second // a session without [wamp.Connected] ends after it
	retryAfter = 5 * time.Second  // what is said to who finds no room

	kickTimeout = 5 * time.Second
)

// Router lets boards in and routes between them and the cloud.
type Router struct {
	cfg     Config
	guard   guard        // slows down who guesses codes
	refused lograte.Line // strangers that could not join
	ready   chan struct{}

	buffers sync.Pool // of gorilla/websocket, for writing

	mu      sync.Mutex // guards the fields below
	run     *running   // nil: not running
	peers   map[*peer]struct{}
	joining int            // peers that are not welcomed yet
	joiners map[string]int // the same by source
	byID    map[uint64]*peer

	sayWithin time.Duration
	byBoard   map[s4t.BoardID][]*peer // welcomed, oldest first

	beginning, pace atomic.Int64 // see Beginning; pace in nanoseconds

	ended     sync.WaitGroup // goroutines of connections
	attaching sync.WaitGroup // of those that nexus is letting in
	kicking   sync.WaitGroup // calls of Kick
}

// running is what exists while Run runs.
type running struct {
	ctx   context.Context
	nexus nexus.Router
	cloud *cloud
}

// New returns a Router that turns everybody away until Run.
func New(cfg Config) (*Router, error) {
	if cfg.Identify == nil || cfg.Join == nil || cfg.Check == nil || cfg.Serve == nil || cfg.Joined == nil || cfg.Left == nil || len(cfg.Procedures) == 0 {
		return nil, s4t.Errorf(s4t.Invalid, "make the WAMP router", "", "Identify, Join, Check, Serve, Joined, Left and Procedures are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Router{cfg: cfg, ready: make(chan struct{}), peers: make(map[*peer]struct{}), joiners: make(map[string]int),
		byID: make(map[uint64]*peer), sayWithin: sayWithin, byBoard: make(map[s4t.BoardID][]*peer)}, nil
}

// Ready is closed when Run lets boards in.
func (r *Router) Ready() <-chan struct{} { return r.ready }

// Run serves until ctx ends. Every session has been told, has ended, and Left
// was called for it, when Run returns. It is called once.
func (r *Router) Run(ctx context.Context) error {
	run, err := r.start(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	r.run = run
	r.mu.Unlock()
	close(r.ready)

	<-ctx.Done()

	r.mu.Lock()
	r.run = nil
	for p := range r.peers {
		if !p.welcomed {
			p.Close()
		}
	}
	r.mu.Unlock()
	r.attaching.Wait() // nexus panics when it is closed meanwhile
	r.kicking.Wait()   // and hangs
	run.nexus.Close()  // says goodbye to every session, the cloud's own too
	run.cloud.wait()
	r.ended.Wait()
	return nil
}

// start makes the nexus router, and the cloud's session inside it.
func (r *Router) start(ctx context.Context) (*running, error) {
	const op = "start the WAMP router"
	nx, err := nexus.NewRouter(&nexus.Config{RealmConfigs: []*nexus.RealmConfig{{
		URI:            s4t.Realm,
		Authenticators: []auth.Authenticator{&cryptosign{r, ctx}, &joiner{r: r, ctx: ctx}, &joiner{r: r, ctx: ctx, check: true}},
		Authorizer:     authorizer{},
		MetaStrict:     true,
		EnableMetaKill: true, // for Kick; the authorizer keeps boards from it
		// StrictURI stays off: it refuses the dashes of a board's id. The
		// authorizer is as strict about everything else.
	}}}, quiet{r.cfg.Log})
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	c, err := newCloud(ctx, nx, r.serve, r.inOrder)
	if err != nil {
		nx.Close()
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	for _, name := range r.cfg.Procedures {
		if err := c.register(ctx, wamp.AnyBoardURI(name)); err != nil {
			nx.Close()
			c.wait()
			return nil, s4t.Errorf(s4t.Internal, op, "", "register %s: %w", name, err)
		}
	}
	return &running{ctx: ctx, nexus: nx, cloud: c}, nil
}

// serve answers a board's call. Whose it is comes from the session, not from
// what the board says.
func (r *Router) serve(ctx context.Context, inv *nwamp.Invocation) (string, error) {
	uri, _ := nwamp.AsString(inv.Details[nwamp.OptProcedure])
	session, _ := nwamp.AsID(inv.Details["caller"])
	authid, _ := nwamp.AsString(inv.Details["caller_authid"])
	board, name, ok := wamp.ParseBoardURI(uri)
	if !ok || string(board) != authid {
		return "", s4t.Errorf(s4t.Forbidden, "call "+uri, "", "this is not the session of that board")
	}
	if name == wamp.Connected {
		r.peer(Session{ID: uint64(session)}).said()
	}
	return r.cfg.Serve(ctx, Session{ID: uint64(session), Board: board}, name, argument(inv.Arguments))
}

// inOrder reports whether a call is of Config.InOrder.
func (r *Router) inOrder(inv *nwamp.Invocation) bool {
	uri, _ := nwamp.AsString(inv.Details[nwamp.OptProcedure])
	_, name, _ := wamp.ParseBoardURI(uri)
	return slices.Contains(r.cfg.InOrder, name)
}

// argument is the payload: the first positional argument.
func argument(args nwamp.List) string {
	if len(args) == 0 {
		return ""
	}
	s, _ := nwamp.AsString(args[0])
	return s
}

// now returns what is running.
func (r *Router) now(op string) (*running, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return nil, stopped(op)
	}
	return r.run, nil
}

func stopped(op string) error {
	return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the WAMP router is not running")
}

// Publish publishes to a topic and returns when the broker has passed it on.
// That no board is subscribed is not an error.
func (r *Router) Publish(ctx context.Context, topic, arg string) error {
	op := "publish " + topic
	run, err := r.now(op)
	if err != nil {
		return err
	}
	options := nwamp.Dict{nwamp.OptAcknowledge: true}
	_, err = run.cloud.ask(ctx, op, func(id nwamp.ID) nwamp.Message {
		return &nwamp.Publish{Request: id, Options: options, Topic: nwamp.URI(topic), Arguments: nwamp.List{arg}}
	})
	return err
}

// Call calls what a board registered, under the name after its prefix, in that
// session. A session that is not there (any more), or did not register it, is
// [s4t.Offline].
func (r *Router) Call(ctx context.Context, to Session, name, arg string) (string, error) {
	op := fmt.Sprintf("call %s of board %s", name, to.Board)
	run, err := r.now(op)
	if err != nil {
		return "", err
	}
	reply, err := run.cloud.call(ctx, op, string(sessionURI(nwamp.ID(to.ID), name)), nwamp.List{arg}, nil)
	switch wamp.ReasonOf(err) {
	case string(nwamp.ErrNoSuchProcedure), string(nwamp.ErrCanceled), string(nwamp.ErrNetworkFailure):
		return "", s4t.Errorf(s4t.Offline, op, "try again when it is back", "the board is not connected, or its version does not know this")
	}
	return reply, err
}

// Kick ends a session with a reason (a URI) and a sentence for people. A
// session that is not there (any more) is not an error. What has begun is done,
// which takes no time to speak of, even if ctx ends.
func (r *Router) Kick(ctx context.Context, s Session, reason, message string) error {
	const op = "end a control session"
	r.mu.Lock()
	run := r.run
	if run == nil {
		r.mu.Unlock()
		return stopped(op)
	}
	r.kicking.Add(1)
	r.mu.Unlock()
	defer r.kicking.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), kickTimeout)
	defer cancel()
	_, err := run.cloud.call(ctx, op, string(nwamp.MetaProcSessionKill),
		nwamp.List{nwamp.ID(s.ID)}, nwamp.Dict{"reason": reason, "message": message})
	if wamp.ReasonOf(err) == string(nwamp.ErrNoSuchSession) {
		return nil
	}
	return err
}
