package lightningrod

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// The checks of the cloud's door: TLS and the WebSocket.

// nameservers lists the DNS servers of a resolv.conf (resolv.conf(5): at most
// three count).
func nameservers(path string) (servers []string) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" && len(servers) < 3 {
			servers = append(servers, f[1])
		}
	}
	return servers
}

func checkTLS(ctx context.Context, x *examination) {
	c, err := x.dialer.DialTLS(ctx, x.url)
	if err == nil {
		c.Close()
		if strings.HasPrefix(x.url, "http:") {
			x.ok("TLS is off")
			return
		}
		x.ok("the certificate of " + x.url + " is the cloud's")
		return
	}
	switch id := dial.DiagnosisOf(err); {
	case x.bare && (id == wire.CAReplaced || id == wire.TLSResigned || id == wire.WrongCertificate):
		x.found(wire.CAUnknown, bare(err), "")
		if id != wire.CAReplaced {
			x.suspectPortal(ctx)
		}
	case x.bare && id == wire.HostName: // whose certificate it is was not asked
		x.found(wire.WrongCertificate, bare(err), "")
		x.suspectPortal(ctx)
		x.suspectDNS()
	case id == wire.CertificateExpired:
		x.datedTLS(ctx, err)
	case id == wire.NotTLS, id == wire.TLSCut, id == wire.TLSSilent, id == wire.WrongCertificate, id == wire.TLSResigned:
		x.blame(err)
		x.suspectPortal(ctx)
		x.suspectDNS()
	default:
		x.blame(err)
	}
}

// datedTLS tells a wrong clock from an old certificate, by the clock of
// whoever answers.
func (x *examination) datedTLS(ctx context.Context, err error) {
	seen, _ := x.dialer.Inspect(ctx, x.url, "/")
	if seen == nil || len(seen.Chain) == 0 || seen.Date.IsZero() {
		x.found(wire.CertificateExpired, bare(err), "")
		return
	}
	leaf := seen.Chain[0]
	if seen.Date.Before(leaf.NotBefore) || seen.Date.After(leaf.NotAfter) {
		x.found(wire.CertificateExpired, bare(err), "")
		return
	}
	x.found(wire.ClockBreaksTLS, fmt.Sprintf("%s; by this board it is %s, by the server %s", bare(err), x.now.UTC().Format(time.DateOnly), seen.Date.UTC().Format(time.DateOnly)), "")
}

// suspectPortal asks, now that the connection fails, in the ways in which a
// portal answers everybody: plain HTTP to port 80 and to the cloud's own, and
// TLS with whatever certificate.
func (x *examination) suspectPortal(ctx context.Context) {
	if x.proxy != "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	const networkAuthenticationRequired = 511 // RFC 6585 section 6
	for _, url := range []string{x.url, "http://" + net.JoinHostPort(x.host, x.tcpPort), "http://" + net.JoinHostPort(x.host, "80")} {
		seen, err := x.dialer.Inspect(ctx, url, "/")
		if err != nil || seen.Location == "" && seen.Code != networkAuthenticationRequired {
			continue
		}
		cause := fmt.Sprintf("%s is answered %d", url, seen.Code)
		if seen.Location != "" {
			cause += " and sent on to " + seen.Location
		}
		x.found(wire.CaptivePortal, cause+": a captive portal", "")
		return
	}
}

// diagnosisOf returns the ID of the diagnosis of an error on the way to a
// session, "" for none.
func diagnosisOf(err error) string {
	switch {
	case err == nil:
		return ""
	case wamp.ReasonOf(err) == wamp.ReasonCloned:
		return wire.BoardCloned
	case refused(err):
		return wire.BoardUnknown
	case wamp.ReasonOf(err) == wamp.ReasonShutdown:
		return wire.CloudDown
	}
	return dial.DiagnosisOf(err)
}

// blame makes a finding of an error on the way to a session.
func (x *examination) blame(err error) {
	id := diagnosisOf(err)
	if id == "" {
		id = wire.BoardRefused
		if e, ok := errors.AsType[*s4t.Error](err); ok && wamp.ReasonOf(err) == "" && (e.Kind == s4t.Unavailable || e.Kind == s4t.Timeout) {
			id = wire.UpgradeCut // it was there a moment ago
		}
	}
	x.found(id, bare(err), "")
}

// ipv6AndTCP is the size of the two headers, in bytes: the ladder of segment
// sizes counts with them (RFC 8200, RFC 9293).
const ipv6AndTCP = 60

func checkMTU(_ context.Context, x *examination) {
	x.mu.Lock()
	segment := x.segment
	x.mu.Unlock()
	if segment != 0 {
		x.found(wire.PathMTU, fmt.Sprintf("packets get lost silently on the way where they hold more than %d bytes of TCP: its MTU is about %d", segment, segment+ipv6AndTCP), "")
		return
	}
	x.ok("full-size packets pass")
}

func checkUpgrade(ctx context.Context, x *examination) {
	c, err := x.dialer.Dial(ctx, x.url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		x.blame(err)
		return
	}
	c.Close()
	x.ok("WebSockets pass")
	if at, err := x.dialer.Date(ctx, x.url, "/"); err == nil && !at.IsZero() && strings.HasPrefix(x.url, "https:") {
		x.cloudNow = at.Add(-time.Since(x.now)) // at the time of x.now
	}
}
