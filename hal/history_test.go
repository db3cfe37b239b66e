package hal

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
)

// epoch is the moment at which lightning-rod started, on a board without a clock.
var epoch = moment{wall: time.Unix(0, 0).UTC()}

// TestHistoriesShareWhatThereIs: the bound holds for all together, a pin that is
// sampled often does not push out the samples of one that is not, and a pin without samples costs
// nothing.
func TestHistoriesShareWhatThereIs(t *testing.T) {
	all := newHistories(20 * chunkSamples * 16)
	busy, quiet, idle := all.open(0), all.open(0), all.open(0)
	for i := range 100 * chunkSamples {
		at := time.Duration(i) * time.Millisecond
		busy.add(at, float64(i), 0)
		if i%10_000 == 0 {
			quiet.add(at, float64(i), 0)
		}
	}
	if all.chunks > 20 || len(idle.chunks) != 0 {
		t.Errorf("%d chunks, of them %d of a pin without samples", all.chunks, len(idle.chunks))
	}
	if list, _ := quiet.list("q", 0, time.Time{}, 100, epoch); len(list) != 2 {
		t.Errorf("the quiet pin has %d samples", len(list))
	}
	list, more := busy.list("b", 0, time.Time{}, 1<<20, epoch)
	if len(list) < 18*chunkSamples || more {
		t.Errorf("the busy pin has %d samples", len(list))
	}
	last := list[len(list)-1]
	if last.Seq != 100*chunkSamples || last.Value != 100*chunkSamples-1 {
		t.Errorf("the last is %+v", last)
	}
	busy.close()
	if all.chunks != 1 {
		t.Errorf("%d chunks are left", all.chunks)
	}
}

func TestWhatIsADayOldGoes(t *testing.T) {
	all := newHistories(s4t.MaxPinHistory)
	h := all.open(0)
	for i := range 3 * 24 * 60 {
		h.add(time.Duration(i)*time.Minute, 1, 0)
	}
	if n := 24*60/chunkSamples + 2; len(h.chunks) > n {
		t.Errorf("%d chunks for a day", len(h.chunks))
	}
	list, _ := h.list("p", 0, epoch.wall.Add(71*time.Hour), 1000, epoch)
	if len(list) != 60 {
		t.Errorf("%d samples of the last hour", len(list))
	}
}

// TestAHistoryIsReadAsItWasWritten reads random histories in pieces.
func TestAHistoryIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.Uint64Range(0, 1000).Draw(t, "first")
		h := newHistories(1 << 20).open(first)
		var want []s4t.Sample
		seq := first
		for i := range rapid.IntRange(0, 5*chunkSamples).Draw(t, "samples") {
			var lost uint64
			if rapid.IntRange(0, 9).Draw(t, "loses") == 0 {
				lost = rapid.Uint64Range(1, 1<<40).Draw(t, "lost")
			}
			at := time.Duration(i) * time.Second
			seq += lost + 1
			if got := h.add(at, float64(i), lost); got != seq {
				t.Fatalf("sample %d has the number %d, not %d", i, got, seq)
			}
			want = append(want, s4t.Sample{Pin: "p", Seq: seq, At: epoch.wall.Add(at), Value: float64(i)})
		}
		limit := rapid.IntRange(1, 300).Draw(t, "limit")
		var got []s4t.Sample
		after := first
		for {
			list, more := h.list("p", after, time.Time{}, limit, epoch)
			got = append(got, list...)
			if !more {
				break
			}
			if len(list) == 0 {
				t.Fatal("there are more, and none came")
			}
			after = list[len(list)-1].Seq
		}
		if len(got) != len(want) {
			t.Fatalf("%d samples, not %d", len(got), len(want))
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("sample %d: %+v, not %+v", i, got[i], want[i])
			}
		}
		if list, _ := h.list("p", seq+10, time.Time{}, 5, epoch); len(list) != min(len(want), 5) {
			t.Errorf("a number of before a restart finds %d", len(list))
		}
	})
}
