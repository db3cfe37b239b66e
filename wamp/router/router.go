package router

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lograte"
	"github.com/stack4things/s4t/rtunnel/park"
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
	Join func(ctx context.Context, req wire.BoardJoin) (wire.BoardJoined, error)
	// Check tells whether Join would, and changes nothing. Required.
	Check func(ctx context.Context, req wire.BoardJoin) error
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
)

// joined reports whether there is a session.
func (s Session) joined() bool { return s.ID != 0 }

// Router lets boards in and routes between them and the cloud.
type Router struct {
	cfg     Config
	guard   guard        // slows down who guesses codes
	refused lograte.Line // strangers that could not join
	ready   chan struct{}
	parked  park.Poller // waits for all boards

	mu      sync.Mutex // guards the fields below
	run     *running   // nil: not running
	peers   map[*peer]struct{}
	joining int            // peers that are not welcomed yet
	joiners map[string]int // the same by source
	byID    map[uint64]*peer
	watched [beats]map[*peer]struct{} // those of byID, by the beat at which they are looked at

	sayWithin time.Duration
	byBoard   map[s4t.BoardID][]*peer // welcomed, oldest first

	arrivals arrivals

	ended   sync.WaitGroup // connections, and who writes to them
	serving sync.WaitGroup // calls of boards
}

// running is what exists while Run runs.
type running struct {
	ctx context.Context
}

// New returns a Router that turns everybody away until Run.
func New(cfg Config) (*Router, error) {
	if cfg.Identify == nil || cfg.Join == nil || cfg.Check == nil || cfg.Serve == nil || cfg.Joined == nil || cfg.Left == nil || len(cfg.Procedures) == 0 {
		return nil, s4t.Errorf(s4t.Invalid, "make the WAMP router", "", "Identify, Join, Check, Serve, Joined, Left and Procedures are required")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &Router{cfg: cfg, ready: make(chan struct{}), peers: make(map[*peer]struct{}), joiners: make(map[string]int),
		byID: make(map[uint64]*peer), sayWithin: sayWithin, byBoard: make(map[s4t.BoardID][]*peer)}
	for i := range r.watched {
		r.watched[i] = make(map[*peer]struct{})
	}
	return r, nil
}

// Sessions is how many boards have a session.
func (r *Router) Sessions() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byBoard)
}

// Ready is closed when Run lets boards in.
func (r *Router) Ready() <-chan struct{} { return r.ready }

// Run serves until ctx ends. Every session has been told, has ended, and Left
// was called for it, when Run returns. It is called once.
func (r *Router) Run(ctx context.Context) error {
	r.mu.Lock()
	r.run = &running{ctx}
	r.mu.Unlock()
	close(r.ready)

	r.watch(ctx)

	r.mu.Lock()
	r.run = nil
	for p := range r.peers {
		if p.welcomed {
			p.close(goodbye(wamp.ReasonShutdown, "the cloud stops"))
		} else {
			p.close(nil)
		}
	}
	r.mu.Unlock()
	r.ended.Wait()
	r.serving.Wait()
	r.parked.Wait()
	return nil
}

// stopped returns an error where nothing runs (any more).
func (r *Router) stopped(op string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.run == nil {
		return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the WAMP router is not running")
	}
	return nil
}

// Publish publishes to a topic of a board and returns when it is passed on.
// That no board is subscribed is not an error.
func (r *Router) Publish(_ context.Context, topic, arg string) error {
	op := "publish " + topic
	if err := r.stopped(op); err != nil {
		return err
	}
	board, name, ok := wamp.ParseBoardURI(topic)
	if !ok {
		return s4t.Errorf(s4t.Invalid, op, "", "this is no topic of a board")
	}
	r.event(board, name, nil, list{arg}, nil)
	return nil
}

// Call calls what a board registered, under the name after its prefix, in that
// session. A session that is not there (any more), or did not register it, is
// [s4t.Offline].
func (r *Router) Call(ctx context.Context, to Session, name, arg string) (string, error) {
	op := "call " + name + " of board " + string(to.Board)
	if err := r.stopped(op); err != nil {
		return "", err
	}
	var a answer
	p := r.peer(to)
	there, err := p != nil, error(nil)
	if there {
		a, there, err = p.ask(ctx, name, arg)
	}
	if err != nil {
		return "", s4t.Errorf(s4t.Timeout, op, "", "no answer in the time given: %w", err)
	}
	switch a.uri {
	case wamp.NoSuchProcedure, errCanceled, errNetworkFailure:
		there = false
	}
	if !there {
		if err := r.stopped(op); err != nil {
			return "", err
		}
		return "", s4t.Errorf(s4t.Offline, op, "try again when it is back", "the board is not connected, or its version does not know this")
	}
	if a.uri != "" {
		return "", wamp.DecodeError(op, a.uri, a.text, a.arg)
	}
	return a.arg, nil
}

// Kick ends a session with a reason (a URI) and a sentence for people. A
// session that is not there (any more) is not an error. It does not wait.
func (r *Router) Kick(_ context.Context, s Session, reason, message string) error {
	if err := r.stopped("end a control session"); err != nil {
		return err
	}
	if p := r.peer(s); p != nil {
		p.close(goodbye(reason, message))
	}
	return nil
}
