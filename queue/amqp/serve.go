package amqp

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/internal/message"
	"github.com/stack4things/s4t/wire"
)

// serving is one Serve.
type serving struct {
	d       *Driver
	topic   string
	workers int
	handler queue.Handler
	work    chan *request // to a worker
}

// request is a message that came in.
type request struct {
	amqp091.Delivery
	link   *link
	method string
	origin queue.Origin
	until  time.Time // when its caller gives up, at the latest; zero: never
}

// Serve answers messages of topic with h, at most workers at a time, until ctx
// ends; then it hands what waits to another server, or answers it with
// Unavailable, waits for the handlers that run, and returns nil. A server without
// a name is reached by topic only. Two servers of one name share its messages
// where they share a Driver; of two processes the second gets what is sent to
// the name once the first has ended.
//
// Queues that are gone, and a broker that was away, are declared again.
func (d *Driver) Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error {
	if workers < 1 {
		return s4t.Errorf(s4t.Internal, "serve "+topic, "", "%d workers", workers)
	}
	if server == "" {
		server = s4t.NewID()
	}
	s := &serving{d: d, topic: topic, workers: workers, handler: h, work: make(chan *request)}
	ready := make(chan struct{})   // the topic is served: who is reached by its name is reached by the topic, too
	handled := make(chan struct{}) // no handler runs any more: they acknowledge through the intakes
	var taking, intakes sync.WaitGroup
	taking.Add(2)
	intakes.Go(func() {
		in := &intake{serving: s, queue: d.queueOf(topic), ready: ready, stopped: taking.Done, handled: handled}
		in.run(ctx)
	})
	intakes.Go(func() {
		in := &intake{serving: s, queue: d.queueOf(topic + "." + server), own: true, stopped: taking.Done, handled: handled}
		select {
		case <-ready:
		case <-ctx.Done():
		}
		in.run(ctx)
	})
	go func() {
		s.dispatch(ctx)
		close(handled)
	}()
	taking.Wait()
	close(s.work)
	intakes.Wait()
	return nil
}

// dispatch has workers work until no more comes: as many as are needed, and no
// more than are allowed. They stay, as a handler grows its goroutine's stack, which
// is better done once.
func (s *serving) dispatch(ctx context.Context) {
	var running sync.WaitGroup
	again := make(chan *request)
	n := 0
	for r := range s.work {
		if n < s.workers {
			select {
			case again <- r:
				continue
			default:
			}
			n++
			running.Go(func() {
				for ; r != nil; r = <-again {
					s.handle(ctx, r)
				}
			})
			continue
		}
		select {
		case again <- r:
		case <-ctx.Done(): // they have enough to end
			s.handle(ctx, r)
		}
	}
	close(again)
	running.Wait()
}

// handle runs the handler for one message, and acknowledges it.
func (s *serving) handle(ctx context.Context, r *request) {
	defer r.Ack(false) // where it fails, the broker delivers it again
	ctx = queue.WithOrigin(ctx, r.origin)
	switch {
	case ctx.Err() != nil:
		s.handBack(r)
		return
	case r.Redelivered:
		s.d.log.Debug("a message was delivered again, and is not handled", "topic", s.topic, "method", r.method)
		s.refuse(r, message.Lost(s.topic, r.method))
		return
	case r.Type != typeCall:
		message.Invoke(ctx, s.d.log, s.handler, s.topic, r.method, r.Body)
		return
	case !time.Now().Before(r.until):
		return // the caller is gone
	}
	ctx, cancel := message.Within(ctx, r.until)
	defer cancel()
	body, werr := message.Invoke(ctx, s.d.log, s.handler, s.topic, r.method, r.Body)
	s.answer(r, body, werr)
}

// answerTimeout is how long an answer may take to get out.
const answerTimeout = 10 * time.Second

// answer sends the answer to a call, and returns when the broker has it. One that
// gets lost is one that its caller waits for in vain, or, where the broker
// delivers the call again, hears of.
func (s *serving) answer(r *request, body []byte, werr *wire.Error) {
	msg := amqp091.Publishing{Type: typeAnswer, CorrelationId: r.CorrelationId, DeliveryMode: amqp091.Transient, Body: body}
	if werr != nil {
		msg.Type = typeError
		var err error
		if msg.Body, err = json.Marshal(werr); err != nil {
			s.d.log.Error("an error could not be told", "topic", s.topic, "method", r.method, "err", err)
		}
	}
	if o := s.send(r, r.ReplyTo, msg); o != routed {
		s.d.log.Debug("an answer did not get out", "topic", s.topic, "method", r.method, "unrouted", o == unrouted)
	}
}

// refuse answers a call with an error; nobody hears why another message is not
// handled.
func (s *serving) refuse(r *request, err error) {
	if r.Type == typeCall {
		s.answer(r, nil, wire.FromError(err))
	}
}

// handBack gives what was not begun to another server, as a message of its own: if
// the broker delivered it again, nobody could know that it was not begun.
func (s *serving) handBack(r *request) {
	left := time.Until(r.until)
	switch {
	case r.Type == typeFanout, r.Type == typeCall && left <= 0:
		return
	case r.Type == typeCast:
		left = keep
	}
	if !r.Redelivered && r.RoutingKey == s.d.queueOf(s.topic) {
		msg := newMessage(r.origin, r.Type, r.method, r.Body, left)
		msg.ReplyTo, msg.CorrelationId = r.ReplyTo, r.CorrelationId
		if o := s.send(r, r.RoutingKey, msg); o == routed || o == unknown {
			return
		}
	}
	s.refuse(r, message.Nobody(s.topic, r.method))
}

// send sends what answers r, or is r, and waits for its outcome.
func (s *serving) send(r *request, key string, msg amqp091.Publishing) outcome {
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	told, err := r.link.answers.publish(ctx, "", key, true, msg)
	if err != nil {
		if ctx.Err() == nil {
			r.link.fail(err)
		}
		return unknown
	}
	select {
	case o := <-told:
		return o
	case <-r.link.over:
	case <-ctx.Done():
	}
	return unknown
}
