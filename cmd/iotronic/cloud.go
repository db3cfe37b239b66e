package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/conductor"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// part is one component of the process.
type part struct {
	name string
	run  func(context.Context) error
}

// cloud is the process: the parts of its role, wired together. Doors (the
// listener, the agents, the API) end before what they call (the conductor).
type cloud struct {
	place   *place
	queue   *queue.Mem
	doors   []part
	servers []part
	handler http.Handler
	ready   []<-chan struct{} // closed when the agents are known to the conductor
	log     *slog.Logger
}

// Ids of the agents of a process with every role.
const (
	wampAgentID   s4t.AgentID = "wamp-agent-1"
	tunnelAgentID s4t.AgentID = "tunnel-agent-1"
)

// build constructs the parts.
func build(ctx context.Context, cfg config, at *place, db *store.DB, log *slog.Logger) (*cloud, error) {
	q := queue.New(queue.WithLog(log))
	c := &cloud{place: at, queue: q, log: log}

	id, err := identity.New(identity.Config{Store: db, Log: log})
	if err != nil {
		return nil, err
	}
	if err := admitAdmin(ctx, id, filepath.Join(cfg.Data, "admin.toml"), at.url, at.certs.caPEM()); err != nil {
		return nil, err
	}
	key, err := ticketKey(ctx, db)
	if err != nil {
		return nil, err
	}
	mux := queue.Mux{}
	id.Register(mux)
	con, err := conductor.New(conductor.Config{
		Store: db, Queue: q, Mux: mux, TicketKey: key,
		URLs: []string{at.url}, CAFingerprint: at.certs.fingerprint(), Version: version, Log: log,
	})
	if err != nil {
		return nil, err
	}
	c.servers = append(c.servers, part{"identity", id.Run}, part{"conductor", con.Run})

	var d doors
	if err := c.addDoors(cfg, &d); err != nil {
		return nil, err
	}
	if at.certs != nil {
		c.doors = append(c.doors, part{"certificates", at.certs.Run})
	}
	c.handler = d.handler()
	return c, nil
}

const (
	// startTimeout is how long the parts may take to find each other.
	startTimeout = 15 * time.Second
	// stopTimeout is how long doors may take to say goodbye, and
	// giveUpTimeout is when the process ends in any case: everything that
	// matters is in the database, and the next start takes it from there.
	stopTimeout   = 2 * time.Second
	giveUpTimeout = 4 * time.Second
)

// run runs every part until ctx ends or one fails; ready is called once, when
// all answer.
func (c *cloud) run(ctx context.Context, ready func()) error {
	asked := ctx // by a signal
	ctx, cancel := context.WithCancelCause(asked)
	defer cancel(nil)
	outcome := func() error {
		if asked.Err() != nil {
			return nil
		}
		return context.Cause(ctx)
	}
	serverCtx, stopServers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServers()

	servers := start(serverCtx, c.servers, cancel)
	doors := start(ctx, append(c.doors, part{"http", c.serveHTTP}), cancel)

	if err := c.await(ctx); err != nil {
		cancel(err)
	} else if ctx.Err() == nil {
		ready()
	}
	<-ctx.Done()
	c.log.Info("stopping", "why", context.Cause(ctx))

	deadline := time.After(giveUpTimeout)
	for _, g := range []struct {
		ended <-chan struct{}
		next  func()
	}{{doors, stopServers}, {servers, func() {}}} {
		select {
		case <-g.ended:
		case <-deadline:
			c.log.Warn("not every part has ended in time; the process ends now")
			return outcome()
		}
		g.next()
	}
	return outcome()
}

// start runs parts; a part that ends while ctx goes on ends the process. The
// channel is closed when all have ended.
func start(ctx context.Context, parts []part, fail context.CancelCauseFunc) <-chan struct{} {
	var group errgroup.Group
	for _, p := range parts {
		group.Go(func() error {
			err := p.run(ctx)
			if err == nil && ctx.Err() == nil {
				err = errors.New("it ended by itself")
			}
			if err != nil && ctx.Err() == nil {
				fail(s4t.Errorf(s4t.Internal, "run the "+p.name, "", "%w", err))
			}
			return nil
		})
	}
	ended := make(chan struct{})
	go func() {
		group.Wait()
		close(ended)
	}()
	return ended
}

// await waits until the conductor answers, and then for the agents.
func (c *cloud) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		// A token that cannot be: the conductor is there when it says so.
		err := c.queue.Call(ctx, wire.TopicConductor, wire.MethodVerify, wire.VerifyRequest{}, nil)
		if s4t.KindOf(err) == s4t.Unauthenticated {
			break
		}
		select {
		case <-ctx.Done():
			return s4t.Errorf(s4t.Timeout, "start the conductor", "", "it does not answer: %w", err)
		case <-tick.C:
		}
	}
	for _, agent := range c.ready {
		select {
		case <-agent:
		case <-ctx.Done():
			return s4t.Errorf(s4t.Timeout, "start the agents", "", "the conductor does not know them")
		}
	}
	return nil
}

// serveHTTP serves the one port until ctx ends.
func (c *cloud) serveHTTP(ctx context.Context) error {
	srv := newHTTPServer(c.handler, c.log)
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(c.place.listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	// Long answers (events) end with the API; what is hijacked belongs to the
	// agents.
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if srv.Shutdown(stop) != nil {
		srv.Close()
	}
	<-failed
	return nil
}
