package tunnelagent

import (
	"io"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// serving is a rig with a port, a public port and a user's stream, all in use.
func serving(t *testing.T) (r *rig, data *rtunnel.Conn, addr string, user *stream.Stream) {
	r = newRig(t)
	target := loopback.Serve(t, shout)
	tcpPort := freePort(t)
	x := r.exposureOf(kitchen, tcpPort, target)
	r.want(append(twoPorts().resources(), x)...)
	r.board(kitchen)
	data = r.attach(kitchen, "a")
	r.await("the port", portUp("a"))
	user, err := stream.Dial(t.Context(), r.dialer, r.server.URL, r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen, Target: target}, nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { user.Close() })
	addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort))
	if got, err := ask(addr, "hello"); err != nil || got != "hello!" {
		t.Fatalf("answer %q, %v", got, err)
	}
	return r, data, addr, user
}

// closed checks that nothing of it is served any more, once the data rtunnel
// has ended.
func closed(t *testing.T, r *rig, data *rtunnel.Conn, addr string, user *stream.Stream) {
	t.Helper()
	data.NetConn().SetReadDeadline(time.Now().Add(time.Minute))
	if err := endOf(data); contains(err, "timeout") {
		t.Errorf("the data rtunnel ends with %v", err)
	}
	if _, err := io.ReadAll(user); err == nil {
		t.Error("the user's stream ended as if it was done")
	}
	for len(r.agent.opener.Boards()) > 0 {
		time.Sleep(time.Millisecond)
	}
	for { // the context ends first
		c, err := net.Dial("tcp", addr)
		if err != nil {
			break
		}
		c.Close()
		time.Sleep(time.Millisecond)
	}
}

func TestAnAgentThatLostItsLeaseServesNobodyUntilItHasANewOne(t *testing.T) {
	r, data, addr, user := serving(t)
	c := r.conductor
	c.mu.Lock()
	c.lease = 50 * time.Millisecond
	c.mu.Unlock()

	// The lease comes with a hello; from then on nothing is heard.
	r.agent.registration.Renew()
	c.awaitHello(2)
	c.mu.Lock()
	c.refuse = unavailable
	c.differs, c.told.states = true, map[wire.ResourceKey]wire.ResourceState{} // it takes all there was for gone
	c.mu.Unlock()
	closed(t, r, data, addr, user)
	if _, err := r.dial(rtunnel.SubprotocolPort, r.sign(wire.Ticket{Purpose: wire.PurposePort, Board: kitchen, Port: "a"}, nil)); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("an rtunnel to an agent without a lease: %v", err)
	}

	c.mu.Lock()
	c.refuse, c.lease = nil, 0
	c.mu.Unlock()
	r.await("the board's streams again", up(wire.KindStreams, kitchen))
	r.attach(kitchen, "a")
	r.await("the port again", portUp("a"))
	if got, err := ask(addr, "again"); err != nil || got != "again!" {
		t.Errorf("answer %q, %v", got, err)
	}
}

func TestAnotherIncarnationEndsTheAgent(t *testing.T) {
	for _, method := range []string{wire.MethodAgentHello, wire.MethodTunnelAsk, wire.MethodTunnelReport} {
		t.Run(method, func(t *testing.T) {
			r, data, addr, user := serving(t)
			r.conductor.mu.Lock()
			r.conductor.refuse = func(m string) error {
				if m == method {
					return s4t.Errorf(s4t.Conflict, "hear the agent", "", "another incarnation has its place")
				}
				return nil
			}
			r.conductor.mu.Unlock()
			r.agent.registration.Renew() // which is followed by the others
			if err := <-r.ended; s4t.KindOf(err) != s4t.Conflict {
				t.Errorf("Run: %v", err)
			}
			closed(t, r, data, addr, user)
		})
	}
}
