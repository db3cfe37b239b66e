package lightningrod

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestAWindowTellsBeforeItCloses(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	nights, err := s4t.ParseHours("Mon-Sun 18:00-08:00", zone)
	if err != nil {
		t.Fatal(err)
	}
	clock := func(day int, hour, minute, second int) time.Time {
		return time.Date(2026, 3, day, hour, minute, second, 0, zone)
	}
	never := time.Time{}
	for _, c := range []struct {
		name   string
		was    window
		hours  s4t.Hours
		at     time.Time
		state  windowState
		closes time.Time
		again  time.Time
	}{
		{"no hours", window{}, s4t.Hours{}, clock(2, 12, 0, 0), windowOpen, never, never},
		{"in the night", window{state: windowClosed}, nights, clock(2, 20, 0, 0), windowOpen, never, clock(3, 7, 59, 0)},
		{"just before the notice", window{}, nights, clock(3, 7, 58, 59), windowOpen, never, clock(3, 7, 59, 0)},
		{"the notice", window{}, nights, clock(3, 7, 59, 0), windowClosing, clock(3, 8, 0, 0), clock(3, 8, 0, 0)},
		{"the end", window{state: windowClosing, closes: clock(3, 8, 0, 0)}, nights, clock(3, 8, 0, 0), windowClosed, never, clock(3, 18, 0, 0)},
		{"the clock jumped over the notice", window{}, nights, clock(3, 12, 0, 0), windowClosing, clock(3, 12, 1, 0), clock(3, 12, 1, 0)},
		{"goes on with it", window{state: windowClosing, closes: clock(3, 12, 1, 0)}, nights, clock(3, 12, 0, 30), windowClosing, clock(3, 12, 1, 0), clock(3, 12, 1, 0)},
		{"and ends", window{state: windowClosing, closes: clock(3, 12, 1, 0)}, nights, clock(3, 12, 1, 0), windowClosed, never, clock(3, 18, 0, 0)},
		{"the owner gives more while it closes", window{state: windowClosing, closes: clock(3, 12, 1, 0)}, s4t.Hours{}, clock(3, 12, 0, 30), windowOpen, never, never},
		{"summer time begins in the night", window{}, nights, clock(28, 20, 0, 0), windowOpen, never, clock(29, 7, 59, 0)},
	} {
		w, again := c.was.step(c.hours, time.Minute, c.at)
		if w.state != c.state || !w.closes.Equal(c.closes) || !again.Equal(c.again) {
			t.Errorf("%s: %+v, again at %v; want state %d, closes %v, again at %v", c.name, w, again, c.state, c.closes, c.again)
		}
	}
}

func TestAClosedBoardHasNothing(t *testing.T) {
	want := []wire.Resource{wire.NewResource(wire.KindPlugin, "p", 1), wire.NewResource(wire.KindService, "a", 1), {Kind: wire.KindPort, ID: "b", Gone: true}}
	held := []wire.ResourceState{{Kind: wire.KindPort, ID: "c"}}
	for _, state := range []windowState{windowOpen, windowClosing} {
		if got, states := (window{state: state}).admitted(want, held); len(got) != 3 || len(states) != 1 {
			t.Errorf("state %d: %v, %v", state, got, states)
		}
	}
	got, states := window{state: windowClosed}.admitted(want, held)
	if len(got) != 1 || got[0].ID != "p" || len(states) != 3 || states[0].ID != "p" || states[1].ID != "a" || states[0].Up || states[0].ProblemID != wire.OwnersHours || states[0].Problem == "" {
		t.Errorf("closed: %v, %+v", got, states)
	}
	for _, state := range []windowState{windowClosing, windowClosed} {
		if err := (window{state: state}).refused("open a stream"); s4t.KindOf(err) != s4t.Forbidden {
			t.Errorf("state %d: %v", state, err)
		}
	}
}
