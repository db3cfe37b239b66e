package amqp

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/internal/message"
	"github.com/stack4things/s4t/wire"
)

// Types of messages.
const (
	typeCall   = "call"
	typeCast   = "cast"
	typeFanout = "fanout"
	typeAnswer = "answer"
	typeError  = "error"
)

// Headers of a message.
const (
	headerMethod    = "method"
	headerTrace     = "traceparent" // see queue.Origin, as the next
	headerOperation = "operation"
)

// keep is how long a message waits that nobody waits for: what it tells is
// looked for by a timer before.
const keep = 60 * time.Second

// newMessage makes a message that the broker drops after a time.
func newMessage(origin queue.Origin, typ, method string, body []byte, within time.Duration) amqp091.Publishing {
	headers := amqp091.Table{headerMethod: method}
	if origin.Trace != "" {
		headers[headerTrace] = origin.Trace
	}
	if origin.Operation != "" {
		headers[headerOperation] = string(origin.Operation)
	}
	return amqp091.Publishing{
		Type: typ, Headers: headers, ContentType: "application/json", Body: body,
		DeliveryMode: amqp091.Transient, Expiration: milliseconds(within),
	}
}

// milliseconds of a time that is left: 1 at least, as with 0 a message expires
// where no consumer has room for it at once.
func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}

// takes returns the link, or says why nothing can be sent.
func (d *Driver) takes(topic, method string) (*link, error) {
	l := d.now()
	if l == nil || l.ended() {
		return nil, message.Away(topic, method)
	}
	if why := l.blocked.Load(); why != nil {
		return nil, s4t.Errorf(s4t.Unavailable, "send "+method+" to "+topic, "the operator finds the reason at RabbitMQ", "the queue takes no messages now: %s", *why)
	}
	return l, nil
}

// within gives ctx the deadline that a call without one has.
func within(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, queue.DefaultTimeout)
}

// Call asks one server of the topic and decodes its answer into reply, which
// may be nil. It returns when ctx ends, at the latest after
// [queue.DefaultTimeout] where ctx has no deadline of its own.
func (d *Driver) Call(ctx context.Context, topic, method string, req, reply any) error {
	body, err := message.Encode(topic, method, req)
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx)
	defer cancel()
	for tries := 0; ; tries++ {
		l, err := d.takes(topic, method)
		if err != nil {
			return err
		}
		full, err := d.ask(ctx, l, topic, method, body, reply)
		if !full {
			return err
		}
		if !sleep(ctx, min(time.Millisecond<<min(tries, 10), minWait)) { // for room
			return message.GaveUp(ctx, topic, method)
		}
	}
}

// ask sends a call and waits for its answer. full: it was not taken, and may be
// sent again.
func (d *Driver) ask(ctx context.Context, l *link, topic, method string, body []byte, reply any) (full bool, err error) {
	deadline, _ := ctx.Deadline()
	msg := newMessage(queue.OriginOf(ctx), typeCall, method, body, time.Until(deadline))
	var answered <-chan amqp091.Delivery
	var forget func()
	msg.ReplyTo = l.replyTo
	msg.CorrelationId, answered, forget = l.expect()
	defer forget()
	told, err := l.requests.publish(ctx, "", d.queueOf(topic), true, msg)
	if err != nil {
		if ctx.Err() != nil {
			return false, message.GaveUp(ctx, topic, method)
		}
		l.fail(err)
		return false, message.Lost(topic, method) // some of it may have been sent
	}
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	var looked *look
	var seen <-chan struct{}
	for {
		select {
		case a := <-answered:
			return false, taken(topic, method, a, reply)
		case <-timer.C:
			looked = l.look(d.queueOf(topic))
			seen = looked.done
		case <-seen:
			seen = nil
			if looked.abandoned {
				return false, message.Nobody(topic, method)
			}
			timer.Reset(lookEvery)
		case o := <-told:
			told = nil
			switch o {
			case unrouted:
				return false, message.Nobody(topic, method)
			case refused:
				return true, nil
			case unknown:
				return false, message.Lost(topic, method)
			}
		case <-l.over:
			select {
			case a := <-answered: // just before
				return false, taken(topic, method, a, reply)
			default:
				return false, message.Lost(topic, method)
			}
		case <-ctx.Done():
			return false, message.GaveUp(ctx, topic, method)
		}
	}
}

// taken reads an answer.
func taken(topic, method string, a amqp091.Delivery, reply any) error {
	if a.Type != typeError {
		return message.Decode(topic, method, a.Body, reply)
	}
	var werr wire.Error
	if err := json.Unmarshal(a.Body, &werr); err != nil {
		return s4t.Errorf(s4t.Internal, "call "+method+" on "+topic, "", "the error that it answers is not understood: %w", err)
	}
	return werr.Err()
}

// expect returns the number of a call, what its answer comes through, and what
// ends the waiting.
func (l *link) expect() (id string, answered <-chan amqp091.Delivery, forget func()) {
	c := make(chan amqp091.Delivery, 1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counter++
	id = strconv.FormatUint(l.counter, 10)
	l.calls[id] = c
	return id, c, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.calls, id)
	}
}

// Cast tells one server of the topic, and does not wait for it: it returns when
// the broker has the message.
func (d *Driver) Cast(ctx context.Context, topic, method string, req any) error {
	return d.tell(ctx, "", topic, d.queueOf(topic), method, req, typeCast)
}

// Fanout tells every server of the topic that has room.
func (d *Driver) Fanout(ctx context.Context, topic, method string, req any) error {
	return d.tell(ctx, d.fanout(), topic, topic, method, req, typeFanout)
}

func (d *Driver) tell(ctx context.Context, exchange, topic, key, method string, req any, typ string) error {
	body, err := message.Encode(topic, method, req)
	if err != nil {
		return err
	}
	ctx, cancel := within(ctx)
	defer cancel()
	l, err := d.takes(topic, method)
	if err != nil {
		return err
	}
	told, err := l.requests.publish(ctx, exchange, key, typ == typeCast, newMessage(queue.OriginOf(ctx), typ, method, body, keep))
	if err != nil {
		if ctx.Err() != nil {
			return message.GaveUp(ctx, topic, method)
		}
		l.fail(err)
		return message.Away(topic, method)
	}
	select {
	case o := <-told:
		switch {
		case o == unknown:
			return message.Lost(topic, method)
		case o == unrouted:
			return message.Nobody(topic, method)
		case o == refused && typ == typeCast:
			return message.Full(topic, method, queue.Depth)
		}
		return nil // of a fan-out the others have it
	case <-l.over:
		return message.Lost(topic, method)
	case <-ctx.Done():
		return message.GaveUp(ctx, topic, method)
	}
}
