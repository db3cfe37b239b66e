package lightningrod

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// watchingCloud is a session with a cloud that hears of pins and takes samples.
type watchingCloud struct {
	*fakeCloud
	got     chan wire.PinReport
	samples chan []s4t.Sample
	hold    chan struct{} // not nil: a batch is answered when it can be received from

	pmu    sync.Mutex
	refuse error // of the next report and batch
}

func newWatchingCloud() *watchingCloud {
	return &watchingCloud{fakeCloud: newFakeCloud(testDesired(1)), got: make(chan wire.PinReport, 64), samples: make(chan []s4t.Sample, 1024)}
}

func (c *watchingCloud) Call(ctx context.Context, procedure string, arg, reply any) error {
	switch procedure {
	case wamp.Pins, wamp.Samples:
		c.pmu.Lock()
		err := c.refuse
		c.refuse = nil
		c.pmu.Unlock()
		if err != nil {
			return err
		}
	}
	switch procedure {
	case wamp.Pins:
		c.got <- arg.(wire.PinReport)
		return nil
	case wamp.Samples:
		var list []s4t.Sample
		if err := json.Unmarshal(arg.(wire.PinSamples).Samples, &list); err != nil {
			return err
		}
		c.samples <- list
		if c.hold != nil {
			select {
			case <-c.hold:
			case <-ctx.Done():
			case <-c.done:
			}
		}
		return nil
	}
	return c.fakeCloud.Call(ctx, procedure, arg, reply)
}

const testIO = `
[[pin]]
name = "sim/b/secret"
cloud = "none"
[[pin]]
name = "sim/b/shown"
cloud = "read"
label = "lamp"
[[sim]]
device = "b"
pin = "out"
wave = "output"
[[sim]]
device = "b"
pin = "in"
wave = "input"
loop = "out"
[[sim]]
device = "b"
pin = "secret"
wave = "output"
[[sim]]
device = "b"
pin = "shown"
wave = "output"
`

// pinsOf runs the pins of an io-config, in sessions that the test sets.
func pinsOf(t *testing.T, text string) (*boardPins, *pinDaemon) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "io.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	none := t.TempDir() // no hardware of this machine
	h, err := hal.New(hal.Config{File: file, Sys: none, Dev: none})
	if err != nil {
		t.Fatal(err)
	}
	d := newPinDaemon(t)
	p := newPins(h, "", boardA, d.online, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); p.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	in, err := h.Pin("sim/b/in")
	if err != nil {
		t.Fatal(err)
	}
	for _, ok := in.Newest(); !ok; _, ok = in.Newest() { // from then on it tells edges
		time.Sleep(time.Millisecond)
	}
	return p, d
}

// kept is how many samples the board has of a pin.
func (p *boardPins) kept(t *testing.T, name string) (n uint64) {
	t.Helper()
	ask := wire.PinAsk{Do: wire.PinHistory, Pins: []string{name}, After: map[string]uint64{}}
	for {
		a := p.mustAsk(t, ask)
		if n += uint64(len(a.Samples)); !a.More {
			return n
		}
		ask.After[name] = a.Samples[len(a.Samples)-1].Seq
	}
}

// of is the session that there is.
func of(p *boardPins) cloud {
	c, _, _ := p.online()
	return c
}

// mustAsk asks as the cloud does.
func (p *boardPins) mustAsk(t *testing.T, ask wire.PinAsk) (a wire.PinAnswer) {
	t.Helper()
	text, err := p.answer(t.Context(), of(p), string(wire.Encode(ask)))
	if err == nil {
		err = json.Unmarshal([]byte(text), &a)
	}
	if err != nil {
		t.Fatalf("%+v: %v", ask, err)
	}
	return a
}

func names(list []s4t.Pin) (out []string) {
	for _, p := range list {
		out = append(out, p.Name)
	}
	return out
}

// TestTheCloudAsksForPins: each question and order, and what the owner keeps from the
// cloud.
func TestTheCloudAsksForPins(t *testing.T) {
	p, _ := pinsOf(t, testIO)
	if got := names(p.mustAsk(t, wire.PinAsk{Do: wire.PinList}).Pins); !slices.Equal(got, []string{"sim/b/in", "sim/b/out", "sim/b/shown"}) {
		t.Errorf("%q", got)
	}
	if got := p.mustAsk(t, wire.PinAsk{Do: wire.PinList, Pins: []string{"lamp"}}).Pins; len(got) != 1 || got[0].Name != "sim/b/shown" {
		t.Errorf("%+v", got)
	}
	a := p.mustAsk(t, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"sim/b/out": 1}, Holder: "user:1", HolderName: "user maria"})
	if len(a.Pins) != 1 || a.Pins[0].Value == nil || *a.Pins[0].Value != 1 {
		t.Errorf("%+v", a.Pins)
	}
	if got := p.mustAsk(t, wire.PinAsk{Do: wire.PinRead, Pins: []string{"lamp", "sim/b/out"}}).Samples; len(got) != 2 || got[0].Value != 0 || got[1].Value != 1 {
		t.Errorf("%+v", got)
	}
	a = p.mustAsk(t, wire.PinAsk{Do: wire.PinClaim, Pins: []string{"sim/b/out"}, Fence: 4, Holder: "user:1", HolderName: "user maria"})
	if l := a.Pins[0].Lease; l == nil || l.Holder != "user maria" || l.Fence != 4 {
		t.Errorf("%+v", l)
	}
	if a = p.mustAsk(t, wire.PinAsk{Do: wire.PinRelease, Pins: []string{"sim/b/out"}, Holder: "user:1"}); a.Pins[0].Lease != nil {
		t.Errorf("%+v", a.Pins[0].Lease)
	}
	if a = p.mustAsk(t, wire.PinAsk{Do: wire.PinClaim, Pins: []string{"sim/b/out"}, Fence: 3, Holder: "user:2"}); a.Fence != 4 || len(a.Pins) != 0 {
		t.Errorf("a claim of a cloud that was restored: %+v", a)
	}
	if a = p.mustAsk(t, wire.PinAsk{Do: wire.PinSet, Pins: []string{"sim/b/out"}, Settings: map[string]string{"label": "gate"}}); a.Pins[0].Label != "gate" {
		t.Errorf("%+v", a.Pins[0])
	}
	for _, tt := range []struct {
		ask  wire.PinAsk
		kind s4t.Kind
		says string
	}{
		{wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/b/none"}}, s4t.NotFound, "sim/b/none"},
		{wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/b/secret"}}, s4t.NotFound, "sim/b/secret"},
		{wire.PinAsk{Do: wire.PinWatched, Pins: []string{"sim/b/secret"}, Term: time.Minute}, s4t.NotFound, "no such pin"},
		{wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"sim/b/out": 0, "sim/b/secret": 1}}, s4t.NotFound, "sim/b/secret"},
		{wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"lamp": 1}}, s4t.Forbidden, `cloud = "write"`},
		{wire.PinAsk{Do: wire.PinSet, Pins: []string{"lamp"}, Settings: map[string]string{"label": ""}}, s4t.Forbidden, "sim/b/shown"},
		{wire.PinAsk{Do: wire.PinClaim, Pins: []string{"lamp"}}, s4t.Forbidden, "sim/b/shown"},
		{wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"sim/b/in": 1}}, s4t.Forbidden, "sim/b/in"},
		{wire.PinAsk{Do: wire.PinWrite}, s4t.Invalid, "none is named"},
		{wire.PinAsk{Do: wire.PinClaim, Pins: []string{"sim/b/in", "sim/b/out"}}, s4t.Invalid, "2 pins"},
		{wire.PinAsk{Do: "fly", Pins: []string{"sim/b/in"}}, s4t.Invalid, "fly"},
		{wire.PinAsk{Do: wire.PinRead, Pins: make([]string, s4t.MaxPins+1)}, s4t.TooMany, "1025"},
	} {
		_, err := p.answer(t.Context(), of(p), string(wire.Encode(tt.ask)))
		if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%+v: %v; want %s with %q", tt.ask, err, tt.kind, tt.says)
		}
	}
	if p.mustAsk(t, wire.PinAsk{Do: wire.PinRead, Pins: []string{"sim/b/out"}}).Samples[0].Value != 1 {
		t.Error("a write that was refused for one pin acted on another")
	}
	if _, err := p.answer(t.Context(), of(p), "{"); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("half a question: %v", err)
	}
}

// TestSamplesGoWhileTheyAreWatched: each edge, in order, and again after a session was
// lost: what the board has of it, from where the cloud's are.
func TestSamplesGoWhileTheyAreWatched(t *testing.T) {
	p, d := pinsOf(t, testIO)
	out, err := p.hal.Pin("sim/b/out")
	if err != nil {
		t.Fatal(err)
	}
	write := func(v float64) {
		t.Helper()
		if err := out.Write(t.Context(), hal.Order{Value: v, Holder: "local:0"}); err != nil {
			t.Fatal(err)
		}
	}
	c := newWatchingCloud()
	d.set(c, 1)
	watch := wire.PinAsk{Do: wire.PinWatched, Pins: []string{"sim/b/out", "sim/b/later"}, Term: time.Minute}
	p.mustAsk(t, watch)
	var last s4t.Sample
	take := func(c *watchingCloud, n int) {
		t.Helper()
		for n > 0 {
			for _, s := range receive(t, "samples", c.samples) {
				if s.Pin == "sim/b/in" { // all are watched: it follows
					continue
				}
				if s.Pin != "sim/b/out" || last.Seq > 0 && s.Seq != last.Seq+1 || s.Merged != 0 {
					t.Fatalf("%+v after %+v", s, last)
				}
				last = s
				n--
			}
		}
		if n < 0 {
			t.Fatalf("%d more than there were", -n)
		}
	}
	for i := range 100 {
		write(float64((i + 1) % 2))
	}
	take(c, 100)

	c.end(nil)
	d.set(nil, 0)
	for i := range 50 {
		write(float64((i + 1) % 2))
	}
	c = newWatchingCloud()
	d.set(c, 2)
	watch.After = map[string]uint64{"sim/b/out": last.Seq}
	p.mustAsk(t, watch)
	write(1)
	take(c, 51)

	p.mustAsk(t, wire.PinAsk{Do: wire.PinWatched})
	write(0)
	p.mustAsk(t, wire.PinAsk{Do: wire.PinWatched, All: true, Term: time.Minute, After: map[string]uint64{"sim/b/out": last.Seq}})
	take(c, 1)

	c.pmu.Lock()
	c.refuse = s4t.Errorf(s4t.NotFound, "samples", "", "nobody watches")
	c.pmu.Unlock()
	write(1)
	for queue, _, changed := p.watch.now(c); queue != nil; queue, _, changed = p.watch.now(c) {
		receive(t, "the end of the watch", changed)
	}
}

// TestASlowLinkMerges: what a link cannot carry is merged, and the counts say so.
func TestASlowLinkMerges(t *testing.T) {
	p, d := pinsOf(t, testIO)
	out, err := p.hal.Pin("sim/b/out")
	if err != nil {
		t.Fatal(err)
	}
	c := newWatchingCloud()
	c.hold = make(chan struct{})
	d.set(c, 1)
	p.mustAsk(t, wire.PinAsk{Do: wire.PinWatched, Pins: []string{"sim/b/out"}, Term: time.Minute})
	const edges = 2 * maxUnsent
	for i := range edges {
		if err := out.Write(t.Context(), hal.Order{Value: float64((i + 1) % 2), Holder: "local:0"}); err != nil {
			t.Fatal(err)
		}
	}
	before := p.kept(t, "sim/b/out")
	close(c.hold)
	told, merged, last := uint64(0), uint64(0), uint64(0)
	for told < before {
		for _, s := range receive(t, "samples", c.samples) {
			if s.Seq <= last {
				t.Fatalf("%d after %d", s.Seq, last)
			}
			last = s.Seq
			told += 1 + s.Merged
			merged += s.Merged
		}
	}
	if told != before || merged == 0 || before < edges/2 {
		t.Errorf("%d samples are told of, %d merged; there were %d", told, merged, before)
	}
}

// TestTheWatchEndsWithItsTerm: nobody has to say so.
func TestTheWatchEndsWithItsTerm(t *testing.T) {
	p, d := pinsOf(t, testIO)
	c := newWatchingCloud()
	d.set(c, 1)
	p.mustAsk(t, wire.PinAsk{Do: wire.PinWatched, Pins: []string{"sim/b/out"}, Term: 50 * time.Millisecond})
	for {
		p.watch.mu.Lock()
		n := len(p.watch.watched)
		p.watch.mu.Unlock()
		if n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

// TestTheCloudIsToldOfPins: at the begin of each session, again when something changed,
// and of what ended until it has heard.
func TestTheCloudIsToldOfPins(t *testing.T) {
	p, d := pinsOf(t, testIO)
	c := newWatchingCloud()
	c.refuse = s4t.Errorf(s4t.Unavailable, "report", "", "not now")
	d.set(c, 4)
	r := receive(t, "the report", c.got)
	if r.Board != boardA || r.Epoch != 4 || r.Pins == nil || !slices.Equal(names(*r.Pins), []string{"sim/b/in", "sim/b/out", "sim/b/shown"}) {
		t.Fatalf("%+v", r)
	}
	for _, pin := range *r.Pins {
		if pin.Value != nil || pin.At != nil || pin.Lease != nil {
			t.Errorf("what is true of a moment only: %+v", pin)
		}
	}
	p.mustAsk(t, wire.PinAsk{Do: wire.PinSet, Pins: []string{"sim/b/out"}, Settings: map[string]string{"label": "gate"}})
	if r = receive(t, "the change", c.got); r.Pins == nil || (*r.Pins)[1].Label != "gate" {
		t.Errorf("%+v", r)
	}
	p.mustAsk(t, wire.PinAsk{Do: wire.PinWrite, Values: map[string]float64{"gate": 1}, For: 10 * time.Millisecond, Holder: "user:1", HolderName: "user maria", Operation: "op"})
	r = receive(t, "the end", c.got)
	if r.Pins != nil || len(r.Ended) != 1 || r.Ended[0].Operation != "op" || r.Ended[0].Outcome != wire.PinOver || r.Ended[0].Pin != "sim/b/out" || r.Ended[0].Holder != "user maria" {
		t.Errorf("%+v", r)
	}
	c.end(nil)
	d.set(nil, 0)
	c = newWatchingCloud()
	d.set(c, 5)
	if r = receive(t, "the report of the next session", c.got); r.Pins == nil || len(r.Ended) != 0 || r.Epoch != 5 {
		t.Errorf("%+v", r)
	}
}

// TestAnOlderCloudIsLeftAlone: it is not asked again, and nothing is wrong.
func TestAnOlderCloudIsLeftAlone(t *testing.T) {
	p, d := pinsOf(t, testIO)
	c := newWatchingCloud()
	c.refuse = wamp.DecodeError("call", wamp.NoSuchProcedure, "", "")
	d.set(c, 1)
	p.mustAsk(t, wire.PinAsk{Do: wire.PinSet, Pins: []string{"sim/b/out"}, Settings: map[string]string{"label": "gate"}})
	if len(p.problems()) != 0 {
		t.Errorf("%q", p.problems())
	}
	c.end(nil)
	d.set(nil, 0)
	if len(c.got) != 0 {
		t.Errorf("it was told %+v", <-c.got)
	}
}

// TestHistoryIsByTime: of several pins, page after page, each sample once.
func TestHistoryIsByTime(t *testing.T) {
	p, _ := pinsOf(t, testIO)
	out, err := p.hal.Pin("sim/b/out")
	if err != nil {
		t.Fatal(err)
	}
	other, err := p.hal.Pin("lamp")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		pin := out
		if i%3 == 0 {
			pin = other
		}
		if err := pin.Write(t.Context(), hal.Order{Value: float64((i + 1) % 2), Holder: "local:0"}); err != nil {
			t.Fatal(err)
		}
	}
	all := p.mustAsk(t, wire.PinAsk{Do: wire.PinHistory, Pins: []string{"sim/b/shown", "sim/b/out"}})
	ask := wire.PinAsk{Do: wire.PinHistory, Pins: []string{"sim/b/shown", "sim/b/out"}, Limit: 64, After: map[string]uint64{}}
	var got []s4t.Sample
	for pages := 0; ; pages++ {
		a := p.mustAsk(t, ask)
		for _, s := range a.Samples {
			if n := len(got); n > 0 && s.At.Before(got[n-1].At) {
				t.Fatalf("%+v after %+v", s, got[n-1])
			}
			got = append(got, s)
			ask.After[s.Pin] = s.Seq
		}
		if !a.More {
			break
		}
		if len(a.Samples) == 0 || len(a.Samples) > 64 || pages > 1000 {
			t.Fatalf("page %d has %d samples", pages, len(a.Samples))
		}
	}
	count := map[string]int{}
	for _, s := range got {
		count[s.Pin]++
	}
	if count["sim/b/shown"] < 333 || count["sim/b/out"] < 666 {
		t.Errorf("%v; in one page: %d, %v", count, len(all.Samples), all.More)
	}
}
