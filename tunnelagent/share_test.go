package tunnelagent

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/descriptors"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

const (
	orchard  s4t.ProjectID = "11111111-1111-4111-8111-111111111111"
	vineyard s4t.ProjectID = "22222222-2222-4222-8222-222222222222"
)

// streamsOf is what is wanted for the streams of a board.
func streamsOf(board s4t.BoardID, project s4t.ProjectID, limit int64) wire.Resource {
	return wire.NewResource(wire.KindStreams, string(board), wire.TunnelStreams{Project: project, Limit: limit})
}

// share gives the agent so many descriptors for public ports and rtunnels. It is
// called before anything comes.
func share(n int) func(*Agent) {
	return func(a *Agent) {
		a.cfg.Descriptors = descriptors.New(n, 0)
		a.opener.Crowded = a.cfg.Descriptors.Crowded
	}
}

// hold connects to addr and says a word; alive reports whether it comes back,
// which an end by either side makes false.
func hold(t *testing.T, local, addr string) (alive bool) {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	c, err := d.DialContext(t.Context(), "tcp", addr)
	if errors.Is(err, syscall.ECONNRESET) { // hung up on before connect returned
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, "x")
	_, err = io.ReadFull(c, make([]byte, 1))
	return err == nil
}

func parrot(c *net.TCPConn) { io.Copy(c, c) }

func TestAProjectHasSoManyStreams(t *testing.T) {
	r := newRig(t)
	target := loopback.Serve(t, parrot)
	r.board(kitchen)
	r.board(garden)
	one, two := freePort(t), freePort(t)
	x, y := r.exposureOf(kitchen, one, target), r.exposureOf(garden, two, target)
	r.add(x, y, streamsOf(kitchen, orchard, 3), streamsOf(garden, vineyard, s4t.Unlimited))
	r.await("the public ports", func(v view) bool { return up(wire.KindService, x.ID)(v) && up(wire.KindService, y.ID)(v) })

	at := func(tcpPort int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort)) }
	for i := range 2 {
		if !hold(t, "127.0.0.1", at(one)) {
			t.Fatalf("stream %d of 3 was refused", i+1)
		}
	}
	dial := func() (*stream.Stream, error) {
		return stream.Dial(t.Context(), r.dialer, r.server.URL, r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen, Target: target}, nil))
	}
	last, err := dial()
	if err != nil {
		t.Fatalf("the third: %v", err)
	}
	defer last.Close()
	_, err = dial()
	for _, words := range []string{"uses 3 of its 3 streams", "--quota streams=N"} {
		if s4t.KindOf(err) != s4t.Conflict || !contains(err, words) {
			t.Errorf("one too many of a user: %v; want %q", err, words)
		}
	}
	if hold(t, "127.0.0.1", at(one)) {
		t.Error("one too many on the public port is served")
	}
	for range 5 {
		if !hold(t, "127.0.0.1", at(two)) {
			t.Error("another project's is refused")
		}
	}
	uses := func(want ...wire.Use) func() bool {
		return func() bool {
			have := r.agent.streams.uses()
			slices.SortFunc(have, func(a, b wire.Use) int { return cmp.Compare(a.Project, b.Project) })
			return slices.Equal(have, want)
		}
	}
	other := wire.Use{Project: vineyard, Key: s4t.QuotaStreams, Used: 5}
	within(t, "3 and 5 in use", uses(wire.Use{Project: orchard, Key: s4t.QuotaStreams, Used: 3}, other))

	r.add(streamsOf(kitchen, orchard, 4)) // an admin raises it
	more, err := dial()
	if err != nil {
		t.Fatalf("one more, which was allowed since: %v", err)
	}
	more.Close()
	last.Close()
	within(t, "2 and 5 in use", uses(wire.Use{Project: orchard, Key: s4t.QuotaStreams, Used: 2}, other))
}

// TestStreamsByALeaseCountForWhoHasIt: not for the owner of the board.
func TestStreamsByALeaseCountForWhoHasIt(t *testing.T) {
	r := newRig(t)
	target := loopback.Serve(t, parrot)
	r.board(kitchen)
	spec := wire.TunnelStreams{
		Project: orchard, Limit: 1, Leases: map[s4t.LeaseID]int64{"night": time.Now().Add(time.Hour).UnixMicro()},
		Lessees: map[s4t.LeaseID]wire.Lessee{"night": {Project: vineyard, Limit: 2}},
	}
	r.add(wire.NewResource(wire.KindStreams, string(kitchen), spec))
	dial := func(by s4t.LeaseID) error {
		s, err := stream.Dial(t.Context(), r.dialer, r.server.URL, r.sign(wire.Ticket{Purpose: wire.PurposeStream, Board: kitchen, Target: target, Lease: by}, nil))
		if err == nil {
			t.Cleanup(func() { s.Close() })
		}
		return err
	}
	for i, by := range []s4t.LeaseID{"night", "", "night"} {
		if err := dial(by); err != nil {
			t.Fatalf("stream %d by %q: %v", i, by, err)
		}
	}
	for by, words := range map[s4t.LeaseID]string{"night": "uses 2 of its 2 streams", "": "uses 1 of its 1 streams"} {
		if err := dial(by); s4t.KindOf(err) != s4t.Conflict || !contains(err, words) {
			t.Errorf("one too many by %q: %v", by, err)
		}
	}
}

// TestDescriptorsAreLeftForTheOnePort is row 6 of what one could take from
// all: a stranger's connections to a public port, and a board's idle rtunnels.
func TestDescriptorsAreLeftForTheOnePort(t *testing.T) {
	const most = 64
	r := newRig(t, share(most))
	target := loopback.Serve(t, parrot)
	r.board(kitchen)
	r.board(garden)
	one, two := freePort(t), freePort(t)
	x, y := r.exposureOf(kitchen, one, target), r.exposureOf(garden, two, target)
	r.add(x, y, streamsOf(kitchen, orchard, s4t.Unlimited), streamsOf(garden, vineyard, s4t.Unlimited))
	r.await("the public ports", func(v view) bool { return up(wire.KindService, x.ID)(v) && up(wire.KindService, y.ID)(v) })

	served := 0
	for range 2 * most {
		if hold(t, "127.0.0.66", net.JoinHostPort("127.0.0.1", strconv.Itoa(one))) {
			served++
		}
	}
	pool := r.agent.cfg.Descriptors
	if used := pool.Used(); served == 0 || served > most/2 || used > most*3/4 {
		t.Errorf("a stranger has %d connections, and %d of %d descriptors are held", served, used, most)
	}
	for range 3 {
		if !hold(t, "127.0.0.77", net.JoinHostPort("127.0.0.1", strconv.Itoa(two))) {
			t.Error("another source is not served at another project's public port")
		}
	}

	// The rest is taken, by whatever: the one port answers, with words.
	for {
		if _, ok := pool.Acquire(1); !ok {
			break
		}
	}
	_, err := r.dial(rtunnel.SubprotocolStreams, r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: kitchen}, nil))
	if s4t.KindOf(err) != s4t.Unavailable || !contains(err, "as many connections open as it can have") {
		t.Errorf("an rtunnel where there is no descriptor: %v", err)
	}
	z := r.exposureOf(garden, freePort(t), target)
	r.add(z)
	r.await("a problem", func(v view) bool {
		return strings.Contains(v.problem(wire.KindService, z.ID), "as many connections open as it can have")
	})
	r.agent.exposures.mu.Lock()
	defer r.agent.exposures.mu.Unlock()
	for _, x := range r.agent.exposures.all {
		v := &x.visitors
		v.mu.Lock()
		if v.all > 2*most {
			t.Errorf("%d visitors are counted", v.all)
		}
		v.mu.Unlock()
	}
}

func TestDescriptorsComeBack(t *testing.T) {
	r := newRig(t, share(1000))
	target := loopback.Serve(t, shout)
	pool := r.board(kitchen)
	tcpPort := freePort(t)
	x := r.exposureOf(kitchen, tcpPort, target)
	r.add(x, streamsOf(kitchen, orchard, 10))
	r.await("the public port", up(wire.KindService, x.ID))
	for i := range 30 {
		if got, err := ask(net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort)), "hello"); err != nil || got != "hello!" {
			t.Fatalf("connection %d: %q, %v", i, got, err)
		}
	}
	pool.Set(nil)
	r.want()
	within(t, "all descriptors back", func() bool { return r.agent.cfg.Descriptors.Used() == 0 })
	if len(r.agent.streams.uses()) != 0 || r.agent.visitors.all != 0 {
		t.Errorf("%+v and %d visitors are left", r.agent.streams.uses(), r.agent.visitors.all)
	}
}

func TestABoardsIdleRtunnelsAreBounded(t *testing.T) {
	r := newRig(t, share(100))
	r.want(streamsOf(kitchen, orchard, 10))
	ended := make(chan struct{}, 200)
	open := func(n int) {
		for range n {
			conn, err := r.dial(rtunnel.SubprotocolStreams, r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: kitchen}, nil))
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				for {
					if _, _, err := conn.ReadMessage(); err != nil {
						ended <- struct{}{}
						return
					}
				}
			}()
		}
	}
	closed := func(n int) {
		t.Helper()
		for range n {
			select {
			case <-ended:
			case <-time.After(time.Minute):
				t.Fatal("an idle rtunnel too many is kept")
			}
		}
	}
	open(80)
	closed(80 - 32)
	within(t, "32 held", func() bool { return r.agent.cfg.Descriptors.Used() == 32 })
	r.agent.cfg.Descriptors.Acquire(20) // others are many
	closed(32 - 4)
	within(t, "4 held", func() bool { return r.agent.cfg.Descriptors.Used() == 24 })
}

func TestABoardsTicketsForWhatIsGoneCostOneQuestionEach(t *testing.T) {
	r := newRig(t)
	gone := r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: kitchen}, nil)
	for i, words := range []string{"not here", "used"} {
		if _, err := r.dial(rtunnel.SubprotocolStreams, gone); s4t.KindOf(err) != s4t.Forbidden || i == 0 && !contains(err, words) {
			t.Errorf("time %d: %v", i+1, err)
		}
		if i == 0 {
			r.want(streamsOf(kitchen, orchard, 10)) // now it is here, but the ticket has had its time
		}
	}
	r.want()
	r.conductor.mu.Lock()
	r.conductor.refuse = func(method string) error {
		if method == wire.MethodTunnelAsk {
			return s4t.Errorf(s4t.Timeout, "answer", "", "not now")
		}
		return nil
	}
	r.conductor.mu.Unlock()
	answers := make(chan error, maxAwaits+1)
	for range maxAwaits + 1 {
		go func() {
			_, err := r.dial(rtunnel.SubprotocolStreams, r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: kitchen}, nil))
			answers <- err
		}()
	}
	if err := <-answers; s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one more that waits: %v", err)
	}
	for range maxAwaits {
		if err := <-answers; s4t.KindOf(err) != s4t.Unavailable {
			t.Errorf("one that waited: %v", err)
		}
	}
	r.conductor.mu.Lock()
	r.conductor.refuse = nil
	r.conductor.mu.Unlock()
}

// TestTheBoardIsToldWhoConnected reads the question that the agent asks.
func TestTheBoardIsToldWhoConnected(t *testing.T) {
	r := newRig(t)
	tcpPort := freePort(t)
	x := r.exposureOf(kitchen, tcpPort, "127.0.0.1:1")
	r.want(streamsOf(kitchen, orchard, 10), x)
	board, err := r.dial(rtunnel.SubprotocolStreams, r.sign(wire.Ticket{Purpose: wire.PurposeStreams, Board: kitchen}, nil))
	if err != nil {
		t.Fatal(err)
	}
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP("127.0.0.9")}}
	c, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(tcpPort)))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, text, err := board.ReadMessage()
	if err != nil || !strings.Contains(string(text), `"source":"127.0.0.9"`) {
		t.Errorf("the board was asked %s, %v", text, err)
	}
}

func TestAStrangersRequestsAreOneLineOfTheLog(t *testing.T) {
	var log lines
	r := newRig(t, func(a *Agent) { a.cfg.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	before := log.Load()
	for range 50 {
		req, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, r.server.URL+rtunnel.Path, nil)
		for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": strings.Repeat("x", 24),
			"Sec-WebSocket-Protocol": rtunnel.SubprotocolStreams, "Authorization": "Bearer nonsense"} {
			req.Header.Set(k, v)
		}
		resp, err := r.server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Fatal(resp.Status)
		}
	}
	if n := log.Load() - before; n != 1 {
		t.Errorf("50 requests of a stranger are %d lines", n)
	}
}

// lines counts what is logged.
type lines struct{ atomic.Int64 }

func (l *lines) Write(p []byte) (int, error) {
	l.Add(1)
	return len(p), nil
}

// within waits for something to become true.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
