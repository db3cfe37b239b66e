package main

import (
	"context"
	_ "embed"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
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
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: s4t.HandshakeTimeout, // the TLS handshake's bound too
		WriteTimeout:      answerTimeout,        // what is hijacked is free of it
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnState:         newAdmission().state,
		// What strangers do to the listener is no operator's concern.
		ErrorLog: log.New(debugWriter{logger}, "", 0),
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
