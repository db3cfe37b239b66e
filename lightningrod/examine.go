package lightningrod

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// The checks of the doctor, in their order. Each states as certain only what
// it saw.

func checkState(_ context.Context, x *examination) {
	if x.id != nil {
		x.ok("the board is " + x.id.Name + ", identity in " + string(x.dir))
		return
	}
	_, err := x.dir.identity()
	switch {
	case err == nil: // the question is about another cloud
	case s4t.KindOf(err) == s4t.NotFound:
		x.found(wire.LevelWarning, true, "this board has not joined a cloud (no identity in "+string(x.dir)+")", "run `lightning-rod join JOIN-STRING`, or name the directory with --state")
	default:
		x.found(wire.LevelError, true, err.Error(), "")
	}
}

func checkAgent(_ context.Context, x *examination) {
	switch {
	case x.id == nil:
	case x.running == nil:
		x.found(wire.LevelWarning, true, "lightning-rod is not running", "start it: `lightning-rod run`, or the service lightning-rod")
	default:
		for _, p := range x.running.Problems {
			x.found(wire.LevelError, true, p, "")
		}
		for _, p := range x.running.Ports {
			if p.Problem != "" {
				x.found(wire.LevelError, true, "port "+p.Interface+": "+p.Problem, "")
			}
		}
		if x.running.Connected {
			x.ok("lightning-rod runs and is connected to " + x.running.URL)
		} else if len(x.running.Problems) == 0 {
			x.found(wire.LevelWarning, true, "lightning-rod runs and is not connected yet", "")
		}
	}
}

// built is a time that has passed for certain.
var built = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func checkClock(_ context.Context, x *examination) {
	const harmless = "the connection does not need a right clock, but the board's logs and programs do: set it, or run an NTP client"
	switch {
	case x.now.Before(built):
		x.found(wire.LevelWarning, true, "the board's clock says "+x.now.UTC().Format(time.DateOnly)+", which is past", harmless)
	case !x.cloudNow.IsZero() && x.now.Sub(x.cloudNow).Abs() > time.Minute:
		x.found(wire.LevelWarning, false, fmt.Sprintf("the board's clock is %v off the cloud's", x.now.Sub(x.cloudNow).Round(time.Second)), harmless)
	default:
		x.ok("the clock says " + x.now.UTC().Format(time.DateTime) + " UTC")
	}
}

// minFree is what a board's state may need, in bytes.
const minFree = 1 << 20

func checkDisk(_ context.Context, x *examination) {
	var s unix.Statfs_t
	if err := unix.Statfs(string(x.dir), &s); err != nil {
		return // there is no state yet
	}
	const cost = "the board works, but after a restart it waits for the cloud"
	switch free := s.Bavail * uint64(s.Bsize); {
	case s.Flags&unix.ST_RDONLY != 0:
		x.found(wire.LevelWarning, true, "the file system of "+string(x.dir)+" is read-only: "+cost, "mount it for writing, or use --state on another one")
	case s.Bavail == 0:
		x.found(wire.LevelError, true, "the disk is full: "+cost, "free some space in the file system of "+string(x.dir))
	case free < minFree:
		x.found(wire.LevelWarning, true, fmt.Sprintf("only %d KiB are free in the file system of %s", free>>10, x.dir), "free some space")
	case s.Files > 0 && s.Ffree == 0:
		x.found(wire.LevelError, true, "the file system of "+string(x.dir)+" has no free inode: "+cost, "delete some files")
	case unix.Access(string(x.dir), unix.W_OK) != nil:
		x.found(wire.LevelWarning, true, string(x.dir)+" may not be written by this user", "run as the user who joined (often root)")
	default:
		x.ok(fmt.Sprintf("%d MiB are free for the state", free>>20))
	}
}

func checkNetworks(_ context.Context, x *examination) {
	if x.caps == nil {
		caps := link.Probe()
		x.caps = &caps
	}
	if !x.caps.Networks {
		x.found(wire.LevelWarning, true, "virtual networks are not possible here: "+x.caps.Reason+"; tunnels and commands work", "run as root, or give the service CAP_NET_ADMIN and /dev/net/tun")
		return
	}
	x.ok("devices can be made, offloads: " + x.caps.Offloads.String())
}

func checkProxy(_ context.Context, x *examination) {
	if x.proxy == "" {
		x.ok("no HTTP proxy is used")
		return
	}
	x.ok("the HTTP proxy " + x.proxy + " is used")
}

// hop is what the first TCP connection goes to.
func (x *examination) hop() (host, tcpPort, what string) {
	if x.proxy != "" {
		host, tcpPort, _ = net.SplitHostPort(x.proxy)
		return host, tcpPort, "the proxy"
	}
	return x.host, x.tcpPort, "the cloud"
}

func checkDNS(ctx context.Context, x *examination) {
	host, _, what := x.hop()
	if _, err := netip.ParseAddr(host); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err == nil {
		x.ok(fmt.Sprintf("%s has %d addresses: %v", host, len(addrs), addrs))
		return
	}
	dns, _ := errors.AsType[*net.DNSError](err)
	switch {
	case !nameservers():
		x.found(wire.LevelError, false, "the name of "+what+", "+host+", is not known, and /etc/resolv.conf names no DNS server", "set a DNS server there, or let DHCP do it")
	case dns != nil && dns.IsNotFound:
		x.found(wire.LevelError, true, "the DNS says that the name of "+what+", "+host+", does not exist", "check the name; a name inside a company may need its DNS server")
	case dns != nil && dns.IsTimeout || ctx.Err() != nil:
		x.found(wire.LevelError, false, "no DNS server answers", "check the network and the servers in /etc/resolv.conf")
	default:
		x.found(wire.LevelError, false, "the name of "+what+", "+host+", is not found: "+err.Error(), "check the network and the servers in /etc/resolv.conf")
	}
}

// nameservers reports whether a DNS server is configured.
func nameservers() bool {
	b, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "nameserver" {
			return true
		}
	}
	return false
}

func checkTCP(ctx context.Context, x *examination) {
	host, tcpPort, what := x.hop()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return // said by the check before
	}
	var failed []string
	var first error
	reached := 0
	for _, a := range addrs[:min(len(addrs), 8)] {
		d := net.Dialer{Timeout: 3 * time.Second}
		c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.Unmap().String(), tcpPort))
		if err != nil {
			failed = append(failed, a.Unmap().String())
			if first == nil {
				first = err
			}
			continue
		}
		c.Close()
		reached++
	}
	at := net.JoinHostPort(host, tcpPort)
	switch {
	case len(failed) == 0:
		x.ok(what + " answers at " + at)
	case reached > 0:
		x.found(wire.LevelWarning, true, "of the addresses of "+host+", these do not answer: "+strings.Join(failed, ", "), "the others are used; have them taken out of the DNS, or mend this board's route to them")
	case errors.Is(first, syscall.ECONNREFUSED):
		x.found(wire.LevelError, false, "nothing listens at "+at+", or a firewall says so", "check that "+what+" runs, and the port")
	case errors.Is(first, syscall.ENETUNREACH), errors.Is(first, syscall.EHOSTUNREACH), errors.Is(first, syscall.EADDRNOTAVAIL):
		x.found(wire.LevelError, false, "there is no route to "+at, "check the board's cable, Wi-Fi, address and default gateway")
	default:
		x.found(wire.LevelError, false, at+" does not answer: a firewall may drop it, or "+what+" is down", "let outgoing TCP to port "+tcpPort+" pass, or use an HTTP proxy (--proxy)")
	}
}

func checkTLS(ctx context.Context, x *examination) {
	c, err := x.dialer.DialTLS(ctx, x.url)
	if unknown, ok := errors.AsType[x509.UnknownAuthorityError](err); ok && !x.pinned {
		issuer := "somebody"
		if unknown.Cert != nil {
			issuer = unknown.Cert.Issuer.CommonName
		}
		x.found(wire.LevelWarning, false, fmt.Sprintf("the certificate of %s is issued by %q, which this machine does not know: the cloud's own CA, or a proxy that re-signs TLS", x.url, issuer),
			"give the join string instead of the URL: it names the cloud's CA")
		x.blocked = true
		return
	}
	if err != nil {
		x.blame(err)
		return
	}
	c.Close()
	x.ok("the certificate of " + x.url + " is the cloud's")
}

// blame makes a finding of an error that names cause and cure itself.
func (x *examination) blame(err error) {
	e, ok := errors.AsType[*s4t.Error](err)
	if !ok {
		x.found(wire.LevelError, false, err.Error(), "")
		return
	}
	cure := e.Hint
	bare := *e
	bare.Hint = ""
	x.found(wire.LevelError, e.Kind == s4t.Unauthenticated, bare.Error(), cure)
}

func checkMTU(_ context.Context, x *examination) {
	x.mu.Lock()
	segment := x.segment
	x.mu.Unlock()
	if segment != 0 {
		x.found(wire.LevelWarning, false, fmt.Sprintf("packets with more than %d bytes of TCP get lost silently on the way; smaller ones are used", segment),
			"let ICMP \"fragmentation needed\" and \"packet too big\" pass, or lower the MTU of the interface")
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
}

func checkAuth(ctx context.Context, x *examination) {
	if x.id == nil || x.running != nil { // a second session would pass for a clone
		return
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	c, err := x.dialer.Dial(ctx, x.url, wamp.Path, wamp.Subprotocol, "")
	if err != nil {
		x.blame(err)
		return
	}
	s, _, err := wamp.Join(ctx, wamp.Over(c), wamp.JoinConfig{Board: x.id.Board, Key: x.id.PrivateKey()})
	switch {
	case err == nil:
		s.Close()
		x.ok("the cloud knows this board")
	case refused(err):
		x.found(wire.LevelError, true, troubleOf(err), "run `lightning-rod leave` and join with a new code")
	default:
		x.blame(err)
	}
}
