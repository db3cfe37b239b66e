package cloud

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// listener is the one port of a process, and what others are told of it.
type listener struct {
	net.Listener        // nil without a port
	url          string // what others are told: https://NAME:PORT
	agentURL     string // the same, of the agents
	host         string // of agentURL
	bind         string // address of the port; public ports bind to it too
	certs        *certs
}

// listen opens the port, and makes the URL and the certificate.
func (c *Cloud) listen(ctx context.Context) (*listener, error) {
	l := &listener{}
	if !c.listens() {
		l.url = cmp.Or(append([]string{c.cfg.URL}, c.cfg.BoardURLs...)...)
		return l, c.secure(ctx, l, nil)
	}
	var err error
	if l.Listener, err = net.Listen("tcp", c.cfg.Listen); err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, "listen on "+c.cfg.Listen, "is another iotronic running? choose another address with --listen", "%w", err)
	}
	hosts, err := c.locate(l)
	if err == nil {
		err = c.secure(ctx, l, hosts)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

func (l *listener) close() {
	if l.Listener != nil {
		l.Listener.Close()
	}
}

// locate makes the URL, and returns the names and addresses that the port is
// reached by, the URL's first.
func (c *Cloud) locate(l *listener) ([]string, error) {
	addr := l.Addr().(*net.TCPAddr)
	l.bind = addr.IP.String()
	l.url = c.cfg.URL
	if l.url == "" {
		scheme := "https"
		if c.cfg.TLS.Off {
			scheme = "http"
		}
		host, _, _ := net.SplitHostPort(c.cfg.Listen)
		if host == "" || addr.IP.IsUnspecified() {
			host = outside()
			c.cfg.Log.Warn("others are told an address that was guessed; say the right one with --url", "url", host)
		}
		l.url = scheme + "://" + net.JoinHostPort(host, fmt.Sprint(addr.Port))
	}
	l.agentURL = cmp.Or(c.cfg.Advertise, l.url)
	var hosts []string
	for _, text := range []*string{&l.url, &l.agentURL} {
		u, err := url.Parse(*text)
		if err != nil {
			return nil, s4t.Errorf(s4t.Invalid, "use the URL "+*text, "use https://NAME:PORT", "%w", err)
		}
		u.Path, u.RawPath = strings.TrimRight(u.Path, "/"), ""
		*text, l.host = u.String(), u.Hostname()
		hosts = append(hosts, l.host)
	}
	if !addr.IP.IsUnspecified() {
		hosts = append(hosts, addr.IP.String())
	}
	hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	first := hosts[0]
	slices.Sort(hosts)
	hosts = slices.DeleteFunc(slices.Compact(hosts), func(h string) bool { return h == first })
	return slices.Insert(hosts, 0, first), nil
}

// secure has TLS, or only the reverse proxy, in front of the port.
func (c *Cloud) secure(ctx context.Context, l *listener, hosts []string) error {
	t := c.cfg.TLS
	cas, err := authorityOf(ctx, c.cfg, c.cfg.Store)
	if err != nil {
		return err
	}
	l.certs = &certs{dir: c.cfg.Data, cas: cas, hosts: hosts, plain: strings.HasPrefix(l.url, "http:"), now: time.Now, log: c.cfg.Log, tls: t}
	if !c.has(Conductor) && c.cfg.Data == "" {
		l.certs.ask = func(ctx context.Context, req wire.CertificateRequest) (reply wire.CertificateReply, err error) {
			return reply, c.cfg.Queue.Call(ctx, wire.TopicOf(wire.MethodCertificate), wire.MethodCertificate, req, &reply)
		}
	}
	if c.has(Conductor) { // which has the database
		l.certs.allow = func(ctx context.Context, s shown) error { return allow(ctx, c.cfg.Store, s, t.CutOffBoards) }
		l.certs.changed = func(ctx context.Context, s shown) error {
			if s.off {
				return nil
			}
			return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.SetCertificate(s.certificate()) })
		}
	}
	if err := l.certs.load(ctx); err != nil || l.Listener == nil {
		return err
	}
	if t.Off {
		l.Listener = proxyListener{l.Listener, t.proxies()}
		return nil
	}
	conf := l.certs.tlsConfig()
	h := newHandshakes(c.gate)
	h.peer = l.certs.peerConfig
	conf.GetConfigForClient = h.admit
	l.Listener = tls.NewListener(rtunnel.BatchListener(newCrowdListener(l.Listener, c.gate)), conf)
	return nil
}

// outside guesses the address that others reach this machine at: the source
// address of the default route, else the host's name.
func outside() string {
	// Connecting a UDP socket sends nothing; 192.0.2.1 is reserved (RFC 5737).
	if c, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer c.Close()
		return c.LocalAddr().(*net.UDPAddr).IP.String()
	}
	name, err := os.Hostname()
	if err != nil {
		return "127.0.0.1"
	}
	return name
}
