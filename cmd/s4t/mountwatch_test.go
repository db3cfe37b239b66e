package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// A claim that somebody else made while a file was written to is not its own: it is
// refused as others are while the claim lasts, and writes again after it.
func TestAMountTakesNoClaimOfOthersForItsOwn(t *testing.T) {
	var asked []string
	var lease *s4t.PinLease
	ours := int64(0)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		refuse := func(status int, kind s4t.Kind) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"kind":%q,"error":"refused"}`, kind)
		}
		pin := s4t.Pin{Name: "sim/demo/out", Writable: true, Lease: lease}
		if r.Method == "GET" {
			asked = append(asked, "lease")
			_ = json.NewEncoder(w).Encode([]s4t.Pin{pin})
			return
		}
		var body apiclient.PinWrite
		_ = json.NewDecoder(r.Body).Decode(&body)
		asked = append(asked, fmt.Sprint(body.Fence))
		switch {
		case body.Fence != 0 && (lease == nil || lease.Fence != body.Fence || body.Fence != ours):
			refuse(409, s4t.Stale)
		case lease != nil && len(asked) > 1 && lease.Fence != ours:
			refuse(409, s4t.Conflict)
		default:
			_ = json.NewEncoder(w).Encode(pin)
		}
	}))
	defer srv.Close()
	client, err := apiclient.New(apiclient.Config{URL: srv.URL, Token: "t"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	s := &mountSource{client: client, ctx: t.Context(), now: time.Now, changed: make(chan struct{}), boards: map[s4t.BoardID]*mountBoard{}}
	s.show([]wire.PinBoard{{ID: kitchenID, Name: "kitchen", Status: s4t.BoardOnline, Pins: []s4t.Pin{{Name: "sim/demo/out", Writable: true}}}}, 1, true)
	pin := s.Open("kitchen", "sim/demo/out", pinfs.Holder{})
	defer pin.Close()
	for _, c := range []struct {
		what       string
		claim, own int64 // who has the pin
		fence      int64 // with which the file writes
		held       int64
		kind       s4t.Kind
		asked      string
	}{
		{"claimed by somebody else just then", 7, 0, 0, 7, "", "[0]"},
		{"while that lasts", 7, 0, 7, 0, s4t.Conflict, "[7 lease 0]"},
		{"again", 7, 0, 7, 0, s4t.Conflict, "[write 0]"},
		{"after it", 0, 0, 7, 0, "", "[write 0]"},
		{"under a claim of its own", 8, 8, 7, 8, "", "[write 0]"},
		{"again", 8, 8, 8, 8, "", "[8]"},
		{"after it", 0, 0, 8, 0, s4t.Stale, "[8]"},
		{"somebody else has it", 9, 0, 8, 0, s4t.Stale, "[8]"},
	} {
		lease, ours, asked = nil, c.own, nil
		if c.claim != 0 {
			lease = &s4t.PinLease{Holder: "user", Fence: c.claim}
		}
		if c.asked == "[write 0]" {
			asked = []string{"write"} // not the first
		}
		held, err := pin.Write(t.Context(), 1, c.fence)
		if held != c.held || s4t.KindOf(err) != c.kind || fmt.Sprint(asked) != c.asked {
			t.Errorf("%s: held %d, %v, asked %v; want %d, %q, %s", c.what, held, err, asked, c.held, c.kind, c.asked)
		}
	}
}
