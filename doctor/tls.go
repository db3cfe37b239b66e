package doctor

import (
	"context"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wire"
)

// The checks of what follows TCP: TLS, and who answers in the cloud's place.

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

// watchSegments notes when the dialler takes to smaller TCP segments: before a
// connection is made TCP_MAXSEG reads as what was asked for (tcp(7)).
func (x *examination) watchSegments(_ context.Context, _, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		mss, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG)
		if err != nil || mss == defaultMSS {
			return
		}
		x.mu.Lock()
		defer x.mu.Unlock()
		x.segment = mss
	})
}

// defaultMSS is what the kernel says where nothing was asked for
// (TCP_MSS_DEFAULT, include/net/tcp.h).
const defaultMSS = 536
