package main

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/wire"
)

// A sample of a watch is what is read while it is what the board would say; it is
// known for poll also then when it is not, and comes once.
func TestSamplesOfAMount(t *testing.T) {
	now := time.Unix(5000, 0)
	s := &mountSource{ctx: t.Context(), now: func() time.Time { return now }, changed: make(chan struct{}), boards: map[s4t.BoardID]*mountBoard{}}
	s.show([]wire.PinBoard{{ID: kitchenID, Name: "kitchen", Status: s4t.BoardOnline, Pins: []s4t.Pin{
		{Name: "sim/demo/edges", Settings: map[string]string{s4t.PinKeyEdge: "both"}},
		{Name: "sim/demo/out", Writable: true},
		{Name: "sim/demo/rising", Settings: map[string]string{s4t.PinKeyEdge: "rising"}},
		{Name: "sim/demo/sine", PeriodMS: 100},
	}}}, 1, true)
	w := s.board("kitchen").watch
	w.running = true // nothing is watched here
	for name, atHand := range map[string]bool{"sim/demo/sine": true, "sim/demo/edges": true, "sim/demo/rising": false, "sim/demo/out": false} {
		woken := 0
		p := s.Open("kitchen", name, pinfs.Holder{})
		p.Watch(func() { woken++ })
		come := func(seq uint64, at int64) {
			w.take(apiclient.PinMessage{Sample: s4t.Sample{Pin: name, Seq: seq, At: time.Unix(at, 0)}})
		}
		served := func(when string, seq uint64, want bool) {
			t.Helper()
			if v, ok := p.Newest(); ok != want || ok && v.Seq != seq {
				t.Errorf("%s, %s: served %+v, %v", name, when, v, ok)
			}
			if v, ok := p.Last(); !ok || v.Seq != seq {
				t.Errorf("%s, %s: last %+v, %v", name, when, v, ok)
			}
		}
		come(4, 4)
		served("when it came", 4, atHand)
		now = now.Add(time.Second)
		served("a second later", 4, false)
		come(5, 5)
		come(5, 9)
		come(3, 3)
		served("after older ones", 5, atHand)
		w.lost(name)
		served("after it was asked in vain", 5, false)
		come(6, 6)
		w.cut()
		served("without a stream", 6, false)
		come(1, 10)
		served("after a restart of the board", 1, atHand)
		w.seen(false)
		served("while the board is away", 1, false)
		w.seen(true)
		p.Close()
	}
}
