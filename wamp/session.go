package wamp

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// goodbyeWait is how long the other end has to answer a GOODBYE.
const goodbyeWait = time.Second

// Bounds of one session.
const (
	maxPending     = 64      // requests that wait for an answer
	maxInvocations = 64      // calls of the cloud that are being served
	maxWaiting     = 320     // and those that wait for their turn
	maxHeld        = 4 << 20 // bytes of the arguments of all of them
)

// Handler serves a registered procedure: arg and result are JSON. ctx ends
// with the session, and when the caller gives up.
type Handler func(ctx context.Context, arg string) (string, error)

// Session is a board's WAMP session. Its methods may be used from several
// goroutines; all but ID and Close wait until [Session.Run] runs.
type Session struct {
	id      uint64
	t       Messages
	maxIdle time.Duration // see watch

	// sending is held from the numbering of a request until it is written:
	// requests arrive in the order of their ids (WAMP, session scope ids). It
	// is taken before mu.
	sending sync.Mutex

	mu      sync.Mutex // guards the fields below
	next    uint64     // last request id
	pending map[uint64]*request
	why     error         // why the session ended
	reading bool          // Run was called
	leaving bool          // a GOODBYE of ours is on its way
	over    chan struct{} // closed with why set

	// Owned by the goroutine of Run.
	handlers map[uint64]Handler      // by registration
	topics   map[uint64]func(string) // by subscription

	serving sync.WaitGroup
	imu     sync.Mutex                    // guards the two below
	running map[uint64]context.CancelFunc // invocations
	held    int                           // bytes of their arguments
	turns   chan struct{}                 // one for each that is being served
}

// request waits for its answer.
type request struct {
	kind   int64         // type of the request
	answer chan message  // of capacity 1
	accept func(message) // called by Run before it reads on; may be nil
}

func newSession(t Messages, id uint64) *Session {
	return &Session{
		id:       id,
		t:        t,
		maxIdle:  maxIdle,
		pending:  make(map[uint64]*request),
		over:     make(chan struct{}),
		handlers: make(map[uint64]Handler),
		topics:   make(map[uint64]func(string)),
		running:  make(map[uint64]context.CancelFunc),
		turns:    make(chan struct{}, maxInvocations),
	}
}

// ID returns the WAMP session id.
func (s *Session) ID() uint64 { return s.id }

// Call calls a procedure of the cloud and returns its result. The error is
// what the cloud said; [s4t.Unavailable] if the session ended first, and
// [s4t.Timeout] if ctx did.
func (s *Session) Call(ctx context.Context, uri, arg string) (string, error) {
	op := "call " + uri
	m, err := s.ask(ctx, op, &request{kind: MsgCall}, func(id uint64) list {
		return payload(list{MsgCall, id, dict{}, uri}, arg)
	})
	if err != nil {
		return "", err
	}
	return m.arg(), nil
}

// Register serves a procedure for the rest of the session. Each call runs in a
// goroutine of its own, 64 at a time, and 320 wait for their turn; Run waits for them when it ends.
func (s *Session) Register(ctx context.Context, uri string, h Handler) error {
	r := &request{kind: MsgRegister, accept: func(m message) { s.handlers[m.id] = h }}
	_, err := s.ask(ctx, "register "+uri, r, func(id uint64) list { return list{MsgRegister, id, dict{}, uri} })
	return err
}

// Subscribe receives the events of a topic for the rest of the session. h is
// called in order by the goroutine that reads: it must not block, and must not
// use the session.
func (s *Session) Subscribe(ctx context.Context, topic string, h func(arg string)) error {
	r := &request{kind: MsgSubscribe, accept: func(m message) { s.topics[m.id] = h }}
	_, err := s.ask(ctx, "subscribe to "+topic, r, func(id uint64) list { return list{MsgSubscribe, id, dict{}, topic} })
	return err
}

// Run reads until the session ends and returns why; [ReasonOf] tells the
// cloud's reason. When ctx ends it says goodbye and returns nil. The transport
// is closed, and every handler has returned, when Run returns. It is called
// once.
func (s *Session) Run(ctx context.Context) error {
	s.mu.Lock()
	s.reading = true
	s.mu.Unlock()
	serve, cancel := context.WithCancel(ctx)
	if t, ok := s.t.(idler); ok {
		s.serving.Go(func() { watch(serve, t, s.maxIdle) })
	}
	left := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(left)
		s.Close()
	})
	err := s.read(serve)
	s.end(err)
	s.t.Close()
	cancel()
	s.serving.Wait()
	if !stop() {
		<-left
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// Close says goodbye, waits a second at most for the answer (where Run reads
// it), and closes the transport. Run then returns.
func (s *Session) Close() error {
	s.mu.Lock()
	first, reading := !s.leaving && s.why == nil, s.reading
	s.leaving = true
	s.mu.Unlock()
	if first {
		timer := time.AfterFunc(goodbyeWait, func() { s.t.Close() }) // also ends a Write that hangs
		defer timer.Stop()
		if s.t.Write(Append(nil, list{MsgGoodbye, dict{}, ReasonClosed})) == nil && reading {
			wait, cancel := context.WithTimeout(context.Background(), goodbyeWait)
			defer cancel()
			select {
			case <-s.over:
			case <-wait.Done():
			}
		}
	}
	s.end(s4t.Errorf(s4t.Unavailable, "keep the control session", "", "it was closed"))
	return s.t.Close()
}

// end ends every wait; the first reason stays.
func (s *Session) end(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.why == nil {
		s.why = why
		close(s.over)
	}
}

// ask sends a request and waits for its answer.
func (s *Session) ask(ctx context.Context, op string, r *request, build func(id uint64) list) (message, error) {
	r.answer = make(chan message, 1)
	id, err := s.send(op, r, build)
	if err != nil {
		return message{}, err
	}
	defer func() {
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
	}()
	var m message
	select {
	case m = <-r.answer:
	case <-s.over:
	case <-ctx.Done():
	}
	if m.kind == 0 {
		select {
		case m = <-r.answer: // it came in the same moment
		default:
		}
	}
	switch {
	case m.kind == MsgError:
		text, _ := m.kwargs[ErrorKey].(string)
		return message{}, DecodeError(op, m.uri, text, m.arg())
	case m.kind != 0:
		return m, nil
	}
	select {
	case <-s.over:
		return message{}, s.lost(op, s.why)
	default:
	}
	if r.kind == MsgCall {
		s.t.Write(Append(nil, list{MsgCancel, id, dict{"mode": "killnowait"}})) // an error shows in Run
	}
	return message{}, s4t.Errorf(s4t.Timeout, op, "it may still get done", "no answer in the time given: %w", context.Cause(ctx))
}

// send numbers a request, notes it as pending and writes it.
func (s *Session) send(op string, r *request, build func(id uint64) list) (id uint64, err error) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.mu.Lock()
	if s.why != nil || len(s.pending) >= maxPending {
		why := s.why
		s.mu.Unlock()
		if why != nil {
			return 0, s.lost(op, why)
		}
		return 0, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "%d requests wait for the cloud already", maxPending)
	}
	id = s.next + 1
	b := Append(nil, build(id))
	if len(b) > s4t.MaxMessage {
		s.mu.Unlock()
		return 0, s4t.Errorf(s4t.TooMany, op, "", "the message has %d bytes, %d are allowed", len(b), s4t.MaxMessage)
	}
	s.next = id
	s.pending[id] = r
	s.mu.Unlock()
	if err := s.t.Write(b); err != nil {
		s.mu.Lock()
		delete(s.pending, id)
		s.mu.Unlock()
		return 0, s.lost(op, err)
	}
	return id, nil
}

// lost is the error of a request whose session ended: the cloud's reason where
// it gave one.
func (s *Session) lost(op string, why error) error {
	if ReasonOf(why) != "" {
		return why
	}
	return s4t.Errorf(s4t.Unavailable, op, "", "the control session ended: %w", why)
}

// read dispatches messages until the session ends.
func (s *Session) read(ctx context.Context) error {
	const op = "keep the control session"
	for {
		b, err := s.t.Read()
		if err != nil {
			return s4t.Errorf(s4t.Unavailable, op, "", "the connection was lost: %w", err)
		}
		m, err := parse(b)
		if err != nil {
			return s4t.Errorf(s4t.Invalid, op, "", "a message of the cloud is not understood: %w", err)
		}
		switch m.kind {
		case MsgResult, MsgRegistered, MsgSubscribed, MsgError:
			s.answer(m)
		case MsgEvent:
			if h := s.topics[m.id]; h != nil {
				h(m.arg())
			}
		case MsgInvocation:
			s.invoke(ctx, m)
		case MsgInterrupt:
			s.interrupt(m.request)
		case MsgGoodbye, MsgAbort:
			if m.kind == MsgGoodbye && m.uri != ReasonAck {
				s.t.Write(Append(nil, list{MsgGoodbye, dict{}, ReasonAck})) // the session ends either way
			}
			return ended(op, m)
		default:
			return s4t.Errorf(s4t.Invalid, op, "", "a message of type %d came after the welcome", m.kind)
		}
	}
}

// answer hands a reply to whoever waits; nobody may, after a timeout.
func (s *Session) answer(m message) {
	s.mu.Lock()
	r := s.pending[m.request]
	delete(s.pending, m.request)
	s.mu.Unlock()
	if r == nil {
		return
	}
	if m.kind != MsgError && r.accept != nil {
		r.accept(m)
	}
	r.answer <- m
}

// invoke serves a call of the cloud.
func (s *Session) invoke(ctx context.Context, m message) {
	h := s.handlers[m.id]
	ctx, cancel := context.WithCancel(ctx)
	s.imu.Lock()
	n, arg := len(s.running), m.arg()
	room := h != nil && n < maxInvocations+maxWaiting && s.held+len(arg) <= maxHeld
	if room {
		s.running[m.request] = cancel
		s.held += len(arg)
	}
	s.imu.Unlock()
	if !room {
		cancel()
		s.reply(m.request, "", s4t.Errorf(s4t.TooMany, "", "try again in a moment", "the board serves %d calls already", n))
		return
	}
	s.serving.Go(func() {
		var result string
		var err error
		select {
		case s.turns <- struct{}{}:
			result, err = s.handle(ctx, h, arg)
			<-s.turns
		case <-ctx.Done():
			err = s4t.Errorf(s4t.Timeout, "", "", "it was given up before its turn came")
		}
		s.imu.Lock()
		delete(s.running, m.request)
		s.held -= len(arg)
		s.imu.Unlock()
		cancel()
		s.reply(m.request, result, err)
	})
}

// handle makes a panic an error: one call must not end the board's session.
func (s *Session) handle(ctx context.Context, h Handler, arg string) (result string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New(fmt.Sprint("panic: ", p))
		}
	}()
	return h(ctx, arg)
}

// reply answers an invocation. That the transport is gone shows in Run.
func (s *Session) reply(id uint64, result string, err error) {
	m := payload(list{MsgYield, id, dict{}}, result)
	if err == nil {
		if b := Append(nil, m); len(b) <= s4t.MaxMessage {
			s.t.Write(b)
			return
		}
		err = s4t.Errorf(s4t.TooMany, "", "", "the answer is larger than %d bytes", s4t.MaxMessage)
	}
	uri, text := EncodeError(err)
	s.t.Write(Append(nil, list{MsgError, MsgInvocation, id, dict{}, uri, list{}, dict{ErrorKey: text}}))
}

// interrupt tells a handler that its caller gave up.
func (s *Session) interrupt(id uint64) {
	s.imu.Lock()
	defer s.imu.Unlock()
	if cancel := s.running[id]; cancel != nil {
		cancel()
	}
}
