package tunnelagent

import (
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	maxVisitors = 2000 // connections of one public port at a time
	maxSource   = 1500 // the same from one source: no single one keeps the others out

	// visitorCost is the descriptors of a public port's connection: its own, and
	// that of the board's rtunnel.
	visitorCost = 2
	// tryAgain is after how long somebody whom the cloud had no descriptor for
	// may come again.
	tryAgain = 5 * time.Second
)

// visitors counts the connections of public ports, also by source: of one port,
// or of all.
type visitors struct {
	mu      sync.Mutex // guards the fields below
	all     int
	sources map[netip.Prefix]int
}

// enter counts one more, unless may says no to so many, and of that source.
func (v *visitors) enter(source netip.Prefix, may func(all, ofSource int) bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !may(v.all, v.sources[source]) {
		return false
	}
	if v.sources == nil {
		v.sources = map[netip.Prefix]int{}
	}
	v.all++
	v.sources[source]++
	return true
}

// leave counts one less.
func (v *visitors) leave(source netip.Prefix) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.all--
	if v.sources[source]--; v.sources[source] == 0 {
		delete(v.sources, source)
	}
}

// mayVisit is the bound of one public port.
func mayVisit(all, ofSource int) bool { return all < maxVisitors && ofSource < maxSource }

// admit counts a connection that has come to a public port, or says what stands
// against it: its port, its source over all ports, its project, or the
// descriptors of the cloud. leave is to be called when it has ended.
func (x *exposure) admit(source netip.Prefix) (leave func(), err error) {
	a := x.agent
	op := "connect to public port " + strconv.Itoa(x.tcpPort)
	if !x.visitors.enter(source, mayVisit) {
		return nil, s4t.Errorf(s4t.TooMany, op, "", "it has %d connections, or %d from %v", maxVisitors, maxSource, source)
	}
	ofSource := 0
	if !a.visitors.enter(source, func(_, n int) bool {
		ofSource = n + 1
		return a.cfg.Descriptors.Fair(visitorCost * n)
	}) {
		x.visitors.leave(source)
		return nil, s4t.Errorf(s4t.TooMany, op, "", "%v has a quarter of the cloud's descriptors for public ports, and others want some", source)
	}
	uncount := func() {
		a.visitors.leave(source)
		x.visitors.leave(source)
	}
	closed, err := a.streams.begin(x.board, x.lease, ofSource)
	if err != nil {
		uncount()
		return nil, err
	}
	release, ok := a.cfg.Descriptors.Acquire(1)
	if !ok {
		closed()
		uncount()
		return nil, fullUp(op)
	}
	return func() {
		release()
		closed()
		uncount()
	}, nil
}

// fullUp says that the cloud has no descriptor left for op.
func fullUp(op string) error {
	return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "the cloud has as many connections open as it can have").After(tryAgain)
}
