package cloud

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// from is one end of a pipe that came from an address.
type from struct {
	net.Conn
	addr *net.TCPAddr
}

func (f from) RemoteAddr() net.Addr { return f.addr }

// connect lets n connections of an address come; their far ends are returned.
func connect(t *testing.T, a *admission, addr string, n int) (near []net.Conn, far []net.Conn) {
	t.Helper()
	for i := range n {
		c, peer := net.Pipe()
		conn := from{c, &net.TCPAddr{IP: net.ParseIP(addr), Port: i + 1}}
		near, far = append(near, conn), append(far, peer)
		a.state(conn, http.StateNew)
		t.Cleanup(func() { a.state(conn, http.StateClosed); c.Close() })
	}
	return near, far
}

// ended waits until a far end is closed.
func ended(t *testing.T, what string, far net.Conn) {
	t.Helper()
	if _, err := far.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("%s: %v", what, err)
	}
}

func TestOneGuestTooManyEndsTheQuietestOfTheLargestSource(t *testing.T) {
	a := newAdmission(newGate())
	few, fewFar := connect(t, a, "192.0.2.1", 2)
	many, manyFar := connect(t, a, "198.51.100.7", maxGuests-2)
	a.state(many[0], http.StateActive) // it says something: the next one is the quietest
	_, more := connect(t, a, "192.0.2.9", 1)
	ended(t, "the quietest of the many", manyFar[1])
	if len(a.conns) != maxGuests {
		t.Errorf("%d are kept", len(a.conns))
	}
	connect(t, a, "198.51.100.7", 1)
	ended(t, "the next of the many, for one of theirs", manyFar[2])
	for _, c := range []net.Conn{few[0], few[1], many[0]} {
		if a.conns[c] == nil {
			t.Errorf("%s was ended", c.RemoteAddr())
		}
	}
	for _, far := range append(fewFar, more...) {
		far.Close()
	}
}

func TestWhoWasHandedOverIsNoGuest(t *testing.T) {
	a := newAdmission(newGate())
	near, _ := connect(t, a, "192.0.2.1", 3)
	a.state(near[0], http.StateActive)
	a.state(near[0], http.StateHijacked)
	a.state(near[1], http.StateActive)
	a.state(near[1], http.StateIdle)
	a.state(near[2], http.StateClosed)
	a.state(near[2], http.StateClosed)
	if len(a.conns) != 1 || a.conns[near[1]] == nil || len(a.sources) != 1 {
		t.Errorf("%d guests of %d sources", len(a.conns), len(a.sources))
	}
}

func TestAStreamIsNoGuestWhileItLasts(t *testing.T) {
	a := newAdmission(newGate())
	a.max = 3
	near, far := connect(t, a, "192.0.2.1", 3)
	a.streamBegins(near[0]) // the quietest would be the first to go
	a.streamBegins(near[0]) // two of HTTP/2
	_, more := connect(t, a, "192.0.2.1", 2)
	ended(t, "the quietest that has no stream", far[1])
	a.streamEnds(near[0])
	if len(a.conns) != 3 || a.conns[near[0]] != nil {
		t.Errorf("%d guests, with the one whose other stream goes on: %v", len(a.conns), a.conns[near[0]] != nil)
	}
	a.streamEnds(near[0])
	ended(t, "the quietest, for one whose streams have ended", far[2])
	if len(a.conns) != 3 || a.conns[near[0]] == nil || len(a.streams) != 0 {
		t.Errorf("%d guests, %d with streams", len(a.conns), len(a.streams))
	}
	a.streamBegins(near[1]) // it was ended a moment ago
	a.streamEnds(near[1])
	a.state(near[0], http.StateClosed)
	a.streamEnds(near[0])
	if len(a.conns) != 2 || len(a.streams) != 0 {
		t.Errorf("in the end %d guests, %d with streams", len(a.conns), len(a.streams))
	}
	far[0].Close()
	for _, c := range more {
		c.Close()
	}
}

// identified answers as the conductor does: one token is good, and nothing has
// happened yet.
func identified(_ context.Context, method string, body []byte) ([]byte, error) {
	switch {
	case method != wire.MethodVerify:
		return []byte("{}"), nil
	case !bytes.Contains(body, []byte("good")):
		return nil, s4t.Errorf(s4t.Unauthenticated, "authenticate", "", "the token is not valid")
	}
	return json.Marshal(wire.Caller{User: "ann", Project: "11111111-1111-4111-8111-111111111111", Role: s4t.RoleReader})
}

// TestWatchersOfEventsOutliveACrowdOfStrangers asks the real API over the real
// server: the longest quiet connection is a watcher's, and is not ended.
func TestWatchersOfEventsOutliveACrowdOfStrangers(t *testing.T) {
	q := queue.New()
	ctx, cancel := context.WithCancel(context.Background())
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	parts.Go(func() { q.Serve(ctx, wire.TopicConductor, "", 8, identified) })
	rest, err := api.New(api.Config{Queue: q})
	if err != nil {
		t.Fatal(err)
	}
	parts.Go(func() { rest.Run(ctx) })
	certs, err := ownCerts(t.TempDir(), []string{"localhost"}, time.Now, discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			a := newAdmission(newGate())
			a.max = 8
			srv := newHTTPServer(handlers{api: rest.Handler()}.routes(), a, discard)
			l, err := tls.Listen("tcp", "127.0.0.1:0", certs.tlsConfig())
			if err != nil {
				t.Fatal(err)
			}
			var serving sync.WaitGroup
			serving.Go(func() { srv.Serve(l) })
			defer serving.Wait()
			defer srv.Close()
			roots := x509.NewCertPool()
			roots.AddCert(certs.shown.Load().ca)
			tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: protocol == "HTTP/2.0"}
			defer tr.CloseIdleConnections()
			watch := func(token string) *http.Response {
				t.Helper()
				req, err := http.NewRequestWithContext(ctx, "GET", "https://"+l.Addr().String()+"/v1/events", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("Authorization", "Bearer "+token)
				res, err := (&http.Client{Transport: tr}).Do(req)
				if err != nil {
					t.Fatal(err)
				}
				if res.Proto != protocol {
					t.Fatalf("over %s", res.Proto)
				}
				return res
			}
			count := func() (guests, streams int) {
				a.mu.Lock()
				defer a.mu.Unlock()
				return len(a.conns), len(a.streams)
			}
			refused := watch("bad")
			refused.Body.Close()
			if _, streams := count(); refused.StatusCode != http.StatusUnauthorized || streams != 0 {
				t.Errorf("without a good token: status %d, %d streams", refused.StatusCode, streams)
			}
			watcher := watch("good")
			events := bufio.NewReader(watcher.Body)
			if line, err := events.ReadString('\n'); err != nil || !strings.HasPrefix(line, ":") {
				t.Fatalf("the stream begins with %q, %v", line, err)
			}
			if _, streams := count(); streams != 1 {
				t.Errorf("%d streams", streams)
			}
			for range 3 * a.max { // of the same source
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
			}
			for guests := 0; guests < a.max; guests, _ = count() {
				runtime.Gosched()
			}
			if guests, streams := count(); guests != a.max || streams != 1 {
				t.Errorf("after the flood: %d guests, %d streams", guests, streams)
			}
			watcher.Body.Close()
			for streams := 1; streams > 0; _, streams = count() {
				runtime.Gosched()
			}
		})
	}
}
