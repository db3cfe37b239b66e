package amqp

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"
)

// link is one time that we are connected: two connections, and what lives as long
// as both.
type link struct {
	raws     []net.Conn          // below the connections
	out, in  *amqp091.Connection // messages go out on one and come in on the other
	requests *publisher
	answers  *publisher // of its own: a long answer holds up no request
	replyTo  string     // queue of the answers to our calls

	blocked atomic.Pointer[string] // why the broker takes no messages now

	over chan struct{} // closed when it has ended
	once sync.Once
	why  error // set before over is closed

	mu      sync.Mutex // guards the fields below
	calls   map[string]chan<- amqp091.Delivery
	looks   map[string]*look // by queue: the last one
	counter uint64
}

// connect makes a link.
func (d *Driver) connect(ctx context.Context) (*link, error) {
	l := &link{over: make(chan struct{}), calls: map[string]chan<- amqp091.Delivery{}, looks: map[string]*look{}, replyTo: d.newReplyQueue()}
	err := d.open(ctx, l)
	if err != nil {
		l.fail(err)
		l.end(false)
		return nil, err
	}
	return l, nil
}

func (d *Driver) open(ctx context.Context, l *link) (err error) {
	if l.out, err = d.dial(ctx, l, "sends"); err != nil {
		return err
	}
	blocked := l.out.NotifyBlocked(make(chan amqp091.Blocking, 8))
	go func() {
		for b := range blocked {
			if b.Active {
				d.log.Warn("the message queue takes no messages now; see its alarms", "reason", b.Reason)
				l.blocked.Store(&b.Reason)
			} else {
				d.log.Info("the message queue takes messages again")
				l.blocked.Store(nil)
			}
		}
	}()
	for _, p := range []**publisher{&l.requests, &l.answers} {
		ch, err := l.channel(l.out)
		if err != nil {
			return err
		}
		if err := ch.ExchangeDeclare(d.fanout(), amqp091.ExchangeDirect, true, false, false, false, nil); err != nil {
			return err
		}
		if *p, err = newPublisher(ch); err != nil {
			return err
		}
	}
	if l.in, err = d.dial(ctx, l, "receives"); err != nil {
		return err
	}
	ch, err := l.channel(l.in)
	if err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(l.replyTo, false, true, true, false, nil); err != nil {
		return err
	}
	answers, err := ch.Consume(l.replyTo, "", true, true, false, false, nil)
	if err != nil {
		return err
	}
	go func() {
		for a := range answers {
			l.answer(a)
		}
		l.fail(errors.New("the queue of our answers is gone"))
	}()
	return nil
}

// dial makes one connection.
func (d *Driver) dial(ctx context.Context, l *link, does string) (*amqp091.Connection, error) {
	var stop func() bool
	defer func() {
		if stop != nil {
			stop()
		}
	}()
	properties := amqp091.NewConnectionProperties()
	properties["connection_name"] = "iotronic " + d.cfg.Name + " " + does
	cfg := amqp091.Config{
		Heartbeat: heartbeat, Properties: properties,
		Dial: func(network, addr string) (net.Conn, error) {
			dialer := net.Dialer{Timeout: dialTimeout}
			raw, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			l.raws = append(l.raws, raw)
			stop = context.AfterFunc(ctx, func() { raw.Close() })
			return conn{raw}, nil
		},
	}
	if d.broker.tls != nil {
		cfg.TLSClientConfig = d.broker.tls.Clone()
	}
	c, err := amqp091.DialConfig(d.broker.dial, cfg)
	if err != nil {
		return nil, err
	}
	closed := c.NotifyClose(make(chan *amqp091.Error, 1)) // room for one: with none it may be missed
	go l.failOn(closed)
	return c, nil
}

// channel opens one whose end is the end of the link.
func (l *link) channel(c *amqp091.Connection) (*amqp091.Channel, error) {
	ch, err := c.Channel()
	if err != nil {
		return nil, err
	}
	go l.failOn(ch.NotifyClose(make(chan *amqp091.Error, 1)))
	return ch, nil
}

// failOn ends the link when something closes.
func (l *link) failOn(closed <-chan *amqp091.Error) {
	if err, ok := <-closed; ok && err != nil {
		l.fail(err)
		return
	}
	l.fail(errors.New("the connection to the broker was closed"))
}

// fail ends the link: calls under way hear of it.
func (l *link) fail(err error) {
	l.once.Do(func() {
		l.why = err
		close(l.over)
	})
}

// ended reports whether it has.
func (l *link) ended() bool {
	select {
	case <-l.over:
		return true
	default:
		return false
	}
}

// wait returns when it has ended, and why, or when ctx ends.
func (l *link) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-l.over:
		return l.why
	}
}

// goodbye is how long a broker may take to hear that we leave.
const goodbye = time.Second

// end closes the connections: in order, or, where something is wrong with one of
// them, without waiting for anybody.
func (l *link) end(inOrder bool) {
	l.fail(errors.New("this process ends"))
	if !inOrder {
		for _, raw := range l.raws {
			raw.Close()
		}
	}
	for _, c := range []*amqp091.Connection{l.in, l.out} {
		if c != nil {
			c.CloseDeadline(time.Now().Add(goodbye)) // it fails where it has ended before
		}
	}
	for _, raw := range l.raws {
		raw.Close()
	}
}

// answer gives an answer to who waits for it; one that nobody waits for any more
// is dropped.
func (l *link) answer(a amqp091.Delivery) {
	l.mu.Lock()
	call := l.calls[a.CorrelationId]
	delete(l.calls, a.CorrelationId)
	l.mu.Unlock()
	if call != nil {
		call <- a
	}
}
