package amqp

import (
	"context"
	"errors"
	"strconv"
	"sync"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// outcome is what became of a message that was sent.
type outcome int

const (
	unknown  outcome = iota // the connection ended before the broker said
	routed                  // a queue has it
	unrouted                // there is no such queue
	refused                 // the queue is full
)

// publisher sends messages on one channel, and learns what becomes of each.
type publisher struct {
	ch   *amqp091.Channel
	turn chan struct{} // who sends holds it: a lock that may be waited for with a context

	mu     sync.Mutex      // guards the fields below
	next   uint64          // the number of the next message
	sent   map[uint64]sent // what the broker has said nothing of yet
	closed bool
}

// sent is one of them.
type sent struct {
	outcome  chan outcome // room for one
	returned bool
}

// errClosed is the error of a publisher whose channel has ended.
var errClosed = errors.New("the connection to the broker has ended")

// newPublisher returns a publisher on ch, which is its own. Its work ends with ch.
func newPublisher(ch *amqp091.Channel) (*publisher, error) {
	if err := ch.Confirm(false); err != nil {
		return nil, err
	}
	p := &publisher{ch: ch, turn: make(chan struct{}, 1), next: 1, sent: map[uint64]sent{}}
	// Without buffers, and with one reader: the library hands out a return before
	// the confirm that follows it, so that is how they come.
	returns, confirms := ch.NotifyReturn(make(chan amqp091.Return)), ch.NotifyPublish(make(chan amqp091.Confirmation))
	go p.settle(returns, confirms)
	return p, nil
}

// publish sends msg to key of an exchange, and returns what will tell its outcome.
// It fails where nothing was sent. It waits for its turn while ctx goes on; the
// write itself is bounded by the connection.
func (p *publisher) publish(ctx context.Context, exchange, key string, mandatory bool, msg amqp091.Publishing) (<-chan outcome, error) {
	select {
	case p.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-p.turn }()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, errClosed
	}
	n, told := p.next, make(chan outcome, 1)
	p.sent[n] = sent{outcome: told}
	p.next++
	p.mu.Unlock()
	msg.MessageId = strconv.FormatUint(n, 10) // a return has it
	if _, err := p.ch.PublishWithDeferredConfirm(exchange, key, mandatory, false, msg); err != nil {
		// Part of it may have been written. The channel is of no use any more: the
		// library counts messages, too, and takes this one back.
		p.fail()
		return nil, err
	}
	return told, nil
}

// settle tells the outcomes until the channel ends.
func (p *publisher) settle(returns <-chan amqp091.Return, confirms <-chan amqp091.Confirmation) {
	for returns != nil || confirms != nil {
		select {
		case r, ok := <-returns:
			if !ok {
				returns = nil
				continue
			}
			n, _ := strconv.ParseUint(r.MessageId, 10, 64)
			p.mu.Lock()
			if s, ok := p.sent[n]; ok {
				s.returned = true
				p.sent[n] = s
			}
			p.mu.Unlock()
		case c, ok := <-confirms:
			if !ok {
				confirms = nil
				continue
			}
			p.mu.Lock()
			s, ok := p.sent[c.DeliveryTag]
			delete(p.sent, c.DeliveryTag)
			p.mu.Unlock()
			switch {
			case !ok:
			case s.returned:
				s.outcome <- unrouted
			case c.Ack:
				s.outcome <- routed
			default:
				s.outcome <- refused
			}
		}
	}
	p.fail()
}

// fail ends all that is under way.
func (p *publisher) fail() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, s := range p.sent {
		s.outcome <- unknown
	}
	clear(p.sent)
}
