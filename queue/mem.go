package queue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue/internal/message"
	"github.com/stack4things/s4t/wire"
)

// Mem is the in-process driver: the default of `iotronic serve`, where every
// role runs in one process. Its zero value is not usable; see [New].
type Mem struct {
	log    *slog.Logger
	faults faults

	mu     sync.RWMutex         // guards the fields below, and the slices in topics
	topics map[string][]*server // by topic and by topic + "." + server
	down   bool                 // see [Mem.Down]
	cut    chan struct{}        // closed by Down: calls under way end

	next   atomic.Uint64 // breaks ties between servers with equal load
	unique atomic.Uint64 // names servers that gave no name
}

// Option changes a driver.
type Option func(*Mem)

// WithLog sets where panics and internal errors of handlers are told; by
// default nowhere.
func WithLog(log *slog.Logger) Option { return func(m *Mem) { m.log = log } }

// New returns an in-process queue. It starts nothing and needs no end.
func New(opts ...Option) *Mem {
	m := &Mem{log: slog.New(slog.DiscardHandler), topics: map[string][]*server{}, cut: make(chan struct{})}
	for _, o := range opts {
		o(m)
	}
	return m
}

// server is one running Serve.
type server struct {
	topic string
	inbox chan *letter
	gone  chan struct{} // closed when it takes no more
	done  chan struct{} // closed when every handler has ended
	load  atomic.Int64  // messages waiting or running
	idle  atomic.Int64  // workers that wait for a message
}

// letter is a message on its way to one server.
type letter struct {
	method string
	body   []byte
	origin Origin
	ctx    context.Context // the caller's; nil for a cast
	answer chan answer     // room for one; nil for a cast
}

// answer to a call.
type answer struct {
	body []byte
	err  *wire.Error
}

// Call asks one server of the topic and decodes its answer into reply, which
// may be nil. It returns when ctx ends, at the latest after [DefaultTimeout]
// where ctx has no deadline of its own.
func (m *Mem) Call(ctx context.Context, topic, method string, req, reply any) error {
	body, err := message.Encode(topic, method, req)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	s, cut, err := m.pick(topic, method)
	if err != nil {
		return err
	}
	msg := &letter{method: method, body: body, origin: OriginOf(ctx), ctx: ctx, answer: make(chan answer, 1)}
	s.load.Add(1)
	select {
	case s.inbox <- msg:
	case <-s.gone:
		s.load.Add(-1)
		return message.Nobody(topic, method)
	case <-cut:
		s.load.Add(-1)
		return message.Away(topic, method)
	case <-ctx.Done():
		s.load.Add(-1)
		return message.GaveUp(ctx, topic, method)
	}

	var a answer
	select {
	case a = <-msg.answer:
	case <-cut:
		return message.Lost(topic, method)
	case <-s.done:
		select {
		case a = <-msg.answer:
		default: // it came in after the last look into the inbox
			return message.Nobody(topic, method)
		}
	case <-ctx.Done():
		return message.GaveUp(ctx, topic, method)
	}
	switch {
	case m.unanswered():
		return message.Lost(topic, method)
	case a.err != nil && a.err.Kind == s4t.Timeout && ctx.Err() != nil: // the handler ended with its caller's context
		return message.GaveUp(ctx, topic, method)
	case a.err != nil:
		return a.err.Err()
	}
	return message.Decode(topic, method, a.body, reply)
}

// Cast tells one server of the topic, and does not wait for it.
func (m *Mem) Cast(ctx context.Context, topic, method string, req any) error {
	body, err := message.Encode(topic, method, req)
	if err != nil {
		return err
	}
	s, _, err := m.pick(topic, method)
	if err != nil {
		return err
	}
	msg := &letter{method: method, body: body, origin: OriginOf(ctx)}
	if m.delay(s, msg) {
		return nil
	}
	if !s.offer(msg) {
		return message.Full(topic, method, Depth)
	}
	m.repeat(topic, msg)
	return nil
}

// Fanout tells every server of the topic that has room.
func (m *Mem) Fanout(ctx context.Context, topic, method string, req any) error {
	body, err := message.Encode(topic, method, req)
	if err != nil {
		return err
	}
	m.mu.RLock()
	all, down := m.topics[topic], m.down
	m.mu.RUnlock()
	if down {
		return message.Away(topic, method)
	}
	for _, s := range all {
		msg := &letter{method: method, body: bytes.Clone(body), origin: OriginOf(ctx)}
		if m.drop() || m.delay(s, msg) {
			continue
		}
		s.offer(msg)
		m.repeat(topic, msg)
	}
	return nil
}

// Serve answers messages of topic with h, at most workers at a time, until ctx
// ends; then it answers what waits with Unavailable, waits for the handlers
// that run, and returns nil. A server without a name is reached by topic only.
// Two servers of one name share its messages.
func (m *Mem) Serve(ctx context.Context, topic, name string, workers int, h Handler) error {
	if workers < 1 {
		return s4t.Errorf(s4t.Internal, "serve "+topic, "", "%d workers", workers)
	}
	if name == "" {
		name = fmt.Sprintf("#%d", m.unique.Add(1))
	}
	s := &server{topic: topic, inbox: make(chan *letter, Depth), gone: make(chan struct{}), done: make(chan struct{})}
	m.add(topic, s)
	m.add(topic+"."+name, s)

	var running sync.WaitGroup
	slots := make(chan struct{}, workers)
	again := make(chan *letter) // to a worker that has nothing to do
serve:
	for {
		select {
		case <-ctx.Done():
			break serve
		case slots <- struct{}{}:
		}
		select {
		case <-ctx.Done():
			break serve
		case msg := <-s.inbox:
			select {
			case again <- msg:
			default:
				running.Go(func() { s.work(ctx, m.log, h, msg, slots, again) })
			}
		}
	}
	m.remove(topic, s)
	m.remove(topic+"."+name, s)
	close(s.gone)
	s.drain(func(msg *letter) { msg.answer <- answer{err: wire.FromError(message.Nobody(topic, msg.method))} })
	running.Wait()
	close(s.done)
	return nil
}

// maxIdle is how many workers of a server wait for more.
const maxIdle = 64

// work handles msg and, while not too many others wait for the same, what comes next: a
// handler that asks a database grows its goroutine's stack, which is better done once.
func (s *server) work(ctx context.Context, log *slog.Logger, h Handler, msg *letter, slots <-chan struct{}, again <-chan *letter) {
	for {
		s.handle(ctx, log, h, msg)
		<-slots
		if s.idle.Add(1) > maxIdle {
			s.idle.Add(-1)
			return
		}
		select {
		case msg = <-again:
			s.idle.Add(-1)
		case <-s.gone:
			return
		}
	}
}

// handle runs the handler for one message, with a context that ends with the
// caller's.
func (s *server) handle(ctx context.Context, log *slog.Logger, h Handler, msg *letter) {
	defer s.load.Add(-1)
	ctx = WithOrigin(ctx, msg.origin)
	if msg.answer == nil {
		message.Invoke(ctx, log, h, s.topic, msg.method, msg.body)
		return
	}
	if msg.ctx.Err() != nil {
		return // the caller is gone
	}
	deadline, _ := msg.ctx.Deadline()
	ctx, cancel := message.Within(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(msg.ctx, cancel)()
	body, err := message.Invoke(ctx, log, h, s.topic, msg.method, msg.body)
	msg.answer <- answer{body, err}
}

// offer puts a message into the inbox if there is room.
func (s *server) offer(msg *letter) bool {
	select {
	case <-s.gone:
		return false
	default:
	}
	s.load.Add(1)
	select {
	case s.inbox <- msg:
		return true
	default:
		s.load.Add(-1)
		return false
	}
}

// drain takes what waits out of the inbox; calls go to give.
func (s *server) drain(give func(*letter)) {
	for {
		select {
		case msg := <-s.inbox:
			s.load.Add(-1)
			if msg.answer != nil {
				give(msg)
			}
		default:
			return
		}
	}
}

// pick returns the server of the topic with the least to do, and what is closed
// when the queue goes away.
func (m *Mem) pick(topic, method string) (*server, <-chan struct{}, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := m.topics[topic]
	switch {
	case m.down:
		return nil, nil, message.Away(topic, method)
	case len(all) == 0:
		return nil, nil, message.Nobody(topic, method)
	}
	first := int(m.next.Add(1) % uint64(len(all)))
	best := all[first]
	for i := 1; i < len(all); i++ {
		if s := all[(first+i)%len(all)]; s.load.Load() < best.load.Load() {
			best = s
		}
	}
	return best, m.cut, nil
}

// add makes s reachable by key. Slices are replaced, never changed: Fanout
// reads one without the lock.
func (m *Mem) add(key string, s *server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.topics[key] = append(append([]*server(nil), m.topics[key]...), s)
}

func (m *Mem) remove(key string, s *server) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var rest []*server
	for _, o := range m.topics[key] {
		if o != s {
			rest = append(rest, o)
		}
	}
	if len(rest) == 0 {
		delete(m.topics, key)
		return
	}
	m.topics[key] = rest
}
