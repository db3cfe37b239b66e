package store

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestPackedNumbers: what is kept is what was said, within a digit or so.
func TestPackedNumbers(t *testing.T) {
	for _, v := range []float64{0, 0.4, 1, 7, 1023, 1023.6, 1024, 1025, 2047, 2048, 1e6, 1e9, 1<<40 + 12345, 1e12, 9.2e18, math.Ldexp(1, 71)} {
		if got := unpacked(packed(v)); math.Abs(got-v) > max(0.5, v*0.0006) {
			t.Errorf("%v is kept as %v", v, got)
		}
	}
	if packed(math.Inf(1)) == noNumber || packed(math.NaN()) != 0 {
		t.Error("what is no number is kept as a gap")
	}
}

// TestTheRingIsWhatWasSaid plays days of reports with gaps and a clock that jumps
// against a map of points.
func TestTheRingIsWhatWasSaid(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		var b BoardHealth
		said := map[int64]float64{} // load, by slot
		now := at
		for range 600 {
			switch rnd.IntN(40) {
			case 0:
				now = now.Add(-time.Duration(rnd.IntN(30)) * time.Hour)
			case 1:
				now = now.Add(time.Duration(rnd.IntN(30)) * time.Hour)
			default:
				now = now.Add(time.Duration(rnd.IntN(400)) * time.Second)
			}
			slot, load := HealthSlot(now), float64(rnd.IntN(1000))/100
			for s := range said { // nothing is known of what is to come, nor of long ago
				if s > slot || s <= slot-s4t.HealthPoints {
					delete(said, s)
				}
			}
			if b.Add(now, s4t.Health{Load1: load}) {
				said[slot] = load
			}
			if len(b.Ring) != 3456 {
				t.Fatalf("the ring has %d bytes", len(b.Ring))
			}
			h := b.History(now)
			first := HealthSlot(now) - s4t.HealthPoints + 1
			if h.From.Unix() != first*300 || h.StepSeconds != 300 || len(h.Load1) != s4t.HealthPoints || len(h.Temperature) != s4t.HealthPoints {
				t.Fatalf("the history is from %v, of %d points", h.From, len(h.Load1))
			}
			for i, v := range h.Load1 {
				want, ok := said[first+int64(i)]
				if ok != (v != nil) || ok && math.Abs(*v-want) > 0.011 {
					t.Fatalf("at %v, point %d is %v, said was %v (%v)", now, i, v, want, ok)
				}
				if h.Temperature[i] != nil {
					t.Fatal("there is a temperature")
				}
			}
		}
	}
}

func TestHowABoardIsAndWas(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		ids, _ := pinBoards(t, db, 3, 100)
		degrees := -12.34
		h := BoardHealth{Board: ids[0], Health: json.RawMessage(`{"load1":1}`), ReportedAt: at}
		h.Add(at, s4t.Health{Load1: 1, Temperature: &degrees})
		other := h
		other.Board = ids[1]
		write(t, db, func(tx *Tx) error { return tx.SetHealths([]BoardHealth{h, other}) })
		newer := BoardHealth{Board: ids[0], Health: json.RawMessage(`{"load1":2}`), ReportedAt: at.Add(time.Minute), Slot: h.Slot}
		write(t, db, func(tx *Tx) error { return tx.SetHealths([]BoardHealth{newer}) })
		view(t, db, func(tx *Tx) error {
			got, err := tx.BoardHealth(ids[0])
			want := newer
			want.Ring = h.Ring
			same(t, "how it is", got, err, want)
			if last := got.History(at).Temperature[s4t.HealthPoints-1]; last == nil || *last != -12.3 {
				t.Errorf("the temperature was %v", last)
			}
			got, err = tx.BoardHealth(ids[2])
			same(t, "of one that never said", got, err, BoardHealth{Board: ids[2]})
			all, err := tx.Healths(ids)
			same(t, "those that said", len(all), err, 2)
			same(t, "the newest", string(all[ids[0]].Health), err, `{"load1":2}`)
			rings, err := tx.HealthRings(ids[1:])
			same(t, "rings", rings, err, map[s4t.BoardID]BoardHealth{ids[1]: other})
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteBoard(ids[0]) })
		view(t, db, func(tx *Tx) error {
			all, err := tx.Healths(ids)
			same(t, "without a board", len(all), err, 1)
			return nil
		})
	})
}

// TestWhatIsHeldIsFilledIn: for as long as a report is held, where the board was there.
func TestWhatIsHeldIsFilledIn(t *testing.T) {
	const step = s4t.HealthStep
	start := at.Truncate(step)
	said := s4t.Health{Load1: 1}
	b := BoardHealth{ReportedAt: start}
	b.Hold(start.Add(step), said, nil)
	if b.Ring != nil {
		t.Error("one without a ring has one")
	}
	b.Add(start, said)
	kept := string(b.Ring)
	ended := start.Add(4*step + step/2)
	away := []s4t.Outage{{Began: start.Add(step + step/2), Ended: &ended}, {Began: start.Add(6 * step)}}
	held := b
	held.Hold(start.Add(7*step), said, away)
	h := held.History(start.Add(8 * step))
	for i, want := range []bool{true, true, false, false, true, true, false, false, false} {
		if v := h.Load1[s4t.HealthPoints-9+i]; (v != nil) != want {
			t.Errorf("point %d is %v", i, v)
		}
	}
	if string(b.Ring) != kept {
		t.Error("another's ring was written")
	}
	held = b
	held.Hold(start.Add(20*time.Hour), said, nil)
	if got := held.Slot - b.Slot; got != int64((s4t.HealthHold+step)/step) {
		t.Errorf("it is held for %d points", got)
	}
}

func TestOutagesAreKeptInBounds(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		ids, _ := pinBoards(t, db, 2, 100)
		write(t, db, func(tx *Tx) error {
			var all []Outage
			for i := range 10 {
				o := Outage{ids[0], s4t.Outage{Began: at.Add(time.Duration(i) * time.Hour), Reason: s4t.OutageLink}}
				if i < 9 {
					end := o.Began.Add(time.Minute)
					o.Ended = &end
				}
				all = append(all, o)
			}
			all = append(all, Outage{ids[1], s4t.Outage{Began: at, Reason: s4t.OutageUnknown}})
			return tx.PutOutages(all)
		})
		write(t, db, func(tx *Tx) error { return tx.TrimOutagesOf(ids[0], 5) })
		view(t, db, func(tx *Tx) error {
			l, err := tx.Outages(ids[0], wire.Page{Limit: 3})
			same(t, "a page", len(l.Items), err, 3)
			same(t, "the newest", l.Items[0].Began, nil, at.Add(9*time.Hour))
			l, err = tx.Outages(ids[0], wire.Page{After: l.Next})
			same(t, "the rest", len(l.Items), err, 2)
			same(t, "the oldest", l.Items[1].Began, nil, at.Add(5*time.Hour))
			open, err := tx.OpenOutages(ids)
			same(t, "those that last", len(open), err, 2)
			same(t, "one of them", open[ids[0]].Began, nil, at.Add(9*time.Hour))
			since, err := tx.OutagesSince(ids, at.Add(8*time.Hour))
			same(t, "those since", [2]int{len(since[ids[0]]), len(since[ids[1]])}, err, [2]int{2, 1})
			return nil
		})
		write(t, db, func(tx *Tx) error {
			n, err := tx.TrimOutages(at.Add(7*time.Hour+30*time.Minute), 100)
			same(t, "forgotten", n, err, int64(3))
			return err
		})
		end := at.Add(time.Hour)
		write(t, db, func(tx *Tx) error {
			return tx.PutOutages([]Outage{{ids[1], s4t.Outage{Began: at, Ended: &end, Reason: s4t.OutagePower}}})
		})
		view(t, db, func(tx *Tx) error {
			l, err := tx.Outages(ids[1], wire.Page{})
			same(t, "an ended one", l.Items, err, []Outage{{ids[1], s4t.Outage{Began: at, Ended: &end, Reason: s4t.OutagePower}}})
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.SetCame(ids[0], end) })
		view(t, db, func(tx *Tx) error {
			c, err := tx.Came(ids[0])
			same(t, "its first session", c, err, end)
			return nil
		})
	})
}
