package cloud

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// serveTest serves h on loopback with and without TLS as the cloud does.
func serveTest(t *testing.T, h http.Handler) (plain, secure string) {
	t.Helper()
	c, err := ownCerts(t.TempDir(), []string{"localhost"}, time.Now, discard)
	if err != nil {
		t.Fatal(err)
	}
	srv := newHTTPServer(h, newAdmission(newGate()), discard)
	t.Cleanup(func() { srv.Close() })
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l1, l2 := listen(), listen()
	go srv.Serve(l1)
	go srv.Serve(tls.NewListener(l2, c.tlsConfig()))
	return l1.Addr().String(), l2.Addr().String()
}

// TestSilentPeersAreClosed waits for the real timeouts: the listener's rule is
// that no peer that says nothing lives for 10 s.
func TestSilentPeersAreClosed(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes 8 s")
	}
	plain, secure := serveTest(t, http.NotFoundHandler())
	tests := []struct {
		name string
		dial func() (net.Conn, error)
	}{
		{"TCP only, TLS on", func() (net.Conn, error) { return net.Dial("tcp", secure) }},
		{"TCP only, TLS off", func() (net.Conn, error) { return net.Dial("tcp", plain) }},
		{"half a TLS record", func() (net.Conn, error) {
			c, err := net.Dial("tcp", secure)
			if err == nil {
				_, err = c.Write([]byte{0x16, 0x03, 0x01})
			}
			return c, err
		}},
		{"TLS, then nothing", func() (net.Conn, error) {
			return tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		}},
		{"TLS with HTTP/2, then nothing", func() (net.Conn, error) {
			return tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		}},
		{"half a request", func() (net.Conn, error) {
			c, err := net.Dial("tcp", plain)
			if err == nil {
				_, err = io.WriteString(c, "GET /wamp HTTP/1.1\r\nHost: x\r\n")
			}
			return c, err
		}},
		{"half an upgrade over TLS", func() (net.Conn, error) {
			c, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true})
			if err == nil {
				_, err = io.WriteString(c, "GET /rtunnel HTTP/1.1\r\nUpgrade: webs")
			}
			return c, err
		}},
	}
	var wg sync.WaitGroup // t.Parallel would take them a few at a time
	for _, tt := range tests {
		wg.Go(func() {
			start := time.Now()
			c, err := tt.dial()
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				return
			}
			defer c.Close()
			c.SetReadDeadline(start.Add(time.Minute))
			io.Copy(io.Discard, c)
			if took := time.Since(start); took > 30*time.Second { // 8, and what a busy machine needs
				t.Errorf("%s: closed after %s", tt.name, took)
			}
		})
	}
	wg.Wait()
}

func TestOnlyTheReverseProxyIsTrusted(t *testing.T) {
	p := TLS{Off: true, TrustedProxy: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/8")}}.proxies()
	for addr, want := range map[string]bool{
		"127.0.0.1": true, "::1": true, "10.1.2.3": true, "::ffff:10.1.2.3": true, "fd12::1": true,
		"10.2.0.1": false, "192.0.2.1": false, "fe80::1": false, "2001:db8::1": false,
	} {
		if got := p.trusts(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
}

func TestRoutesByPath(t *testing.T) {
	say := func(s string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) })
	}
	plain, _ := serveTest(t, handlers{api: say("api"), wamp: say("wamp"), rtunnel: say("rtunnel"), pages: say("pages")}.routes())
	agents, _ := serveTest(t, handlers{wamp: say("wamp"), rtunnel: say("rtunnel")}.routes())
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for path, want := range map[string]string{
		"/v1/boards": "api", "/v1/": "api", "/wamp": "wamp", "/rtunnel": "rtunnel", "/healthz": "ok\n", "/": "pages", "/boards/kitchen": "pages", "/wamp/x": "pages",
	} {
		res, err := client.Get("http://" + plain + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(body) != want || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %.20q, %v", path, res.StatusCode, body, err)
		}
	}
	for _, path := range []string{"/", "/nothing", "/wamp/x", "/etc/passwd"} { // where there is no API
		res, err := client.Get("http://" + agents + path)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.StatusCode)
		}
	}
}
