package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/sockopt"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

const (
	connectTimeout = 12 * time.Second // one try of one URL, down to the WAMP welcome
	callTimeout    = 10 * time.Second // one call to the cloud
)

// cloud is a live control session, as the engine needs it.
type cloud interface {
	// Call sends arg to the cloud's procedure under this board's URI and
	// decodes the answer into reply, unless that is nil.
	Call(ctx context.Context, procedure string, arg, reply any) error
	// Serve serves a procedure under this board's URI, for the rest of the session.
	Serve(ctx context.Context, procedure string, h wamp.Handler) error
	// Follow receives what is published on a topic under this board's URI, for the
	// rest of the session. h must not block.
	Follow(ctx context.Context, topic string, h func(arg string)) error
	// Wake receives after the cloud said that there is a new generation.
	Wake() <-chan int64
	// Move receives where the cloud wants the session to be instead.
	Move() <-chan string
	// Done is closed when the session has ended; Err says why after it.
	Done() <-chan struct{}
	Err() error
	// URL is where the session is.
	URL() string
	// Cut reports whether it has ended because nothing came from the cloud any more:
	// as far as the board can see, its own path is cut.
	Cut() bool
	// Close ends it and waits until nothing of it runs.
	Close()
}

// connectorConfig configures a connector.
type connectorConfig struct {
	Identity Identity                                                   // required
	Trust    wire.Trust                                                 // optional: what the cloud announced
	Doctor   func(ctx context.Context) wire.DoctorReport                // optional: answers the cloud's doctor; default: not registered
	HostKeys func(ctx context.Context, question string) (string, error) // optional: answers which host keys an SSH service of the board has; default: not registered
	Pins     func(of cloud) wamp.Handler                                // optional: makes what answers a session's questions about the board's pins; default: not registered
	Code     func(of cloud) wamp.Handler                                // optional: makes what answers a session's questions about code on the board; default: not registered
	Log      *slog.Logger                                               // required
}

// connector opens control sessions.
type connector struct {
	cfg    connectorConfig
	dialer *dial.Dialer
	first  string // URL that is tried first: where the board has a turn, or had its last session
	turns  int    // that it was told there
}

func newConnector(cfg connectorConfig) (*connector, error) {
	dialer, err := newDialer(cfg.Identity, cfg.Trust, cfg.Log)
	if err != nil {
		return nil, err
	}
	return &connector{cfg: cfg, dialer: dialer}, nil
}

// newDialer makes the dialler that trusts what the identity says, and what the
// cloud announced since.
func newDialer(id Identity, announced wire.Trust, log *slog.Logger) (*dial.Dialer, error) {
	cfg := dial.Config{DefaultProxy: id.Proxy, OneTry: true, Classical: true, Log: log}
	id.trust(announced, &cfg)
	return dial.New(cfg)
}

// connect tries the URLs in order: where the board has a turn first, else where its
// last session was. A cloud that tells the board its turn is not asked elsewhere
// for another one: a turn that is given and not used leaves that cloud idle.
func (c *connector) connect(ctx context.Context, urls []string) (cloud, error) {
	var failed error
	for _, url := range preferred(urls, c.first) {
		s, err := c.connectTo(ctx, url)
		if err == nil {
			c.first, c.turns = url, 0
			return s, nil
		}
		if errors.Is(err, dial.ErrTurn) && len(urls) > 1 {
			c.told(url, urls[(slices.Index(urls, url)+1)%len(urls)])
			return nil, err
		}
		if failed == nil || s4t.KindOf(failed) == s4t.Unavailable {
			failed = err // what a person can cure is worth more than "not there"
		}
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failed
}

// maxTurns is how many turns a board is told in one place before it asks in the next.
const maxTurns = 2

// told notes a turn at url.
func (c *connector) told(url, next string) {
	if c.first != url {
		c.turns = 0
	}
	c.first = url
	if c.turns++; c.turns == maxTurns {
		c.first, c.turns = next, 0
	}
}

// preferred returns urls with first at the front, if it is one of them.
func preferred(urls []string, first string) []string {
	out := make([]string, 0, len(urls))
	for _, u := range urls {
		if u == first {
			out = append([]string{u}, out...)
		} else {
			out = append(out, u)
		}
	}
	return out
}

func (c *connector) connectTo(ctx context.Context, url string) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.dialer.Dial(ctx, url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		return nil, err
	}
	id := c.cfg.Identity
	s := &session{board: id.Board, url: url, conn: conn, wake: make(chan int64, 1), move: make(chan string, 1), done: make(chan struct{})}
	cfg := wamp.JoinConfig{Board: id.Board, Key: id.PrivateKey(), Procedures: s.procedures(c.cfg), Topics: map[string]func(string){wamp.Wake: s.woken, wamp.Move: s.moves}}
	if c.dialer.Direct(url) && sockopt.Watch(conn.NetConn()) == nil {
		cfg.Path = conn.NetConn().LocalAddr().String()
	}
	ws, welcome, err := wamp.Join(ctx, wamp.Over(conn), cfg)
	if err != nil {
		return nil, err
	}
	ping := s4t.PresenceInterval
	s.ws, s.silence = ws, s4t.PresenceTimeout
	if welcome.Ping > 0 {
		ping, s.silence = welcome.Ping, 2*welcome.Ping+s4t.PresenceTimeout
	}
	alive, dead := context.WithCancel(context.Background())
	s.running.Go(func() {
		s.err = ws.Run(context.Background()) // ends by Close
		dead()
		close(s.done)
	})
	// The cloud pings too, or its kernel does; ours go outward, and so make a NAT
	// that has forgotten the connection learn it again.
	s.running.Go(func() { conn.Keepalive(alive, ping, s.silence) })
	if !welcome.Offered {
		if err := s.offer(ctx, cfg); err != nil {
			s.Close()
			return nil, err
		}
	}
	return s, nil
}

// session is a control session over WAMP.
type session struct {
	board   s4t.BoardID
	url     string
	ws      *wamp.Session
	conn    *rtunnel.Conn
	wake    chan int64
	move    chan string
	silence time.Duration // after which the other end counts as dead
	running sync.WaitGroup
	done    chan struct{}
	err     error // valid when done is closed
}

// procedures are what the cloud may call of the board.
func (s *session) procedures(cfg connectorConfig) map[string]wamp.Handler {
	procedures := map[string]wamp.Handler{
		wamp.Ping: func(context.Context, string) (string, error) { return "{}", nil },
	}
	if cfg.HostKeys != nil {
		procedures[wamp.HostKeys] = cfg.HostKeys
	}
	if cfg.Pins != nil {
		procedures[wamp.PinsAsk] = cfg.Pins(s)
	}
	if cfg.Code != nil {
		procedures[wamp.CodeAsk] = cfg.Code(s)
	}
	if cfg.Doctor != nil {
		procedures[wamp.Doctor] = func(ctx context.Context, _ string) (string, error) {
			return string(wire.Encode(cfg.Doctor(ctx))), nil
		}
	}
	return procedures
}

// offer subscribes and registers what the cloud may use of the board, in one round
// trip: the cloud is an older one, that has not done so with its welcome.
func (s *session) offer(ctx context.Context, cfg wamp.JoinConfig) error {
	errs := make(chan error, len(cfg.Topics)+len(cfg.Procedures))
	for name, h := range cfg.Topics {
		go func() { errs <- s.Follow(ctx, name, h) }()
	}
	for name, h := range cfg.Procedures {
		go func() { errs <- s.Serve(ctx, name, h) }()
	}
	var failed error
	for range cap(errs) {
		if err := <-errs; failed == nil {
			failed = err
		}
	}
	return failed
}

// woken takes a [wire.BoardWake].
func (s *session) woken(arg string) {
	var w wire.BoardWake
	if json.Unmarshal([]byte(arg), &w) != nil {
		return
	}
	select {
	case <-s.wake: // an older wake that nobody heeded yet
	default:
	}
	select {
	case s.wake <- w.Generation:
	default:
	}
}

// moves takes a [wire.BoardMove].
func (s *session) moves(arg string) {
	var m wire.BoardMove
	if json.Unmarshal([]byte(arg), &m) != nil || m.URL == "" {
		return
	}
	select {
	case s.move <- m.URL:
	default: // it was told a moment ago
	}
}

func (s *session) Serve(ctx context.Context, procedure string, h wamp.Handler) error {
	return s.ws.Register(ctx, wamp.BoardURI(s.board, procedure), h)
}

func (s *session) Follow(ctx context.Context, topic string, h func(arg string)) error {
	return s.ws.Subscribe(ctx, wamp.BoardURI(s.board, topic), h)
}

func (s *session) Call(ctx context.Context, procedure string, arg, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := s.ws.Call(ctx, wamp.BoardURI(s.board, procedure), string(wire.Encode(arg)))
	if err != nil || reply == nil {
		return err
	}
	if err := json.Unmarshal([]byte(answer), reply); err != nil {
		return s4t.Errorf(s4t.Internal, "call "+procedure, "", "the cloud's answer is not understood: %w", err)
	}
	return nil
}

func (s *session) Wake() <-chan int64    { return s.wake }
func (s *session) Move() <-chan string   { return s.move }
func (s *session) Done() <-chan struct{} { return s.done }
func (s *session) Err() error            { return s.err }
func (s *session) URL() string           { return s.url }

func (s *session) Cut() bool {
	select {
	case <-s.done:
	default:
		return false
	}
	for _, e := range []error{syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN} {
		if errors.Is(s.err, e) {
			return true
		}
	}
	return s.conn.Idle() >= s.silence
}

func (s *session) Close() {
	s.ws.Close()
	s.running.Wait()
}
