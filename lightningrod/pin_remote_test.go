package lightningrod

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// pinCloud is a session with a cloud that knows the pins of other boards.
type pinCloud struct {
	*fakeCloud
	epoch int64

	pmu      sync.Mutex // guards what follows
	boards   []wire.PinBoard
	event    int64
	values   map[string]float64 // by pin, of any board
	away     bool               // no board answers
	watches  []wire.PinWatch
	handlers map[string]wamp.Handler
	news     func(string)
	watched  chan wire.PinWatch
}

func newPinCloud(epoch int64) *pinCloud {
	at := time.Unix(1000, 0)
	pins := []s4t.Pin{
		{Name: "sim/demo/out", Driver: "sim", Device: "demo", Kind: s4t.PinDigital, Writable: true, Direction: s4t.PinOut},
		{Name: "sim/demo/sine", Driver: "sim", Device: "demo", Kind: s4t.PinSensor, Direction: s4t.PinIn, PeriodMS: 100},
	}
	return &pinCloud{
		fakeCloud: newFakeCloud(testDesired(1)), epoch: epoch, event: 7,
		boards: []wire.PinBoard{
			{ID: boardB, Name: "gate", Status: s4t.BoardOnline, Epoch: 1, ReportedAt: &at, Pins: pins},
			{ID: boardA, Name: "kitchen", Status: s4t.BoardOnline, Epoch: 1, ReportedAt: &at, Pins: pins},
		},
		values: map[string]float64{"sim/demo/out": 0, "sim/demo/sine": 0.5}, handlers: map[string]wamp.Handler{},
		watched: make(chan wire.PinWatch, 64),
	}
}

func (c *pinCloud) Call(ctx context.Context, procedure string, arg, reply any) error {
	if procedure != wamp.Remote {
		return c.fakeCloud.Call(ctx, procedure, arg, reply)
	}
	c.pmu.Lock()
	defer c.pmu.Unlock()
	r := arg.(wire.PinRemote)
	var a wire.PinRemoteAnswer
	switch {
	case r.Board != boardA || r.Epoch != c.epoch:
		return s4t.Errorf(s4t.Forbidden, "ask", "", "board %s, epoch %d", r.Board, r.Epoch)
	case r.All != nil && r.All.Known == c.event:
		a.All = &wire.PinBoards{Unchanged: true}
	case r.All != nil: // a board a page
		list := c.boards
		for len(r.All.Page.After) > 0 && len(list) > 0 && list[0].Name <= r.All.Page.After {
			list = list[1:]
		}
		a.All = &wire.PinBoards{}
		a.All.EventID = c.event
		if len(list) > 0 {
			a.All.Items = list[:1]
		}
		if len(list) > 1 {
			a.All.Next = list[0].Name
		}
	case c.away:
		return s4t.Errorf(s4t.Offline, "ask", "", "the board is offline")
	case r.Watch != nil:
		c.watches = append(c.watches, *r.Watch)
		a.Answer = &wire.PinAnswer{}
		for _, p := range r.Watch.Pins {
			a.Answer.Samples = append(a.Answer.Samples, s4t.Sample{Pin: p, Seq: 1, At: time.Unix(1, 0), Value: c.values[p]})
		}
		c.watched <- *r.Watch
	case r.Ask.Ask.Do == wire.PinRead:
		a.Answer = &wire.PinAnswer{Samples: []s4t.Sample{{Pin: r.Ask.Ask.Pins[0], Seq: 1, At: time.Unix(1, 0), Value: c.values[r.Ask.Ask.Pins[0]]}}}
	case r.Ask.Ask.Do == wire.PinWrite:
		a.Answer = &wire.PinAnswer{}
		for p, v := range r.Ask.Ask.Values {
			c.values[p] = v
		}
	case r.Ask.Ask.Do == wire.PinSet:
		a.Answer = &wire.PinAnswer{Pins: []s4t.Pin{{Name: r.Ask.Ask.Pins[0], Settings: r.Ask.Ask.Settings, PeriodMS: 1000}}}
	}
	return json.Unmarshal(wire.Encode(a), reply)
}

func (c *pinCloud) Serve(_ context.Context, procedure string, h wamp.Handler) error {
	c.pmu.Lock()
	defer c.pmu.Unlock()
	c.handlers[procedure] = h
	return nil
}

func (c *pinCloud) Follow(_ context.Context, _ string, h func(string)) error {
	c.pmu.Lock()
	defer c.pmu.Unlock()
	c.news = h
	return nil
}

// change changes what the cloud knows, and says that something changed.
func (c *pinCloud) changeBoards(f func()) {
	c.pmu.Lock()
	defer c.pmu.Unlock()
	f()
	c.event++
	if c.news != nil {
		c.news("{}")
	}
}

// send sends samples of a board, as the WAMP agent does.
func (c *pinCloud) send(board s4t.BoardID, list ...s4t.Sample) error {
	c.pmu.Lock()
	h := c.handlers[wamp.PinsSamples]
	c.pmu.Unlock()
	_, err := h(context.Background(), string(wire.Encode(wire.PinSamples{Board: board, Samples: wire.Encode(list)})))
	return err
}

// pinDaemon is a lightning-rod that runs, as far as mounts see it.
type pinDaemon struct {
	dir    stateDir
	remote *remotePins

	mu      sync.Mutex
	session cloud
	epoch   int64
	changed chan struct{}
}

func (d *pinDaemon) online() (cloud, int64, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.session, d.epoch, d.changed
}

func (d *pinDaemon) set(c cloud, epoch int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.session, d.epoch = c, epoch
	close(d.changed)
	d.changed = make(chan struct{})
}

func newPinDaemon(t *testing.T) *pinDaemon {
	d := &pinDaemon{dir: stateDir(t.TempDir()), changed: make(chan struct{})}
	d.remote = newRemotePins(boardA, d.online, slog.New(slog.DiscardHandler))
	return d
}

// start has it answer on its socket until stop.
func (d *pinDaemon) start(t *testing.T) (stop func()) {
	t.Helper()
	sock, err := d.dir.listen(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		sock.serve(ctx, func(context.Context, string) any { return nil }, d.remote.serve)
	}()
	return sync.OnceFunc(func() { cancel(); <-done })
}

// mountOf is the source of a mount on a daemon, while the test runs.
func mountOf(t *testing.T, d *pinDaemon) *remoteSource {
	t.Helper()
	s := newRemoteSource(boardA, nil, d.dir, slog.New(slog.DiscardHandler))
	s.now = func() time.Time { return time.Unix(1000, 0) } // what came is at hand
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.run(ctx, func(error) {}) }()
	t.Cleanup(func() { cancel(); <-done })
	return s
}

// within waits until cond holds, looking again whenever changed is closed.
func treeUntil(t *testing.T, s *remoteSource, what string, cond func(pinfs.Tree) bool) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for {
		changed := s.Changed()
		if cond(s.Tree()) {
			return
		}
		select {
		case <-changed:
		case <-limit:
			t.Fatalf("not within 20 s: %s: %+v", what, s.Tree())
		}
	}
}

func receive[T any](t *testing.T, what string, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(20 * time.Second):
		t.Fatalf("not within 20 s: %s", what)
	}
	return v
}

func isOnline(n int) func(pinfs.Tree) bool {
	return func(tree pinfs.Tree) bool {
		return n == len(slices.DeleteFunc(slices.Clone(tree.Boards), func(b pinfs.Board) bool { return !b.Online }))
	}
}

// TestOtherBoardsPins: a mount lists the other boards, reads, writes and sets their pins,
// and is told of their samples, by way of the lightning-rod that runs.
func TestOtherBoardsPins(t *testing.T) {
	d := newPinDaemon(t)
	defer d.start(t)()
	c := newPinCloud(3)
	d.set(c, 3)
	s := mountOf(t, d)
	treeUntil(t, s, "the other board", isOnline(1))
	if b := s.Tree().Boards; len(b) != 1 || b[0].Name != "gate" || len(b[0].Pins) != 2 || b[0].ReportedAt.Unix() != 1000 {
		t.Fatalf("%+v", b)
	}

	pin := s.Open("gate", "sim/demo/out", pinfs.Holder{})
	defer pin.Close()
	if _, ok := pin.Newest(); ok {
		t.Error("a pin that nobody watches has a newest sample")
	}
	if v, err := pin.Read(t.Context()); err != nil || v.Value != 0 {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := pin.Write(t.Context(), 1, 0); err != nil {
		t.Error(err)
	}
	if v, err := pin.Read(t.Context()); err != nil || v.Value != 1 {
		t.Errorf("%+v, %v", v, err)
	}
	if err := s.Set(t.Context(), "gate", "sim/demo/sine", "period", "1s", pinfs.Holder{}); err != nil {
		t.Error(err)
	}
	if p := s.Tree().Boards[0].Pins[1]; p.Settings["period"] != "1s" {
		t.Errorf("%+v", p)
	}

	sine := s.Open("gate", "sim/demo/sine", pinfs.Holder{})
	woken := make(chan struct{}, 64)
	sine.Watch(func() { woken <- struct{}{} })
	if w := receive(t, "the watch", c.watched); w.Board != string(boardB) || !slices.Equal(w.Pins, []string{"sim/demo/sine"}) || w.End {
		t.Errorf("%+v", w)
	}
	receive(t, "the newest sample", woken)
	for seq := range uint64(3) {
		if err := c.send(boardB, s4t.Sample{Pin: "sim/demo/sine", Seq: seq + 2, At: time.Unix(int64(seq)+2, 0), Value: float64(seq)}); err != nil {
			t.Fatal(err)
		}
		receive(t, "a sample", woken)
	}
	if v, ok := sine.Newest(); !ok || v.Seq != 4 || v.Value != 2 {
		t.Errorf("%+v, %v", v, ok)
	}
	if err := c.send(boardB, s4t.Sample{Pin: "sim/demo/sine", Seq: 3, At: time.Unix(3, 0)}, s4t.Sample{Pin: "sim/demo/out", Seq: 9}); err != nil {
		t.Fatal(err)
	}
	if v, _ := sine.Newest(); v.Seq != 4 {
		t.Errorf("a sample that came twice counts: %+v", v)
	}
	sine.Close()
	if w := receive(t, "the end of the watch", c.watched); !w.End {
		t.Errorf("%+v", w)
	}
	if err := c.send(boardB, s4t.Sample{Pin: "sim/demo/sine", Seq: 5}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("samples that nobody watches: %v", err)
	}
}

// watchSine mounts the other board, and watches a pin of it.
func watchSine(t *testing.T, d *pinDaemon, c *pinCloud) (s *remoteSource, f pinfs.Pin, woken chan struct{}) {
	t.Helper()
	d.set(c, 1)
	s = mountOf(t, d)
	treeUntil(t, s, "the other board", isOnline(1))
	f = s.Open("gate", "sim/demo/sine", pinfs.Holder{})
	woken = make(chan struct{}, 64)
	f.Watch(func() { woken <- struct{}{} })
	return s, f, woken
}

// TestAMountSurvivesWhatIsBetween: another session, a board that went and came, a
// lightning-rod that was started again: what is watched goes on, after the last sample.
func TestAMountSurvivesWhatIsBetween(t *testing.T) {
	d := newPinDaemon(t)
	stop := d.start(t)
	c := newPinCloud(1)
	s, pin, woken := watchSine(t, d, c)
	defer pin.Close()
	receive(t, "the watch", c.watched)
	receive(t, "the newest sample", woken)
	next := func(c *pinCloud, seq uint64) {
		t.Helper()
		for {
			w := receive(t, "the watch", c.watched)
			if len(w.Pins) == 1 && w.After["sim/demo/sine"] == seq-1 { // a lightning-rod that stops ends the watch
				break
			}
		}
		if err := c.send(boardB, s4t.Sample{Pin: "sim/demo/sine", Seq: seq, At: time.Unix(int64(seq), 0)}); err != nil {
			t.Fatal(err)
		}
		for v, _ := pin.Newest(); v.Seq != seq; v, _ = pin.Newest() {
			receive(t, "a sample", woken)
		}
	}

	d.set(nil, 0)
	treeUntil(t, s, "offline", isOnline(0))
	if _, err := pin.Read(t.Context()); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("without a session: %v", err)
	}
	if _, ok := pin.Newest(); ok {
		t.Error("a board that cannot be reached has a newest sample")
	}
	c = newPinCloud(2)
	d.set(c, 2)
	treeUntil(t, s, "online again", isOnline(1))
	next(c, 2)

	c.changeBoards(func() { c.away, c.boards[0].Status = true, s4t.BoardOffline })
	treeUntil(t, s, "the board offline", isOnline(0))
	if _, err := pin.Read(t.Context()); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("a board that is offline: %v", err)
	}
	c.changeBoards(func() { c.away, c.boards[0].Status, c.boards[0].Epoch = false, s4t.BoardOnline, 2 })
	treeUntil(t, s, "the board online", isOnline(1))
	next(c, 3)

	stop()
	treeUntil(t, s, "no lightning-rod", isOnline(0))
	if _, err := pin.Read(t.Context()); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("without a lightning-rod: %v", err)
	}
	defer d.start(t)()
	treeUntil(t, s, "it runs again", isOnline(1))
	next(c, 4)
}

// TestTwoMountsOfOneBoard: the cloud is told what both watch, and each has its own
// samples; one that goes away leaves the other.
func TestTwoMountsOfOneBoard(t *testing.T) {
	d := newPinDaemon(t)
	defer d.start(t)()
	c := newPinCloud(1)
	d.set(c, 1)
	one, two := mountOf(t, d), mountOf(t, d)
	treeUntil(t, one, "the other board", isOnline(1))
	treeUntil(t, two, "the other board", isOnline(1))
	out := one.Open("gate", "sim/demo/out", pinfs.Holder{})
	defer out.Close()
	out.Watch(func() {})
	receive(t, "the first watch", c.watched)
	sine := two.Open("gate", "sim/demo/sine", pinfs.Holder{})
	sine.Watch(func() {})
	if w := receive(t, "the watch of both", c.watched); len(w.Pins) != 2 {
		t.Errorf("%+v", w)
	}
	sine.Close()
	if w := receive(t, "the watch of one", c.watched); !slices.Equal(w.Pins, []string{"sim/demo/out"}) {
		t.Errorf("%+v", w)
	}
}

// TestMountsAreBounded: a connection too many is told so.
func TestMountsAreBounded(t *testing.T) {
	d := newPinDaemon(t)
	defer d.start(t)()
	for range maxMounts {
		mountOf(t, d)
	}
	told := make(chan error, 1)
	limit := time.After(20 * time.Second)
	for n := 0; n < maxMounts; {
		d.remote.mu.Lock()
		n = len(d.remote.mounts)
		d.remote.mu.Unlock()
		select {
		case <-limit:
			t.Fatalf("%d mounts", n)
		default:
		}
	}
	s := newRemoteSource(boardA, nil, d.dir, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.run(ctx, func(err error) {
			select {
			case told <- err:
			default:
			}
		})
	}()
	if err := receive(t, "an answer", told); s4t.KindOf(err) != s4t.TooMany {
		t.Error(fmt.Errorf("one too many: %w", err))
	}
	cancel()
	<-done
}
