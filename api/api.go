package api

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// Queue is what the API needs of the queue; see package queue for the errors.
type Queue interface {
	Call(ctx context.Context, topic, method string, req, reply any) error
	Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error
}

// Config of an API. Queue is required.
type Config struct {
	Queue   Queue
	Version string // of iotronic; "dev" by default
	URL     string // what others are told of the API, for Thing Descriptions; https://127.0.0.1:8812 by default
	// Around is called as a request for an operation begins, and gives the context that it is
	// done under; done is told the status of the answer. They must not block. Optional.
	Around func(ctx context.Context, operation string) (_ context.Context, done func(status int))
	// Zone is the DNS zone that services can have names in, which somebody serves; optional:
	// there is none, and no service gets a name.
	Zone string
	// Heard is told all events, in order; nil: some may be missing. It must not block. Optional.
	Heard func([]s4t.Event)
	Trust func() wire.Trust // optional: what users are told to trust as the cloud's certificate, now
	// Shown says until when the certificate is good that this process shows, zero: it shows
	// none. Optional.
	Shown func() time.Time
	Log   *slog.Logger // discards by default
}

// API serves the REST API of a cloud.
type API struct {
	queue   Queue
	version string
	url     string
	zone    string
	below   string // path of url: "" or "/s4t"
	cookie  string // name of the cookie of sessions
	trust   func() wire.Trust
	shown   func() time.Time // until when its certificate is good
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
	feed    *feed
	pins    *pinHub
	feeds   *feedHub
	steps   *stepHub
	waiters waiters
	gate    gate

	watchers watchers
	schemas  ownSchemas
	quotas   quotas
	stopping chan struct{} // closed when Run ends
}

// New builds the routes. It does not start anything; see Run.
func New(c Config) (*API, error) {
	if c.Queue == nil {
		return nil, s4t.Errorf(s4t.Internal, "build the API", "", "it has no queue")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Trust == nil {
		c.Trust = func() wire.Trust { return wire.Trust{} }
	}
	if c.Shown == nil {
		c.Shown = func() time.Time { return time.Time{} }
	}
	if c.URL == "" {
		c.URL = "https://127.0.0.1:8812"
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	a := &API{
		queue: c.Queue, version: c.Version, url: c.URL, zone: c.Zone, cookie: cookieName(c.URL), trust: c.Trust, shown: c.Shown, log: c.Log, mux: http.NewServeMux(),
		feed:     newFeed(c.Queue, c.Log),
		waiters:  waiters{polls: map[s4t.OperationID]map[*waiter]bool{}},
		stopping: make(chan struct{}),
	}
	if u, err := url.Parse(c.URL); err == nil {
		a.below = strings.TrimRight(u.EscapedPath(), "/")
	}
	a.pins = newPinHub(a)
	a.feeds = newFeedHub(a)
	a.steps = newStepHub(c.Queue)
	a.feed.watched = a.watchers.some
	a.feed.heard = func(events []s4t.Event) {
		a.pins.heard(events)
		a.feeds.heard(events)
		if c.Heard != nil {
			c.Heard(events)
		}
	}
	a.gate.init()
	a.huma = humago.New(a.mux, openAPIConfig(c.Version))
	if c.Around != nil {
		a.huma.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
			around, done := c.Around(ctx.Context(), ctx.Operation().OperationID)
			next(huma.WithContext(ctx, around))
			done(ctx.Status())
		})
	}
	a.huma.UseMiddleware(speakProblem, a.authenticate, a.admitBody)
	a.identityRoutes()
	a.sessionRoutes()
	a.trustRoutes()
	a.cloudRoutes()
	a.boardRoutes()
	a.statusRoutes()
	a.pinRoutes()
	a.pinStreamRoutes()
	a.pinAllRoutes()
	a.commandRoutes()
	a.commandManyRoutes()
	a.boardAPIRoutes()
	a.pluginLogRoutes()
	a.pluginRoutes()
	a.serviceRoutes()
	a.recordingRoutes()
	a.fleetRoutes()
	a.fleetTokenRoutes()
	a.rolloutRoutes()
	a.offerRoutes()
	a.leaseRoutes()
	a.agentRoutes()
	a.bridgeRoutes()
	a.uplinkRoutes()
	a.greRoutes()
	a.metricsRoutes()
	a.operationRoutes()
	a.eventRoutes()
	a.tdRoutes()
	finishOpenAPI(a.huma.OpenAPI())
	documentNeeds(a.huma.OpenAPI())
	a.documentRoutes()
	return a, nil
}

// Run takes news off the queue and serves those who watch events or wait for
// operations, until ctx ends; then it ends their requests. It is called once.
func (a *API) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	reading.Go(func() { a.feed.run(ctx) })
	reading.Go(func() { a.steps.run(ctx) })
	reading.Go(func() {
		if err := a.pins.run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("samples of pins cannot be taken", "err", err)
		}
	})
	reading.Go(func() {
		if err := a.feeds.run(ctx); err != nil && ctx.Err() == nil {
			a.log.Error("lines of commands and plugins cannot be taken", "err", err)
		}
	})
	defer func() {
		close(a.stopping)
		a.pins.close()
		cancel()
		reading.Wait()
	}()
	return a.queue.Serve(ctx, wire.TopicEvents, "", 1, queue.Mux{wire.MethodNews: queue.Handle(a.news)}.Serve)
}

// news wakes those that it is for. It is a wake-up only, see [wire.News].
func (a *API) news(_ context.Context, n wire.News) (wire.Empty, error) {
	if n.Events > 0 {
		a.feed.wake()
	}
	a.waiters.wake(n.Operations)
	a.steps.heard(n.Operations)
	return wire.Empty{}, nil
}

// stopped reports whether Run has ended.
func (a *API) stopped() bool {
	select {
	case <-a.stopping:
		return true
	default:
		return false
	}
}

// Handler serves /v1/. It may be called before Run; events come once it runs.
func (a *API) Handler() http.Handler { return a.guard() }
