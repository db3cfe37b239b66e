package hal

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

func TestAValueForATimeGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := fakeOutput("fake/a/out")
		out.value = 1
		h, _, stop := start(t, Config{}, out)
		defer stop()
		p, ctx := pin(t, h, "fake/a/out"), t.Context()
		if err := p.Write(ctx, Order{Value: 0, For: 10 * time.Second, Holder: "a", HolderName: "user a", Tag: "op1"}); err != nil {
			t.Fatal(err)
		}
		l := p.Lease()
		if v, _ := out.now(); v != 0 || l == nil || l.Holder != "user a" || !l.Until.Equal(time.Now().Add(10*time.Second)) {
			t.Fatalf("value %v, lease %+v", v, l)
		}
		wantKind(t, p.Write(ctx, Order{Value: 1, Holder: "b"}), s4t.Conflict)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if v, _ := out.now(); v != 1 || p.Lease() != nil {
			t.Errorf("value %v, lease %+v", v, p.Lease())
		}
		if e := h.Ended(); len(e) != 1 || e[0] != (Ended{Pin: p.name, Tag: "op1", Outcome: Over, Holder: "user a"}) {
			t.Errorf("ended %+v", e)
		}
		h.Heard(1)
		if len(h.Ended()) != 0 {
			t.Error("what was heard is told again")
		}
	})
}

func TestANewerValueOfTheHolderIsInThePlaceOfTheOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := fakeOutput("fake/a/out")
		h, _, stop := start(t, Config{}, out)
		defer stop()
		p, ctx := pin(t, h, "fake/a/out"), t.Context()
		for i := range 3 {
			if err := p.Write(ctx, Order{Value: 1, For: 10 * time.Second, Holder: "a", Tag: string(rune('0' + i))}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(9 * time.Second)
		}
		if v, _ := out.now(); v != 1 {
			t.Fatal("it went back too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if v, _ := out.now(); v != 0 {
			t.Error("it did not go back to the value before the first")
		}
		if err := p.Write(ctx, Order{Value: 1, For: time.Second, Holder: "a"}); err != nil {
			t.Fatal(err)
		}
		if err := p.Write(ctx, Order{Value: 1, Holder: "a"}); err != nil { // it stays
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if v, _ := out.now(); v != 1 || p.Lease() != nil {
			t.Errorf("value %v, lease %+v", v, p.Lease())
		}
		var got []string
		for _, e := range h.Ended() {
			got = append(got, e.Outcome)
		}
		if !slices.Equal(got, []string{Released, Released, Over, Released}) {
			t.Errorf("ended %v", got)
		}
	})
}

func TestAHigherPriorityReaps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := fakeOutput("fake/a/out")
		h, _, stop := start(t, Config{}, out)
		defer stop()
		p, ctx := pin(t, h, "fake/a/out"), t.Context()
		if err := p.Write(ctx, Order{Value: 1, For: time.Minute, Holder: "a", HolderName: "user a", Tag: "op"}); err != nil {
			t.Fatal(err)
		}
		if err := p.Claim(ctx, Claim{Holder: "b", HolderName: "user b", Priority: 1, Fence: 4, For: time.Minute}); err != nil {
			t.Fatal(err)
		}
		if v, w := out.now(); v != 0 || !slices.Equal(w, []float64{1, 0}) {
			t.Errorf("the value did not go back before the claim was answered: %v", w)
		}
		want := Ended{Pin: p.name, Tag: "op", Outcome: Reaped, Holder: "user a", By: "user b"}
		if e := h.Ended(); len(e) != 1 || e[0] != want {
			t.Errorf("ended %+v", e)
		}
		wantKind(t, p.Claim(ctx, Claim{Holder: "c", Priority: 9, Fence: 3}), s4t.Stale)
		wantKind(t, p.Release(ctx, "a", 1), s4t.Conflict)
		if err := p.Write(ctx, Order{Value: 1, Fence: 4, Holder: "b"}); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		wantKind(t, p.Write(ctx, Order{Value: 0, Fence: 4, Holder: "b"}), s4t.Stale)
		if v, _ := out.now(); v != 1 { // hold
			t.Error("it did not stay")
		}
	})
}

// TestAHigherPriorityOfTheSameHolderReaps: an equal or a lower one does not.
func TestAHigherPriorityOfTheSameHolderReaps(t *testing.T) {
	type do func(p *Pin, priority int) error
	write := func(p *Pin, priority int) error {
		return p.Write(context.Background(), Order{Value: 2, Priority: priority, Holder: "a", HolderName: "user a"})
	}
	claim := func(p *Pin, priority int) error {
		return p.Claim(context.Background(), Claim{Priority: priority, Fence: p.Fence() + 1, Holder: "a", HolderName: "user a", For: time.Hour})
	}
	reaped, released := []string{Reaped}, []string{Released}
	for _, x := range []struct {
		what     string
		claimed  int // priority of a claim that is there before; -1: none
		by       do
		priority int
		value    float64
		ended    []string
	}{
		{"a write of a higher priority", -1, write, 4, 2, reaped},
		{"a write of the same", -1, write, 3, 2, released},
		{"a write of a lower one", -1, write, 0, 2, released},
		{"a claim of a higher priority", -1, claim, 4, 0, reaped},
		{"a claim of the same", -1, claim, 3, 1, nil},
		{"a claim that is renewed", 5, claim, 5, 1, nil},
		{"a claim that is raised", 5, claim, 6, 0, reaped},
		{"a write under the claim", 5, write, 5, 2, released},
		{"a write above the claim", 5, write, 6, 2, reaped},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := fakeOutput("fake/a/out")
			out.pin.Kind = s4t.PinAnalog
			h, _, stop := start(t, Config{}, out)
			defer stop()
			p := pin(t, h, "fake/a/out")
			if x.claimed >= 0 {
				if err := claim(p, x.claimed); err != nil {
					t.Fatal(err)
				}
			}
			if err := p.Write(t.Context(), Order{Value: 1, For: time.Minute, Priority: 3, Holder: "a", HolderName: "user a", Tag: "op"}); err != nil {
				t.Fatal(err)
			}
			if err := x.by(p, x.priority); err != nil {
				t.Fatal(err)
			}
			if v, _ := out.now(); v != x.value {
				t.Errorf("%s: value %v", x.what, v)
			}
			var got []string
			for _, e := range h.Ended() {
				got = append(got, e.Outcome)
				if e.Tag != "op" || e.Holder != "user a" || e.Outcome == Reaped && e.By != "user a" {
					t.Errorf("%s: told %+v", x.what, e)
				}
			}
			if !slices.Equal(got, x.ended) {
				t.Errorf("%s: told %v", x.what, got)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if v, _ := out.now(); x.ended == nil && v != 0 || x.ended != nil && v != x.value {
				t.Errorf("%s: value %v after its time", x.what, v)
			}
			if (p.Lease() != nil) != (x.claimed >= 0 || x.ended == nil || x.value == 0) {
				t.Errorf("%s: lease %+v", x.what, p.Lease())
			}
		})
	}
}

func TestAPinFallsBackWhenItsClaimEnds(t *testing.T) {
	for _, x := range []struct {
		fallback string
		end      func(p *Pin) error
		want     float64
	}{
		{"low", func(p *Pin) error { time.Sleep(time.Minute); synctest.Wait(); return nil }, 0},
		{"high", func(p *Pin) error { return p.Release(context.Background(), "a", 0) }, 1},
		{"low", func(p *Pin) error { return p.Claim(context.Background(), Claim{Holder: "b", Priority: 1, Fence: 2}) }, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			out := fakeOutput("fake/a/out")
			h, _, stop := start(t, Config{}, out)
			defer stop()
			p, ctx := pin(t, h, "fake/a/out"), t.Context()
			if err := p.Set(ctx, map[string]string{"fallback": x.fallback}); err != nil {
				t.Fatal(err)
			}
			if err := p.Claim(ctx, Claim{Holder: "a", Fence: 1, For: time.Minute}); err != nil {
				t.Fatal(err)
			}
			if err := p.Write(ctx, Order{Value: 1 - x.want, Holder: "a"}); err != nil {
				t.Fatal(err)
			}
			if err := x.end(p); err != nil {
				t.Fatal(err)
			}
			if v, _ := out.now(); v != x.want {
				t.Errorf("%s: value %v", x.fallback, v)
			}
		})
	}
}

func TestAllOrNoneIsWritten(t *testing.T) {
	a, b := fakeOutput("fake/a/out"), fakeOutput("fake/b/out")
	h, _, _ := start(t, Config{}, a, b)
	pa, pb := pin(t, h, "fake/a/out"), pin(t, h, "fake/b/out")
	if err := pb.Claim(t.Context(), Claim{Holder: "b", Fence: 1}); err != nil {
		t.Fatal(err)
	}
	both := []*Pin{pa, pb}
	wantKind(t, h.Write(t.Context(), both, []Order{{Value: 1, Holder: "a"}, {Value: 1, Holder: "a"}}), s4t.Conflict)
	wantKind(t, h.Write(t.Context(), both, []Order{{Value: 1, Holder: "b"}, {Value: 2, Holder: "b"}}), s4t.Invalid)
	wantKind(t, h.Write(t.Context(), []*Pin{pa, pa}, []Order{{Value: 1}, {Value: 1}}), s4t.Invalid)
	wantKind(t, h.Write(t.Context(), both[:1], []Order{{Value: 1, For: 25 * time.Hour}}), s4t.Invalid)
	wantKind(t, h.Write(t.Context(), both[:1], []Order{{Value: 1, Priority: s4t.MaxPriority + 1}}), s4t.Invalid)
	if _, w := a.now(); len(w) > 0 {
		t.Errorf("one was written: %v", w)
	}
	if err := h.Write(t.Context(), both, []Order{{Value: 1, Holder: "b"}, {Value: 1, Holder: "b"}}); err != nil {
		t.Error(err)
	}
	va, _ := a.now()
	if vb, _ := b.now(); va != 1 || vb != 1 {
		t.Error("not all was written")
	}
}

func TestAnInputIsNotWritten(t *testing.T) {
	h, _, _ := start(t, Config{}, fakeSensor("fake/a/t", 0))
	wantKind(t, pin(t, h, "fake/a/t").Write(t.Context(), Order{Value: 1}), s4t.Forbidden)
}

// TestAnActuationThatCannotActIsOver: a device that refuses leaves no lease.
func TestAnActuationThatCannotActIsOver(t *testing.T) {
	out := fakeOutput("fake/a/out")
	h, _, _ := start(t, Config{}, out)
	p := pin(t, h, "fake/a/out")
	for _, x := range []struct {
		err  error
		kind s4t.Kind
	}{{unix.EINVAL, s4t.Invalid}, {unix.EBUSY, s4t.Conflict}, {unix.EPERM, s4t.Forbidden}, {errTest, s4t.Internal}} {
		out.fail(x.err)
		wantKind(t, p.Write(t.Context(), Order{Value: 1, For: time.Minute, Holder: "a"}), x.kind)
		if p.Lease() != nil {
			t.Errorf("%v: the pin is held", x.err)
		}
	}
}

// TestABlockedDeviceHoldsUpNobodyElse: the caller waits as long as it wants to, what it gave up
// is not done later, and other devices go on.
func TestABlockedDeviceHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck, free := fakeOutput("fake/a/out"), fakeOutput("fake/b/out")
		stuck.block = make(chan struct{})
		h, _, stop := start(t, Config{}, stuck, free)
		defer stop()
		p := pin(t, h, "fake/a/out")
		for range 3 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			wantKind(t, p.Write(ctx, Order{Value: 1, Holder: "a"}), s4t.Timeout)
			cancel()
		}
		if err := pin(t, h, "fake/b/out").Write(t.Context(), Order{Value: 1}); err != nil {
			t.Error(err)
		}
		if problem := p.Info().Problem; problem == "" {
			t.Error("the pin does not say that its device does not answer")
		}
		if err := pin(t, h, "fake/b/out").Set(t.Context(), map[string]string{"fallback": "low"}); err != nil {
			t.Error(err)
		}
		close(stuck.block)
		synctest.Wait()
		if _, w := stuck.now(); len(w) != 1 {
			t.Errorf("what was given up was done: %v", w)
		}
		if problem := p.Info().Problem; problem != "" {
			t.Error(problem)
		}
	})
}

func TestTooManyOrdersForOneDevice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := fakeOutput("fake/a/out")
		stuck.block = make(chan struct{})
		h, _, stop := start(t, Config{}, stuck)
		defer stop()
		p := pin(t, h, "fake/a/out")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		go p.Write(ctx, Order{Value: 1})
		synctest.Wait() // the device has taken it
		for range maxJobs {
			go p.Write(ctx, Order{Value: 1})
		}
		synctest.Wait()
		wantKind(t, p.Write(ctx, Order{Value: 1}), s4t.TooMany)
		close(stuck.block)
	})
}

// TestAWriteThatFailsDoesNotLeaveTheOneBefore: a pending value goes back also when what was
// meant to be in its place could not be written.
func TestAWriteThatFailsDoesNotLeaveTheOneBefore(t *testing.T) {
	for _, term := range []time.Duration{0, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			out := fakeOutput("fake/a/out")
			h, _, stop := start(t, Config{}, out)
			defer stop()
			p := pin(t, h, "fake/a/out")
			if err := p.Write(t.Context(), Order{Value: 1, For: time.Minute, Holder: "a"}); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // it is given up before the device has it
			p.Write(ctx, Order{Value: 1, For: term, Holder: "a"})
			synctest.Wait()
			if v, _ := out.now(); v != 0 || p.Lease() != nil {
				t.Errorf("value %v, lease %+v", v, p.Lease())
			}
		})
	}
}

// TestAPendingValueGoesBackAtTheEnd: and a restart drives it again for what is left of its time.
func TestAPendingValueGoesBackAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	out := fakeOutput("fake/a/out")
	h, _, stop := start(t, Config{State: dir}, out)
	if err := pin(t, h, "fake/a/out").Write(t.Context(), Order{Value: 1, For: time.Hour, Holder: "a"}); err != nil {
		t.Fatal(err)
	}
	stop()
	if v, _ := out.now(); v != 0 {
		t.Error("it is left as it was written")
	}
	h, _, stop = start(t, Config{State: dir}, out)
	p := pin(t, h, "fake/a/out")
	if _, err := p.Read(t.Context()); err != nil { // after what is driven at the start
		t.Fatal(err)
	}
	if v, _ := out.now(); v != 1 || p.Lease() == nil {
		t.Errorf("value %v, lease %+v", v, p.Lease())
	}
	if err := p.Release(t.Context(), "a", 0); err != nil {
		t.Fatal(err)
	}
	if v, _ := out.now(); v != 0 {
		t.Error("it did not go back")
	}
	stop()
}
