package api

import (
	"context"
	"log/slog"
	"net/http"

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
	Version string       // of iotronic; "dev" by default
	Log     *slog.Logger // discards by default
}

// API is the REST door of the cloud.
type API struct {
	queue   Queue
	version string
	log     *slog.Logger
	mux     *http.ServeMux
	huma    huma.API
	hub     *hub
	polls   chan struct{} // one for each long poll that runs
}

// maxPolls bounds long polls in one process: each occupies a worker of the
// conductor while it waits.
const maxPolls = 256

// New builds the routes. It does not start anything; see Run.
func New(c Config) (*API, error) {
	if c.Queue == nil {
		return nil, s4t.Errorf(s4t.Internal, "build the API", "", "it has no queue")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Version == "" {
		c.Version = "dev"
	}
	a := &API{queue: c.Queue, version: c.Version, log: c.Log, mux: http.NewServeMux(), hub: newHub(), polls: make(chan struct{}, maxPolls)}
	a.huma = humago.New(a.mux, openAPIConfig(c.Version))
	a.huma.UseMiddleware(speakProblem, a.authenticate)
	a.identityRoutes()
	a.boardRoutes()
	a.serviceRoutes()
	a.bridgeRoutes()
	a.uplinkRoutes()
	a.greRoutes()
	a.metricsRoutes()
	a.operationRoutes()
	a.eventRoutes()
	finishOpenAPI(a.huma.OpenAPI())
	if err := a.documentRoutes(); err != nil {
		return nil, err
	}
	return a, nil
}

// Run takes events off the queue and hands them to those who watch, until ctx
// ends. Without it events come with a delay of up to 15 s.
func (a *API) Run(ctx context.Context) error {
	defer a.hub.close()
	return a.queue.Serve(ctx, wire.TopicEvents, "", 1, a.hub.handle)
}

// Handler serves /v1/. It may be called before Run.
func (a *API) Handler() http.Handler { return a.guard() }
