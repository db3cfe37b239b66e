package tunnelagent

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/pem"
	"math/rand/v2"
	"net"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

const (
	agentID s4t.AgentID = "tunnel-agent-1"
	kitchen s4t.BoardID = "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11"
	garden  s4t.BoardID = "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c12"
)

// rig is an Agent behind a TLS server, and a conductor that says what the test
// wants.
type rig struct {
	t         *testing.T
	id        s4t.AgentID
	agent     *Agent
	queue     *queue.Mem
	server    *httptest.Server
	dialer    *dial.Dialer
	key       ed25519.PrivateKey
	conductor *fakeConductor
	ended     chan error // of Run
}

func newRig(t *testing.T, kinds ...func(*Agent)) *rig {
	t.Helper()
	return newRigOf(t, agentID, kinds...)
}

// newRigOf is newRig of an agent of another id.
func newRigOf(t *testing.T, id s4t.AgentID, kinds ...func(*Agent)) *rig {
	t.Helper()
	r := &rig{t: t, id: id, queue: queue.New(), ended: make(chan error, 1)}
	pub, key, _ := ed25519.GenerateKey(nil)
	r.key = key
	r.conductor = newFakeConductor(t, pub)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.queue.Serve(ctx, wire.TopicAgents, "", 4, r.conductor.mux().Serve) })

	r.server = httptest.NewUnstartedServer(nil)
	agent, err := New(Config{ID: id, DialPeer: r.dialPeer, URL: "https://" + r.server.Listener.Addr().String(), ListenHost: "127.0.0.1",
		PublicPorts: s4t.PortRange{First: 1024, Last: 65535}, Queue: r.queue, Validate: link.Validate})
	if err != nil {
		t.Fatal(err)
	}
	for _, register := range kinds {
		register(agent)
	}
	r.agent = agent
	r.server.Config.Handler = agent
	r.server.TLS = &tls.Config{GetConfigForClient: r.configForPeers}
	r.server.StartTLS()
	running.Go(func() { r.ended <- agent.Run(ctx) })
	<-agent.Ready()

	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
	r.dialer, err = dial.New(dial.Config{CA: ca, Env: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		r.server.Close()
		r.conductor.check()
	})
	return r
}

// want gives the agent a new desired state and waits until it says that it has
// applied it.
func (r *rig) want(resources ...wire.Resource) {
	r.t.Helper()
	generation := r.conductor.want(resources)
	r.wake(generation)
	r.await("generation "+strconv.FormatInt(generation, 10), func(s view) bool { return s.generation == generation })
}

// add gives it more than it has.
func (r *rig) add(resources ...wire.Resource) {
	r.t.Helper()
	r.want(append(r.conductor.wanted(), resources...)...)
}

// wake wakes the agent.
func (r *rig) wake(generation int64) {
	r.t.Helper()
	// A wake-up that nobody hears yet costs a delay only; here it is repeated.
	for try := 0; ; try++ {
		err := r.queue.Cast(r.t.Context(), wire.TopicTunnelAgent+"."+string(r.id), wire.MethodAgentWake, wire.AgentWake{Generation: generation})
		if err == nil {
			return
		}
		if s4t.KindOf(err) != s4t.Unavailable || try == 500 {
			r.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// await waits until what the conductor was told is as ok says.
func (r *rig) await(what string, ok func(view) bool) view {
	r.t.Helper()
	deadline := time.After(time.Minute)
	for {
		view, told := r.conductor.view()
		if ok(view) {
			return view
		}
		select {
		case <-told:
		case <-deadline:
			r.t.Fatalf("no report of %s; it was told %+v", what, view)
		}
	}
}

// sign makes a ticket for this agent that is good for a minute, changed by
// change.
func (r *rig) sign(t wire.Ticket, change func(*wire.Ticket)) string {
	t.ID, t.Agent, t.Expires = s4t.NewID(), r.id, time.Now().Add(time.Minute).Unix()
	if change != nil {
		change(&t)
	}
	return t.Sign(r.key)
}

// dial opens an rtunnel that is closed at the end of the test.
func (r *rig) dial(subprotocol, ticket string) (*rtunnel.Conn, error) {
	conn, err := r.dialer.Dial(r.t.Context(), r.server.URL, rtunnel.Path, subprotocol, ticket)
	if err == nil {
		r.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// board runs the pool of a board until the test ends. A ticket's target is
// what it reaches.
func (r *rig) board(id s4t.BoardID) *stream.Pool {
	r.t.Helper()
	r.add(wire.NewResource(wire.KindStreams, string(id), wire.Empty{}))
	pool, err := stream.NewPool(stream.PoolConfig{
		Dial: func(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) {
			return r.dialer.Dial(ctx, url, rtunnel.Path, rtunnel.SubprotocolStreams, ticket)
		},
		Tickets: func(_ context.Context, n int) ([]string, error) {
			var all []string
			for range n {
				all = append(all, r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: id}, nil))
			}
			return all, nil
		},
		Connect: func(ctx context.Context, text, _ string) (stream.HalfCloser, string, error) {
			t, err := wire.VerifyTicket(r.key.Public().(ed25519.PublicKey), text, time.Now())
			if err == nil && t.Board != id {
				err = s4t.Errorf(s4t.Forbidden, "open a stream", "", "another board's ticket")
			}
			if err != nil {
				return nil, "", err
			}
			c, err := new(net.Dialer).DialContext(ctx, "tcp", t.Target)
			if err != nil {
				return nil, "", err
			}
			return c.(*net.TCPConn), "", nil
		},
	})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		pool.Run(ctx)
	}()
	r.t.Cleanup(func() { cancel(); <-done })
	pool.Set(&wire.DesiredStreams{URL: r.server.URL, Warm: 2})
	r.await("the board's rtunnels", up(wire.KindStreams, id))
	return pool
}

// lastPort is the one that freePort returned last.
var lastPort = 23000 + rand.IntN(8000)

// freePort returns a TCP port that is free, another one each time, below those that the
// kernel gives to connections: nobody else's takes it meanwhile.
func freePort(t *testing.T) int {
	t.Helper()
	for range 1000 {
		lastPort++
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(lastPort)); err == nil {
			l.Close()
			return lastPort
		}
	}
	t.Fatal("no free ports")
	return 0
}

func contains(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
