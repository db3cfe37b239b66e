package dial

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// proxy is an HTTP proxy that is asked to CONNECT (RFC 9110 section 9.3.6).
type proxy struct {
	host     string
	tcp      string
	secure   bool // TLS to the proxy itself
	user     string
	password string
}

func (p *proxy) addr() string { return net.JoinHostPort(p.host, p.tcp) }

// parseProxy reads http://[user:password@]host[:port], https://... or a bare
// host:port. "" gives nil.
func parseProxy(s string) (*proxy, error) {
	if s == "" {
		return nil, nil
	}
	if !strings.Contains(s, "://") {
		s = "http://" + s
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.Scheme != "http" && u.Scheme != "https" {
		// The text may hold a password: it is not repeated.
		return nil, s4t.Errorf(s4t.Invalid, "use a proxy", "give http://[USER:PASSWORD@]HOST:PORT", "its URL is not understood")
	}
	p := &proxy{host: u.Hostname(), tcp: u.Port(), secure: u.Scheme == "https", user: u.User.Username()}
	p.password, _ = u.User.Password()
	if p.tcp == "" {
		p.tcp = "80"
		if p.secure {
			p.tcp = "443"
		}
	}
	return p, nil
}

// proxyFor chooses the proxy for t, nil for none. Loopback is never proxied.
func (d *Dialer) proxyFor(t target) (*proxy, error) {
	if noProxy(d.env("NO_PROXY"), t.host, t.tcp) {
		return nil, nil
	}
	name := "HTTP_PROXY"
	if t.secure {
		name = "HTTPS_PROXY"
	}
	for _, s := range []string{d.cfg.Proxy, d.env(name), d.cfg.DefaultProxy} {
		if s != "" {
			return parseProxy(s)
		}
	}
	return nil, nil
}

// ProxyFor returns the host:port of the proxy that a dial of rawURL would go
// through, "" for none.
func (d *Dialer) ProxyFor(rawURL string) (string, error) {
	t, err := parseTarget(rawURL)
	if err != nil {
		return "", err
	}
	p, err := d.proxyFor(t)
	if p == nil || err != nil {
		return "", err
	}
	return p.addr(), nil
}

// env reads a variable in upper or lower case, as curl does.
func (d *Dialer) env(name string) string {
	if v := d.cfg.Env(name); v != "" {
		return v
	}
	return d.cfg.Env(strings.ToLower(name))
}

// noProxy reports whether list (comma separated: host, .suffix, IP, CIDR, any
// of them with :port, or *) excludes host from proxying.
func noProxy(list, host, tcpPort string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	addr, err := netip.ParseAddr(host)
	isAddr := err == nil
	if host == "localhost" || isAddr && addr.Unmap().IsLoopback() {
		return true
	}
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "*" {
			return true
		}
		if prefix, err := netip.ParsePrefix(entry); err == nil {
			if isAddr && prefix.Contains(addr.Unmap()) {
				return true
			}
			continue
		}
		if h, p, err := net.SplitHostPort(entry); err == nil {
			if p != tcpPort {
				continue
			}
			entry = h
		}
		entry = strings.Trim(entry, "[]")
		if a, err := netip.ParseAddr(entry); err == nil {
			if isAddr && a.Unmap() == addr.Unmap() {
				return true
			}
			continue
		}
		entry = strings.TrimPrefix(strings.TrimPrefix(entry, "*"), ".")
		if entry != "" && !isAddr && (host == entry || strings.HasSuffix(host, "."+entry)) {
			return true
		}
	}
	return false
}

// dialProxy connects to addr through p. The first request carries what the
// proxy asked for last time; an unknown proxy is first asked without
// credentials, so that a password is never sent in clear to one that takes a
// digest.
func (d *Dialer) dialProxy(ctx context.Context, op string, p *proxy, addr string, mss int, patience time.Duration) (net.Conn, error) {
	for attempt := 0; ; attempt++ {
		c, err := d.dialTCP(ctx, op+" through proxy "+p.addr(), p.host, p.tcp, mss)
		if err != nil {
			return nil, err
		}
		if p.secure {
			tc, err := d.handshakeTLS(ctx, op+" through proxy "+p.addr(), c, p.host, d.proxyTLS(p.host), patience)
			if err != nil {
				c.Close()
				return nil, err
			}
			c = tc
		}
		d.mu.Lock()
		auth := d.auth[p.addr()]
		authorization := auth.header(p, addr)
		d.mu.Unlock()
		challenge, br, err := connect(ctx, c, addr, authorization)
		if err == nil {
			if br.Buffered() > 0 { // a proxy that sends the server's first bytes with its answer
				return &prefixConn{Conn: c, r: br}, nil
			}
			return c, nil
		}
		c.Close()
		status, ok := errors.AsType[*statusError](err)
		if !ok {
			return nil, diagnose(wire.ProxyNotHTTP, s4t.Errorf(s4t.Unavailable, op, "check the proxy", "proxy %s does not answer CONNECT: %w", p.addr(), err))
		}
		if status.code != 407 {
			return nil, proxyRefusal(op, p, addr, status)
		}
		next, err := chooseAuth(p, challenge)
		if err != nil {
			return nil, noLogin(op, p, err)
		}
		if attempt > 1 || authorization != "" && !next.stale {
			d.mu.Lock()
			delete(d.auth, p.addr())
			d.mu.Unlock()
			if attempt > 0 { // fresh challenge, fresh answer, still refused
				return nil, diagnose(wire.ProxyLoginWrong, s4t.Errorf(s4t.Unauthenticated, op, "check user and password in the proxy's URL", "proxy %s does not accept user %q (407)", p.addr(), p.user))
			}
		}
		d.mu.Lock()
		d.auth[p.addr()] = next
		d.mu.Unlock()
	}
}

// proxyRefusal explains a CONNECT that was answered with an error.
func proxyRefusal(op string, p *proxy, addr string, status *statusError) error {
	id, kind, hint := wire.ProxyNotHTTP, s4t.Unavailable, "check the proxy"
	switch {
	case status.code == 403 || status.code == 405:
		id, kind, hint = wire.ProxyForbids, s4t.Forbidden, "ask its operator to allow CONNECT to "+addr
	case status.code >= 300 && status.code < 400:
		id, hint = wire.ProxyPortal, "open a browser on this network and log in"
	case status.code == 500 || status.code == 502 || status.code == 503 || status.code == 504: // 500 is tinyproxy's
		id, hint = wire.ProxyCannotReach, "the proxy cannot reach "+addr+": check the address as the proxy sees it"
	}
	return diagnose(id, s4t.Errorf(kind, op, hint, "proxy %s answered CONNECT %s with %s", p.addr(), addr, status))
}

// noLogin explains a 407 that cannot be answered.
func noLogin(op string, p *proxy, err error) error {
	if errors.Is(err, errLoginMissing) {
		return diagnose(wire.ProxyLoginMissing, s4t.Errorf(s4t.Unauthenticated, op, "give user and password in the proxy's URL", "proxy %s %w", p.addr(), err))
	}
	return diagnose(wire.ProxyLoginUnsupported, s4t.Errorf(s4t.Unauthenticated, op, "ask its operator for one of them, or for an exception", "proxy %s %w", p.addr(), err))
}

// connect asks for a tunnel to addr over c. On 407 it returns the challenges.
func connect(ctx context.Context, c net.Conn, addr, authorization string) (challenges []string, _ *bufio.Reader, err error) {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
	}()
	var req strings.Builder
	fmt.Fprintf(&req, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: stack4things\r\nProxy-Connection: Keep-Alive\r\n", addr, addr)
	if authorization != "" {
		req.WriteString("Proxy-Authorization: " + authorization + "\r\n")
	}
	req.WriteString("\r\n")
	if _, err := io.WriteString(c, req.String()); err != nil {
		return nil, nil, err
	}
	br := bufio.NewReaderSize(c, 1024)
	head, err := readHead(br)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, nil, err
	}
	if head.code/100 == 2 {
		return nil, br, nil
	}
	return head.values("Proxy-Authenticate"), nil, &statusError{code: head.code, reason: head.reason, location: head.get("Location")}
}

// prefixConn returns buffered bytes before those of the connection.
type prefixConn struct {
	net.Conn
	r *bufio.Reader
}

// Read implements net.Conn.
func (c *prefixConn) Read(p []byte) (int, error) {
	if c.r.Buffered() > 0 {
		return c.r.Read(p)
	}
	return c.Conn.Read(p)
}

// NetConn returns the connection below.
func (c *prefixConn) NetConn() net.Conn { return c.Conn }

// basic is the credentials of RFC 7617.
func (p *proxy) basic() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(p.user+":"+p.password))
}
