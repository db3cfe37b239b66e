package hal

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

// TestNoStaleWriteActs runs random schedules of two holders and of time against an
// oracle that knows only what was answered: under a claim that lasts nothing acts but
// what its holder wrote, a fence that is not the present one never acts, and what is
// written for a time goes back, or is told that it was reaped by a higher priority.
func TestNoStaleWriteActs(t *testing.T) {
	const steps = 10
	schedules := 100_000
	if raceEnabled { // the detector makes it ten times slower
		schedules = 5_000
	}
	synctest.Test(t, func(t *testing.T) {
		out := fakeOutput("fake/a/out")
		h, _, stop := start(t, Config{}, out)
		defer stop()
		p, ctx := pin(t, h, "fake/a/out"), t.Context()
		rnd := rand.New(rand.NewPCG(1, 2))
		var fence, highest int64 // that the cloud gave; that the board took
		for schedule := range schedules {
			p.Release(ctx, "nobody", s4t.MaxPriority) // all schedules begin with a free pin
			h.Heard(len(h.Ended()))
			p.Write(ctx, Order{Value: 0, Holder: "nobody"})
			out.mu.Lock()
			out.written = nil
			out.mu.Unlock()
			type claim struct {
				holder   string
				fence    int64
				priority int
				until    time.Time
			}
			var has *claim    // as the oracle has it
			var older []int64 // fences that are over
			var act *claim    // a value for a time
			value, back := 0., 0.
			var reaped, told int // how many values for a time
			reap := func() { act, value, reaped = nil, back, reaped+1 }
			over := func() {
				if has != nil && !time.Now().Before(has.until) {
					older, has = append(older, has.fence), nil
					if act != nil {
						act, value = nil, back
					}
				}
				if act != nil && !time.Now().Before(act.until) {
					act, value = nil, back
				}
			}
			for range steps {
				who := []string{"a", "b"}[rnd.IntN(2)]
				priority := rnd.IntN(3)
				term := time.Duration(1+rnd.IntN(10)) * time.Second
				over()
				held := has
				if held == nil {
					held = act
				}
				mine := held == nil || held.holder == who
				may := mine || priority > held.priority
				switch rnd.IntN(6) {
				case 0: // claim
					fence++
					err := p.Claim(ctx, Claim{Holder: who, Priority: priority, Fence: fence, For: term})
					if (err == nil) != may {
						t.Fatalf("schedule %d: claim of %s: %v, held by %+v", schedule, who, err, held)
					}
					if err == nil {
						if act != nil && (!mine || priority > act.priority && (has == nil || priority > has.priority)) {
							reap()
						}
						if has != nil {
							older = append(older, has.fence)
						}
						highest = fence
						has = &claim{who, fence, priority, time.Now().Add(term)}
					}
				case 1: // a claim that is late
					if highest == 0 {
						continue
					}
					late := 1 + rnd.Int64N(highest)
					if has != nil && has.fence == late && has.holder == who {
						continue
					}
					if err := p.Claim(ctx, Claim{Holder: who, Priority: 9, Fence: late}); s4t.KindOf(err) != s4t.Stale {
						t.Fatalf("schedule %d: the late claim %d: %v", schedule, late, err)
					}
				case 2: // a write under a claim that is over
					if len(older) == 0 {
						continue
					}
					v := 1 - value
					if err := p.Write(ctx, Order{Value: v, Holder: who, Priority: 9, Fence: older[rnd.IntN(len(older))]}); s4t.KindOf(err) != s4t.Stale {
						t.Fatalf("schedule %d: a stale write: %v", schedule, err)
					}
				case 3, 4: // a write, half of them for a time
					o := Order{Value: float64(rnd.IntN(2)), Holder: who, Priority: priority}
					if has != nil && has.holder == who && rnd.IntN(2) == 0 {
						o.Fence = has.fence
					}
					if rnd.IntN(2) == 0 {
						o.For, o.Tag = term, "op"
					}
					err := p.Write(ctx, o)
					if (err == nil) != may {
						t.Fatalf("schedule %d: write of %s: %v, held by %+v", schedule, who, err, held)
					}
					if err != nil {
						continue
					}
					if act != nil && (!mine || priority > act.priority && (has == nil || priority > has.priority)) {
						reaped++
						if !mine {
							act, value = nil, back
						}
					}
					if !mine && has != nil {
						older, has = append(older, has.fence), nil
					}
					if o.For == 0 {
						act = nil
					} else {
						if act == nil {
							back = value
						}
						act = &claim{who, 0, priority, time.Now().Add(term)}
					}
					value = o.Value
				case 5:
					time.Sleep(term)
					synctest.Wait()
					over()
				}
				if got, _ := out.now(); got != value {
					t.Fatalf("schedule %d: the pin is %v, the oracle says %v", schedule, got, value)
				}
			}
			ended := h.Ended()
			for _, e := range ended {
				if e.Outcome == Reaped && e.Tag != "" {
					told++
				}
			}
			if h.Heard(len(ended)); told != reaped {
				t.Fatalf("schedule %d: told of %d that were reaped, the oracle says %d", schedule, told, reaped)
			}
		}
	})
}
