package amqp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lograte"
)

// Config of a [Driver].
type Config struct {
	// URL of the broker: amqps://USER:PASSWORD@HOST:PORT/VHOST. As parameters it
	// may have cacertfile (PEM of the CA that signed the broker's certificate;
	// default: the system's roots), certfile and keyfile (PEM of our own
	// certificate), server_name_indication (the name in the broker's, where it is
	// not HOST) and prefix (of names on the broker; default s4t). Required.
	URL  string
	Name string       // optional: of the process, as operators see it in the list of connections
	Log  *slog.Logger // optional: default discards
}

// Driver is a process's way to the broker. See [New].
type Driver struct {
	cfg    Config
	broker *broker
	log    *slog.Logger
	poison lograte.Line // messages that are none
	locked lograte.Line // queues that another process has

	mu   sync.Mutex    // guards the fields below
	link *link         // nil while there is none
	news chan struct{} // closed when link has changed
}

// New checks cfg. It connects to nobody until Run.
func New(cfg Config) (*Driver, error) {
	b, err := parseURL(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if b.tls == nil && !b.local() {
		cfg.Log.Warn("the message queue's password and all messages cross the network in the clear; use amqps://", "url", b.shown)
	}
	return &Driver{cfg: cfg, broker: b, log: cfg.Log, news: make(chan struct{})}, nil
}

// Times between two tries.
const (
	minWait = 100 * time.Millisecond
	maxWait = 2 * time.Second
	// sayEvery is how often a broker that stays away is told in the log.
	sayEvery = 30 * time.Second
)

// wait is how long to wait after so many failures: from minWait, doubled up to
// maxWait, each +-20 %, so that processes do not come in step.
func wait(failures int) time.Duration {
	w := min(minWait<<min(failures, 10), maxWait)
	return time.Duration(float64(w) * (0.8 + 0.4*rand.Float64()))
}

// sleep waits, and reports false where ctx ends before.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Run keeps a connection to the broker until ctx ends, and returns nil then. A
// broker that is away, that does not let us in or does not know the vhost is
// tried again for as long as it takes: the log says why. Calls fail at once
// meanwhile, with Unavailable. It is called once; what is served and asked should
// have ended before it.
func (d *Driver) Run(ctx context.Context) error {
	var failures int
	var said time.Time // when the log was told that it is away
	for ctx.Err() == nil {
		l, err := d.connect(ctx)
		if err == nil {
			d.log.Info("the message queue is there", "url", d.broker.shown, "version", l.out.Properties["version"])
			failures, said = 0, time.Time{}
			d.set(l)
			err = l.wait(ctx)
			d.set(nil)
			l.end(ctx.Err() != nil)
		}
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(said) > sayEvery {
			d.log.Warn("the message queue is away; it is tried again", "url", d.broker.shown, "err", describe(err))
			said = time.Now()
		}
		sleep(ctx, wait(failures))
		failures++
	}
	return nil
}

// describe says what an operator can do about an error.
func describe(err error) error {
	if e, ok := errors.AsType[*amqp091.Error](err); ok {
		switch e.Code {
		case amqp091.AccessRefused:
			return fmt.Errorf("the broker refuses us; check the user, the password and the user's permissions: %w", err)
		case amqp091.NotAllowed:
			return fmt.Errorf("the broker does not let us into the vhost; check its name, and the user's permissions for it: %w", err)
		}
	}
	return err
}

// set has another link, or none.
func (d *Driver) set(l *link) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.link = l
	close(d.news)
	d.news = make(chan struct{})
}

// now is the link there is, nil where there is none.
func (d *Driver) now() *link {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.link
}

// next waits for a link, and returns nil where ctx ends before.
func (d *Driver) next(ctx context.Context) *link {
	for {
		d.mu.Lock()
		l, news := d.link, d.news
		d.mu.Unlock()
		if l != nil && !l.ended() {
			return l
		}
		select {
		case <-ctx.Done():
			return nil
		case <-news:
		}
	}
}

// Names on the broker.

func (d *Driver) queueOf(topic string) string { return d.broker.prefix + "." + topic }
func (d *Driver) fanout() string              { return d.broker.prefix + ".fanout" }
func (d *Driver) newReplyQueue() string       { return d.broker.prefix + ".reply." + s4t.NewID() }
