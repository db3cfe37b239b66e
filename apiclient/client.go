package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// Config of a client. URL is required.
type Config struct {
	URL     string        // of the cloud: https://host:port
	Token   string        // bearer token; empty: only Login and Version work
	CA      string        // PEM of the only CAs to trust; empty: the system's
	System  bool          // with CA: the system's, too
	Timeout time.Duration // of one request without a wait; 30 s by default: a queue call takes at most 10
	Agent   string        // User-Agent; "s4t" by default

	// Heard is told the header [TrustHeader] of each answer, by the goroutine that
	// asked. Optional.
	Heard func(sum string)

	// Dial opens the connection; that of a [net.Dialer] by default. The demo
	// gives one that dials from inside a network namespace.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client speaks to one cloud with one token. It may be used by several
// goroutines.
type Client struct {
	base    *url.URL
	token   string
	agent   string
	timeout time.Duration
	http    *http.Client
	heard   func(sum string)
}

// New checks the configuration; it does not connect.
func New(c Config) (*Client, error) {
	const op = "use the API"
	base, err := url.Parse(strings.TrimRight(c.URL, "/"))
	if err != nil || base.Scheme != "https" && base.Scheme != "http" || base.Host == "" {
		return nil, s4t.Errorf(s4t.Invalid, op, "give it as https://HOST:PORT", "%q is not the URL of a cloud", c.URL)
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, s4t.Errorf(s4t.Invalid, op, "copy it again from `s4t token create`", "the token has characters that no token has")
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		conf.RootCAs = x509.NewCertPool()
		if system, err := x509.SystemCertPool(); c.System && err == nil {
			conf.RootCAs = system
		}
		if !conf.RootCAs.AppendCertsFromPEM([]byte(c.CA)) {
			return nil, s4t.Errorf(s4t.Invalid, op, "give the PEM of the cloud's CA", "the CA holds no certificate")
		}
	}
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.Heard == nil {
		c.Heard = func(string) {}
	}
	if c.Agent == "" {
		c.Agent = "s4t"
	}
	proxy := http.ProxyFromEnvironment
	if c.Dial == nil {
		c.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	} else {
		proxy = nil
	}
	return &Client{
		base: base, token: c.Token, agent: c.Agent, timeout: c.Timeout, heard: c.Heard,
		http: &http.Client{
			Transport: &http.Transport{
				Proxy:                 proxy,
				DialContext:           c.Dial,
				TLSClientConfig:       conf,
				TLSHandshakeTimeout:   s4t.HandshakeTimeout,
				ResponseHeaderTimeout: 0, // long polls; each request has its own deadline
				MaxIdleConnsPerHost:   4,
				IdleConnTimeout:       30 * time.Second,
				ForceAttemptHTTP2:     true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Transport is how the client speaks to the cloud, for who passes requests on.
func (c *Client) Transport() http.RoundTripper { return c.http.Transport }

// URL returns the base URL of the cloud.
func (c *Client) URL() string { return c.base.String() }

// do sends one request and decodes the answer into reply, which may be nil.
// what names the attempt for errors that come from here.
func (c *Client) do(ctx context.Context, what, method, path string, body, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.send(ctx, what, method, path, body, reply)
}

func (c *Client) send(ctx context.Context, what, method, path string, body, reply any) error {
	res, err := c.open(ctx, what, method, path, body, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	return c.decode(ctx, what, res, reply)
}

// decode reads the body of an answer into reply, which may be nil.
func (c *Client) decode(ctx context.Context, what string, res *http.Response, reply any) error {
	if reply == nil || res.StatusCode == http.StatusNoContent {
		return nil
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return c.unreachable(ctx, what, err)
	}
	if len(b) > maxAnswer {
		return s4t.Errorf(s4t.Internal, what, "ask for less", "the answer is longer than %d bytes", maxAnswer)
	}
	if err := json.Unmarshal(b, reply); err != nil {
		return s4t.Errorf(s4t.Internal, what, "check that "+c.URL()+" is an IoTronic of the same version", "the answer is not understood: %w", err)
	}
	return nil
}

// maxAnswer bounds an answer, in bytes: a page of bridges with many ports is
// the longest.
const maxAnswer = 32 << 20

// maxRetries is how often a request is sent again at most.
const maxRetries = 2

// open sends a request and returns an answer of the 200s, or that nothing has
// changed, its body unread. Where
// the cloud says when to come again, what may be done twice is, while ctx lasts.
func (c *Client) open(ctx context.Context, what, method, path string, body any, header http.Header) (*http.Response, error) {
	for tries := 0; ; tries++ {
		res, err := c.openOnce(ctx, what, method, path, body, header)
		e, ok := errors.AsType[*s4t.Error](err)
		if !ok || e.RetryAfter <= 0 || tries == maxRetries || method != "GET" && method != "PUT" && method != "DELETE" {
			return res, err
		}
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= e.RetryAfter || !pause(ctx, e.RetryAfter) {
			return nil, err
		}
	}
}

func (c *Client) openOnce(ctx context.Context, what, method, path string, body any, header http.Header) (*http.Response, error) {
	var r io.Reader
	if raw, ok := body.(rawBody); ok {
		r = raw.reader()
	} else if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return nil, s4t.Errorf(s4t.Invalid, what, "", "%w", err)
		}
		r = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base.String()+path, r)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, what, "", "%w", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for k, v := range header {
		req.Header[k] = v
	}
	req.Header.Set("User-Agent", c.agent)
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreachable(ctx, what, err)
	}
	c.heard(res.Header.Get(TrustHeader))
	if res.StatusCode/100 == 2 || res.StatusCode == http.StatusNotModified {
		return res, nil
	}
	defer res.Body.Close()
	return nil, c.refused(what, res)
}

// refused makes an error of an answer that is not of the 200s.
func (c *Client) refused(what string, res *http.Response) error {
	b, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	var p Problem
	if json.Unmarshal(b, &p) == nil && p.Kind != "" {
		seconds, _ := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16) // a date is not what the API sends
		return &s4t.Error{Kind: p.Kind, Msg: p.Detail, Hint: p.Hint, RetryAfter: time.Duration(seconds) * time.Second}
	}
	hint := "check that " + c.URL() + " is an IoTronic"
	if loc := res.Header.Get("Location"); loc != "" {
		return s4t.Errorf(s4t.Unavailable, what, hint, "answered %s to %s: a captive portal?", res.Status, loc)
	}
	kind := s4t.Unavailable
	switch res.StatusCode {
	case http.StatusUnauthorized:
		kind = s4t.Unauthenticated
	case http.StatusForbidden:
		kind = s4t.Forbidden
	case http.StatusNotFound:
		kind = s4t.NotFound
	}
	return s4t.Errorf(kind, what, hint, "answered %s, not as an IoTronic does", res.Status)
}

// unreachable makes an error of a request that got no answer.
func (c *Client) unreachable(ctx context.Context, what string, err error) error {
	cause := err
	if u, ok := errors.AsType[*url.Error](err); ok {
		cause = u.Err // without the method and URL, which would be said twice
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded) || errors.Is(cause, os.ErrDeadlineExceeded):
		return s4t.Errorf(s4t.Timeout, what, "try again, or give --timeout", "no answer of %s in time", c.URL())
	case errors.Is(ctx.Err(), context.Canceled):
		return s4t.Errorf(s4t.Timeout, what, "", "interrupted: %w", context.Canceled)
	}
	hint := "check the URL and that iotronic runs"
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		hint = "its certificate is not of the CA of this context; give the right one with S4T_CA or the context's ca"
	} else if _, ok := errors.AsType[x509.HostnameError](err); ok {
		hint = "start iotronic with --url and the name that you use"
	}
	return s4t.Errorf(s4t.Unavailable, what, hint, "cannot reach %s: %w", c.URL(), cause)
}

// path joins escaped elements: path("boards", "a/b") is "/v1/boards/a%2Fb".
func path(elements ...string) string {
	var b strings.Builder
	b.WriteString("/v1")
	for _, e := range elements {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(e))
	}
	return b.String()
}

// query appends parameters that are not empty.
func query(path string, keyValues ...string) string {
	q := url.Values{}
	for i := 0; i+1 < len(keyValues); i += 2 {
		if keyValues[i+1] != "" {
			q.Add(keyValues[i], keyValues[i+1])
		}
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
