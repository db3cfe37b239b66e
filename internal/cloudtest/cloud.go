// Package cloudtest is a cloud and its boards in one process, for tests: the
// real API, conductor, agents, store and queue on loopback, and real boards
// whose devices are simulated. It needs no root and makes no network devices.
package cloudtest

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/conductor"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/tunnelagent"
	"github.com/stack4things/s4t/wampagent"
)

// Name is what boards know the cloud's host as. Only the [Way] of a board
// leads there.
const Name = "cloud.test"

// Cloud is a cloud that can be started and stopped. Its methods are for one
// goroutine.
type Cloud struct {
	Dir         string // database and state of boards
	PublicPorts string // FROM-TO

	addr  string // of the listener: set by the first start
	key   ed25519.PrivateKey
	token string
	stop  func() // nil while it does not run
}

// New returns a cloud that does not run yet, with its data in dir.
func New(dir, publicPorts string) (*Cloud, error) {
	_, key, err := ed25519.GenerateKey(nil)
	return &Cloud{Dir: dir, PublicPorts: publicPorts, addr: "127.0.0.1:0", key: key}, err
}

// Running reports whether it runs.
func (c *Cloud) Running() bool { return c.stop != nil }

// Start starts every part, and returns when the agents are known.
func (c *Cloud) Start() (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	var closers []func() error
	stop := func() {
		cancel()
		parts.Wait()
		for i := len(closers) - 1; i >= 0; i-- {
			closers[i]()
		}
	}
	defer func() {
		if err != nil {
			stop()
		}
	}()

	db, err := store.Open(ctx, store.Config{URL: "sqlite:" + filepath.Join(c.Dir, "cloud.db")})
	if err != nil {
		return err
	}
	closers = append(closers, db.Close)
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		return err
	}
	if c.token == "" { // the first start; ways read it from then on
		c.addr = l.Addr().String()
	}
	_, tcpPort, _ := net.SplitHostPort(c.addr)
	url := "http://" + net.JoinHostPort(Name, tcpPort)

	q := queue.New()
	mux := queue.Mux{}
	id, err := identity.New(identity.Config{Store: db})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	id.Register(mux)
	_, err1 := id.Bootstrap(ctx, func(f identity.First) error { c.token = f.Token.Secret; return nil })
	con, err2 := conductor.New(conductor.Config{Store: db, Queue: q, Mux: mux, TicketKey: c.key, URLs: []string{url}})
	rest, err3 := api.New(api.Config{Queue: q})
	sessions, err4 := wampagent.New(wampagent.Config{ID: "wamp-agent-1", URL: url, Queue: q})
	frames, err5 := tunnelagent.New(tunnelagent.Config{
		ID: "tunnel-agent-1", URL: url, Queue: q, Validate: link.Validate,
		Host: "127.0.0.1", ListenHost: "127.0.0.1", PublicPorts: c.PublicPorts,
	})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return errors.Join(err, l.Close())
	}
	for _, run := range []func(context.Context) error{id.Run, con.Run, rest.Run, sessions.Run, frames.Run} {
		parts.Go(func() { run(ctx) })
	}
	routes := http.NewServeMux()
	routes.Handle("/v1/", rest.Handler())
	routes.Handle("/wamp", sessions.Handler())
	routes.Handle("/rtunnel", frames)
	srv := &http.Server{Handler: routes, ReadHeaderTimeout: s4t.HandshakeTimeout}
	parts.Go(func() { srv.Serve(l) })
	parts.Go(func() { <-ctx.Done(); srv.Close() })

	for _, ready := range []<-chan struct{}{sessions.Ready(), frames.Ready()} {
		select {
		case <-ready:
		case <-time.After(10 * time.Second):
			return errors.New("cloudtest: the agents do not become ready")
		}
	}
	c.stop = stop
	return nil
}

// Stop ends every part. What is in the database stays.
func (c *Cloud) Stop() {
	if c.stop != nil {
		c.stop()
		c.stop = nil
	}
}

// Client is the admin's. The caller closes it.
func (c *Cloud) Client() (*apiclient.Client, error) {
	return apiclient.New(apiclient.Config{URL: "http://" + c.addr, Token: c.token, Timeout: 10 * time.Second})
}

// FreePorts finds n TCP ports of loopback in a row that are free, below those
// that the kernel gives to connections: one that was closed a moment ago keeps
// its port for a minute.
func FreePorts(n int) (first int, err error) {
	var last error
	for first = 21000; first+n < 32000; first += n {
		free := 0
		for p := first; p < first+n; p++ {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
			if err != nil {
				last = err
				break
			}
			l.Close()
			free++
		}
		if free == n {
			return first, nil
		}
	}
	return 0, fmt.Errorf("cloudtest: no %d free ports in a row: %w", n, last)
}
