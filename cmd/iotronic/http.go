package main

import (
	"container/list"
	"context"
	_ "embed"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	// maxHeader bounds a request's head, in bytes. A token is 47 bytes, a
	// ticket at most 2 KB.
	maxHeader = 32 << 10
	// idleTimeout of a kept connection between two requests.
	idleTimeout = 2 * time.Minute
	// bodyTimeout is how long a request's body may take: 1 MB at 35 KB/s.
	bodyTimeout = 30 * time.Second
	// answerTimeout is how long a client may take to read an answer; a long
	// poll's wait counts. Event streams set their own at each event.
	answerTimeout = 2 * time.Minute
	// maxSilent is how many connections may be silent at a time; one more ends
	// the oldest. Each costs some 20 KB, most of it the TLS handshake's.
	maxSilent = 4096
	// silence ends a connection on which no byte of HTTP has come: the TLS
	// handshake counts too.
	silence = s4t.HandshakeTimeout
)

// frontPage is what a browser sees at /.
//
//go:embed front.html
var frontPage []byte

// doors are the handlers behind the one port.
type doors struct {
	api, wamp, rtunnel http.Handler
}

// handler routes by path.
func (d doors) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", d.api)
	mux.Handle("/wamp", d.wamp)
	mux.Handle("/rtunnel", d.rtunnel)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		w.Write(frontPage)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != http.NoBody {
			// Not for requests without a body: HTTP/1 takes a deadline that
			// passes while it waits for the next request as the client's end.
			http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
		}
		mux.ServeHTTP(w, r)
	})
}

// newHTTPServer bounds what a peer may cost before it has said who it is.
func newHTTPServer(h http.Handler, logger *slog.Logger) *http.Server {
	s := &silent{conns: map[net.Conn]*list.Element{}, order: list.New()}
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s4t.HandshakeTimeout, // the TLS handshake's bound too
		WriteTimeout:      answerTimeout,        // what is hijacked is free of it
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         s.state,
		// What strangers do to the listener is no operator's concern.
		ErrorLog: log.New(debugWriter{logger}, "", 0),
	}
}

// silent closes connections on which nothing is said.
type silent struct {
	mu    sync.Mutex // guards the fields below
	conns map[net.Conn]*list.Element
	order *list.List // of waiting, oldest first
}

// waiting is a connection and the clock that ends it.
type waiting struct {
	conn  net.Conn
	clock *time.Timer
}

// state follows a connection: the clock runs from accept to the first byte of
// a request (HTTP/2: to the client's preface).
func (s *silent) state(c net.Conn, st http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st != http.StateNew {
		s.forget(c)
		return
	}
	if s.order.Len() >= maxSilent {
		oldest := s.order.Front().Value.(waiting).conn
		s.forget(oldest)
		go oldest.Close() // TLS may take its time to say goodbye
	}
	s.conns[c] = s.order.PushBack(waiting{c, time.AfterFunc(silence, func() { c.Close() })})
}

// forget stops the clock of a connection, if it has one. mu is held.
func (s *silent) forget(c net.Conn) {
	if e, ok := s.conns[c]; ok {
		e.Value.(waiting).clock.Stop()
		s.order.Remove(e)
		delete(s.conns, c)
	}
}

// debugWriter takes what net/http logs.
type debugWriter struct{ log *slog.Logger }

func (d debugWriter) Write(b []byte) (int, error) {
	if d.log.Enabled(context.Background(), slog.LevelDebug) {
		d.log.Debug("http", "err", string(b))
	}
	return len(b), nil
}

// proxyListener takes connections from the reverse proxy and from this host
// only: behind it there is no TLS.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
}

func (l proxyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || l.trusts(c.RemoteAddr()) {
			return c, err
		}
		c.Close()
	}
}

func (l proxyListener) trusts(a net.Addr) bool {
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return false
	}
	ip := ap.Addr().Unmap().WithZone("")
	if ip.IsLoopback() {
		return true
	}
	for _, p := range l.trusted {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}
