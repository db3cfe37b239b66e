package e2e

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5" //nolint:gosec // what old proxies ask for
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/netlab"
)

// authority is a CA of a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().AddDate(-20, 0, 0), NotAfter: time.Now().AddDate(20, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &a.key.PublicKey, a.key)
	must(t, err)
	a.cert, err = x509.ParseCertificate(der)
	must(t, err)
	a.pem = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return key
}

// issue makes a certificate for a host that is valid until then.
func (a *authority) issue(host string, until time.Time) (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, err
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(2), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		NotBefore: until.AddDate(0, -3, 0), NotAfter: until}
	if ip := net.ParseIP(host); ip != nil {
		tmpl.IPAddresses = []net.IP{ip}
	} else {
		tmpl.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key}, err
}

// serve answers each connection to addr in a host of the lab until the test
// ends.
func serve(t *testing.T, h *netlab.Host, addr string, answer func(net.Conn)) {
	t.Helper()
	l, err := h.Listen(addr)
	must(t, err)
	var mu sync.Mutex // guards open
	open := map[net.Conn]bool{}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			serving.Go(func() {
				defer func() { c.Close(); mu.Lock(); delete(open, c); mu.Unlock() }()
				answer(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range open {
			c.Close()
		}
		mu.Unlock()
		serving.Wait()
	})
}

// serveTLS is serve over TLS.
func serveTLS(t *testing.T, h *netlab.Host, addr string, cert tls.Certificate, answer func(net.Conn)) {
	t.Helper()
	serve(t, h, addr, func(c net.Conn) {
		tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		if tc.Handshake() == nil {
			answer(tc)
		}
		tc.Close()
	})
}

// say answers every request with a head and a body.
func say(status string, fields ...string) func(net.Conn) {
	return func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c)) // what is no request is answered too, as servers do
		io.WriteString(c, "HTTP/1.1 "+status+"\r\n"+strings.Join(append(fields, "Content-Length: 0"), "\r\n")+"\r\n\r\n")
		io.Copy(io.Discard, c)
	}
}

// proxyOptions is how an HTTP proxy of a test behaves.
type proxyOptions struct {
	digest bool          // wants Digest of user "user", password "secret"
	idle   time.Duration // cuts a connection on which nothing passed for so long
	resign *authority    // ends TLS and begins it again, with certificates of its own
}

// serveProxy is an HTTP proxy that listens at addr and dials from a host.
func serveProxy(t *testing.T, h *netlab.Host, addr string, o proxyOptions) {
	t.Helper()
	serve(t, h, addr, func(c net.Conn) {
		br := bufio.NewReader(c)
		req, err := http.ReadRequest(br)
		if err != nil || req.Method != http.MethodConnect {
			io.WriteString(c, "HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
			return
		}
		if o.digest && !digestGood(req) {
			io.WriteString(c, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Digest realm=\"lab\", nonce=\"n0nce\", qop=\"auth\"\r\nContent-Length: 0\r\n\r\n")
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		up, err := h.DialContext(ctx, "tcp", strings.Replace(req.RequestURI, cloudName, netlab.CloudAddr, 1))
		cancel()
		if err != nil {
			io.WriteString(c, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
			return
		}
		defer up.Close()
		io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
		down := c
		if o.resign != nil {
			host, _, _ := net.SplitHostPort(req.RequestURI)
			cert, err := o.resign.issue(host, time.Now().AddDate(0, 1, 0))
			if err != nil {
				return
			}
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
			if tc.Handshake() != nil {
				return
			}
			down, up = tc, tls.Client(up, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // so are such proxies
		}
		splice(down, up, o.idle)
	})
}

// splice copies both ways until one ends, or nothing passed for idle.
func splice(a, b net.Conn, idle time.Duration) {
	var timer *time.Timer
	if idle > 0 {
		timer = time.AfterFunc(idle, func() { a.Close(); b.Close() })
		defer timer.Stop()
	}
	pass := func(to, from net.Conn) {
		defer func() { a.Close(); b.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if n > 0 {
				if timer != nil {
					timer.Reset(idle)
				}
				if _, err := to.Write(buf[:n]); err != nil {
					return
				}
			}
			if err != nil {
				return
			}
		}
	}
	var both sync.WaitGroup
	both.Go(func() { pass(a, b) })
	both.Go(func() { pass(b, a) })
	both.Wait()
}

// digestGood checks the answer of RFC 7616 with MD5.
func digestGood(req *http.Request) bool {
	rest, ok := strings.CutPrefix(req.Header.Get("Proxy-Authorization"), "Digest ")
	if !ok {
		return false
	}
	v := map[string]string{}
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		v[name] = strings.Trim(value, `"`)
	}
	h := func(s string) string { sum := md5.Sum([]byte(s)); return hex.EncodeToString(sum[:]) } //nolint:gosec // as above
	want := h(h("user:lab:secret") + ":n0nce:" + v["nc"] + ":" + v["cnonce"] + ":auth:" + h("CONNECT:"+req.RequestURI))
	return v["username"] == "user" && v["response"] == want
}

// serveDNS answers every question for an A record with one answer: an IPv4
// address, or an RCODE (RFC 1035 section 4.1.1) where there is none.
func serveDNS(t *testing.T, h *netlab.Host, addr string, rcode byte, ip net.IP) {
	t.Helper()
	c, err := h.ListenPacket(addr)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 1500)
		for {
			n, from, err := c.ReadFrom(buf)
			if err != nil {
				return
			}
			if answer := dnsReply(buf[:n], rcode, ip); answer != nil {
				c.WriteTo(answer, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
}

func dnsReply(q []byte, rcode byte, ip net.IP) []byte {
	if len(q) < 12 {
		return nil
	}
	end := 12 // of the question
	for end < len(q) && q[end] != 0 {
		end += int(q[end]) + 1
	}
	end += 5
	if end > len(q) {
		return nil
	}
	isA := q[end-4] == 0 && q[end-3] == 1
	a := append([]byte{q[0], q[1], 0x81, 0x80 | rcode, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
	if isA && ip != nil {
		a[7] = 1
		a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4)
		a = append(a, ip.To4()...)
	}
	return a
}

// etc gives a host a file of /etc of its own.
func etc(t *testing.T, h *netlab.Host, file, text string) {
	t.Helper()
	must(t, h.Etc(file, text))
}

func proxyURL(userinfo string, tcpPort int) string {
	if userinfo != "" {
		userinfo += "@"
	}
	return fmt.Sprintf("http://%s192.168.1.1:%d", userinfo, tcpPort)
}
