package doctor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// The checks of the path to the cloud, up to TCP.

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

// lookupTime bounds one look into the DNS.
const lookupTime = 4 * time.Second

// checkLink looks for a cable and a route, before names are asked for.
func checkLink(ctx context.Context, x *examination) {
	host, _, what := x.hop()
	survey, err := x.survey()
	if err != nil {
		return // then what follows has to tell
	}
	if a, err := netip.ParseAddr(host); err == nil && a.Unmap().IsLoopback() || host == "localhost" {
		return
	}
	up := []string{}
	var down []string
	for _, i := range survey.Interfaces {
		switch {
		case i.Loopback || vnet.Own(i.Name):
		case i.Up:
			up = append(up, i.Name)
		default:
			down = append(down, i.Name)
		}
	}
	if len(up) == 0 {
		x.found(wire.LinkDown, "no network interface is up and connected (down: "+orNone(down)+")", "")
		return
	}
	if survey.Default(false) || survey.Default(true) {
		x.ok("up: " + strings.Join(up, ", ") + "; there is a default route")
		return
	}
	const cause = "this board has no default route"
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	switch {
	case err != nil:
		x.likely(wire.NoDefaultRoute, cause+", and the name of "+what+", "+host+", is not found", "")
	case !slices.ContainsFunc(addrs, routed):
		x.found(wire.NoDefaultRoute, cause+", and no route to "+what+" at "+host, "")
	default:
		x.ok("up: " + strings.Join(up, ", ") + "; " + what + " is reached without a default route")
	}
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// routed reports whether the kernel has a route to a; nothing is sent.
func routed(a netip.Addr) bool {
	c, err := net.Dial("udp", net.JoinHostPort(a.Unmap().String(), "9"))
	if err != nil {
		return false
	}
	c.Close()
	return true
}

func checkDNS(ctx context.Context, x *examination) {
	host, _, what := x.hop()
	if _, err := netip.ParseAddr(host); err == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*lookupTime)
	defer cancel()
	first, stop := context.WithTimeout(ctx, lookupTime)
	addrs, err := net.DefaultResolver.LookupNetIP(first, "ip", host)
	stop()
	if err == nil {
		x.addrs = addrs
		x.ok(fmt.Sprintf("%s has %d addresses: %v", host, len(addrs), addrs[:min(len(addrs), 8)]))
		return
	}
	name := "the name of " + what + ", " + host + ","
	servers := nameservers(x.resolv)
	if len(servers) == 0 {
		x.found(wire.DNSNone, name+" is not known, and "+x.resolv+" names no DNS server", "")
		return
	}
	asked := askServers(ctx, host, servers)
	list := strings.Join(servers, ", ")
	switch {
	case asked.unknown != "":
		x.found(wire.DNSNameUnknown, "the DNS server "+asked.unknown+" says that "+name+" does not exist or has no address", "")
	case !asked.heard:
		x.found(wire.DNSSilent, "no DNS server answers: "+list, "")
	default:
		x.found(wire.DNSFailing, name+" is not found: "+err.Error(), "")
	}
}

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

// answers is what the DNS servers said one by one.
type answers struct {
	heard   bool   // one sent something
	unknown string // server that says that there is no such name
}

// askServers asks each server by itself, all at once: the system's resolver
// does not tell which of them failed how.
func askServers(ctx context.Context, host string, servers []string) answers {
	var mu sync.Mutex // guards a
	var a answers
	var asking sync.WaitGroup
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	for _, server := range servers {
		asking.Go(func() {
			r := net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(server, "53"))
				if u, ok := c.(*net.UDPConn); ok {
					return &listening{UDPConn: u, heard: func() { mu.Lock(); a.heard = true; mu.Unlock() }}, err
				}
				return c, err
			}}
			_, err := r.LookupNetIP(ctx, "ip", host)
			mu.Lock()
			defer mu.Unlock()
			if dns, ok := errors.AsType[*net.DNSError](err); ok && dns.IsNotFound {
				a.unknown = server
			}
			a.heard = a.heard || err == nil
		})
	}
	asking.Wait()
	return a
}

// listening is a socket that tells when something was heard.
type listening struct {
	*net.UDPConn
	heard func()
}

// Read implements net.Conn.
func (l *listening) Read(p []byte) (int, error) {
	n, err := l.UDPConn.Read(p)
	if n > 0 {
		l.heard()
	}
	return n, err
}

// reach is what TCP said to each address of the next hop.
type reach struct {
	addr netip.Addr
	err  error
}

// dialAll tries the addresses, all at once.
func dialAll(ctx context.Context, addrs []netip.Addr, tcpPort string) []reach {
	tried := make([]reach, len(addrs))
	var dialling sync.WaitGroup
	for i, a := range addrs {
		tried[i].addr = a.Unmap()
		dialling.Go(func() {
			d := net.Dialer{Timeout: lookupTime}
			c, err := d.DialContext(ctx, "tcp", net.JoinHostPort(tried[i].addr.String(), tcpPort))
			if tried[i].err = err; err == nil {
				c.Close()
			}
		})
	}
	dialling.Wait()
	return tried
}

func checkTCP(ctx context.Context, x *examination) {
	host, tcpPort, what := x.hop()
	addrs := x.addrs
	if a, err := netip.ParseAddr(host); err == nil {
		addrs = []netip.Addr{a}
	}
	tried := dialAll(ctx, addrs[:min(len(addrs), 8)], tcpPort)
	at := net.JoinHostPort(host, tcpPort)
	var failed []reach
	answers := map[bool]bool{} // by family: IPv6?
	for _, r := range tried {
		if r.err != nil {
			failed = append(failed, r)
		} else {
			answers[r.addr.Is6()] = true
		}
	}
	switch {
	case len(tried) == 0:
	case len(answers) == 0:
		x.unreached(failed, at, what)
		x.suspectPortal(ctx)
		x.suspectDNS()
	default:
		x.ok(what + " answers at " + at)
		x.partly(failed, answers)
	}
}

// noRoute reports whether this machine cannot even send: it has no address of
// that family, or no route.
func noRoute(err error) bool {
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// partly tells of addresses that do not answer while others do. That the board
// has no IPv6 (or no IPv4) at all is nothing to tell.
func (x *examination) partly(failed []reach, answers map[bool]bool) {
	dead := map[bool][]string{} // by family
	var some []string
	for _, r := range failed {
		switch six := r.addr.Is6(); {
		case noRoute(r.err):
		case !answers[six]:
			dead[six] = append(dead[six], r.addr.String())
		default:
			some = append(some, r.addr.String())
		}
	}
	for _, f := range []struct {
		six   bool
		name  string
		other string
	}{{true, "IPv6", "IPv4"}, {false, "IPv4", "IPv6"}} {
		if list := dead[f.six]; len(list) > 0 {
			x.found(wire.FamilyDead, f.name+" does not get through to "+strings.Join(list, ", ")+"; "+f.other+" does and is used", "")
		}
	}
	if len(some) > 0 {
		x.found(wire.AddressDead, "these addresses do not answer, others do: "+strings.Join(some, ", "), "")
	}
}

// unreached says why no address answers, by the one that came nearest.
func (x *examination) unreached(failed []reach, at, what string) {
	has := func(errs ...error) bool {
		return slices.ContainsFunc(failed, func(r reach) bool {
			return slices.ContainsFunc(errs, func(e error) bool { return errors.Is(r.err, e) })
		})
	}
	id, cause := wire.TCPSilent, what+" does not answer at "+at+": a firewall may drop it, or "+what+" is down"
	switch {
	case has(syscall.EPERM, syscall.EACCES):
		id, cause = wire.LocalFirewall, "this machine's own firewall forbids TCP to "+at
	case has(syscall.ECONNREFUSED):
		id, cause = wire.TCPRefused, "nothing listens at "+at+", or a firewall says so"
	case has(syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT):
		id, cause = wire.NoRoute, "there is no route to "+at
	}
	if x.proxy != "" && (id == wire.TCPSilent || id == wire.TCPRefused) {
		id = wire.ProxyUnreachable
	}
	x.found(id, cause, "")
}

// suspectDNS tells of a name that stands for an address that no cloud on the
// internet has, now that the connection fails.
func (x *examination) suspectDNS() {
	host, _, what := x.hop()
	odd := slices.ContainsFunc(x.addrs, func(a netip.Addr) bool {
		a = a.Unmap()
		return a.IsLoopback() || a.IsUnspecified() || a.IsLinkLocalUnicast() || a.IsPrivate() || a.IsMulticast()
	})
	if odd && host != "localhost" {
		x.found(wire.DNSLies, fmt.Sprintf("the name of %s, %s, stands for %v, which is no address of the internet", what, host, x.addrs[:min(len(x.addrs), 8)]), "")
	}
}
