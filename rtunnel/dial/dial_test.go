package dial_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/accept"
	"github.com/stack4things/s4t/rtunnel/dial"
)

// authority is a CA and a leaf of it for 127.0.0.1 and cloud.test.
type authority struct {
	ca    *x509.Certificate
	pem   []byte
	chain tls.Certificate
}

func newAuthority(t testing.TB, name string) authority {
	t.Helper()
	make1 := func(tmpl, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, parentKey)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	caKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	leafKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	caTmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)}
	ca := make1(caTmpl, caTmpl, caKey, caKey)
	leaf := make1(&x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"cloud.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(netlab.CloudAddr)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour)}, ca, leafKey, caKey)
	return authority{ca: ca, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Raw}),
		chain: tls.Certificate{Certificate: [][]byte{leaf.Raw, ca.Raw}, PrivateKey: leafKey}}
}

// serveHTTP serves h on loopback, over TLS where a certificate is given, and
// returns the URL.
func serveHTTP(t *testing.T, a *authority, h http.HandlerFunc) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	url := "http://" + l.Addr().String()
	if a != nil {
		url = "https://" + l.Addr().String()
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{a.chain}})
	}
	srv := &http.Server{Handler: h}
	done := make(chan struct{})
	go func() { srv.Serve(l); close(done) }()
	t.Cleanup(func() { srv.Close(); <-done })
	return url
}

// greet upgrades, sends one message and ends.
func greet(w http.ResponseWriter, r *http.Request) {
	conn, _, err := accept.Accept(w, r, []string{"test.1"})
	if err != nil {
		return
	}
	defer conn.Close()
	conn.WriteMessage(rtunnel.OpText, []byte("hello "+accept.Bearer(r)))
	conn.ReadMessage()
}

func noEnv(string) string { return "" }

func dialer(t *testing.T, cfg dial.Config) *dial.Dialer {
	t.Helper()
	if cfg.Env == nil {
		cfg.Env = noEnv
	}
	d, err := dial.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// dialGreeting dials and expects the greeting.
func dialGreeting(t *testing.T, d *dial.Dialer, url string) error {
	t.Helper()
	conn, err := d.Dial(t.Context(), url, "/x", "test.1", "ticket")
	if err != nil {
		return err
	}
	defer conn.Close()
	_, p, err := conn.ReadMessage()
	if err != nil {
		return err
	}
	if string(p) != "hello ticket" {
		return fmt.Errorf("greeting %q", p)
	}
	return nil
}

func TestDialTrustsThePinnedCAOnly(t *testing.T) {
	ours, other := newAuthority(t, "the cloud"), newAuthority(t, "a proxy that re-signs")
	sum := sha256.Sum256(ours.ca.Raw)
	fingerprint := hex.EncodeToString(sum[:])
	at := func(year int) func() time.Time {
		return func() time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
	}
	for _, tt := range []struct {
		name   string
		server authority
		cfg    dial.Config
		host   string
		kind   s4t.Kind
		text   string
	}{
		{name: "the CA itself", server: ours, cfg: dial.Config{CA: ours.pem}},
		{name: "while the clock says 1970", server: ours, cfg: dial.Config{CA: ours.pem, Now: at(1970)}},
		{name: "while the clock says 2050", server: ours, cfg: dial.Config{CA: ours.pem, Now: at(2050)}},
		{name: "by fingerprint", server: ours, cfg: dial.Config{Fingerprint: fingerprint}},
		{name: "by fingerprint in 1970", server: ours, cfg: dial.Config{Fingerprint: fingerprint, Now: at(1970)}},
		{name: "a proxy's CA given beside the fingerprint", server: other, cfg: dial.Config{Fingerprint: fingerprint, CA: other.pem}},
		{name: "not another CA", server: other, cfg: dial.Config{CA: ours.pem}, kind: s4t.Unauthenticated, text: "a proxy that re-signs"},
		{name: "not another fingerprint", server: other, cfg: dial.Config{Fingerprint: fingerprint}, kind: s4t.Unauthenticated, text: "a proxy that re-signs"},
		{name: "not another name", server: ours, cfg: dial.Config{CA: ours.pem}, host: "else.test", kind: s4t.Unauthenticated, text: "not for else.test"},
		{name: "the system's roots do not know it", server: ours, kind: s4t.Unauthenticated, text: "the cloud"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			url := serveHTTP(t, &tt.server, greet)
			if tt.host != "" {
				url = strings.Replace(url, "127.0.0.1", tt.host, 1)
				tt.cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
				}
			}
			d := dialer(t, tt.cfg)
			err := dialGreeting(t, d, url)
			if s4t.KindOf(err) != tt.kind || tt.text != "" && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Dial = %v (%s), want kind %q with %q", err, s4t.KindOf(err), tt.kind, tt.text)
			}
			if tt.cfg.Fingerprint != "" && tt.cfg.CA == nil && tt.kind == "" && !d.CA().Equal(ours.ca) {
				t.Error("the CA of the fingerprint is not known after the dial")
			}
		})
	}
}

func TestDialTellsWhatStandsInTheWay(t *testing.T) {
	answer := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := w.(http.Hijacker).Hijack()
			defer c.Close()
			io.WriteString(c, text)
		}
	}
	refuse := func(kind s4t.Kind) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			accept.Refuse(w, s4t.Errorf(kind, "open an rtunnel", "", "the ticket is late"))
		}
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		kind    s4t.Kind
		text    string
	}{
		{"401 with a reason", refuse(s4t.Unauthenticated), s4t.Unauthenticated, "the ticket is late"},
		{"403", refuse(s4t.Forbidden), s4t.Forbidden, "the ticket is late"},
		{"409", refuse(s4t.Conflict), s4t.Conflict, "the ticket is late"},
		{"503", refuse(s4t.Unavailable), s4t.Unavailable, "the ticket is late"},
		{"a captive portal", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://portal.test/login", http.StatusFound)
		}, s4t.Unavailable, `302 to "http://portal.test/login": a captive portal?`},
		{"a web page", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>") }, s4t.Unavailable, "a web page came"},
		{"404", http.NotFound, s4t.NotFound, "404 page not found"},
		{"another subprotocol", func(w http.ResponseWriter, r *http.Request) {
			r.Header.Set("Sec-WebSocket-Protocol", "other")
			accept.Accept(w, r, []string{"other"})
		}, s4t.Invalid, "does not speak test.1"},
		{"a wrong accept key", answer("HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: no\r\n\r\n"), s4t.Unavailable, "no WebSocket server"},
		{"no HTTP at all", answer("SSH-2.0-OpenSSH_9.2\r\n"), s4t.Unavailable, "not HTTP"},
		{"a head without end", answer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 20<<10) + "\r\n\r\n"), s4t.Unavailable, "longer than 16384 bytes"},
		{"nothing", answer(""), s4t.Unavailable, "cut"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := dialGreeting(t, dialer(t, dial.Config{}), serveHTTP(t, nil, tt.handler))
			if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Dial = %v (%s), want kind %q with %q", err, s4t.KindOf(err), tt.kind, tt.text)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		l, _ := net.Listen("tcp", "127.0.0.1:0")
		l.Close()
		err := dialGreeting(t, dialer(t, dial.Config{}), "https://"+l.Addr().String())
		if s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), "refuses connections") {
			t.Errorf("Dial = %v", err)
		}
	})
	t.Run("no such name", func(t *testing.T) {
		d := dialer(t, dial.Config{Resolve: func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }})
		err := dialGreeting(t, d, "https://nowhere.test")
		if s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), `"nowhere.test" cannot be resolved`) {
			t.Errorf("Dial = %v", err)
		}
	})
	t.Run("a server that says nothing", func(t *testing.T) {
		addr := loopback.Serve(t, func(c *net.TCPConn) { io.Copy(io.Discard, c) })
		err := dialGreeting(t, dialer(t, dial.Config{Stall: 10 * time.Millisecond}), "https://"+addr)
		if s4t.KindOf(err) != s4t.Timeout || !strings.Contains(err.Error(), "no answer, with segments of any size") {
			t.Errorf("Dial = %v", err)
		}
	})
	t.Run("plain HTTP where TLS is expected", func(t *testing.T) {
		url := serveHTTP(t, nil, greet)
		err := dialGreeting(t, dialer(t, dial.Config{}), strings.Replace(url, "http", "https", 1))
		if !strings.Contains(err.Error(), "does not speak TLS") {
			t.Errorf("Dial = %v", err)
		}
	})
}

func TestDialTriesEveryAddress(t *testing.T) {
	url := serveHTTP(t, nil, greet)
	url = strings.Replace(url, "127.0.0.1", "cloud.test", 1)
	// 127.0.0.2 refuses: nobody listens there; ::1 does too.
	d := dialer(t, dial.Config{Resolve: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("127.0.0.1")}, nil
	}})
	if err := dialGreeting(t, d, url); err != nil {
		t.Error(err)
	}
}

func TestDialAsksDNSAgainWhileNobodyAnswers(t *testing.T) {
	url := serveHTTP(t, nil, greet)
	url = strings.Replace(url, "127.0.0.1", "cloud.test", 1)
	var asked atomic.Int32
	d := dialer(t, dial.Config{
		Resolve: func(context.Context, string) ([]netip.Addr, error) {
			if asked.Add(1) == 1 {
				return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}, nil
		},
		Control: func(ctx context.Context, _, address string, _ syscall.RawConn) error {
			if strings.HasPrefix(address, "127.0.0.2:") { // as if packets there vanished
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		},
	})
	start := time.Now()
	if err := dialGreeting(t, d, url); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %v", took)
	}
}

// proxyServer is an HTTP proxy for tests. auth, if not nil, gets the
// Proxy-Authorization and the authority asked for, and returns the challenges
// to answer with, or none to go on.
func proxyServer(t *testing.T, connects *atomic.Int32, auth func(authorization, addr string) []string) string {
	t.Helper()
	return loopback.Serve(t, func(c *net.TCPConn) {
		br := bufio.NewReader(c)
		req, err := http.ReadRequest(br)
		if err != nil {
			return
		}
		connects.Add(1)
		if req.Method != http.MethodConnect {
			io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\n\r\n")
			return
		}
		if auth != nil {
			if challenges := auth(req.Header.Get("Proxy-Authorization"), req.RequestURI); challenges != nil {
				io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\n")
				for _, ch := range challenges {
					io.WriteString(c, "Proxy-Authenticate: "+ch+"\r\n")
				}
				io.WriteString(c, "\r\n")
				return
			}
		}
		_, tcpPort, _ := net.SplitHostPort(req.RequestURI)
		up, err := net.Dial("tcp", "127.0.0.1:"+tcpPort) // whatever the name is
		if err != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\n\r\n")
			return
		}
		defer up.Close()
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		var both sync.WaitGroup
		both.Go(func() { io.Copy(up, br); up.(*net.TCPConn).CloseWrite() })
		io.Copy(c, up)
		c.Close()
		both.Wait()
	})
}

// digestProxy checks RFC 7616 answers of user "user", password "secret".
func digestProxy(algorithm string, newHash func() hash.Hash) func(string, string) []string {
	h := func(s string) string { x := newHash(); io.WriteString(x, s); return hex.EncodeToString(x.Sum(nil)) }
	return func(authorization, addr string) []string {
		const nonce = "abc,\"=123"
		challenge := []string{`Basic realm="fallback"`, `Digest realm="the \"proxy\"", nonce="abc,\"=123", qop="auth-int, auth", algorithm=` + algorithm + `, opaque="op"`}
		rest, ok := strings.CutPrefix(authorization, "Digest ")
		if !ok {
			return challenge
		}
		get := func(name string) string {
			_, after, _ := strings.Cut(rest, name+"=")
			if q, ok := strings.CutPrefix(after, `"`); ok {
				after, _, _ = strings.Cut(q, `", `)
				return strings.TrimSuffix(after, `"`)
			}
			after, _, _ = strings.Cut(after, ",")
			return after
		}
		want := h(h(`user:the "proxy":secret`) + ":" + nonce + ":" + get("nc") + ":" + get("cnonce") + ":auth:" + h("CONNECT:"+addr))
		if get("response") != want || get("opaque") != "op" {
			return challenge
		}
		return nil
	}
}

func TestDialGoesThroughTheProxy(t *testing.T) {
	ours := newAuthority(t, "the cloud")
	server := serveHTTP(t, &ours, greet)
	url := strings.Replace(server, "127.0.0.1", "cloud.test", 1) // loopback would not be proxied
	basic := func(authorization, _ string) []string {
		if authorization == "Basic dXNlcjpzZWNyZXQ=" {
			return nil
		}
		return []string{`Basic realm="x"`}
	}
	for _, tt := range []struct {
		name string
		user string
		auth func(string, string) []string
		kind s4t.Kind
		text string
	}{
		{name: "without a login"},
		{name: "Basic", user: "user:secret@", auth: basic},
		{name: "Basic with a wrong password", user: "user:wrong@", auth: basic, kind: s4t.Unauthenticated, text: `does not accept user "user"`},
		{name: "no login where one is wanted", auth: basic, kind: s4t.Unauthenticated, text: "wants a login"},
		{name: "Digest with MD5", user: "user:secret@", auth: digestProxy("MD5", md5.New)},
		{name: "Digest with SHA-256", user: "user:secret@", auth: digestProxy("SHA-256", sha256.New)},
		{name: "Digest with a wrong password", user: "user:wrong@", auth: digestProxy("SHA-256", sha256.New), kind: s4t.Unauthenticated, text: "does not accept"},
		{name: "a login that we do not speak", user: "user:secret@", auth: func(string, string) []string { return []string{"Negotiate"} }, kind: s4t.Unauthenticated, text: "not supported"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var connects atomic.Int32
			proxy := "http://" + tt.user + proxyServer(t, &connects, tt.auth)
			d := dialer(t, dial.Config{CA: ours.pem, Env: func(name string) string {
				if name == "HTTPS_PROXY" {
					return proxy
				}
				return ""
			}})
			err := dialGreeting(t, d, url)
			if s4t.KindOf(err) != tt.kind || tt.text != "" && !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("Dial = %v (%s), want kind %q with %q", err, s4t.KindOf(err), tt.kind, tt.text)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("the error %q holds the password", err)
			}
			if tt.kind != "" {
				return
			}
			before := connects.Load()
			if before == 0 {
				t.Error("the proxy was not used")
			}
			if err := dialGreeting(t, d, url); err != nil {
				t.Error(err)
			}
			if n := connects.Load() - before; n != 1 {
				t.Errorf("the second dial took %d requests to the proxy, want 1", n)
			}
		})
	}
	t.Run("a proxy that cannot reach the cloud is named", func(t *testing.T) {
		var connects atomic.Int32
		proxy := proxyServer(t, &connects, nil)
		err := dialGreeting(t, dialer(t, dial.Config{Proxy: proxy}), "https://cloud.test:1")
		if s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), proxy) || !strings.Contains(err.Error(), "502") {
			t.Errorf("Dial = %v", err)
		}
	})
}

func TestProxyFor(t *testing.T) {
	for _, tt := range []struct {
		name, url, want string
		env             map[string]string
		cfg             dial.Config
	}{
		{name: "none", url: "https://cloud.test"},
		{name: "of the environment", url: "https://cloud.test", env: map[string]string{"HTTPS_PROXY": "http://p.test:3128"}, want: "p.test:3128"},
		{name: "in lower case", url: "https://cloud.test", env: map[string]string{"https_proxy": "p.test:3128"}, want: "p.test:3128"},
		{name: "of the other scheme", url: "https://cloud.test", env: map[string]string{"HTTP_PROXY": "http://p.test:3128"}},
		{name: "given wins", url: "https://cloud.test", env: map[string]string{"HTTPS_PROXY": "http://p.test:3128"}, cfg: dial.Config{Proxy: "q.test:80"}, want: "q.test:80"},
		{name: "kept gives way", url: "https://cloud.test", env: map[string]string{"HTTPS_PROXY": "http://p.test"}, cfg: dial.Config{DefaultProxy: "q.test:80"}, want: "p.test:80"},
		{name: "kept", url: "https://cloud.test", cfg: dial.Config{DefaultProxy: "https://q.test"}, want: "q.test:443"},
		{name: "never for loopback", url: "https://127.0.0.1:8812", cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "never for localhost", url: "https://localhost", cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "NO_PROXY with a suffix", url: "https://a.cloud.test", env: map[string]string{"NO_PROXY": "x, .cloud.test"}, cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "NO_PROXY with a host takes its subdomains", url: "https://a.cloud.test", env: map[string]string{"NO_PROXY": "cloud.test"}, cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "NO_PROXY with half a name does not", url: "https://acloud.test", env: map[string]string{"NO_PROXY": "cloud.test"}, cfg: dial.Config{Proxy: "q.test:80"}, want: "q.test:80"},
		{name: "NO_PROXY with a CIDR", url: "https://10.1.2.3", env: map[string]string{"no_proxy": "10.0.0.0/8"}, cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "NO_PROXY with an IPv6 address", url: "https://[fd00::1]:1", env: map[string]string{"no_proxy": "fd00:0::1"}, cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "NO_PROXY with another TCP port", url: "https://cloud.test:8812", env: map[string]string{"NO_PROXY": "cloud.test:443"}, cfg: dial.Config{Proxy: "q.test:80"}, want: "q.test:80"},
		{name: "NO_PROXY with the TCP port", url: "https://cloud.test", env: map[string]string{"NO_PROXY": "cloud.test:443"}, cfg: dial.Config{Proxy: "q.test:80"}},
		{name: "NO_PROXY for all", url: "https://cloud.test", env: map[string]string{"NO_PROXY": "*"}, cfg: dial.Config{Proxy: "q.test:80"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.cfg.Env = func(name string) string { return tt.env[name] }
			got, err := dialer(t, tt.cfg).ProxyFor(tt.url)
			if err != nil || got != tt.want {
				t.Errorf("ProxyFor(%s) = %q, %v; want %q", tt.url, got, err, tt.want)
			}
		})
	}
}
