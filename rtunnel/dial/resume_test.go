package dial_test

import (
	"crypto/tls"
	"net"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stack4things/s4t/rtunnel/dial"
)

// The last handshake with a server is resumed by the next: in TLS 1.3, as long as the
// same are trusted, and not after one that failed.
func TestTheLastHandshakeIsResumed(t *testing.T) {
	ours, other := newAuthority(t, "IoTronic CA 1"), newAuthority(t, "another")
	for _, tt := range []struct {
		name    string
		version uint16
		between func(d *dial.Dialer, url string, server *atomic.Pointer[tls.Config])
		resumes bool
	}{
		{name: "TLS 1.3", version: tls.VersionTLS13, resumes: true},
		{name: "TLS 1.2", version: tls.VersionTLS12},
		{name: "who is trusted has changed", version: tls.VersionTLS13, between: func(d *dial.Dialer, _ string, _ *atomic.Pointer[tls.Config]) {
			if err := d.Trust(append(other.pem, ours.pem...), false); err != nil {
				t.Error(err)
			}
		}},
		{name: "the one before failed", version: tls.VersionTLS13, between: func(d *dial.Dialer, url string, server *atomic.Pointer[tls.Config]) {
			right := server.Swap(&tls.Config{Certificates: []tls.Certificate{other.chain}, SessionTicketsDisabled: true})
			defer server.Store(right)
			if err := dialGreeting(t, d, url); err == nil {
				t.Error("a server with another CA's certificate was trusted")
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := dialer(t, dial.Config{CA: ours.pem})
			var server atomic.Pointer[tls.Config]
			server.Store(&tls.Config{Certificates: []tls.Certificate{ours.chain}, MaxVersion: tt.version})
			var resumed atomic.Bool
			url := serveTLS(t, &server, &resumed)
			if err := dialGreeting(t, d, url); err != nil || resumed.Load() {
				t.Fatalf("first: resumed %t, %v", resumed.Load(), err)
			}
			if tt.between != nil {
				tt.between(d, url, &server)
			}
			if err := dialGreeting(t, d, url); err != nil || resumed.Load() != tt.resumes {
				t.Errorf("then: resumed %t, %v", resumed.Load(), err)
			}
		})
	}
}

// serveTLS greets with the configuration of the moment, and notes whether the
// handshake of the last request was a resumed one.
func serveTLS(t *testing.T, server *atomic.Pointer[tls.Config], resumed *atomic.Bool) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resumed.Store(r.TLS.DidResume)
		greet(w, r)
	})}
	conf := &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return server.Load(), nil }}
	done := make(chan struct{})
	go func() { srv.Serve(tls.NewListener(l, conf)); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return "https://" + l.Addr().String()
}
