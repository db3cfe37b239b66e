package router

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/hex"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gammazero/nexus/v3/transport"
	"github.com/gammazero/nexus/v3/transport/serialize"
	nwamp "github.com/gammazero/nexus/v3/wamp"
	"github.com/gorilla/websocket"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// world is a router with two enrolled boards and one unused code.
type world struct {
	t      *testing.T
	r      *Router
	addr   string // host:port
	boards [2]s4t.BoardID
	keys   [2]ed25519.PrivateKey
	joined chan Session
	left   chan Session
	serve  func(ctx context.Context, from Session, procedure, arg string) (string, error)
	stop   func() // ends Run and waits

	mu    sync.Mutex // guards codes
	codes map[string]wire.BoardJoined
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, joined: make(chan Session, 64), left: make(chan Session, 64), codes: map[string]wire.BoardJoined{}}
	for i := range w.boards {
		w.boards[i] = s4t.BoardID(s4t.NewID())
		_, w.keys[i], _ = ed25519.GenerateKey(rand.Reader)
	}
	w.codes["GOOD"] = wire.BoardJoined{Board: s4t.BoardID(s4t.NewID()), Name: "new", TicketKey: []byte("k")}
	w.serve = func(_ context.Context, from Session, procedure, arg string) (string, error) {
		return string(from.Board) + " " + procedure + " " + arg, nil
	}
	r, err := New(Config{
		Identify: func(_ context.Context, board s4t.BoardID) (wire.BoardIdentity, error) {
			for i, b := range w.boards {
				if b == board {
					return wire.BoardIdentity{Board: b, PublicKey: w.keys[i].Public().(ed25519.PublicKey)}, nil
				}
			}
			return wire.BoardIdentity{}, s4t.Errorf(s4t.NotFound, "identify", "", "no such board")
		},
		Check: func(_ context.Context, req wire.BoardJoin) error {
			if req.Code != "GOOD" {
				return s4t.Errorf(s4t.Conflict, "check", "ask for a new one", "the code was used")
			}
			return nil
		},
		Join: func(_ context.Context, req wire.BoardJoin) (wire.BoardJoined, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			j, ok := w.codes[req.Code]
			if !ok {
				return j, s4t.Errorf(s4t.Conflict, "join", "ask for a new one", "the code was used")
			}
			return j, nil
		},
		Procedures: []string{wamp.Connected, wamp.Desired, wamp.Samples},
		InOrder:    []string{wamp.Samples},
		Serve: func(ctx context.Context, from Session, procedure, arg string) (string, error) {
			return w.serve(ctx, from, procedure, arg)
		},
		Joined: func(s Session) { w.joined <- s },
		Left:   func(s Session) { w.left <- s },
	})
	if err != nil {
		t.Fatal(err)
	}
	w.r = r
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
		if n := r.Arrivals().Beginning; n != 0 || r.joining != 0 || len(r.peers)+len(r.byID)+len(r.byBoard)+len(r.joiners) != 0 {
			t.Errorf("after Run %d are on their way, %d joining, %d there", n, r.joining, len(r.peers))
		}
	})
	wait(t, "ready", r.Ready(), time.Minute)
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	t.Cleanup(w.stop)
	w.addr = strings.TrimPrefix(srv.URL, "http://")
	return w
}

// gorilla is a board's transport: a WebSocket of a library that is not ours.
type gorilla struct {
	*websocket.Conn
	mu sync.Mutex
}

func (g *gorilla) Read() ([]byte, error) {
	_, p, err := g.ReadMessage()
	return p, err
}

func (g *gorilla) Write(p []byte) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.WriteMessage(websocket.BinaryMessage, p)
}

func (w *world) dial(addr string) *gorilla {
	w.t.Helper()
	d := websocket.Dialer{Subprotocols: []string{wamp.Subprotocol}}
	ws, rsp, err := d.Dial("ws://"+addr+wamp.Path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	rsp.Body.Close()
	return &gorilla{Conn: ws}
}

// open opens a board's session with our client, running.
func (w *world) open(addr string, board int) (*wamp.Session, chan error) {
	w.t.Helper()
	s, _, err := wamp.Join(w.t.Context(), w.dial(addr), wamp.JoinConfig{Board: w.boards[board], Key: w.keys[board]})
	if err != nil {
		w.t.Fatal(err)
	}
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { ended <- s.Run(ctx) }()
	w.t.Cleanup(cancel)
	return s, ended
}

// raw is a board that speaks WAMP as it likes, over nexus' own client side.
func (w *world) raw() nwamp.Peer {
	w.t.Helper()
	p, err := transport.ConnectWebsocketPeer(w.t.Context(), "ws://"+w.addr+wamp.Path, serialize.MSGPACK, nil, log.New(io.Discard, "", 0), nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(p.Close)
	return p
}

func recv(t *testing.T, p nwamp.Peer) nwamp.Message {
	t.Helper()
	m, err := nwamp.RecvTimeout(p, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func hello(details nwamp.Dict) *nwamp.Hello {
	details["roles"] = nwamp.Dict{"caller": nwamp.Dict{}, "callee": nwamp.Dict{}, "publisher": nwamp.Dict{}, "subscriber": nwamp.Dict{}}
	return &nwamp.Hello{Realm: s4t.Realm, Details: details}
}

// sign answers a challenge as WAMP-Cryptosign wants it.
func sign(key ed25519.PrivateKey, c *nwamp.Challenge) string {
	text, _ := nwamp.AsString(c.Extra["challenge"])
	challenge, _ := hex.DecodeString(text)
	return hex.EncodeToString(append(ed25519.Sign(key, challenge), challenge...))
}

// rawBoard is a raw board that has joined.
func (w *world) rawBoard(board int) nwamp.Peer {
	w.t.Helper()
	p := w.raw()
	p.Send() <- hello(nwamp.Dict{"authid": string(w.boards[board]), "authmethods": nwamp.List{"cryptosign"}})
	p.Send() <- &nwamp.Authenticate{Signature: sign(w.keys[board], recv(w.t, p).(*nwamp.Challenge)), Extra: nwamp.Dict{}}
	if m, ok := recv(w.t, p).(*nwamp.Welcome); !ok {
		w.t.Fatalf("got %v, want a welcome", m)
	}
	return p
}

func wait[T any](t *testing.T, what string, c <-chan T, limit time.Duration) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(limit):
		t.Fatalf("%s: nothing within %v", what, limit)
		panic("unreachable")
	}
}

func TestBoardAndCloudTalk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	s, ended := w.open(w.addr, 0)
	who := wait(t, "joined", w.joined, time.Minute)
	if who != (Session{ID: s.ID(), Board: w.boards[0]}) {
		t.Errorf("joined %+v", who)
	}

	got, err := s.Call(ctx, wamp.BoardURI(w.boards[0], wamp.Desired), `{"a":1}`)
	if want := string(w.boards[0]) + ` cloud.desired {"a":1}`; err != nil || got != want {
		t.Errorf("the board's call gave %q, %v; want %q", got, err, want)
	}

	events := make(chan string, 1)
	if err := s.Subscribe(ctx, wamp.BoardURI(w.boards[0], wamp.Wake), func(arg string) { events <- arg }); err != nil {
		t.Fatal(err)
	}
	if err := w.r.Publish(ctx, wamp.BoardURI(w.boards[0], wamp.Wake), "7"); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, "event", events, time.Minute); got != "7" {
		t.Errorf("event %q", got)
	}

	if err := s.Register(ctx, wamp.BoardURI(w.boards[0], wamp.Ping), func(_ context.Context, arg string) (string, error) { return "pong " + arg, nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := w.r.Call(ctx, who, wamp.Ping, "x"); err != nil || got != "pong x" {
		t.Errorf("the cloud's call gave %q, %v", got, err)
	}
	if _, err := w.r.Call(ctx, who, wamp.Doctor, ""); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("a procedure that is not registered gave %v", err)
	}

	if err := w.r.Kick(ctx, who, wamp.ReasonReplaced, "another took over"); err != nil {
		t.Fatal(err)
	}
	err = wait(t, "end", ended, time.Minute)
	if wamp.ReasonOf(err) != wamp.ReasonReplaced || s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "another took over") {
		t.Errorf("the kicked session ended with %v", err)
	}
	if got := wait(t, "left", w.left, time.Minute); got != who {
		t.Errorf("left %+v", got)
	}
	if err := w.r.Kick(ctx, who, wamp.ReasonReplaced, ""); err != nil {
		t.Errorf("kicking who is gone: %v", err)
	}
}

func TestTypedErrorsCross(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve = func(context.Context, Session, string, string) (string, error) {
		return "", s4t.Errorf(s4t.Conflict, "begin a session", "leave first", "the board is cloned")
	}
	s, _ := w.open(w.addr, 0)
	_, err := s.Call(t.Context(), wamp.BoardURI(w.boards[0], wamp.Connected), "")
	if s4t.KindOf(err) != s4t.Conflict || err.Error() != "begin a session: the board is cloned; leave first" {
		t.Errorf("the board got %v", err)
	}
	who := wait(t, "joined", w.joined, time.Minute)
	err = s.Register(t.Context(), wamp.BoardURI(w.boards[0], wamp.Doctor), func(context.Context, string) (string, error) {
		return "", s4t.Errorf(s4t.TooMany, "examine", "", "busy")
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.r.Call(t.Context(), who, wamp.Doctor, ""); s4t.KindOf(err) != s4t.TooMany || err.Error() != "examine: busy" {
		t.Errorf("the cloud got %v", err)
	}
}

// TestSecondSession: a board that comes back registers while its first session
// is not known to be dead, and each is reached by itself.
func TestSecondSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, name := range []string{"first", "second"} {
		s, _ := w.open(w.addr, 0)
		if err := s.Register(t.Context(), wamp.BoardURI(w.boards[0], wamp.Ping), func(context.Context, string) (string, error) { return name, nil }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"first", "second"} {
		got, err := w.r.Call(t.Context(), wait(t, "joined", w.joined, time.Minute), wamp.Ping, "")
		if got != name || err != nil {
			t.Errorf("got %q, %v; want %q", got, err, name)
		}
	}
}

func TestShutdownIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ended := w.open(w.addr, 0)
	_ = w.dial(w.addr) // says nothing
	wait(t, "joined", w.joined, time.Minute)
	start := time.Now()
	w.stop()
	if took := time.Since(start); took > time.Minute {
		t.Errorf("Run took %v to end", took)
	}
	if err := wait(t, "end", ended, time.Minute); wamp.ReasonOf(err) != wamp.ReasonShutdown || s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("the session ended with %v", err)
	}
	wait(t, "left", w.left, time.Minute)
	d := websocket.Dialer{Subprotocols: []string{wamp.Subprotocol}}
	_, rsp, err := d.Dial("ws://"+w.addr+wamp.Path, nil)
	if err == nil || rsp == nil || rsp.StatusCode != 503 {
		t.Errorf("a router that stopped answered %v, %v", rsp, err)
	}
}

// TestStoppingWhileSessionsAreEnded: neither waits for the other.
func TestStoppingWhileSessionsAreEnded(t *testing.T) {
	for range 20 {
		w := newWorld(t)
		var kicking sync.WaitGroup
		first := make(chan struct{}, 8)
		ctx, cancel := context.WithCancel(t.Context())
		for range cap(first) {
			kicking.Go(func() {
				for {
					err := w.r.Kick(ctx, Session{ID: 1, Board: w.boards[0]}, wamp.ReasonStale, "")
					select {
					case first <- struct{}{}:
					default:
					}
					if s4t.KindOf(err) == s4t.Unavailable {
						return
					}
					if err != nil {
						t.Errorf("Kick: %v", err)
						return
					}
				}
			})
		}
		<-first
		cancel()
		w.stop()
		kicking.Wait()
	}
}

// TestBoardsThatAreFasterThanTheStart wait for it.
func TestBoardsThatAreFasterThanTheStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r, err := New(w.r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	arrived := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		close(arrived)
		r.ServeHTTP(rw, req)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		<-arrived
		ended <- r.Run(ctx)
	}()
	w.open(strings.TrimPrefix(srv.URL, "http://"), 0)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestDeadPeersAreNoticed(t *testing.T) {
	t.Parallel()
	const limit = time.Minute
	tests := []struct {
		name string
		do   func(t *testing.T, w *world) (gone func())
	}{
		{"a peer that says nothing after the upgrade", func(t *testing.T, w *world) func() {
			g := w.dial(w.addr)
			return func() { g.Read() }
		}},
		{"a peer that says nothing after HELLO", func(t *testing.T, w *world) func() {
			p := w.raw()
			p.Send() <- hello(nwamp.Dict{"authid": string(w.boards[0]), "authmethods": nwamp.List{"cryptosign"}})
			return func() {
				for range p.Recv() {
				}
			}
		}},
		{"a link that is cut", func(t *testing.T, w *world) func() {
			addr, cut := cutter(t, w.addr)
			w.open(addr, 0)
			cut()
			return func() { <-w.left }
		}},
		{"a board that does not read", func(t *testing.T, w *world) func() {
			w.rawStopped()
			big := strings.Repeat("x", 512<<10)
			for range 64 {
				if err := w.r.Publish(t.Context(), wamp.BoardURI(w.boards[0], wamp.Wake), big); err != nil {
					t.Fatal(err)
				}
			}
			other, _ := w.open(w.addr, 1)
			if _, err := other.Call(t.Context(), wamp.BoardURI(w.boards[1], wamp.Desired), ""); err != nil {
				t.Errorf("another board is held up: %v", err)
			}
			return func() { <-w.left }
		}},
	}
	var all sync.WaitGroup // at once: each takes its seconds
	for _, tt := range tests {
		w := newWorld(t)
		gone := tt.do(t, w)
		start := time.Now()
		all.Go(func() {
			done := make(chan struct{})
			go func() { gone(); close(done) }()
			select {
			case <-done:
				t.Logf("%s is noticed after %v", tt.name, time.Since(start).Round(time.Millisecond))
			case <-time.After(limit):
				t.Errorf("%s is not noticed within %v", tt.name, limit)
			}
		})
	}
	all.Wait()
}

// rawStopped is a board that subscribed and then stopped reading.
func (w *world) rawStopped() {
	w.t.Helper()
	g := w.dial(w.addr)
	w.t.Cleanup(func() { g.Close() })
	if _, _, err := wamp.Join(w.t.Context(), g, wamp.JoinConfig{Board: w.boards[0], Key: w.keys[0]}); err != nil {
		w.t.Fatal(err)
	}
	s := &serialize.MessagePackSerializer{}
	b, err := s.Serialize(&nwamp.Subscribe{Request: 1, Options: nwamp.Dict{}, Topic: nwamp.URI(wamp.BoardURI(w.boards[0], wamp.Wake))})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := g.Write(b); err != nil {
		w.t.Fatal(err)
	}
	if _, err := g.Read(); err != nil {
		w.t.Fatal(err)
	}
}

// cutter is a relay whose cut makes it swallow everything, without a word to
// either end.
func cutter(t *testing.T, to string) (addr string, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var silent bool
	var wg sync.WaitGroup
	var open []net.Conn
	relay := func(dst, src net.Conn) {
		b := make([]byte, 4096)
		for {
			n, err := src.Read(b)
			if err != nil {
				return
			}
			mu.Lock()
			if !silent {
				_, err = dst.Write(b[:n])
			}
			mu.Unlock()
			if err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			a, err := l.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			mu.Lock()
			open = append(open, a, b)
			mu.Unlock()
			wg.Go(func() { relay(a, b) })
			wg.Go(func() { relay(b, a) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String(), func() {
		mu.Lock()
		defer mu.Unlock()
		silent = true
	}
}
