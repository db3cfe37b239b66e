package cloud

import (
	"net/netip"
	"testing"
	"time"
)

// TestTurns: a crowd is told turns that it can be taken in, one source takes no more
// than its share of them, and their rate follows what comes in.
func TestTurns(t *testing.T) {
	ts := newTurns()
	ts.first, ts.rate = 100, 100
	now := time.Unix(1000, 0)
	source := func(i int) netip.Prefix {
		return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
	}
	for i := range 3000 {
		if got, want := ts.give(now, source(i)), time.Duration(i)*10*time.Millisecond; got != want {
			t.Fatalf("board %d comes back after %v, want %v", i, got, want)
		}
	}
	for range maxTurnsOfOne {
		ts.give(now, source(9999))
	}
	before := ts.next
	if ts.give(now, source(9999)); ts.next != before {
		t.Error("one source holds more than its share")
	}
	for i := range 100_000 {
		if got := ts.give(now, source(10_000+i)); got > maxTurn {
			t.Fatalf("a turn after %v", got)
		}
	}
	now = now.Add(2 * maxTurn)
	if got := ts.give(now, source(9999)); got != 0 || len(ts.holding) != 1 {
		t.Errorf("after all turns: %v, %d sources are remembered", got, len(ts.holding))
	}
	for range 100 { // twice as many come in, and few are sent away
		for range 20 {
			ts.came(now)
		}
		ts.give(now, source(1))
		now = now.Add(100 * time.Millisecond)
	}
	if ts.rate < 150 || ts.rate > 250 {
		t.Errorf("the rate is %v", ts.rate)
	}
}
