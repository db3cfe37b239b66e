package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// localProxy serves a cloud's pages on the loopback interface, where a browser needs no
// certificate, over connections whose certificate is checked as s4t checks it.
//
// Everybody on this machine can connect to it, and any page can have a browser ask it: it
// answers to its own name only (a name that leads to 127.0.0.1 is another's page), and to who
// has its cookie, which the browser gets once, from a path that nobody can guess. The cloud's
// own cookie stays here.
type localProxy struct {
	listener net.Listener
	server   *http.Server
	host     string // "127.0.0.1:PORT"
	cloud    *httputil.ReverseProxy
	secret   string // what the browser's cookie is
	base     string // path of the cloud: "/" or "/s4t/"
	streams  localStreams
	enterJS  string // goes on to the dashboard, which is at the cloud's own path, with the code in the fragment

	mu      sync.Mutex        // guards the fields below
	door    string            // path that gives the cookie, once; empty: it was used
	cookies map[string]string // the cloud's, by name
}

// doorPrefix begins the path that gives the cookie.
const doorPrefix = "/.s4t/"

// newLocalProxy listens; Run serves.
func newLocalProxy(client *apiclient.Client) (*localProxy, error) {
	const op = "serve the dashboard on this machine"
	cloud, err := url.Parse(client.URL())
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "%w", err)
	}
	base := strings.TrimRight(cloud.EscapedPath(), "/") + "/"
	if strings.Trim(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/") != "" {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "the path of %s has characters that are not allowed", client.URL())
	}
	cloud.Path, cloud.RawPath = "", "" // requests have it
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	p := &localProxy{base: base, streams: localStreams{agents: map[string]granted{}}, enterJS: `location.replace("` + base + `"+location.hash)`, listener: l, host: l.Addr().String(), secret: rand.Text(), door: doorPrefix + rand.Text(), cookies: map[string]string{}}
	quiet := log.New(discard{}, "", 0)
	p.cloud = &httputil.ReverseProxy{Transport: client.Transport(), FlushInterval: -1, Rewrite: p.rewrite(cloud), ModifyResponse: p.keep(cloud), ErrorLog: quiet}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: s4t.HandshakeTimeout, ErrorLog: quiet}
	return p, nil
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// enter is the URL that gives a browser the cookie, once.
func (p *localProxy) enter() string { return "http://" + p.host + p.door }

// Run serves until ctx ends.
func (p *localProxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() { p.server.Close() })
	defer stop()
	if err := p.server.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
		return s4t.Errorf(s4t.Internal, "serve the dashboard on this machine", "", "%w", err)
	}
	return context.Cause(ctx)
}

// Close ends it.
func (p *localProxy) Close() { p.server.Close() }

// cookieName is that of the browser's cookie: ports of one host share cookies.
func (p *localProxy) cookieName() string {
	_, port, _ := net.SplitHostPort(p.host)
	return "s4t-local-" + port
}

// ServeHTTP lets in who may.
func (p *localProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Host != p.host {
		http.Error(w, "this is "+p.host+" and nothing else", http.StatusMisdirectedRequest)
		return
	}
	if strings.HasPrefix(r.URL.Path, doorPrefix) {
		if !p.open(r.URL.Path) {
			http.Error(w, "this link was used: run `s4t dashboard` again", http.StatusForbidden)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: p.cookieName(), Value: p.secret, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		w.Header().Set("Referrer-Policy", "no-referrer")
		w.Header().Set("Cache-Control", "no-store")
		// Not a redirection: a browser that was sent here by another page does not send a strict
		// cookie with what it is redirected to. The fragment goes along by itself.
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		sum := sha256.Sum256([]byte(p.enterJS))
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		w.Write([]byte(`<!doctype html><meta charset="utf-8"><title>Stack4Things</title><script>` + p.enterJS + `</script>`))
		return
	}
	c, err := r.Cookie(p.cookieName())
	if err != nil || subtle.ConstantTimeCompare([]byte(c.Value), []byte(p.secret)) != 1 {
		http.Error(w, "this is another's dashboard: run `s4t dashboard`", http.StatusForbidden)
		return
	}
	p.cloud.ServeHTTP(w, r)
}

// open uses the path that gives the cookie.
func (p *localProxy) open(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.door == "" || subtle.ConstantTimeCompare([]byte(path), []byte(p.door)) != 1 {
		return false
	}
	p.door = ""
	return true
}

// rewrite makes a browser's request one for the cloud. Origin stays as it is: the cloud gives
// tickets to the origin of the page.
func (p *localProxy) rewrite(cloud *url.URL) func(*httputil.ProxyRequest) {
	return func(r *httputil.ProxyRequest) {
		if p.toAgent(r, cloud) {
			return
		}
		r.SetURL(cloud)
		r.Out.Header.Del("Cookie")
		p.mu.Lock()
		defer p.mu.Unlock()
		for name, value := range p.cookies {
			r.Out.AddCookie(&http.Cookie{Name: name, Value: value})
		}
	}
}

// keep takes the cloud's cookies out of an answer, and keeps them. Another's are dropped.
func (p *localProxy) keep(cloud *url.URL) func(*http.Response) error {
	return func(res *http.Response) error {
		if res.Request.URL.Host == cloud.Host {
			p.keepCookies(res.Cookies())
		}
		res.Header.Del("Set-Cookie")
		return p.keepGrant(res)
	}
}

func (p *localProxy) keepCookies(cookies []*http.Cookie) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range cookies {
		if c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(time.Now()) {
			delete(p.cookies, c.Name)
		} else {
			p.cookies[c.Name] = c.Value
		}
	}
}
