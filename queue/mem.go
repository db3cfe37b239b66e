package queue

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Mem is the in-process driver: the default of `iotronic serve`, where every
// role runs in one process. Its zero value is not usable; see [New].
type Mem struct {
	log *slog.Logger

	mu     sync.RWMutex         // guards topics and the slices in it
	topics map[string][]*server // by topic and by topic + "." + server
	turn   atomic.Uint64        // breaks ties between servers with equal load
	unique atomic.Uint64        // names servers that gave no name
}

// Option changes a driver.
type Option func(*Mem)

// WithLog sets where panics and internal errors of handlers are told; by
// default nowhere.
func WithLog(log *slog.Logger) Option { return func(m *Mem) { m.log = log } }

// New returns an in-process queue. It starts nothing and needs no end.
func New(opts ...Option) *Mem {
	m := &Mem{log: slog.New(slog.DiscardHandler), topics: map[string][]*server{}}
	for _, o := range opts {
		o(m)
	}
	return m
}

// server is one running Serve.
type server struct {
	topic string
	inbox chan *message
	gone  chan struct{} // closed when it takes no more
	done  chan struct{} // closed when every handler has ended
	load  atomic.Int64  // messages waiting or running
}

// message on its way to one server.
type message struct {
	method string
	body   []byte
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
	body, err := encode(topic, method, req)
	if err != nil {
		return err
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, DefaultTimeout)
		defer cancel()
	}
	s := m.pick(topic)
	if s == nil {
		return nobody(topic, method)
	}
	msg := &message{method: method, body: body, ctx: ctx, answer: make(chan answer, 1)}
	s.load.Add(1)
	select {
	case s.inbox <- msg:
	case <-s.gone:
		s.load.Add(-1)
		return nobody(topic, method)
	case <-ctx.Done():
		s.load.Add(-1)
		return gaveUp(ctx, topic, method)
	}
	var a answer
	select {
	case a = <-msg.answer:
	case <-s.done:
		select {
		case a = <-msg.answer:
		default: // it came in after the last look into the inbox
			return nobody(topic, method)
		}
	case <-ctx.Done():
		return gaveUp(ctx, topic, method)
	}
	if a.err != nil {
		return a.err.Err()
	}
	return decode(topic, method, a.body, reply)
}

// Cast tells one server of the topic, and does not wait for it.
func (m *Mem) Cast(ctx context.Context, topic, method string, req any) error {
	body, err := encode(topic, method, req)
	if err != nil {
		return err
	}
	s := m.pick(topic)
	if s == nil {
		return nobody(topic, method)
	}
	if !s.offer(&message{method: method, body: body}) {
		return s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "try again in a moment", "%d messages wait there already", Depth)
	}
	return nil
}

// Fanout tells every server of the topic. Nobody there is no error; servers
// that are too slow to take it are one.
func (m *Mem) Fanout(ctx context.Context, topic, method string, req any) error {
	body, err := encode(topic, method, req)
	if err != nil {
		return err
	}
	m.mu.RLock()
	all := m.topics[topic]
	m.mu.RUnlock()
	slow := 0
	for _, s := range all {
		if !s.offer(&message{method: method, body: bytes.Clone(body)}) {
			slow++
		}
	}
	if slow > 0 {
		return s4t.Errorf(s4t.Unavailable, "tell "+method+" to all of "+topic, "", "%d of %d servers have %d messages waiting already", slow, len(all), Depth)
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
	s := &server{topic: topic, inbox: make(chan *message, Depth), gone: make(chan struct{}), done: make(chan struct{})}
	m.add(topic, s)
	m.add(topic+"."+name, s)

	var running sync.WaitGroup
	slots := make(chan struct{}, workers)
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
			running.Go(func() {
				s.handle(ctx, m.log, h, msg)
				<-slots
			})
		}
	}
	m.remove(topic, s)
	m.remove(topic+"."+name, s)
	close(s.gone)
	s.drain()
	running.Wait()
	close(s.done)
	return nil
}

// handle runs the handler for one message, with a context that ends with the
// caller's.
func (s *server) handle(ctx context.Context, log *slog.Logger, h Handler, msg *message) {
	defer s.load.Add(-1)
	if msg.answer == nil {
		invoke(ctx, log, h, s.topic, msg.method, msg.body)
		return
	}
	if msg.ctx.Err() != nil {
		return // the caller is gone
	}
	deadline, _ := msg.ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(msg.ctx, cancel)()
	body, err := invoke(ctx, log, h, s.topic, msg.method, msg.body)
	msg.answer <- answer{body, err}
}

// offer puts a message into the inbox if there is room.
func (s *server) offer(msg *message) bool {
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

// drain answers what came in before the server was gone.
func (s *server) drain() {
	for {
		select {
		case msg := <-s.inbox:
			if msg.answer != nil {
				msg.answer <- answer{err: wire.FromError(nobody(s.topic, msg.method))}
			}
		default:
			return
		}
	}
}

// pick returns the server of the topic with the least to do, nil if there is
// none.
func (m *Mem) pick(topic string) *server {
	m.mu.RLock()
	defer m.mu.RUnlock()
	all := m.topics[topic]
	if len(all) == 0 {
		return nil
	}
	first := int(m.turn.Add(1) % uint64(len(all)))
	best := all[first]
	for i := 1; i < len(all); i++ {
		if s := all[(first+i)%len(all)]; s.load.Load() < best.load.Load() {
			best = s
		}
	}
	return best
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
