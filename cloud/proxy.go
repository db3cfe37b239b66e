package cloud

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// proxies are the reverse proxies that are believed.
type proxies struct {
	prefixes []netip.Prefix
	loopback bool // those of this host too
}

// trusts reports whether an address is one of them.
func (p proxies) trusts(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if p.loopback && ip.IsLoopback() {
		return true
	}
	for _, prefix := range p.prefixes {
		if prefix.Contains(ip) {
			return true
		}
	}
	return false
}

// proxyListener takes connections from reverse proxies only: behind them there
// is no TLS.
type proxyListener struct {
	net.Listener
	proxies proxies
}

// Accept closes what comes from elsewhere.
func (l proxyListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if ap, err := netip.ParseAddrPort(c.RemoteAddr().String()); err == nil && l.proxies.trusts(ap.Addr()) {
			return c, nil
		}
		c.Close()
	}
}

// maxHops bounds the reverse proxies that one request is believed to have
// passed.
const maxHops = 16

// client is where a request comes from: the peer, or, where the peer is a proxy
// that is believed, the last address in X-Forwarded-For that is none of them.
// Each proxy adds the address of its peer at the end; what stands further to the
// front is the client's own word. Where all are believed, the first is the
// client's.
func (p proxies) client(peer netip.Addr, header http.Header) netip.Addr {
	lines := slices.Clone(header.Values("X-Forwarded-For"))
	for hops := 0; hops < maxHops && p.trusts(peer); hops++ {
		for len(lines) > 0 && strings.TrimSpace(lines[len(lines)-1]) == "" {
			lines = lines[:len(lines)-1]
		}
		if len(lines) == 0 {
			break
		}
		line := lines[len(lines)-1]
		i := strings.LastIndexByte(line, ',')
		next, ok := hop(line[i+1:])
		if !ok {
			break // nobody knows what it means: it came through peer
		}
		peer = next
		lines[len(lines)-1] = line[:max(i, 0)]
	}
	return peer
}

// hop reads one address of X-Forwarded-For; some proxies write a port too.
func hop(text string) (netip.Addr, bool) {
	text = strings.TrimSpace(text)
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap.Addr().Unmap().WithZone(""), true
	}
	ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"))
	return ip.Unmap().WithZone(""), err == nil
}

// tellSource gives every request the address of its client, where proxies stand
// between: what counts or shares out by source looks at RemoteAddr only. The
// admission counts the connection as the client's too, until another's request
// comes on it.
func tellSource(p proxies, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil && p.trusts(peer.Addr()) {
			if ip := p.client(peer.Addr(), r.Header); ip != peer.Addr() {
				r.RemoteAddr = net.JoinHostPort(ip.String(), "0")
				if c, ok := r.Context().Value(connKey{}).(connection); ok {
					c.admission.comesFrom(c.conn, ip)
				}
			}
		}
		h.ServeHTTP(w, r)
	})
}
