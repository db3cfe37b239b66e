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
	ts.first, ts.least, ts.rate = 100, 40, 100
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
	crowd := func(in, sent int) {
		for range 200 {
			for range in {
				ts.came(now)
			}
			for range sent {
				ts.give(now, source(1))
			}
			now = now.Add(100 * time.Millisecond)
		}
	}
	crowd(20, 1)
	if ts.rate < 225 || ts.rate > 275 {
		t.Errorf("where 200 a second come in, the rate is %v", ts.rate)
	}
	crowd(1, 200) // a rush
	if ts.rate < 275 || ts.rate > 350 {
		t.Errorf("where 2,000 a second are sent away, the rate is %v", ts.rate)
	}
	crowd(1, 1)
	if ts.rate != 40 {
		t.Errorf("where 10 a second come in, the rate is %v", ts.rate)
	}
	now = now.Add(maxTurn + forgetAfter + time.Second)
	if ts.give(now, source(1)); ts.rate != 100 {
		t.Errorf("a next crowd finds the rate %v", ts.rate)
	}
}
