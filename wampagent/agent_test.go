package wampagent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// conductor is a fake: it keeps epochs as the real one does.
type conductor struct {
	mu     sync.Mutex // guards the fields below
	keys   map[s4t.BoardID][]byte
	epoch  map[s4t.BoardID]int64
	online map[s4t.BoardID]bool
	hellos int
	refuse error // of every connected, when set
	lease  time.Duration
	answer func(method string) error // of hello and beat, when set
	broken s4t.BoardID               // whose end it cannot take
	tries  int                       // how often it was told of that

	noRecording error // of every part, when set

	connected    chan wire.BoardConnected // after each; capacity 64
	disconnected chan wire.BoardDisconnected
	woken        chan wire.BoardWake
	reports      chan wire.BoardReport
	pins         chan wire.PinReport
	recorded     chan wire.RecordingPart
	hold         chan struct{} // connected waits for it, when set
	entered      chan struct{} // connected waits now; capacity 1
}

func (c *conductor) mux() queue.Mux {
	current := func(req wire.BoardAsk) error {
		c.mu.Lock()
		defer c.mu.Unlock()
		if !c.online[req.Board] || c.epoch[req.Board] != req.Epoch {
			return s4t.Errorf(s4t.Conflict, "ask", "", "the session is over")
		}
		return nil
	}
	return queue.Mux{
		wire.MethodAgentHello: queue.Handle(func(context.Context, wire.AgentHello) (wire.AgentWelcome, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.answer != nil {
				if err := c.answer(wire.MethodAgentHello); err != nil {
					return wire.AgentWelcome{}, err
				}
			}
			c.hellos++
			return wire.AgentWelcome{Lease: c.lease}, nil
		}),
		wire.MethodAgentBeat: queue.Handle(func(context.Context, wire.AgentBeat) (wire.AgentLease, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.answer != nil {
				return wire.AgentLease{}, c.answer(wire.MethodAgentBeat)
			}
			return wire.AgentLease{Lease: c.lease}, nil
		}),
		wire.MethodBoardAuthenticate: queue.Handle(func(_ context.Context, req wire.BoardAuthenticate) (wire.BoardIdentity, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			key, ok := c.keys[req.Board]
			if !ok {
				return wire.BoardIdentity{}, s4t.Errorf(s4t.NotFound, "authenticate", "", "no such board")
			}
			return wire.BoardIdentity{Board: req.Board, PublicKey: key}, nil
		}),
		wire.MethodBoardJoin: queue.Handle(func(_ context.Context, req wire.BoardJoin) (wire.BoardJoined, error) {
			if req.Code != "GOOD" {
				return wire.BoardJoined{}, s4t.Errorf(s4t.Unauthenticated, "join", "make a new one", "the code is not known")
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			id := s4t.BoardID(s4t.NewID())
			c.keys[id] = req.PublicKey
			return wire.BoardJoined{Board: id, Name: "new", TicketKey: make([]byte, 32)}, nil
		}),
		wire.MethodBoardConnected: queue.Handle(func(ctx context.Context, req wire.BoardConnected) (wire.BoardWelcome, error) {
			c.mu.Lock()
			hold, err := c.hold, c.refuse
			c.mu.Unlock()
			if hold != nil {
				c.entered <- struct{}{}
				<-hold
			}
			if err != nil {
				return wire.BoardWelcome{}, err
			}
			c.mu.Lock()
			c.epoch[req.Board]++
			c.online[req.Board] = true
			epoch := c.epoch[req.Board]
			c.mu.Unlock()
			c.connected <- req
			return wire.BoardWelcome{Epoch: epoch, Desired: wire.BoardDesired{Board: req.Board, Generation: 1}}, nil
		}),
		wire.MethodBoardDisconnected: queue.Handle(func(_ context.Context, req wire.BoardDisconnected) (wire.Empty, error) {
			c.mu.Lock()
			if req.Board == c.broken {
				c.tries++
				c.mu.Unlock()
				return wire.Empty{}, s4t.Errorf(s4t.Internal, "end a session", "", "its row cannot be read")
			}
			if c.epoch[req.Board] == req.Epoch {
				c.online[req.Board] = false
			}
			c.mu.Unlock()
			c.disconnected <- req
			return wire.Empty{}, nil
		}),
		wire.MethodBoardDesired: queue.Handle(func(_ context.Context, req wire.BoardAsk) (wire.BoardDesired, error) {
			return wire.BoardDesired{Board: req.Board, Generation: 2, Told: req.Told}, current(req)
		}),
		wire.MethodBoardReport: queue.Handle(func(_ context.Context, req wire.BoardReport) (wire.Empty, error) {
			c.reports <- req
			return wire.Empty{}, nil
		}),
		wire.MethodBoardPins: queue.Handle(func(_ context.Context, req wire.PinReport) (wire.Empty, error) {
			c.pins <- req
			return wire.Empty{}, nil
		}),
		wire.MethodBoardRecording: queue.Handle(func(_ context.Context, req wire.RecordingPart) (wire.Empty, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			if c.noRecording != nil {
				return wire.Empty{}, c.noRecording
			}
			c.recorded <- req
			return wire.Empty{}, nil
		}),
		wire.MethodBoardTicket: queue.Handle(func(_ context.Context, req wire.BoardTicket) (wire.BoardTickets, error) {
			return wire.BoardTickets{Tickets: []string{string(req.Board)}}, nil
		}),
		wire.MethodBoardLeave: queue.Handle(func(_ context.Context, req wire.BoardAsk) (wire.Empty, error) { return wire.Empty{}, current(req) }),
		wire.MethodBoardWoken: queue.Handle(func(_ context.Context, req wire.BoardWake) (wire.Empty, error) {
			c.woken <- req
			return wire.Empty{}, nil
		}),
	}
}

// world is an agent with its conductor.
type world struct {
	t     *testing.T
	q     *queue.Mem
	c     *conductor
	agent *Agent
	url   string
	board s4t.BoardID
	key   ed25519.PrivateKey

	ended         chan error           // of the agent's Run; closed after it
	conduct       func() (stop func()) // serves the conductor's topic
	stopConductor func()
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, q: queue.New(), board: s4t.BoardID(s4t.NewID())}
	_, w.key, _ = ed25519.GenerateKey(rand.Reader)
	w.c = &conductor{
		keys:  map[s4t.BoardID][]byte{w.board: w.key.Public().(ed25519.PublicKey)},
		epoch: map[s4t.BoardID]int64{}, online: map[s4t.BoardID]bool{},
		connected: make(chan wire.BoardConnected, 64), disconnected: make(chan wire.BoardDisconnected, 64),
		woken: make(chan wire.BoardWake, 64), entered: make(chan struct{}, 1), reports: make(chan wire.BoardReport, 64), pins: make(chan wire.PinReport, 64), recorded: make(chan wire.RecordingPart, 64),
	}
	w.conduct = func() func() {
		agents := background(t, func(ctx context.Context) error { return w.q.Serve(ctx, wire.TopicAgents, "", 4, w.c.mux().Serve) })
		boards := background(t, func(ctx context.Context) error { return w.q.Serve(ctx, wire.TopicBoards, "", 16, w.c.mux().Serve) })
		return func() { boards(); agents() }
	}
	w.stopConductor = w.conduct()
	t.Cleanup(w.stopConductor)
	for served := s4t.Unavailable; served == s4t.Unavailable; { // both topics, before a board comes
		served = s4t.KindOf(w.q.Call(t.Context(), wire.TopicBoards, "nothing", wire.Empty{}, nil))
	}
	a, err := New(Config{ID: "wamp-agent-1", URL: "http://127.0.0.1:1", Queue: w.q})
	if err != nil {
		t.Fatal(err)
	}
	w.agent = a
	ctx, stop := context.WithCancel(context.Background())
	w.ended = make(chan error, 1)
	go func() { w.ended <- a.Run(ctx); close(w.ended) }()
	t.Cleanup(func() {
		stop()
		if err := <-w.ended; err != nil {
			t.Errorf("Run ended with %v", err)
		}
	})
	wait(t, "ready", a.Ready())
	for _, topic := range []string{wire.TopicWAMPAgent, wire.TopicWAMPQuestions, wire.TopicWAMPPins, wire.TopicWAMPCommands} { // it serves each from a moment of its own
		for served := s4t.Unavailable; served == s4t.Unavailable; {
			served = s4t.KindOf(w.q.Call(t.Context(), topic+".wamp-agent-1", "nothing", wire.Empty{}, nil))
		}
	}
	srv := httptest.NewServer(a.Handler())
	t.Cleanup(srv.Close)
	w.url = srv.URL
	return w
}

// background runs fn; stop cancels it and waits. Stopping twice is fine.
func background(t *testing.T, fn func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- fn(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
}

func wait[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(time.Minute):
		t.Fatalf("%s: nothing within a minute", what)
		panic("unreachable")
	}
}

// open opens a session with our own client over our own WebSocket.
func (w *world) open(cfg wamp.JoinConfig) (*wamp.Session, *wamp.Welcome, chan error, error) {
	w.t.Helper()
	d, err := dial.New(dial.Config{})
	if err != nil {
		w.t.Fatal(err)
	}
	conn, err := d.Dial(w.t.Context(), w.url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		w.t.Fatal(err)
	}
	s, welcome, err := wamp.Join(w.t.Context(), wamp.Over(conn), cfg)
	if err != nil {
		return nil, nil, nil, err
	}
	ended := make(chan error, 1)
	stop := background(w.t, func(ctx context.Context) error { ended <- s.Run(ctx); return nil })
	w.t.Cleanup(stop)
	return s, welcome, ended, nil
}

// start opens a session of the board up to its epoch.
func (w *world) start(instance string) (*wamp.Session, wire.BoardWelcome, chan error) {
	w.t.Helper()
	s, _, ended, err := w.open(wamp.JoinConfig{Board: w.board, Key: w.key})
	if err != nil {
		w.t.Fatal(err)
	}
	err = s.Register(w.t.Context(), wamp.BoardURI(w.board, wamp.Ping), func(context.Context, string) (string, error) { return "{}", nil })
	if err != nil {
		w.t.Fatal(err)
	}
	var welcome wire.BoardWelcome
	if err := w.call(s, wamp.Connected, wire.BoardConnected{Instance: instance}, &welcome); err != nil {
		w.t.Fatal(err)
	}
	return s, welcome, ended
}

func (w *world) call(s *wamp.Session, name string, arg, reply any) error {
	answer, err := s.Call(w.t.Context(), wamp.BoardURI(w.board, name), string(wire.Encode(arg)))
	if err != nil {
		return err
	}
	return json.Unmarshal([]byte(answer), reply)
}

func (w *world) tell(method string, req, reply any) error {
	topic := wire.TopicWAMPAgent
	if method == wire.MethodBoardCall {
		topic = wire.TopicWAMPQuestions
	}
	return w.q.Call(w.t.Context(), topic+".wamp-agent-1", method, req, reply)
}

func TestSessionFromBeginToEnd(t *testing.T) {
	w := newWorld(t)
	s, welcome, ended := w.start("i1")
	if welcome.Epoch != 1 || welcome.Desired.Generation != 1 {
		t.Errorf("welcome %+v", welcome)
	}
	req := wait(t, "connected", w.c.connected)
	if req.Board != w.board || req.Agent != "wamp-agent-1" || req.Session != s.ID() || req.Instance != "i1" || req.Incarnation == "" {
		t.Errorf("the conductor heard %+v", req)
	}

	wakes := make(chan string, 1)
	if err := s.Subscribe(t.Context(), wamp.BoardURI(w.board, wamp.Wake), func(arg string) { wakes <- arg }); err != nil {
		t.Fatal(err)
	}
	var d wire.BoardDesired
	if err := w.call(s, wamp.Desired, wire.Empty{}, &d); err != nil || !d.Told.IsZero() {
		t.Errorf("before a wake-up: %+v, %v", d, err)
	}
	wake, before := wire.BoardWake{Board: w.board, Generation: 2}, time.Now()
	if err := w.q.Cast(t.Context(), wire.TopicWAMPAgent+".wamp-agent-1", wire.MethodBoardWake, wake); err != nil {
		t.Fatal(err)
	}
	if got := wait(t, "wake", wakes); got != string(wire.Encode(wake)) {
		t.Errorf("the board heard %s", got)
	}
	if got := wait(t, "woken", w.c.woken); got != wake {
		t.Errorf("the conductor heard %+v", got)
	}

	if err := w.call(s, wamp.Desired, wire.Empty{}, &d); err != nil || d.Generation != 2 || d.Told.Before(before) || d.Told.After(time.Now()) {
		t.Errorf("desired: %+v, %v; it was woken after %v", d, err, before)
	}
	lie := wire.BoardReport{Board: s4t.BoardID(s4t.NewID()), Epoch: 77, Generation: 2}
	if err := w.call(s, wamp.Report, lie, &wire.Empty{}); err != nil {
		t.Error(err)
	}
	if r := wait(t, "report", w.c.reports); r.Board != w.board || r.Epoch != 1 {
		t.Errorf("the report is for %s, epoch %d", r.Board, r.Epoch)
	}
	var tickets wire.BoardTickets
	if err := w.call(s, wamp.Ticket, wire.BoardTicket{Board: s4t.BoardID(s4t.NewID()), Count: 1}, &tickets); err != nil || tickets.Tickets[0] != string(w.board) {
		t.Errorf("tickets: %v, %v", tickets, err)
	}
	if err := w.call(s, wamp.Ticket, wire.BoardTicket{Count: ticketBurst}, &tickets); s4t.KindOf(err) != s4t.TooMany || !strings.Contains(err.Error(), "tickets a second") {
		t.Errorf("more tickets than a board can want: %v", err)
	}
	if err := w.call(s, wamp.Ticket, wire.BoardTicket{Count: 16}, &tickets); err != nil {
		t.Errorf("as many as it may: %v", err)
	}

	if err := w.tell(wire.MethodBoardPing, wire.BoardPing{Board: w.board, Epoch: 1}, nil); err != nil {
		t.Errorf("ping: %v", err)
	}
	if err := w.tell(wire.MethodBoardPing, wire.BoardPing{Board: w.board, Epoch: 2}, nil); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("ping of another epoch: %v", err)
	}
	if err := w.tell(wire.MethodBoardCall, wire.BoardCall{Board: w.board, Procedure: wamp.Doctor}, nil); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("call of what the board does not have: %v", err)
	}
	err := s.Register(t.Context(), wamp.BoardURI(w.board, wamp.Doctor), func(context.Context, string) (string, error) { return `{"board":"x"}`, nil })
	if err != nil {
		t.Fatal(err)
	}
	var report wire.DoctorReport
	if err := w.tell(wire.MethodBoardCall, wire.BoardCall{Board: w.board, Procedure: wamp.Doctor}, &report); err != nil || report.Board != "x" {
		t.Errorf("doctor: %+v, %v", report, err)
	}

	if err := w.tell(wire.MethodBoardKick, wire.BoardKick{Board: w.board, Epoch: 0, Reason: wamp.ReasonLeft}, nil); err != nil {
		t.Error(err)
	}
	if err := w.tell(wire.MethodBoardPing, wire.BoardPing{Board: w.board, Epoch: 1}, nil); err != nil {
		t.Errorf("a kick of an older epoch hit: %v", err)
	}
	if err := w.tell(wire.MethodBoardKick, wire.BoardKick{Board: w.board, Epoch: 1, Reason: wamp.ReasonLeft}, nil); err != nil {
		t.Error(err)
	}
	if err := wait(t, "end", ended); wamp.ReasonOf(err) != wamp.ReasonLeft {
		t.Errorf("ended with %v", err)
	}
	if got := wait(t, "disconnected", w.c.disconnected); got != (wire.BoardDisconnected{Board: w.board, Epoch: 1}) {
		t.Errorf("the conductor heard %+v", got)
	}
}

func TestJoinThroughTheAgent(t *testing.T) {
	w := newWorld(t)
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	_, _, _, err := w.open(wamp.JoinConfig{Code: "BAD", Key: key})
	if s4t.KindOf(err) != s4t.Unauthenticated || !strings.Contains(err.Error(), "the code is not known; make a new one") {
		t.Errorf("a bad code gave %v", err)
	}
	_, welcome, _, err := w.open(wamp.JoinConfig{Code: "GOOD", Key: key})
	if err != nil || welcome.Joined.Name != "new" {
		t.Fatalf("%+v, %v", welcome, err)
	}
	if _, _, _, err := w.open(wamp.JoinConfig{Board: welcome.Board, Key: key}); err != nil {
		t.Errorf("the new identity is refused: %v", err)
	}
	_, _, _, err = w.open(wamp.JoinConfig{Board: s4t.BoardID(s4t.NewID()), Key: key})
	if s4t.KindOf(err) != s4t.Unauthenticated || !strings.Contains(err.Error(), "does not know this board") {
		t.Errorf("an unknown board gave %v", err)
	}
}

// TestANewerSessionTakesOver: the old one is told, and its end never hides the
// new one.
func TestANewerSessionTakesOver(t *testing.T) {
	w := newWorld(t)
	_, _, oldEnd := w.start("i1")
	_, welcome, _ := w.start("i2")
	if welcome.Epoch != 2 {
		t.Errorf("epoch %d", welcome.Epoch)
	}
	if err := wait(t, "end of the old", oldEnd); wamp.ReasonOf(err) != wamp.ReasonReplaced {
		t.Errorf("the old session ended with %v", err)
	}
	if err := w.tell(wire.MethodBoardPing, wire.BoardPing{Board: w.board, Epoch: 2}, nil); err != nil {
		t.Errorf("the new session does not answer: %v", err)
	}
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if !w.c.online[w.board] {
		t.Error("the conductor takes the board for offline")
	}
}

func TestRefusedSessionsAreEnded(t *testing.T) {
	tests := []struct {
		name   string
		err    error
		reason string
	}{
		{"a clone", s4t.Errorf(s4t.Conflict, "begin a session", "", "cloned: another board answers"), wamp.ReasonCloned},
		{"a deleted board", s4t.Errorf(s4t.NotFound, "begin a session", "", "no such board"), wamp.ReasonLeft},
		{"a board that left", s4t.Errorf(s4t.Unauthenticated, "begin a session", "", "it is not enrolled"), wamp.ReasonLeft},
	}
	w := newWorld(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w.c.mu.Lock()
			w.c.refuse = tt.err
			w.c.mu.Unlock()
			s, _, ended, err := w.open(wamp.JoinConfig{Board: w.board, Key: w.key})
			if err != nil {
				t.Fatal(err)
			}
			err = w.call(s, wamp.Connected, wire.BoardConnected{Instance: "i"}, &wire.BoardWelcome{})
			end := wait(t, "end", ended)
			for _, err := range []error{err, end} {
				if wamp.ReasonOf(err) != tt.reason || !strings.Contains(err.Error(), tt.err.(*s4t.Error).Msg) {
					t.Errorf("got %v, want %s", err, tt.reason)
				}
			}
		})
	}
}

// TestASessionThatEndsWhileItBegins is ended at the conductor too, whichever
// comes first.
func TestASessionThatEndsWhileItBegins(t *testing.T) {
	w := newWorld(t)
	w.c.hold = make(chan struct{})
	s, _, _, err := w.open(wamp.JoinConfig{Board: w.board, Key: w.key})
	if err != nil {
		t.Fatal(err)
	}
	called := make(chan error, 1)
	go func() { called <- w.call(s, wamp.Connected, wire.BoardConnected{Instance: "i"}, &wire.BoardWelcome{}) }()
	wait(t, "the call", w.c.entered)
	s.Close()
	wait(t, "end of the call", called)
	close(w.c.hold)
	if got := wait(t, "disconnected", w.c.disconnected); got.Epoch != 1 {
		t.Errorf("the conductor heard %+v", got)
	}
}

func TestTheConductorGoesAndComesBack(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.start("i1")
	w.stopConductor()
	err := w.call(s, wamp.Desired, wire.Empty{}, &wire.BoardDesired{})
	if s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("a call gave %v", err)
	}
	s.Close()
	stop := w.conduct()
	t.Cleanup(stop)
	if got := wait(t, "disconnected", w.c.disconnected); got != (wire.BoardDisconnected{Board: w.board, Epoch: 1}) {
		t.Errorf("the conductor heard %+v", got)
	}

	_, _, ended := w.start("i2")
	w.c.mu.Lock()
	w.c.online[w.board] = false // it lost what it knew
	hellos := w.c.hellos
	w.c.mu.Unlock()
	w.agent.registration.Renew()
	if err := wait(t, "end", ended); wamp.ReasonOf(err) != wamp.ReasonStale || s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("ended with %v", err)
	}
	for said := hellos; said == hellos; time.Sleep(time.Millisecond) { // an earlier one may have found it out
		w.c.mu.Lock()
		said = w.c.hellos
		w.c.mu.Unlock()
	}
}

// TestABoardThatTheConductorCannotReadKeepsNoOtherFromBeingTold of, and is
// told of again.
func TestABoardThatTheConductorCannotReadKeepsNoOtherFromBeingTold(t *testing.T) {
	w := newWorld(t)
	w.c.broken = w.board
	s, _, _ := w.start("i1")
	s.Close()
	for {
		w.c.mu.Lock()
		tries := w.c.tries
		w.c.mu.Unlock()
		if tries > 1 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	for range 3 {
		_, key, _ := ed25519.GenerateKey(rand.Reader)
		s, welcome, _, err := w.open(wamp.JoinConfig{Code: "GOOD", Key: key})
		if err != nil {
			t.Fatal(err)
		}
		arg := string(wire.Encode(wire.BoardConnected{Instance: "i"}))
		if _, err := s.Call(t.Context(), wamp.BoardURI(welcome.Board, wamp.Connected), arg); err != nil {
			t.Fatal(err)
		}
		s.Close()
		if got := wait(t, "disconnected", w.c.disconnected); got.Board != welcome.Board {
			t.Errorf("the conductor heard %+v", got)
		}
	}
	w.c.mu.Lock()
	w.c.broken = ""
	w.c.mu.Unlock()
	if got := wait(t, "disconnected", w.c.disconnected); got.Board != w.board {
		t.Errorf("the conductor heard %+v", got)
	}
}

func TestAnAgentThatLostItsLeaseEndsItsSessionsAndLetsNobodyIn(t *testing.T) {
	w := newWorld(t)
	_, _, ended := w.start("i1")
	w.c.mu.Lock()
	w.c.lease = 50 * time.Millisecond
	w.c.answer = func(method string) error {
		if method == wire.MethodAgentHello && w.c.lease > 0 { // the lease comes with it; from then on nothing is heard
			w.c.answer = func(string) error { return s4t.Errorf(s4t.Unavailable, "hear the agent", "", "say hello first") }
		}
		return nil
	}
	w.c.mu.Unlock()
	w.agent.registration.Renew()
	if err := wait(t, "end", ended); wamp.ReasonOf(err) != wamp.ReasonStale {
		t.Errorf("ended with %v", err)
	}
	if _, _, _, err := w.open(wamp.JoinConfig{Board: w.board, Key: w.key}); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("a board was let in: %v", err)
	}
	w.c.mu.Lock()
	w.c.answer, w.c.lease = nil, 0
	w.c.mu.Unlock()
	for w.agent.serving("wait") != nil {
		time.Sleep(time.Millisecond)
	}
	w.start("i2")
}

func TestAnotherIncarnationEndsTheAgent(t *testing.T) {
	w := newWorld(t)
	_, _, ended := w.start("i1")
	w.c.mu.Lock()
	w.c.answer = func(string) error { return s4t.Errorf(s4t.Conflict, "hear the agent", "", "another one has its place") }
	w.c.mu.Unlock()
	w.agent.registration.Renew()
	if err := wait(t, "end of Run", w.ended); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("Run: %v", err)
	}
	if err := wait(t, "end", ended); wamp.ReasonOf(err) != wamp.ReasonStale {
		t.Errorf("the session ended with %v", err)
	}
}

func TestCallsOfASessionThatHasNotBegun(t *testing.T) {
	w := newWorld(t)
	s, _, _, err := w.open(wamp.JoinConfig{Board: w.board, Key: w.key})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.call(s, wamp.Desired, wire.Empty{}, &wire.Empty{}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("desired gave %v", err)
	}
	if err := w.call(s, wamp.Connected, wire.BoardConnected{}, &wire.Empty{}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("connected without an instance gave %v", err)
	}
	if err := w.tell(wire.MethodBoardPing, wire.BoardPing{Board: w.board}, nil); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("ping gave %v", err)
	}
	// `lightning-rod leave` without a running agent.
	if err := w.call(s, wamp.Leave, wire.Empty{}, &wire.Empty{}); err != nil {
		t.Errorf("leave gave %v", err)
	}
}

func TestManySessions(t *testing.T) {
	w := newWorld(t)
	const boards = 200
	var all sync.WaitGroup
	w.c.connected = make(chan wire.BoardConnected, boards)
	w.c.disconnected = make(chan wire.BoardDisconnected, boards)
	for range boards {
		all.Go(func() {
			_, key, _ := ed25519.GenerateKey(rand.Reader)
			s, welcome, _, err := w.open(wamp.JoinConfig{Code: "GOOD", Key: key})
			if err != nil {
				t.Error(err)
				return
			}
			arg := string(wire.Encode(wire.BoardConnected{Instance: "i"}))
			if _, err := s.Call(t.Context(), wamp.BoardURI(welcome.Board, wamp.Connected), arg); err != nil {
				t.Error(err)
			}
			s.Close()
		})
	}
	all.Wait()
	for range boards {
		wait(t, "disconnected", w.c.disconnected)
	}
	w.agent.sessions.mu.Lock()
	defer w.agent.sessions.mu.Unlock()
	if n := len(w.agent.sessions.live) + len(w.agent.sessions.board) + len(w.agent.sessions.ended); n != 0 {
		t.Errorf("%d sessions are still known", n)
	}
}

// TestABoardMayBeginItsSessionAgain: it has another epoch then, and ends nobody else.
func TestABoardMayBeginItsSessionAgain(t *testing.T) {
	w := newWorld(t)
	s, _, _ := w.start("i1")
	var again wire.BoardWelcome
	if err := w.call(s, wamp.Connected, wire.BoardConnected{Instance: "i1"}, &again); err != nil || again.Epoch != 2 {
		t.Fatalf("%+v, %v", again, err)
	}
	if err := w.tell(wire.MethodBoardPing, wire.BoardPing{Board: w.board, Epoch: 2}, nil); err != nil {
		t.Errorf("ping: %v", err)
	}
}
