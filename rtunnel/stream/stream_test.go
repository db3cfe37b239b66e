package stream_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/wire"
)

// rig is a tunnel agent's Opener and a board's Pool on loopback.
type rig struct {
	t        testing.TB
	url      string
	opener   *stream.Opener
	pool     *stream.Pool
	dialled  atomic.Int32
	stopPool context.CancelFunc
	presence chan struct{} // a token after each first or last rtunnel
}

const rigBoard s4t.BoardID = "3f0c2a9e-5b1d-4c57-9a61-0d6f4a4b7c11"

// newRig starts them. A ticket is the address of its target; "refuse" is
// refused.
func newRig(t testing.TB, warm int) *rig { return startRig(t, warm, false) }

// newTLSRig is newRig over TLS.
func newTLSRig(t testing.TB, warm int) *rig { return startRig(t, warm, true) }

func startRig(t testing.TB, warm int, secure bool) *rig {
	t.Helper()
	r := &rig{t: t, presence: make(chan struct{}, 1)}
	r.opener = stream.NewOpener(func() {
		select {
		case r.presence <- struct{}{}:
		default:
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var mu sync.Mutex
	over := false
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		conn, _, err := accept.Accept(w, req, []string{rtunnel.SubprotocolStreams})
		if err != nil {
			return // the board has hung up
		}
		mu.Lock()
		defer mu.Unlock()
		if over {
			conn.Close()
			return
		}
		running.Go(func() { r.opener.Serve(ctx, rigBoard, conn) })
	}))
	cfg := dial.Config{}
	if secure {
		srv.Listener = rtunnel.BatchListener(srv.Listener)
		srv.StartTLS()
		cfg.CA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw})
	} else {
		srv.Start()
	}
	r.url = srv.URL
	d, err := dial.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r.pool, err = stream.NewPool(stream.PoolConfig{
		Dial: func(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) {
			r.dialled.Add(1)
			return d.Dial(ctx, url, rtunnel.Path, rtunnel.SubprotocolStreams, ticket)
		},
		Tickets: func(_ context.Context, n int) ([]string, error) { return make([]string, n), nil },
		Connect: func(ctx context.Context, ticket, _ string) (stream.HalfCloser, string, error) {
			if ticket == "refuse" {
				return nil, "", s4t.Errorf(s4t.Forbidden, "open a stream", "", "not this one")
			}
			c, err := new(net.Dialer).DialContext(ctx, "tcp", ticket)
			if err != nil {
				return nil, "", err
			}
			return c.(*net.TCPConn), ticket, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	poolCtx, stopPool := context.WithCancel(context.Background())
	r.stopPool = stopPool
	running.Go(func() { r.pool.Run(poolCtx) })
	r.pool.Set(&wire.DesiredStreams{URL: r.url, Warm: warm})
	t.Cleanup(func() {
		stopPool()
		cancel()
		mu.Lock()
		over = true
		mu.Unlock()
		srv.Close()
		running.Wait()
	})
	return r
}

// connect opens a stream to target, and returns the user's end of it and the
// channel on which Connect's result comes.
func (r *rig) connect(target string) (*net.TCPConn, <-chan error) {
	r.t.Helper()
	user, agent := loopback.Pair(r.t)
	result := make(chan error, 1)
	go func() {
		opened, err := r.opener.Connect(context.Background(), context.Background(), stream.Asked{Board: rigBoard, Ticket: target, Local: agent})
		if !opened {
			agent.Close()
		}
		result <- err
	}()
	return user, result
}

func echo(c *net.TCPConn) {
	io.Copy(c, c)
	c.CloseWrite()
}

func TestStreamEchoesAndKeepsHalfClose(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, func(c *net.TCPConn) { // answers only after the end of the question
		h := sha256.New()
		io.Copy(h, c)
		fmt.Fprintf(c, "%x", h.Sum(nil))
	})
	question := make([]byte, 3<<20)
	rand.Read(question)
	want := fmt.Sprintf("%x", sha256.Sum256(question))
	for range 3 { // one rtunnel after the other streams
		user, result := r.connect(target)
		if _, err := user.Write(question); err != nil {
			t.Fatal(err)
		}
		user.CloseWrite()
		got, err := io.ReadAll(user)
		if err != nil || string(got) != want {
			t.Fatalf("answer %q, %v; want %q", got, err, want)
		}
		if err := <-result; err != nil {
			t.Fatalf("Connect = %v, want nil", err)
		}
	}
}

func TestStreamEndsFromTheServiceFirst(t *testing.T) {
	r := newRig(t, 1)
	heard := make(chan string, 1)
	target := loopback.Serve(t, func(c *net.TCPConn) {
		io.WriteString(c, "banner")
		c.CloseWrite()
		b, _ := io.ReadAll(c)
		heard <- string(b)
	})
	user, result := r.connect(target)
	if got, err := io.ReadAll(user); err != nil || string(got) != "banner" {
		t.Fatalf("read %q, %v", got, err)
	}
	io.WriteString(user, "still talking")
	user.CloseWrite()
	if got := <-heard; got != "still talking" {
		t.Errorf("the service heard %q after its own half-close", got)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}

func TestRtunnelIsUsedAgain(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, echo)
	for range 50 {
		user, result := r.connect(target)
		io.WriteString(user, "hello")
		user.CloseWrite()
		if got, err := io.ReadAll(user); err != nil || string(got) != "hello" {
			t.Fatalf("read %q, %v", got, err)
		}
		if err := <-result; err != nil {
			t.Fatal(err)
		}
	}
	if n := r.dialled.Load(); n > 4 {
		t.Errorf("50 streams one after another took %d rtunnels, want a few", n)
	}
}

func TestRefusedStreamSaysWhyAndLeavesTheRtunnel(t *testing.T) {
	r := newRig(t, 1)
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	nobody := closed.Addr().String()
	closed.Close()
	for _, tt := range []struct {
		name, ticket string
		kind         s4t.Kind
		text         string
	}{
		{"a ticket that the board does not accept", "refuse", s4t.Forbidden, "not this one"},
		{"a target where nothing listens", nobody, s4t.Unavailable, "refused"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			user, result := r.connect(tt.ticket)
			err := <-result
			if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Connect = %v (%s), want kind %s with %q", err, s4t.KindOf(err), tt.kind, tt.text)
			}
			if n, err := user.Read(make([]byte, 1)); err == nil {
				t.Errorf("the user read %d bytes of a refused stream", n)
			}
		})
	}
	if n := r.dialled.Load(); n > 3 {
		t.Errorf("refusals cost %d rtunnels", n)
	}
}

func TestResetGoesThrough(t *testing.T) {
	r := newRig(t, 1)
	t.Run("from the service to the user", func(t *testing.T) {
		target := loopback.Serve(t, func(c *net.TCPConn) {
			c.Read(make([]byte, 1))
			c.SetLinger(0)
		})
		user, result := r.connect(target)
		io.WriteString(user, "x")
		if _, err := io.ReadAll(user); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the user sees %v, want a reset", err)
		}
		if err := <-result; err == nil {
			t.Error("Connect reports a clean end")
		}
	})
	t.Run("from the user to the service", func(t *testing.T) {
		seen := make(chan error, 1)
		target := loopback.Serve(t, func(c *net.TCPConn) {
			io.WriteString(c, "hello")
			_, err := io.ReadAll(c)
			seen <- err
		})
		user, result := r.connect(target)
		io.ReadFull(user, make([]byte, 5))
		user.SetLinger(0)
		user.Close()
		if err := <-seen; !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the service sees %v, want a reset", err)
		}
		if err := <-result; err == nil {
			t.Error("Connect reports a clean end")
		}
	})
}

func TestSlowStreamDoesNotStallAnother(t *testing.T) {
	r := newRig(t, 2)
	var taken atomic.Int64
	flood := loopback.Serve(t, func(c *net.TCPConn) {
		b := make([]byte, 64<<10)
		for {
			n, err := c.Write(b)
			taken.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	stalled, stalledResult := r.connect(flood) // never reads
	fast := loopback.Serve(t, echo)
	payload := make([]byte, 4<<20)
	rand.Read(payload)
	user, result := r.connect(fast)
	go func() {
		user.Write(payload)
		user.CloseWrite()
	}()
	got, err := io.ReadAll(user)
	if err != nil || !bytes.Equal(got, payload) {
		t.Fatalf("read %d bytes, %v", len(got), err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	// What the stopped reader made us take is the sockets' and one read
	// buffer at each end, not more.
	if n := taken.Load(); n > 64<<20 {
		t.Errorf("%d bytes were taken for a reader that has stopped", n)
	}
	stalled.Close()
	<-stalledResult
}

func TestBurstOfStreamsIsServedAtOnce(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, echo)
	var users sync.WaitGroup
	for i := range 100 {
		user, result := r.connect(target)
		users.Go(func() {
			want := fmt.Sprint("stream ", i)
			io.WriteString(user, want)
			user.CloseWrite()
			if got, err := io.ReadAll(user); err != nil || string(got) != want {
				t.Errorf("read %q, %v; want %q", got, err, want)
			}
			if err := <-result; err != nil {
				t.Error(err)
			}
		})
	}
	users.Wait()
}

func TestThousandIdleStreams(t *testing.T) {
	const n = 1000
	r := newRig(t, 2)
	target := loopback.Serve(t, echo)
	type open struct {
		user   *net.TCPConn
		result <-chan error
	}
	var all []open
	for range n {
		user, result := r.connect(target)
		all = append(all, open{user, result})
	}
	speak := func(text string) {
		for _, s := range all {
			io.WriteString(s.user, text)
			b := make([]byte, len(text))
			if _, err := io.ReadFull(s.user, b); err != nil || string(b) != text {
				t.Fatalf("read %q, %v", b, err)
			}
		}
	}
	speak("first")
	if s := r.pool.Status(); s.Busy < n {
		t.Errorf("the board has %d streams, want %d", s.Busy, n)
	}
	speak("again")
	for _, s := range all {
		s.user.CloseWrite()
	}
	for _, s := range all {
		if err := <-s.result; err != nil {
			t.Fatal(err)
		}
	}
}

func TestDeadRtunnelIsReplacedBeforeBytesAreLost(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, echo)
	// An rtunnel whose board has gone: nobody reads its other end.
	dead, agent := loopback.Pair(t)
	defer dead.Close()
	<-r.presence
	served := make(chan error, 1)
	go func() {
		served <- r.opener.Serve(context.Background(), rigBoard, rtunnel.NewConn(agent, nil, false))
	}()
	user, result := r.connect(target)
	io.WriteString(user, "hello")
	user.CloseWrite()
	got, err := io.ReadAll(user)
	if err != nil || string(got) != "hello" {
		t.Fatalf("read %q, %v", got, err)
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	dead.Close()
	<-served
}

// TestWakeBringsFreshRtunnelsAtOnce: a stream is not to wait until the old ones
// are known to be dead.
func TestWakeBringsFreshRtunnelsAtOnce(t *testing.T) {
	r := newRig(t, 2)
	idle := func(n int) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); r.pool.Status().Idle != n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d rtunnels are idle, want %d", r.pool.Status().Idle, n)
			}
		}
	}
	idle(2)
	r.pool.Wake()
	idle(4)
	if n := r.dialled.Load(); n != 4 {
		t.Errorf("%d were dialled", n)
	}
}

func TestRevokedStreamEnds(t *testing.T) {
	r := newRig(t, 1)
	target := loopback.Serve(t, echo)
	user, agent := loopback.Pair(t)
	revoke, now := context.WithCancel(context.Background())
	result := make(chan error, 1)
	opened := make(chan struct{})
	go func() {
		_, err := r.opener.Connect(context.Background(), revoke, stream.Asked{Board: rigBoard, Ticket: target, Local: agent, Admit: func() error { close(opened); return nil }})
		result <- err
	}()
	<-opened
	now()
	if _, err := io.ReadAll(user); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the user sees %v, want a reset", err)
	}
	if err := <-result; s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("Connect = %v, want forbidden", err)
	}
}

func TestOfflineBoardIsSaid(t *testing.T) {
	o := stream.NewOpener(nil)
	_, agent := loopback.Pair(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := o.Connect(ctx, context.Background(), stream.Asked{Board: "nobody", Ticket: "t", Local: agent})
	if s4t.KindOf(err) != s4t.Offline {
		t.Errorf("Connect = %v, want offline", err)
	}
}
