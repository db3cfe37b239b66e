package amqp

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
)

// intake takes the messages of one queue to the workers: that of the topic, or
// that of the server.
type intake struct {
	*serving
	queue string
	own   bool // it is the server's

	ready   chan struct{}   // closed when messages come for the first time; optional
	stopped func()          // called when no more come
	handled <-chan struct{} // closed when those that came are acknowledged
}

// run takes messages until ctx ends, and all of them are acknowledged.
func (in *intake) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		l := in.d.next(ctx)
		if l == nil {
			break
		}
		took, err := in.take(ctx, l)
		if took {
			failures = 0
		}
		if ctx.Err() != nil {
			if err == nil {
				return // take has waited
			}
			break
		}
		if !l.ended() && failures > patient {
			in.d.locked.Warn(in.d.log, "a queue cannot be served yet; it is tried again", "queue", in.queue, "err", explain(err))
		}
		if !sleep(ctx, wait(failures)) {
			break
		}
	}
	in.stopped()
	<-in.handled
}

// patient is how often a queue is tried before it is worth a line in the log,
// some 3 s: after a connection that broke, the broker may have to find out first.
const patient = 5

// explain says what an operator can do about an error.
func explain(err error) error {
	if e, ok := errors.AsType[*amqp091.Error](err); ok {
		switch e.Code {
		case amqp091.ResourceLocked:
			return fmt.Errorf("another process has the same name; give each its own with --name: %w", err)
		case amqp091.PreconditionFailed:
			return fmt.Errorf("it is there with other properties; delete it: %w", err)
		}
	}
	return describe(err)
}

// take takes messages through one channel. It reports whether there was one that
// served. Where ctx has ended it returns nil once everything is acknowledged, or
// an error where it did not come so far.
func (in *intake) take(ctx context.Context, l *link) (took bool, err error) {
	ch, err := l.in.Channel()
	if err != nil {
		return false, err
	}
	defer ch.Close()
	deliveries, err := in.consume(ch)
	if err != nil {
		return false, err
	}
	if in.ready != nil {
		close(in.ready)
		in.ready = nil
	}
	for {
		select {
		case m, ok := <-deliveries:
			if !ok {
				return true, errors.New("the queue, or the connection, has ended")
			}
			in.accept(ctx, l, m)
		case <-ctx.Done():
			ch.Cancel(consumer, false) // where it fails, deliveries has ended or does so soon
			in.leave(l)
			for m := range deliveries {
				in.accept(ctx, l, m)
			}
			in.stopped()
			<-in.handled
			return true, nil
		}
	}
}

// leave deletes the topic's queue where nobody serves it any more and nothing
// waits in it: who calls from now on hears that nobody is there. What waits is for
// the next server.
func (in *intake) leave(l *link) {
	if in.own {
		return
	}
	ch, err := l.in.Channel() // of its own: a refusal closes it
	if err != nil {
		return
	}
	defer ch.Close()
	q, err := ch.QueueDeclarePassive(in.queue, true, false, false, false, nil)
	if err == nil && q.Consumers == 0 && q.Messages == 0 {
		ch.QueueDelete(in.queue, true, true, false) // not where somebody came meanwhile
	}
}

// consumer is the tag: there is one on each channel.
const consumer = "s4t"

// consume declares the queue and has its messages delivered.
func (in *intake) consume(ch *amqp091.Channel) (<-chan amqp091.Delivery, error) {
	if err := ch.Qos(in.workers, 0, false); err != nil {
		return nil, err
	}
	args := amqp091.Table{"x-max-length": int32(queue.Depth), "x-overflow": "reject-publish"}
	if !in.own {
		args["x-expires"] = int32(keep.Milliseconds())
	}
	if _, err := ch.QueueDeclare(in.queue, !in.own, in.own, in.own, false, args); err != nil {
		return nil, err
	}
	if in.own {
		if err := ch.ExchangeDeclare(in.d.fanout(), amqp091.ExchangeDirect, true, false, false, false, nil); err != nil {
			return nil, err
		}
		if err := ch.QueueBind(in.queue, in.topic, in.d.fanout(), false, nil); err != nil {
			return nil, err
		}
	}
	return ch.Consume(in.queue, consumer, false, false, false, false, nil)
}

// accept gives a message to a worker; with ctx at its end, back.
func (in *intake) accept(ctx context.Context, l *link, m amqp091.Delivery) {
	r, err := in.d.read(l, m)
	if err != nil {
		in.d.poison.Warn(in.d.log, "a message is none of ours, and dropped", "queue", in.queue, "err", err)
		m.Reject(false)
		return
	}
	select {
	case in.work <- r:
	case <-ctx.Done():
		in.handle(ctx, r)
	}
}

// read looks at a message.
func (d *Driver) read(l *link, m amqp091.Delivery) (*request, error) {
	r := &request{Delivery: m, link: l}
	r.method, _ = m.Headers[headerMethod].(string)
	r.origin.Trace, _ = m.Headers[headerTrace].(string)
	operation, _ := m.Headers[headerOperation].(string)
	r.origin.Operation = s4t.OperationID(operation)
	switch {
	case r.method == "":
		return nil, errors.New("it has no header " + headerMethod)
	case len(m.Body) > s4t.MaxMessage:
		return nil, fmt.Errorf("it has %d bytes, %d are allowed", len(m.Body), s4t.MaxMessage)
	case m.Type == typeCast, m.Type == typeFanout:
		return r, nil
	case m.Type != typeCall:
		return nil, fmt.Errorf("its type is %q", s4t.Line(m.Type, 20))
	case m.CorrelationId == "" || !strings.HasPrefix(m.ReplyTo, d.broker.prefix+".reply."):
		return nil, errors.New("it is a call that no process of a cloud has sent")
	}
	left, err := strconv.ParseUint(m.Expiration, 10, 32)
	if err != nil {
		return nil, errors.New("it is a call without an expiration")
	}
	r.until = time.Now().Add(time.Duration(left) * time.Millisecond)
	return r, nil
}
