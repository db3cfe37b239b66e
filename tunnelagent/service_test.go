package tunnelagent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// exposureOf is a desired exposure of target.
func (r *rig) exposureOf(board s4t.BoardID, publicPort int, target string) wire.Resource {
	id := s4t.NewID()
	return wire.NewResource(wire.KindService, id, wire.TunnelExposure{Board: board, PublicPort: publicPort,
		Ticket: wire.Ticket{ID: id, Purpose: wire.PurposeService, Agent: agentID, Board: board, Service: s4t.ServiceID(id), Target: target}.Sign(r.key)})
}

func shout(c *net.TCPConn) {
	b, _ := io.ReadAll(c)
	fmt.Fprintf(c, "%s!", b)
}

// ask sends a question with a half-close and returns the answer.
func ask(addr, question string) (string, error) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, question); err != nil {
		return "", err
	}
	c.(*net.TCPConn).CloseWrite()
	b, err := io.ReadAll(c)
	return string(b), err
}

func TestPublicPortReachesTheBoardsService(t *testing.T) {
	r := newRig(t)
	r.board(kitchen)
	tcpPort := freePort(t)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort))
	x := r.exposureOf(kitchen, tcpPort, loopback.Serve(t, shout))
	r.add(x)
	r.await("the exposure", up(wire.KindService, x.ID))
	var users sync.WaitGroup
	for i := range 20 {
		users.Go(func() {
			want := fmt.Sprintf("hello %d!", i)
			if got, err := ask(addr, want[:len(want)-1]); err != nil || got != want {
				t.Errorf("answer %q, %v; want %q", got, err, want)
			}
		})
	}
	users.Wait()

	open, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	io.WriteString(open, "unfinished")
	if _, err := ask(addr, "x"); err != nil { // so the stream before it is open too
		t.Fatal(err)
	}
	r.want()
	if _, err := io.ReadAll(open); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a stream of a hidden service ends with %v, want a reset", err)
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the public port of a hidden service still listens")
	}
}

func TestPublicPortOfAnAbsentBoardHangsUp(t *testing.T) {
	r := newRig(t)
	tcpPort := freePort(t)
	r.want(r.exposureOf(kitchen, tcpPort, "127.0.0.1:1"))
	start := time.Now()
	if got, err := ask(net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort)), "hello?"); err == nil {
		t.Errorf("answer %q, want a reset", got)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

func TestBusyPublicPortIsAProblemUntilItIsFree(t *testing.T) {
	r := newRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := r.exposureOf(kitchen, l.Addr().(*net.TCPAddr).Port, "127.0.0.1:1")
	r.want(x)
	s := r.await("the problem", func(s view) bool { return s.problem(wire.KindService, x.ID) != "" })
	if state := s.states[x.Key()]; state.Up || state.ProblemID != wire.PublicPortTaken {
		t.Errorf("the exposure is reported as %+v", state)
	}
	l.Close()
	s = r.await("the cure", up(wire.KindService, x.ID))
	if len(s.states) != 1 || s.states[x.Key()].Problem != "" {
		t.Errorf("problems remain: %+v", s.states)
	}
}

func TestPublicPortsThatGoMakeRoomForThoseThatCome(t *testing.T) {
	r := newRig(t)
	one, two := freePort(t), freePort(t)
	exposure := func(id string, publicPort int) wire.Resource {
		return wire.NewResource(wire.KindService, id, wire.TunnelExposure{Board: kitchen, PublicPort: publicPort})
	}
	for _, want := range [][]wire.Resource{
		{exposure("a", one), exposure("b", two)},
		{exposure("a", two), exposure("b", one)}, // each takes the other's
		{exposure("c", one), exposure("a", two)}, // b goes
	} {
		r.want(want...)
		v, _ := r.conductor.view()
		for _, x := range want {
			if !up(wire.KindService, x.ID)(v) {
				t.Errorf("%s of %v is not up: %+v", x.ID, want, v.states)
			}
		}
	}
}

func TestUsersStream(t *testing.T) {
	r := newRig(t)
	target := loopback.Serve(t, shout)
	ticket := func(change func(*wire.Ticket)) string {
		return r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen, Target: target}, change)
	}
	t.Run("waits for a board that is about to come", func(t *testing.T) {
		type result struct {
			s   *stream.Stream
			err error
		}
		opened := make(chan result, 1)
		go func() {
			s, err := stream.Dial(context.Background(), r.dialer, r.server.URL, ticket(nil))
			opened <- result{s, err}
		}()
		r.board(kitchen)
		o := <-opened
		if o.err != nil {
			t.Fatal(o.err)
		}
		defer o.s.Close()
		io.WriteString(o.s, "hello")
		o.s.CloseWrite()
		if got, err := io.ReadAll(o.s); err != nil || string(got) != "hello!" {
			t.Errorf("answer %q, %v", got, err)
		}
	})
	t.Run("says why the board refused", func(t *testing.T) {
		_, err := stream.Dial(t.Context(), r.dialer, r.server.URL, ticket(func(t *wire.Ticket) { t.Target = "127.0.0.1:1" }))
		if s4t.KindOf(err) != s4t.Unavailable || !contains(err, "refused") {
			t.Errorf("error %v", err)
		}
	})
}

func TestTicketsOpenWhatTheyAreForOnce(t *testing.T) {
	r := newRig(t)
	n := twoPorts()
	n.ports = map[s4t.PortID]wire.TunnelPort{"p": {Board: kitchen, MAC: "02:00:00:00:00:01", Addresses: []string{"10.77.0.2/24"}}}
	r.want(append(n.resources(), wire.NewResource(wire.KindStreams, string(kitchen), wire.Empty{}))...)
	good := wire.Ticket{Purpose: wire.PurposePort, Board: kitchen, Port: "p"}
	used := r.sign(good, nil)
	if _, err := r.dial(rtunnel.SubprotocolPort, used); err != nil {
		t.Fatalf("a good ticket: %v", err)
	}
	if _, err := r.dial(rtunnel.SubprotocolPort, r.sign(good, func(t *wire.Ticket) { t.Incarnation = r.agent.incarnation })); err != nil {
		t.Fatalf("a ticket for this incarnation: %v", err)
	}
	forged := func() string {
		keep := r.key
		defer func() { r.key = keep }()
		r.key = append([]byte(nil), r.key...)
		r.key[0] ^= 1
		return r.sign(good, nil)
	}()
	for _, tt := range []struct {
		name, subprotocol, ticket string
		kind                      s4t.Kind
	}{
		{"a ticket that was used", rtunnel.SubprotocolPort, used, s4t.Forbidden},
		{"no ticket", rtunnel.SubprotocolPort, "", s4t.Unauthenticated},
		{"nonsense", rtunnel.SubprotocolPort, "nonsense", s4t.Unauthenticated},
		{"another key's signature", rtunnel.SubprotocolPort, forged, s4t.Unauthenticated},
		{"late", rtunnel.SubprotocolPort, r.sign(good, func(t *wire.Ticket) { t.Expires = time.Now().Unix() - 2 }), s4t.Unauthenticated},
		{"of another agent", rtunnel.SubprotocolPort, r.sign(good, func(t *wire.Ticket) { t.Agent = "tunnel-agent-2" }), s4t.Forbidden},
		{"of another board", rtunnel.SubprotocolPort, r.sign(good, func(t *wire.Ticket) { t.Board = garden }), s4t.Forbidden},
		{"of a port that is not desired", rtunnel.SubprotocolPort, r.sign(good, func(t *wire.Ticket) { t.Port = "q" }), s4t.Forbidden},
		{"of streams of another board", rtunnel.SubprotocolStreams, r.sign(good, func(t *wire.Ticket) { t.Purpose = wire.PurposeStreams; t.Board = garden }), s4t.Forbidden},
		{"of an agent that was started anew", rtunnel.SubprotocolPort, r.sign(good, func(t *wire.Ticket) { t.Incarnation = "another" }), s4t.Forbidden},
		{"of a port, for streams", rtunnel.SubprotocolStreams, r.sign(good, nil), s4t.Forbidden},
		{"of a service, which works more than once", rtunnel.SubprotocolStream, r.sign(good, func(t *wire.Ticket) { t.Purpose = wire.PurposeService; t.Expires = 0 }), s4t.Forbidden},
		{"of streams, for a user's stream", rtunnel.SubprotocolStream, r.sign(good, func(t *wire.Ticket) { t.Purpose = wire.PurposeStreams }), s4t.Forbidden},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.dial(tt.subprotocol, tt.ticket)
			if s4t.KindOf(err) != tt.kind {
				t.Errorf("error %v (%s), want %s", err, s4t.KindOf(err), tt.kind)
			}
		})
	}
	t.Run("many at the same time with one ticket", func(t *testing.T) {
		ticket := r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: kitchen}, nil)
		var opened atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if _, err := r.dial(rtunnel.SubprotocolStreams, ticket); err == nil {
					opened.Add(1)
				}
			})
		}
		all.Wait()
		if n := opened.Load(); n != 1 {
			t.Errorf("%d rtunnels were opened, want 1", n)
		}
	})
}

func TestRemovedBoardsRtunnelsAreClosed(t *testing.T) {
	r := newRig(t)
	pool := r.board(kitchen)
	pool.Set(nil) // it will not come back
	r.want(wire.NewResource(wire.KindStreams, string(garden), wire.Empty{}))
	r.await("no rtunnel for streams", func(s view) bool { return len(s.all(wire.KindStreams)) == 0 })
	for len(r.agent.opener.Boards()) > 0 { // what is not wanted is not told
		time.Sleep(time.Millisecond)
	}
}
