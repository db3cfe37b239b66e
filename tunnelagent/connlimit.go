package tunnelagent

import (
	"net/netip"
	"sync"
)

// connLimit counts the connections of a public port, also by address.
type connLimit struct {
	mu      sync.Mutex // guards the fields below
	all     int
	sources map[netip.Addr]int
}

// enter counts one more, or returns the limit that stands against it.
func (l *connLimit) enter(source netip.Addr) (limit int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.all >= maxPeers:
		return maxPeers
	case l.sources[source] >= maxSource:
		return maxSource
	}
	if l.sources == nil {
		l.sources = map[netip.Addr]int{}
	}
	l.all++
	l.sources[source]++
	return 0
}

// leave counts one less.
func (l *connLimit) leave(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all--
	if l.sources[source]--; l.sources[source] == 0 {
		delete(l.sources, source)
	}
}
