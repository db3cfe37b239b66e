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
	ts.first, ts.least, ts.rate = 100, 4, 100
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
	if got := ts.give(now, source(9999)); ts.next != before || got < before.Sub(now) {
		t.Errorf("one source holds more than its share, or comes before the others: after %v", got)
	}
	asks := map[time.Duration]int{} // boards behind the last turn, by the minute in which they ask again
	for i := range 70_000 {
		got := ts.give(now, source(10_000+i))
		if got > maxAsk {
			t.Fatalf("it is to ask after %v", got)
		}
		if ts.next.Sub(now) >= maxTurn {
			asks[got.Truncate(time.Minute)]++
		}
	}
	if len(asks) < 9 {
		t.Errorf("they do not ask all the time: %v", asks)
	}
	now = now.Add(maxTurn)
	ts.give(now, source(1))
	ts.then = now.Add(-maxTurn)
	before = ts.next
	if ts.give(now, source(9999)); ts.next == before {
		t.Error("its turns have passed, and it is given no other")
	}
	now = now.Add(maxTurn)
	if got := ts.give(now, source(9999)); got != 0 || len(ts.holding)+len(ts.held) != 1 {
		t.Errorf("after all turns: %v, %d and %d sources are remembered", got, len(ts.holding), len(ts.held))
	}
	var begun int64
	crowd := func(in int64, sent int) {
		for range 200 {
			begun += in
			ts.look(now, begun)
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
	if ts.rate < 12.5 || ts.rate > 25 {
		t.Errorf("where 10 a second come in, the rate is %v", ts.rate)
	}
	crowd(0, 1)
	if ts.rate != 4 {
		t.Errorf("where none come in, the rate is %v", ts.rate)
	}
	crowd(1, 0)
	if ts.rate != 100 {
		t.Errorf("where all come in that come, the rate is %v", ts.rate)
	}
	crowd(0, 1)
	now = ts.next.Add(forgetAfter + time.Second)
	if ts.give(now, source(1)); ts.rate != 100 {
		t.Errorf("a next crowd finds the rate %v", ts.rate)
	}
}
