package lease

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

func span(fromMinutes, untilMinutes int) Window {
	return Window{noon.Add(time.Duration(fromMinutes) * time.Minute), noon.Add(time.Duration(untilMinutes) * time.Minute)}
}

func TestWindowsThatTouchDoNotOverlap(t *testing.T) {
	if span(0, 10).Overlaps(span(10, 20)) || !span(0, 10).Overlaps(span(9, 20)) {
		t.Error("a window ends before its end")
	}
}

func TestFirstFreeGoesFromOneEndToTheNext(t *testing.T) {
	c := Calendar{{Lease: "b", Window: span(30, 60)}, {Lease: "a", Window: span(0, 20)}}
	hours, err := s4t.ParseHours("12:00-13:10, 14:00-15:00", time.UTC)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		minutes int
		from    int
		ok      bool
	}{{10, 20, true}, {11, 120, true}, {60, 120, true}, {61, 0, false}} {
		got, ok := c.FirstFree(Entry{Lease: "new"}, time.Duration(test.minutes)*time.Minute, noon, noon.Add(24*time.Hour), hours)
		if want := span(test.from, test.from+test.minutes); ok != test.ok || ok && got != want {
			t.Errorf("%d minutes: %v, %v; want %v, %v", test.minutes, got, ok, want, test.ok)
		}
	}
}

// An earliest free window is what a look at each minute finds.
func TestFirstFreeIsTheFirst(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Calendar
		for i := range rapid.IntRange(0, 12).Draw(t, "entries") {
			from := rapid.IntRange(0, 200).Draw(t, "from")
			c = append(c, Entry{Lease: s4t.LeaseID(string(rune('a' + i))), Window: span(from, from+rapid.IntRange(1, 60).Draw(t, "minutes")), Shared: rapid.Bool().Draw(t, "shared")})
		}
		want := Entry{Lease: "new", Shared: rapid.Bool().Draw(t, "want shared")}
		length := rapid.IntRange(1, 50).Draw(t, "length")
		got, ok := c.FirstFree(want, time.Duration(length)*time.Minute, noon, noon.Add(5*time.Hour), s4t.Hours{})
		for at := 0; at+length <= 300; at++ {
			want.Window = span(at, at+length)
			if len(c.Conflicts(want)) == 0 {
				if !ok || got != want.Window {
					t.Fatalf("found %v, %v; the first is %v", got, ok, want.Window)
				}
				return
			}
		}
		if ok {
			t.Fatalf("found %v where nothing is free", got)
		}
	})
}

func TestWhoYields(t *testing.T) {
	now := noon
	c := Calendar{
		{Lease: "runs", Window: span(-30, 30), Priority: 1},
		{Lease: "later", Window: span(40, 50), Priority: 1},
		{Lease: "strong", Window: span(60, 70), Priority: 5},
	}
	v := c.Decide(Entry{Lease: "new", Window: span(0, 55), Priority: 5}, now)
	if len(v.Against) != 0 || len(v.Yield) != 2 {
		t.Fatalf("against %v, yield %v", v.Against, v.Yield)
	}
	if got := v.Yield[0].Window.Until; got != now.Add(Notice) || v.From != got {
		t.Errorf("what runs ends at %v and the new one begins at %v; want both a minute from now", got, v.From)
	}
	if w := v.Yield[1].Window; w.For() != 0 {
		t.Errorf("what has not begun still lasts %v", w.For())
	}
	if v = c.Decide(Entry{Lease: "new", Window: span(0, 65), Priority: 5}, now); len(v.Against) != 1 || v.Against[0].Lease != "strong" {
		t.Errorf("against %v; want the one of the same priority", v.Against)
	}
	if v = c.Decide(Entry{Lease: "new", Window: span(20, 35), Priority: 5}, now); v.Yield[0].Window.Until != span(20, 35).From || v.From != span(20, 35).From {
		t.Errorf("a booking for later shortens what runs to its begin, not to %v", v.Yield[0].Window.Until)
	}
}

// However leases are shared on, what is passed on is never more than what is above it, and
// ends with it.
func TestWhatIsPassedOnIsNeverMore(t *testing.T) {
	actions := rapid.SliceOfDistinct(rapid.SampledFrom(Actions()), func(a Action) Action { return a })
	rapid.Check(t, func(t *rapid.T) {
		tree := Tree{{Project: "owner"}, {Lease: "0", Project: "p0", Window: span(0, 100), Allow: Set(actions.Draw(t, "allow")).sorted()}}
		grants := map[s4t.LeaseID]Grant{"0": {[]s4t.BoardID{"b"}, tree[1].Window, tree[1].Allow, 3}}
		for i := 1; i < rapid.IntRange(1, 10).Draw(t, "shares"); i++ {
			parent := tree[rapid.IntRange(1, len(tree)-1).Draw(t, "parent")]
			from, until := rapid.IntRange(-10, 110).Draw(t, "from"), rapid.IntRange(-10, 110).Draw(t, "until")
			want := Grant{Window: span(from, until), Allow: Set(actions.Draw(t, "want")).sorted(), Priority: rapid.IntRange(0, 5).Draw(t, "priority")}
			got, err := grants[parent.Lease].Attenuate("share", want)
			if err != nil {
				continue
			}
			id := s4t.LeaseID(string(rune('0' + i)))
			tree, grants[id] = append(tree, Holding{Lease: id, Parent: parent.Lease, Project: s4t.ProjectID("p" + string(id)), Window: got.Window, Allow: got.Allow}), got
			if !got.Allow.Within(parent.Allow) || !got.Window.Within(parent.Window) || got.Priority > grants[parent.Lease].Priority {
				t.Fatalf("%+v was passed on of %+v", got, parent)
			}
		}
		at := noon.Add(time.Duration(rapid.IntRange(-20, 120).Draw(t, "at")) * time.Minute)
		gone := tree[rapid.IntRange(1, len(tree)-1).Draw(t, "gone")].Lease
		below := tree.Below(gone)
		left := slices.DeleteFunc(slices.Clone(tree), func(h Holding) bool { return h.Lease == gone })
		for _, h := range tree[1:] {
			for _, a := range Actions() {
				_, may := tree.May(h.Project, a, at)
				if may != (h.Allow.Has(a) && h.Window.Has(at)) {
					t.Fatalf("%s may %s: %v", h.Project, a, may)
				}
				if _, still := left.May(h.Project, a, at); still && (h.Lease == gone || slices.Contains(below, h.Lease)) {
					t.Fatalf("%s may still %s, and %s was revoked above it", h.Project, a, gone)
				}
			}
		}
		for i, id := range below {
			if h, _ := tree.find(id); h.Parent != gone && !slices.Contains(below[i:], h.Parent) {
				t.Fatalf("%s ends after what it is a share of: %v", id, below)
			}
		}
	})
}

func TestTheOwnerMay(t *testing.T) {
	tree := Tree{{Project: "owner"}}
	if _, ok := tree.May("owner", Plugins, noon); !ok {
		t.Error("the owner may not use their board")
	}
	if _, ok := tree.May("other", Plugins, noon); ok {
		t.Error("somebody else may")
	}
}

func TestTheBestFit(t *testing.T) {
	var names []string
	for _, c := range Fit([]Candidate{
		{Board: "1", Name: "away", Online: false},
		{Board: "2", Name: "far", Online: true, Kilometres: 2},
		{Board: "3", Name: "used", Online: true, FreeFor: time.Hour, Used: time.Hour},
		{Board: "4", Name: "new", Online: true, FreeFor: time.Hour + time.Minute},
		{Board: "5", Name: "free", Online: true, FreeFor: 9 * time.Hour},
	}, 9) {
		names = append(names, c.Name)
	}
	if want := []string{"new", "used", "free", "far", "away"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}
