package lightningrod

import (
	"bufio"
	"bytes"
	"context"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
)

// What is around the board, and must stay in its reach whatever network it is
// put on: what it has routes to, its DNS servers, its cloud.

const (
	settleTime = 200 * time.Millisecond // a change of routes comes with others
	lookupTime = 5 * time.Second        // one look into the DNS
)

// around knows it. A survey that fails changes nothing that is known.
type around struct {
	survey  func() (link.Survey, error) // nil: nothing is known
	hosts   func() []string             // names and addresses by which the board reaches its cloud
	resolv  []string                    // files in the form of resolv.conf(5)
	lookup  func(ctx context.Context, network, host string) ([]netip.Addr, error)
	changed func() // called when it is different; must not block

	again chan struct{} // look again
	names chan struct{} // look names up, too

	mu    sync.Mutex // guards the fields below
	now   surroundings
	cloud map[string][]netip.Addr // by host
}

// surroundings are what is known without asking anybody.
type surroundings struct {
	reached   []link.Route
	resolvers []netip.Addr
}

// newAround returns what is around the board as it is now, but for the
// addresses behind names.
func newAround(survey func() (link.Survey, error), hosts func() []string) *around {
	a := &around{
		survey: survey, hosts: hosts, lookup: net.DefaultResolver.LookupNetIP, changed: func() {},
		// The second has the servers that systemd-resolved asks.
		resolv: []string{"/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"},
		again:  make(chan struct{}, 1), names: make(chan struct{}, 1), cloud: map[string][]netip.Addr{},
	}
	a.look()
	notify(a.names)
	return a
}

// moved hears of a change of the host's network.
func (a *around) moved(c link.Change) {
	if c == (link.Change{}) || c.Routes && !vnet.Own(c.Interface) {
		notify(a.again)
	}
}

// resolve makes it look at everything, and names up.
func (a *around) resolve() { notify(a.names) }

// Run looks whenever there is a reason to, until ctx ends.
func (a *around) Run(ctx context.Context) {
	if a.survey == nil {
		return
	}
	for {
		names := false
		select {
		case <-ctx.Done():
			return
		case <-a.again:
		case <-a.names:
			names = true
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(settleTime):
		}
		different := a.look()
		if names {
			different = a.lookUp(ctx) || different
		}
		if different {
			a.changed()
		}
	}
}

// look surveys the board, and reports whether it is different from before.
func (a *around) look() bool {
	if a.survey == nil {
		return false
	}
	s, err := a.survey()
	if err != nil {
		return false
	}
	now := surroundings{reached: s.Reached()}
	for _, file := range a.resolv {
		b, _ := os.ReadFile(file)
		for _, r := range resolvers(b) {
			if !slices.Contains(now.resolvers, r) {
				now.resolvers = append(now.resolvers, r)
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	different := !reflect.DeepEqual(now, a.now)
	a.now = now
	return different
}

// lookUp finds the addresses of the cloud, where it has a name. Those of one
// that is not found now are kept.
func (a *around) lookUp(ctx context.Context) bool {
	found := map[string][]netip.Addr{}
	for _, host := range a.hosts() {
		if _, err := netip.ParseAddr(host); err == nil {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, lookupTime)
		addrs, err := a.lookup(ctx, "ip", host)
		cancel()
		if err != nil {
			a.mu.Lock()
			addrs = a.cloud[host]
			a.mu.Unlock()
		}
		addrs = slices.Clone(addrs)
		for i := range addrs {
			addrs[i] = addrs[i].Unmap().WithZone("")
		}
		slices.SortFunc(addrs, netip.Addr.Compare) // servers take turns in being the first
		found[host] = addrs
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	different := !maps.EqualFunc(found, a.cloud, slices.Equal)
	a.cloud = found
	return different
}

// addressesOf returns the addresses of a host, as far as they are known. The
// caller holds mu.
func (a *around) addressesOf(host string) []netip.Addr {
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap().WithZone("")}
	}
	return a.cloud[host]
}

// maxResolv bounds what is read of a resolv.conf, in servers.
const maxResolv = 8

// resolvers reads the DNS servers of a file in the form of resolv.conf(5), but
// for those on the board itself.
func resolvers(file []byte) (list []netip.Addr) {
	for lines := bufio.NewScanner(bytes.NewReader(file)); lines.Scan() && len(list) < maxResolv; {
		f := strings.Fields(lines.Text())
		if len(f) < 2 || f[0] != "nameserver" {
			continue
		}
		if ip, err := netip.ParseAddr(f[1]); err == nil && !ip.Unmap().IsLoopback() {
			list = append(list, ip.Unmap().WithZone(""))
		}
	}
	return list
}

// overlap says what of the board's own the networks of these addresses would
// hide; empty: nothing.
func (a *around) overlap(addresses []string) string {
	hosts := a.hosts() // takes a lock of its own
	a.mu.Lock()
	defer a.mu.Unlock()
	const cure = "; give the bridge another --cidr"
	for _, text := range addresses {
		p, err := netip.ParsePrefix(text)
		if err != nil || p.Addr().IsLinkLocalUnicast() {
			continue // what is no address is refused elsewhere
		}
		network := p.Masked()
		if r, ok := link.Overlap(a.now.reached, network); ok {
			return "its network " + network.String() + " overlaps " + r.To.String() + ", which this board reaches through " + r.Interface + cure
		}
		for _, r := range a.now.resolvers {
			if network.Contains(r) {
				return "its network " + network.String() + " holds " + r.String() + ", a DNS server of this board" + cure
			}
		}
		for _, host := range hosts {
			for _, ip := range a.addressesOf(host) {
				if network.Contains(ip) {
					return "its network " + network.String() + " holds " + ip.String() + ", by which this board reaches its cloud at " + host + cure
				}
			}
		}
	}
	return ""
}

// hosts are the hosts of the URLs of the cloud, and of the proxy on the way.
func (e *Engine) hosts() (hosts []string) {
	for _, text := range append(e.urls(), e.id.Proxy) {
		if u, err := url.Parse(text); err == nil && u.Hostname() != "" && !slices.Contains(hosts, u.Hostname()) {
			hosts = append(hosts, u.Hostname())
		}
	}
	return hosts
}

// info brings what the cloud is told of the board up to date: with whom it
// trusts, the keys of its SSH service, and what is around it now.
func (e *Engine) info(i s4t.BoardInfo) s4t.BoardInfo {
	i.Trusts, i.HostKeys = e.trusting(), e.ssh.known(sshPort)
	e.around.mu.Lock()
	defer e.around.mu.Unlock()
	i.Routes, i.Resolvers = nil, nil
	for _, r := range e.around.now.reached {
		if to := r.To.String(); !slices.Contains(i.Routes, to) {
			i.Routes = append(i.Routes, to)
		}
	}
	for _, r := range e.around.now.resolvers {
		i.Resolvers = append(i.Resolvers, r.String())
	}
	return i.Clamp()
}
