package cloud

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
)

// listener is the one port of a process, and what others are told of it.
type listener struct {
	net.Listener        // nil without a port
	url          string // what others are told: https://NAME:PORT
	host         string // of url
	bind         string // address of the port; public ports bind to it too
	certs        *certs // nil without TLS
}

// listen opens the port, and makes the URL and the certificate.
func (c *Cloud) listen() (*listener, error) {
	l := &listener{}
	if !c.listens() {
		l.url = c.cfg.BoardURLs[0]
		return l, c.secure(l, nil)
	}
	var err error
	if l.Listener, err = net.Listen("tcp", c.cfg.Listen); err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, "listen on "+c.cfg.Listen, "is another iotronic running? choose another address with --listen", "%w", err)
	}
	hosts, err := c.locate(l)
	if err == nil {
		err = c.secure(l, hosts)
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
	u, err := url.Parse(l.url)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "use the URL "+l.url, "use https://NAME:PORT", "%w", err)
	}
	u.Path = ""
	l.url, l.host = u.String(), u.Hostname()

	hosts := []string{l.host}
	if !addr.IP.IsUnspecified() {
		hosts = append(hosts, addr.IP.String())
	}
	hosts = append(hosts, "localhost", "127.0.0.1", "::1")
	slices.Sort(hosts[1:])
	return slices.Compact(hosts), nil
}

// secure has TLS, or only the reverse proxy, in front of the port.
func (c *Cloud) secure(l *listener, hosts []string) (err error) {
	t := c.cfg.TLS
	switch {
	case t.Off && l.Listener != nil:
		l.Listener = proxyListener{l.Listener, t.TrustedProxy}
		return nil
	case t.Off:
		return nil
	case t.Cert != "":
		l.certs, err = operatorCerts(t.Cert, t.Key, t.CA, time.Now, c.cfg.Log)
	default:
		l.certs, err = ownCerts(c.cfg.Data, hosts, time.Now, c.cfg.Log)
	}
	if err != nil || l.Listener == nil {
		return err
	}
	conf := l.certs.tlsConfig()
	conf.GetConfigForClient = newHandshakes(c.gate).admit
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

// proxyListener takes connections from the reverse proxy and from this host
// only: behind it there is no TLS.
type proxyListener struct {
	net.Listener
	trusted []netip.Prefix
}

// Accept closes what comes from elsewhere.
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
