package hal

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "pin-guard" {
		if RunGuard(os.Stdin) != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) > 2 && os.Args[1] == "pin-board" {
		board(os.Args[2])
	}
	if len(os.Args) > 2 && os.Args[1] == "pin-gpio" {
		runGPIOBoard(os.Args[2])
	}
	goleak.VerifyTestMain(m)
}

// fakeDriver has the pins that a test gives it.
type fakeDriver struct {
	mu    sync.Mutex
	lines []*fakeLine
}

func (d *fakeDriver) Name() string { return "fake" }

func (d *fakeDriver) Scan(context.Context) ([]Found, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var out []Found
	for _, l := range d.lines {
		out = append(out, Found{Pin: l.pin, Open: l.open, Period: l.period})
	}
	return out, nil
}

// take removes a pin, as somebody who pulls its plug.
func (d *fakeDriver) take(l *fakeLine) {
	d.mu.Lock()
	d.lines = slices.DeleteFunc(slices.Clone(d.lines), func(x *fakeLine) bool { return x == l })
	d.mu.Unlock()
	l.mu.Lock()
	l.err = unix.ENODEV
	l.mu.Unlock()
}

// fakeLine is a pin of a fakeDriver, and its Line.
type fakeLine struct {
	pin    s4t.Pin
	period time.Duration
	events chan Event
	guard  string // file that Guarded names
	block  chan struct{}

	mu      sync.Mutex
	value   float64
	err     error
	read    func() float64
	written []float64
	set     []map[string]string
	opened  int
	closed  int
}

func (l *fakeLine) open() (Line, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opened++
	return l, l.err
}

func (l *fakeLine) wait() {
	if l.block != nil {
		<-l.block
	}
}

func (l *fakeLine) Read() (float64, error) {
	l.wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.read != nil {
		return l.read(), l.err
	}
	return l.value, l.err
}

func (l *fakeLine) Write(v float64) error {
	l.wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.value = v
		l.written = append(l.written, v)
	}
	return l.err
}

func (l *fakeLine) Set(s map[string]string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set = append(l.set, s)
	return l.err
}

func (l *fakeLine) Events() <-chan Event {
	if l.events == nil {
		return nil
	}
	return l.events
}

func (l *fakeLine) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed++
	return nil
}

func (l *fakeLine) Guarded(v float64) GuardOrder {
	return GuardOrder{Path: l.guard, Text: s4t.FormatPinValue(v)}
}

// now is the value of the line, and all that was written.
func (l *fakeLine) now() (float64, []float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.value, slices.Clone(l.written)
}

// fail has the line answer err from now on.
func (l *fakeLine) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = err
}

func fakeOutput(name string) *fakeLine {
	return &fakeLine{pin: s4t.Pin{Name: name, Kind: s4t.PinDigital, Direction: s4t.PinOut, Writable: true}}
}

func fakeSensor(name string, period time.Duration) *fakeLine {
	return &fakeLine{pin: s4t.Pin{Name: name, Kind: s4t.PinSensor, Direction: s4t.PinIn, Unit: "degC"}, period: period}
}

// noUevents is a board that the kernel tells nothing.
func noUevents() (*os.File, error) { return nil, unix.EPERM }

// start runs a HAL over lines. stop ends it; at the end of the test it has ended.
func start(t *testing.T, c Config, lines ...*fakeLine) (h *HAL, d *fakeDriver, stop func()) {
	t.Helper()
	d = &fakeDriver{lines: lines}
	c.Drivers = []Driver{d}
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h, d, run(t, h)
}

func run(t *testing.T, h *HAL) (stop func()) {
	t.Helper()
	h.uevents = noUevents
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := h.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func pin(t *testing.T, h *HAL, name string) *Pin {
	t.Helper()
	p, err := h.Pin(name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func wantKind(t *testing.T, err error, kind s4t.Kind) {
	t.Helper()
	if s4t.KindOf(err) != kind {
		t.Errorf("%v is %q, not %q", err, s4t.KindOf(err), kind)
	}
}

// config writes an io-config.
func ioConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "io.toml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

var errTest = errors.New("it burns")

// TestTheEndWithTheKernelsUevents: whoever follows them ends as well, who is first does not matter.
func TestTheEndWithTheKernelsUevents(t *testing.T) {
	events, err := openUevents()
	if err != nil {
		t.Skip("the kernel gives no uevents here:", err)
	}
	events.Close()
	for range 200 {
		none := t.TempDir()
		h, err := New(Config{Sys: none, Dev: none})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- h.Run(ctx) }()
		if _, err := h.Pin("sim/demo/out"); err != nil {
			t.Fatal(err)
		}
		cancel()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("it does not end")
		}
	}
}

// TestWhatIsRememberedKeepsItsTime: who watches and reads the history as well sees one sample, not two.
func TestWhatIsRememberedKeepsItsTime(t *testing.T) {
	h, _, _ := start(t, Config{}, fakeOutput("fake/dev/p"))
	p := pin(t, h, "fake/dev/p")
	told := make(chan s4t.Sample, 256)
	defer p.Watch(func(s s4t.Sample) { told <- s })()
	for i := range 200 {
		if err := p.Write(t.Context(), Order{Value: float64(i % 2), Holder: "a"}); err != nil {
			t.Fatal(err)
		}
	}
	list, _ := p.History(0, time.Time{}, 1000)
	list = list[len(list)-200:]
	for i, s := range list {
		if live := <-told; !live.At.Equal(s.At) || live.Seq != s.Seq {
			t.Fatalf("%d: told as %+v, remembered as %+v", i, live, s)
		}
	}
}
