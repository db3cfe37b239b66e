package conductor

import (
	"context"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/vnet"
)

// A network's block must not hide from a board what it reaches by another way:
// the cloud, its DNS servers, its LAN. The board refuses that too; here it is
// refused before anything is made, and the block that is chosen is a free one.

const (
	lookupTimeout = 2 * time.Second // of all names of the cloud together
	lookupLife    = time.Minute     // how long what was found is good
)

// Resolver finds the addresses of a host.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// lookups remembers the addresses of the cloud's names.
type lookups struct {
	asking singleflight.Group // by host

	mu    sync.Mutex // guards found
	found map[string]lookup
}

type lookup struct {
	at    time.Time
	addrs []netip.Addr
}

// cloudAddresses are the addresses that boards reach the cloud at: of its URLs,
// and of its agents. A name that is not answered for in time is left out: the
// board, which has it, looks as well.
func (c *Conductor) cloudAddresses(ctx context.Context) ([]netip.Addr, error) {
	agents, err := view(ctx, c, func(tx *store.Tx) ([]store.Agent, error) { return tx.Agents() })
	if err != nil {
		return nil, err
	}
	var hosts []string
	urls := slices.Clone(c.cfg.URLs)
	for _, a := range agents {
		urls, hosts = append(urls, a.URL), append(hosts, a.Host)
	}
	for _, text := range urls {
		if u, err := url.Parse(text); err == nil {
			hosts = append(hosts, u.Hostname())
		}
	}
	slices.Sort(hosts)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout) // others may wait for the same
	defer cancel()
	var addrs []netip.Addr
	for _, host := range slices.Compact(hosts) {
		addrs = append(addrs, c.addressesOf(ctx, host)...)
	}
	return addrs, nil
}

// addressesOf are those of one host, which may be an address itself. Where they
// cannot be found, they are what they were.
func (c *Conductor) addressesOf(ctx context.Context, host string) []netip.Addr {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}
	}
	if host == "" {
		return nil
	}
	l := &c.lookups
	known, ok := l.get(host)
	if ok && c.now().Sub(known.at).Abs() < lookupLife {
		return known.addrs
	}
	found, _, _ := l.asking.Do(host, func() (any, error) {
		addrs, err := c.cfg.Resolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			c.cfg.Log.Info("the addresses of the cloud are not known here", "host", host, "err", err)
			addrs = known.addrs
		} else {
			for i := range addrs {
				addrs[i] = addrs[i].Unmap()
			}
		}
		l.put(host, lookup{c.now(), addrs}) // also that there are none: the next request does not wait again
		return addrs, nil
	})
	return found.([]netip.Addr)
}

func (l *lookups) get(host string) (lookup, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	known, ok := l.found[host]
	return known, ok
}

func (l *lookups) put(host string, found lookup) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.found == nil {
		l.found = map[string]lookup{}
	}
	l.found[host] = found
}

// defaultResolver is the system's.
var defaultResolver Resolver = net.DefaultResolver

// clearOfCloud checks that no prefix holds an address of the cloud.
func clearOfCloud(op string, prefixes []netip.Prefix, cloud []netip.Addr) error {
	for _, p := range prefixes {
		if i := slices.IndexFunc(cloud, p.Contains); i >= 0 {
			return s4t.Errorf(s4t.Conflict, op, "give another --cidr", "%v holds %v, an address of this cloud: the boards could not reach it any more", p, cloud[i])
		}
	}
	return nil
}

// privateOnly checks that a prefix is none of the Internet's, unless the user
// said that it is meant: what it covers is out of the boards' reach.
func privateOnly(op string, p netip.Prefix, allowed bool) error {
	if allowed || !vnet.IsPublic(p) {
		return nil
	}
	return s4t.Errorf(s4t.Invalid, op, "use a private one, like 10.77.0.0/24 or fd00:77::/64; where it is yours, add --allow-public-cidr",
		"%v is a public block: the boards could not reach the machines that have it", p)
}

// reached is what a board has said that it reaches by itself: its routes, and
// its DNS servers. What it says of it that is not understood is left out.
func reached(b store.Board) (routes []netip.Prefix, resolvers []netip.Addr) {
	for _, text := range b.Info.Routes {
		if p, err := netip.ParsePrefix(text); err == nil && p.Bits() > 0 {
			routes = append(routes, p.Masked())
		}
	}
	for _, text := range b.Info.Resolvers {
		if a, err := netip.ParseAddr(text); err == nil && !a.IsLoopback() {
			resolvers = append(resolvers, a.Unmap().WithZone(""))
		}
	}
	return routes, resolvers
}

// clearOfBoard checks that prefixes hide nothing from a board that it reaches by
// itself.
func clearOfBoard(op string, b store.Board, prefixes []netip.Prefix) error {
	routes, resolvers := reached(b)
	for _, p := range prefixes {
		for _, r := range routes {
			if p.Overlaps(r) {
				return s4t.Errorf(s4t.Conflict, op, "give another --cidr, or none to have one chosen", "%v overlaps %v, to which board %q has a route of its own", p, r, b.Name)
			}
		}
		for _, a := range resolvers {
			if p.Contains(a) {
				return s4t.Errorf(s4t.Conflict, op, "give another --cidr, or none to have one chosen", "%v holds %v, a DNS server of board %q", p, a, b.Name)
			}
		}
	}
	return nil
}

// occupied is what a block that is chosen has to keep away from, besides other
// networks.
func occupied(boards []store.Board, cloud []netip.Addr) []netip.Prefix {
	var used []netip.Prefix
	for _, b := range boards {
		routes, resolvers := reached(b)
		used = append(used, routes...)
		for _, a := range resolvers {
			used = append(used, netip.PrefixFrom(a, a.BitLen()))
		}
	}
	for _, a := range cloud {
		used = append(used, netip.PrefixFrom(a, a.BitLen()))
	}
	return used
}
