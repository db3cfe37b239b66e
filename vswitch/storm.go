package vswitch

import (
	"time"

	"github.com/stack4things/s4t"
)

const (
	// defaultStorm is frames/s of broadcast, multicast and unknown unicast
	// from one port; a burst of twice as many is let pass.
	defaultStorm = s4t.DefaultStormLimit
	stormBurst   = 2 // seconds of the rate
)

// bucket is a token bucket. One token is one second/limit; all in nanoseconds,
// so that no division rounds.
type bucket struct {
	credit int64
	last   int64
}

// take takes n tokens at a time if they are there. limit is tokens a second.
func (b *bucket) take(now int64, limit, n int) bool {
	const burst = stormBurst * int64(time.Second)
	if b.last == 0 {
		b.credit, b.last = burst, now
	}
	b.credit = min(burst, b.credit+now-b.last)
	b.last = now
	cost := int64(n) * int64(time.Second) / int64(limit)
	if b.credit < cost {
		return false
	}
	b.credit -= cost
	return true
}
