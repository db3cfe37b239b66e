package amqp

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"

	amqp091 "github.com/rabbitmq/amqp091-go"

	"github.com/stack4things/s4t"
)

// broker is what a URL says. No method and no error shows its password.
type broker struct {
	dial   string      // for the library
	shown  string      // for people
	prefix string      // of names on the broker
	tls    *tls.Config // nil: plain
}

const (
	urlOp   = "use the queue's URL"
	urlHint = "use amqps://USER:PASSWORD@HOST:PORT/VHOST, with %2F for a / within a name or password"
)

// parameters of a URL.
const (
	paramCA     = "cacertfile"
	paramCert   = "certfile"
	paramKey    = "keyfile"
	paramServer = "server_name_indication"
	paramPrefix = "prefix"
)

// prefixes that are names.
var prefixes = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// defaultPrefix of names on the broker.
const defaultPrefix = "s4t"

// Check says what is wrong with a URL, and connects to nobody.
func Check(text string) error {
	_, err := parseURL(text)
	return err
}

// Files are those that a URL names, which whoever runs the process has to let it read.
func Files(text string) []string {
	u, err := url.Parse(text)
	if err != nil {
		return nil
	}
	var files []string
	for _, key := range []string{paramCA, paramCert, paramKey} {
		if path := u.Query().Get(key); path != "" {
			files = append(files, path)
		}
	}
	return files
}

// parseURL reads a URL. What a parser says of a bad one may hold its password, so
// that is not repeated.
func parseURL(text string) (*broker, error) {
	bad := func(format string, args ...any) (*broker, error) {
		return nil, s4t.Errorf(s4t.Invalid, urlOp, urlHint, format, args...)
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("it is not a URL; what is special in the name or password is written as %%XX")
	}
	if u.Scheme != "amqp" && u.Scheme != "amqps" {
		return bad("it begins with %q, and not with amqps:// or amqp://", s4t.Line(u.Scheme, 20))
	}
	if u.Hostname() == "" {
		return bad("it names no host")
	}
	parsed, err := amqp091.ParseURI(text)
	if err != nil || u.Fragment != "" || parsed.Port < 1 || parsed.Port > 65535 {
		return bad("it is not one that AMQP knows; what is special in the name or password is written as %%XX")
	}
	// A vhost is one segment of the path: "/" is written as %2F, or left out.
	vhost, err := url.PathUnescape(strings.TrimPrefix(u.EscapedPath(), "/"))
	if err != nil || strings.Contains(strings.TrimPrefix(u.EscapedPath(), "/"), "/") {
		return bad("its path is not the name of one vhost")
	}
	if vhost == "" {
		vhost = "/"
	}
	b := &broker{prefix: defaultPrefix}
	for key, values := range u.Query() {
		switch {
		case len(values) > 1:
			return bad("it says %q twice", s4t.Line(key, 40))
		case key == paramPrefix && prefixes.MatchString(values[0]):
			b.prefix = values[0]
		case key == paramPrefix:
			return bad("its prefix is not up to 64 letters, digits, - and _")
		case key == paramCA, key == paramCert, key == paramKey, key == paramServer:
			if u.Scheme == "amqp" {
				return bad("it has %q, and is not amqps://", key)
			}
		default:
			return bad("it has %q; what it may have are cacertfile, certfile, keyfile, server_name_indication and prefix", s4t.Line(key, 40))
		}
	}
	parsed.Vhost = vhost
	shown := url.URL{Scheme: u.Scheme, Host: u.Host, Path: "/" + vhost, RawPath: "/" + url.PathEscape(vhost)}
	if vhost == "/" {
		shown.Path, shown.RawPath = "/", ""
	}
	b.shown = shown.String()
	if u.Scheme == "amqps" {
		if b.tls, err = clientTLS(u.Query(), u.Hostname()); err != nil {
			return nil, err
		}
	}
	if (u.Query().Get(paramCert) == "") != (u.Query().Get(paramKey) == "") {
		return bad("certfile and keyfile belong together")
	}
	u.RawQuery, u.Path, u.RawPath = "", "/"+vhost, "/"+url.PathEscape(vhost)
	if vhost == "/" {
		u.Path, u.RawPath = "/", ""
	}
	b.dial = u.String()
	return b, nil
}

// clientTLS is how a broker is known by its certificate, and we by ours.
func clientTLS(q url.Values, host string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if name := q.Get(paramServer); name != "" {
		cfg.ServerName = name
	}
	if path := q.Get(paramCA); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, s4t.Errorf(s4t.Invalid, urlOp, "check cacertfile", "%w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(text) {
			return nil, s4t.Errorf(s4t.Invalid, urlOp, "check cacertfile", "%s holds no certificate in PEM", path)
		}
	}
	if cert, key := q.Get(paramCert), q.Get(paramKey); cert != "" && key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, s4t.Errorf(s4t.Invalid, urlOp, "check certfile and keyfile", "%w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return cfg, nil
}

// local reports whether the broker is on this machine, as far as its name says.
func (b *broker) local() bool {
	u, err := url.Parse(b.shown)
	if err != nil {
		return false
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}
