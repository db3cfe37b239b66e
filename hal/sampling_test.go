package hal

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// collect gathers the samples of a pin.
func collect(p *Pin) (got func() []s4t.Sample, cancel func()) {
	var mu sync.Mutex
	var list []s4t.Sample
	cancel = p.Watch(func(s s4t.Sample) {
		mu.Lock()
		defer mu.Unlock()
		list = append(list, s)
	})
	return func() []s4t.Sample {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(list)
	}, cancel
}

func values(list []s4t.Sample) []float64 {
	var out []float64
	for _, s := range list {
		out = append(out, s.Value)
	}
	return out
}

func TestAPinIsSampledAtItsPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		temp := fakeSensor("fake/a/t", 100*time.Millisecond)
		temp.value = 20
		h, _, stop := start(t, Config{}, temp)
		defer stop()
		p := pin(t, h, "fake/a/t")
		synctest.Wait() // the first sample is there
		got, cancel := collect(p)
		begin := time.Now()
		time.Sleep(time.Second - time.Millisecond)
		if err := p.Set(t.Context(), map[string]string{"period": "10ms"}); err != nil { // at 999 ms: sampled at once, then at 1000
			t.Fatal(err)
		}
		time.Sleep(101 * time.Millisecond)
		synctest.Wait()
		list := got()
		if len(list) != 9+1+11 {
			t.Errorf("%d samples", len(list))
		}
		for i, s := range list {
			if s.Seq != uint64(i+2) || s.Value != 20 || s.Pin != "fake/a/t" {
				t.Errorf("sample %d: %+v", i, s)
			}
		}
		if last := list[len(list)-1]; last.At.Sub(begin) != 1100*time.Millisecond {
			t.Errorf("the last is at %v", last.At.Sub(begin))
		}
		if s, ok := p.Newest(); !ok || s != list[len(list)-1] {
			t.Errorf("newest %+v", s)
		}
		cancel()
		if err := p.Set(t.Context(), map[string]string{"period": "0"}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		temp.mu.Lock()
		temp.value = 21
		temp.mu.Unlock()
		time.Sleep(time.Hour)
		if _, ok := p.Newest(); ok {
			t.Error("a pin that is not sampled has a current value")
		}
		s, err := p.Read(t.Context())
		if err != nil || s.Value != 21 || s.Seq != uint64(len(list)+1) {
			t.Errorf("read %+v, %v", s, err)
		}
		if len(got()) != len(list) {
			t.Error("a reader made a sample, or was told after it had cancelled")
		}
	})
}

func TestSettingsThatMakeSamples(t *testing.T) {
	for _, x := range []struct {
		set  map[string]string
		in   []float64
		want []float64
	}{
		{nil, []float64{1, 1, 2}, []float64{1, 1, 2}},
		{map[string]string{"scale": "0.5"}, []float64{1, 3}, []float64{0.5, 1.5}},
		{map[string]string{"deadband": "1"}, []float64{10, 10.9, 11, 11.1, 10.2, 10, 12.2}, []float64{10, 11.1, 10, 12.2}},
		{map[string]string{"threshold": "5"}, []float64{1, 4, 6, 9, 5, 4.9, 5}, []float64{1, 6, 4.9, 5}},
		{map[string]string{"threshold": "5", "deadband": "2"}, []float64{1, 4, 6, 4.5, 3, 9}, []float64{1, 6, 9}},
		{nil, []float64{1, math.NaN(), math.Inf(1), 2}, []float64{1, 2}},
	} {
		synctest.Test(t, func(t *testing.T) {
			temp := fakeSensor("fake/a/t", time.Second)
			i := -1
			temp.read = func() float64 { i++; return x.in[min(max(i, 0), len(x.in)-1)] }
			h, err := New(Config{Drivers: []Driver{&fakeDriver{lines: []*fakeLine{temp}}}})
			if err != nil {
				t.Fatal(err)
			}
			p := pin(t, h, "fake/a/t")
			if err := p.Set(t.Context(), x.set); err != nil {
				t.Fatal(err)
			}
			got, _ := collect(p)
			stop := run(t, h)
			defer stop()
			time.Sleep(time.Duration(len(x.in)-1) * time.Second)
			synctest.Wait()
			if list := values(got()); !slices.Equal(list, x.want) {
				t.Errorf("%v: %v, not %v", x.set, list, x.want)
			}
		})
	}
}

// TestNoNumberIsAProblemAndNoSample: and the next good value ends it.
func TestNoNumberIsAProblemAndNoSample(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		temp := fakeSensor("fake/a/t", time.Second)
		temp.value = math.NaN()
		h, _, stop := start(t, Config{}, temp)
		defer stop()
		p := pin(t, h, "fake/a/t")
		synctest.Wait()
		if i := p.Info(); i.Problem == "" || i.Value != nil {
			t.Errorf("%+v", i)
		}
		_, err := p.Read(t.Context())
		wantKind(t, err, s4t.Internal)
		temp.mu.Lock()
		temp.value = 3
		temp.mu.Unlock()
		time.Sleep(time.Second)
		synctest.Wait()
		if i := p.Info(); i.Problem != "" || i.Value == nil || *i.Value != 3 {
			t.Errorf("%+v", i)
		}
	})
}

// edges is a pin that tells its edges.
func edges() *fakeLine {
	return &fakeLine{pin: s4t.Pin{Name: "fake/a/in", Kind: s4t.PinDigital, Direction: s4t.PinIn}, events: make(chan Event, 4096)}
}

// TestEdgesAreNotLostWhileSettingsChange: each has its number, and the kernel's time.
func TestEdgesAreNotLostWhileSettingsChange(t *testing.T) {
	in := edges()
	h, _, _ := start(t, Config{}, in)
	p := pin(t, h, "fake/a/in")
	got, _ := collect(p)
	const n = 20_000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range n {
			in.events <- Event{At: time.Unix(int64(i), 0), Value: float64((i + 1) % 2)}
		}
	})
	for i := range 50 {
		if err := p.Set(t.Context(), map[string]string{"label": "l" + itoa(i), "fallback": "hold"}); err == nil {
			t.Fatal("an input has no fallback")
		}
		if err := p.Set(t.Context(), map[string]string{"label": "l" + itoa(i), "debounce": "0", "period": []string{"0", "1h"}[i%2]}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	var list []s4t.Sample
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		list = slices.DeleteFunc(got(), func(s s4t.Sample) bool { return s.At.Year() > 2000 }) // those of the period
		if len(list) >= n || time.Now().After(deadline) {
			break
		}
	}
	for i, s := range list {
		if !s.At.Equal(time.Unix(int64(i), 0)) || s.Value != float64((i+1)%2) {
			t.Fatalf("edge %d: %+v", i, s)
		}
	}
	if len(list) != n {
		t.Errorf("%d of %d edges", len(list), n)
	}
	all := got()
	for i := range all {
		if all[i].Seq != uint64(i+1) {
			t.Fatalf("sample %d has the number %d", i, all[i].Seq)
		}
	}
}

func TestDebounceInTheHAL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := edges()
		h, _, stop := start(t, Config{File: ioConfig(t, "[[pin]]\nname = \"fake/*/in\"\ndebounce = \"10ms\"\n")}, in)
		defer stop()
		p := pin(t, h, "fake/a/in")
		got, _ := collect(p)
		synctest.Wait()
		begin := time.Now()
		for i, ms := range []time.Duration{0, 2, 4, 20, 100, 103, 104, 200} { // up bounces to 4; 20: down; 100 to 104: bounces to up; 200: down
			time.Sleep(time.Until(begin.Add(ms * time.Millisecond)))
			in.events <- Event{At: time.Now(), Value: float64((i + 1) % 2)}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		var at []time.Duration
		for _, s := range got() {
			at = append(at, s.At.Sub(begin)/time.Millisecond)
		}
		if !slices.Equal(at, []time.Duration{4, 20, 104, 200}) || !slices.Equal(values(got()), []float64{1, 0, 1, 0}) {
			t.Errorf("%v at %v", values(got()), at)
		}
	})
}

func TestLostEdgesLeaveAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := edges()
		h, _, stop := start(t, Config{}, in)
		defer stop()
		p := pin(t, h, "fake/a/in")
		_, _ = collect(p)
		synctest.Wait()
		in.events <- Event{At: time.Now(), Value: 1}
		in.events <- Event{At: time.Now(), Value: 0, Lost: 7}
		in.events <- Event{At: time.Now(), Value: 1}
		synctest.Wait()
		list, more := p.History(0, time.Time{}, 10)
		if len(list) != 3 || more || list[0].Seq != 1 || list[1].Seq != 9 || list[2].Seq != 10 {
			t.Errorf("%+v", list)
		}
	})
}

// TestADeviceThatVanishes: who waits for it is told at once, also in the middle of a read, and
// one that comes again is another, whose samples go on counting.
func TestADeviceThatVanishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		temp, out := fakeSensor("fake/a/t", time.Second), fakeOutput("fake/a/out")
		h, d, stop := start(t, Config{}, temp, out)
		defer stop()
		p, po := pin(t, h, "fake/a/t"), pin(t, h, "fake/a/out")
		if err := po.Claim(t.Context(), Claim{Holder: "a", HolderName: "user a", Fence: 5}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		seq := uint64(11)
		if s, _ := p.Newest(); s.Seq != seq {
			t.Errorf("%d samples", s.Seq)
		}
		block := make(chan struct{})
		temp.mu.Lock()
		temp.block = block
		temp.mu.Unlock()
		told := make(chan error)
		changed := h.Changed()
		go func() {
			told <- p.Set(t.Context(), map[string]string{"period": "0"})
			_, err := p.Read(t.Context())
			told <- err
		}()
		<-told
		synctest.Wait()
		d.take(temp)
		d.take(out)
		h.rescan()
		wantKind(t, <-told, s4t.NotFound)
		<-changed
		close(block)
		_, err := h.Pin("fake/a/t")
		wantKind(t, err, s4t.NotFound)
		_, err = p.Read(t.Context())
		wantKind(t, err, s4t.NotFound)
		wantKind(t, po.Write(t.Context(), Order{Value: 1, Holder: "a"}), s4t.NotFound)
		wantKind(t, po.Claim(t.Context(), Claim{Holder: "a", Fence: 6}), s4t.NotFound)
		if e := h.Ended(); len(e) != 1 || e[0].Outcome != Failed || e[0].Fence != 5 {
			t.Errorf("ended %+v", e)
		}
		d.mu.Lock()
		d.lines = []*fakeLine{fakeSensor("fake/a/t", time.Second), fakeOutput("fake/a/out")}
		d.mu.Unlock()
		h.rescan()
		time.Sleep(time.Minute)
		synctest.Wait()
		p, po = pin(t, h, "fake/a/t"), pin(t, h, "fake/a/out")
		if i := p.Info(); i.PeriodMS != 0 {
			t.Errorf("what was set is forgotten: %+v", i)
		}
		if p.history.newest() < seq {
			t.Error("it counts anew")
		}
		wantKind(t, po.Claim(t.Context(), Claim{Holder: "a", Fence: 5}), s4t.Stale)
	})
}

// TestADeviceThatSaysItIsGone is looked for at once.
func TestADeviceThatSaysItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		temp := fakeSensor("fake/a/t", time.Second)
		h, d, stop := start(t, Config{}, temp)
		defer stop()
		p := pin(t, h, "fake/a/t")
		synctest.Wait()
		d.take(temp)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if !p.isGone() {
			t.Errorf("it is there: %+v", p.Info())
		}
	})
}

// TestALineThatIsInUseIsTriedAgain: and says so meanwhile.
func TestALineThatIsInUseIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := edges()
		in.err = unix.EBUSY
		h, _, stop := start(t, Config{}, in)
		defer stop()
		p := pin(t, h, "fake/a/in")
		got, _ := collect(p)
		synctest.Wait()
		if p.Info().Problem == "" {
			t.Error("it does not say so")
		}
		_, err := p.Read(t.Context())
		wantKind(t, err, s4t.Conflict)
		in.fail(nil)
		time.Sleep(reopenAfter)
		synctest.Wait()
		in.events <- Event{At: time.Now(), Value: 1}
		synctest.Wait()
		if len(got()) != 1 || p.Info().Problem != "" {
			t.Errorf("%v, %+v", got(), p.Info())
		}
	})
}

// TestAClockThatIsSet: periods and terms go by the monotonic clock, and what is remembered gets the
// right time.
func TestAClockThatIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var off time.Duration
		temp, out := fakeSensor("fake/a/t", time.Second), fakeOutput("fake/a/out")
		wall := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return time.Now().Add(off)
		}
		h, err := newHAL(Config{Drivers: []Driver{&fakeDriver{lines: []*fakeLine{temp, out}}}}, wall, bootTime)
		if err != nil {
			t.Fatal(err)
		}
		stop := run(t, h)
		defer stop()
		p, po := pin(t, h, "fake/a/t"), pin(t, h, "fake/a/out")
		if err := po.Write(t.Context(), Order{Value: 1, For: 30 * time.Second}); err != nil {
			t.Fatal(err)
		}
		for _, step := range []time.Duration{56 * 365 * 24 * time.Hour, -time.Hour} {
			time.Sleep(10 * time.Second)
			mu.Lock()
			off += step
			mu.Unlock()
		}
		time.Sleep(9500 * time.Millisecond)
		synctest.Wait()
		list, _ := p.History(0, wall().Add(-time.Hour), 100)
		if len(list) != 30 {
			t.Fatalf("%d samples", len(list))
		}
		for i := range list[1:] {
			if d := list[i+1].At.Sub(list[i].At); d != time.Second {
				t.Errorf("%v between samples %d and %d", d, i, i+1)
			}
		}
		if left := po.Lease().Until.Sub(wall()); left != 500*time.Millisecond {
			t.Errorf("%v are left", left)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if v, _ := out.now(); v != 0 {
			t.Error("it did not go back")
		}
	})
}

func TestLabelsAreUnique(t *testing.T) {
	h, _, _ := start(t, Config{File: ioConfig(t, "[[pin]]\nname = \"fake/*/t\"\nlabel = \"oven\"\n")}, fakeSensor("fake/a/t", 0), fakeSensor("fake/b/t", 0))
	if p := pin(t, h, "oven"); p.name != "fake/a/t" {
		t.Errorf("oven is %s", p.name)
	}
	if len(h.Problems()) != 1 {
		t.Errorf("problems %q", h.Problems())
	}
	b := pin(t, h, "fake/b/t")
	wantKind(t, b.Set(t.Context(), map[string]string{"label": "oven"}), s4t.Conflict)
	if err := pin(t, h, "oven").Set(t.Context(), map[string]string{"label": ""}); err != nil {
		t.Error(err)
	}
	if err := b.Set(t.Context(), map[string]string{"label": "oven"}); err != nil {
		t.Error(err)
	}
	if p := pin(t, h, "oven"); p != b || b.Info().Label != "oven" {
		t.Errorf("oven is %s", p.name)
	}
}

func TestPinsThatDriversNameOddly(t *testing.T) {
	for in, want := range map[string]string{"w1/28-00/temp 1": "w1/28-00/temp_1", "a/b/c/d": "a/b/c_d", "a/b/°C": "a/b/_C"} {
		if got := pinName(in); got != want {
			t.Errorf("%q is %q, not %q", in, got, want)
		}
	}
}

func TestABoardWithoutPinsHasADemo(t *testing.T) {
	h, err := New(Config{Drivers: []Driver{}})
	if err != nil {
		t.Fatal(err)
	}
	run(t, h)
	var names []string
	for _, p := range h.Pins() {
		names = append(names, p.Name)
	}
	if !slices.Equal(names, []string{"sim/demo/in", "sim/demo/noise", "sim/demo/out", "sim/demo/ramp", "sim/demo/sine", "sim/demo/step"}) {
		t.Errorf("%q", names)
	}
	got, _ := collect(pin(t, h, "sim/demo/in"))
	edge := make(chan s4t.Sample, 10)
	in := pin(t, h, "sim/demo/in")
	if _, err := in.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer in.Watch(func(s s4t.Sample) { edge <- s })()
	for i := range 4 {
		v := float64((i + 1) % 2)
		if err := pin(t, h, "sim/demo/out").Write(t.Context(), Order{Value: v}); err != nil {
			t.Fatal(err)
		}
		if s := <-edge; s.Value != v {
			t.Errorf("the input tells %v", s)
		}
	}
	if len(got()) != 4 {
		t.Errorf("%d edges", len(got()))
	}
	if err := in.Set(t.Context(), map[string]string{"edge": "rising"}); err != nil {
		t.Fatal(err)
	}
	for _, v := range []float64{1, 0, 1} {
		pin(t, h, "sim/demo/out").Write(t.Context(), Order{Value: v})
	}
	for range 2 {
		if s := <-edge; s.Value != 1 {
			t.Errorf("a falling edge was told")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if s, err := in.Read(ctx); err != nil || s.Value != 1 {
		t.Errorf("%v, %v", s, err)
	}
}
