package cloudtest

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/lightningrod"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/rtunnel/stream"
)

// lent is a cloud with a board of the admin's project that the project "lab" has by a lease, with one
// thing of each kind in use by it.
type lent struct {
	*moving
	lab    *apiclient.Client
	board  *Board
	clock  *machineClock
	stream *stream.Stream
	run    s4t.OperationID
}

// machineClock is the clock of a board since its boot. A test moves it; else it goes on by itself.
type machineClock struct {
	mu    sync.Mutex // guards the fields below
	boot  string
	ahead time.Duration
	start time.Time
}

func (c *machineClock) now() lease.Moment {
	c.mu.Lock()
	defer c.mu.Unlock()
	return lease.Moment{Boot: c.boot, Since: time.Since(c.start) + c.ahead}
}

// pass has time pass on the board only.
func (c *machineClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// reboot begins another boot.
func (c *machineClock) reboot(boot string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.boot, c.ahead, c.start = boot, 0, time.Now()
}

// newLent makes one whose lease is an hour long.
func newLent(t *testing.T) *lent {
	l := &lent{clock: &machineClock{boot: "one", start: time.Now(), ahead: time.Hour}}
	l.moving = newMovingAt(t, Config{Conductors: 1, APIs: 1, WAMPAgents: 1, TunnelAgents: 1}, func(*Cloud) {})
	made, err := l.client.CreateBoard(t.Context(), apiclient.BoardCreate{Name: "kitchen"})
	if err != nil {
		t.Fatal(err)
	}
	if l.board, err = l.Enrol(t.Context(), made); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.board.Close)
	commands := t.TempDir()
	l.board.IOConfig = filepath.Join(commands, "io.toml")
	for name, text := range map[string]string{"io.toml": loopIO, "wait.toml": "argv = [\"/bin/sleep\", \"600\"]\ntimeout = \"15m\"\n"} {
		if err := os.WriteFile(filepath.Join(commands, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(commands, "d"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(commands, "wait.toml"), filepath.Join(commands, "d", "wait.toml")); err != nil {
		t.Fatal(err)
	}
	l.board.Guests = &lightningrod.GuestsConfig{Stub: []string{"/proc/self/exe", "plugin-exec"}, Commands: filepath.Join(commands, "d")}
	l.board.Moment = l.clock.now
	if err := l.board.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.client.WaitBoard(t.Context(), "kitchen", s4t.BoardOnline); err != nil {
		t.Fatal(err)
	}
	if l.lab, err = l.clientFrom("127.0.0.1", member(t, l.client, "lab")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.lab.Close)
	if _, err := l.client.CreateOffer(t.Context(), apiclient.OfferCreate{Name: "spare", Boards: []string{"kitchen"}, To: []string{"lab"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := l.lab.CreateLease(t.Context(), apiclient.LeaseCreate{Name: "night", Boards: []string{"kitchen"}, For: 3600}); err != nil {
		t.Fatal(err)
	}
	return l
}

// use has the lab use the board.
func (l *lent) use() {
	l.t.Helper()
	ctx := l.t.Context()
	op, err := l.lab.CreateBridge(ctx, apiclient.BridgeCreate{Name: "lan", Boards: []string{"kitchen"}})
	if err == nil {
		op, err = l.lab.WaitOperation(ctx, op.ID, nil)
	}
	if err != nil || op.Status != s4t.OperationSucceeded {
		l.t.Fatalf("%+v, %v", op, err)
	}
	l.stream = l.open()
	var run apiclient.Run
	l.within(time.Minute, func(ctx context.Context) (err error) { // the board tells its commands in a moment
		run, err = l.lab.RunCommand(ctx, "kitchen", "wait", apiclient.RunOptions{Async: true})
		return err
	})
	l.run = run.Operation
	l.within(time.Minute, func(ctx context.Context) error {
		op, err := l.lab.Operation(ctx, l.run)
		if err == nil && op.Status != s4t.OperationStarted {
			err = fmt.Errorf("the command is %s", op.Status)
		}
		return err
	})
}

// open opens a stream to a service of the board that says what it hears.
func (l *lent) open() *stream.Stream {
	l.t.Helper()
	s, err := l.try()
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

func (l *lent) try() (*stream.Stream, error) {
	g, err := l.lab.OpenStream(l.t.Context(), "kitchen", apiclient.StreamOpen{TCPPort: serveEcho(l.t)})
	if err != nil {
		return nil, err
	}
	p, err := newProxy(l.Dial)
	if err != nil {
		return nil, err
	}
	l.t.Cleanup(p.close)
	d, err := dial.New(dial.Config{CA: []byte(l.ca), Proxy: p.url()})
	if err != nil {
		return nil, err
	}
	s, err := stream.Dial(l.t.Context(), d, g.URL, g.Ticket)
	if err == nil {
		l.t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// serveEcho serves what says back what it hears, and returns its port.
func serveEcho(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { io.Copy(c, c); c.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); serving.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

// says checks that the stream carries what is said.
func (l *lent) says() {
	l.t.Helper()
	b := make([]byte, 5)
	if _, err := io.WriteString(l.stream, "hello"); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.ReadFull(l.stream, b); err != nil || string(b) != "hello" {
		l.t.Fatalf("%q, %v", b, err)
	}
}

// device waits until the board has a device, or none.
func (l *lent) device(there bool) {
	l.t.Helper()
	l.within(time.Minute, func(context.Context) error {
		if got := l.board.Devices(); (len(got) > 0) != there {
			return fmt.Errorf("the board has the devices %v", got)
		}
		return nil
	})
}

// streamEnds waits until the stream is broken.
func (l *lent) streamEnds() {
	l.t.Helper()
	ended := make(chan error, 1)
	go func() { _, err := l.stream.Read(make([]byte, 1)); ended <- err }()
	select {
	case err := <-ended:
		if err == nil || err == io.EOF {
			l.t.Errorf("the stream ended as if it was done: %v", err)
		}
	case <-time.After(time.Minute):
		l.t.Fatal("the stream goes on")
	}
}

// TestALeaseEndsWhileTheCloudIsAway: the conductor and the board's session are gone, and the tunnel
// agent's clock has an hour to go: it is the board that ends what is open.
func TestALeaseEndsWhileTheCloudIsAway(t *testing.T) {
	l := newLent(t)
	l.use()
	l.says()
	l.device(true)
	for _, p := range l.Processes() {
		if strings.HasPrefix(p.Name, "conductor") || strings.HasPrefix(p.Name, "wamp") {
			p.Kill()
		}
	}
	l.clock.pass(58 * time.Minute)
	l.says()
	l.device(true)
	l.clock.pass(2 * time.Minute)
	over := time.Now()
	l.streamEnds()
	t.Logf("the stream was closed %v after the end of its lease, the cloud away", time.Since(over))
	l.device(false)
	for _, p := range l.Processes() {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	l.runEnds()
}

// watcher collects what comes of the board's output.
type watcher struct {
	t    *testing.T
	mu   sync.Mutex // guards seen
	seen []float64  // each change of it
	news chan struct{}
}

// watch watches the pins of the board until the end of the test.
func (l *lent) watch(c *apiclient.Client) *watcher {
	l.t.Helper()
	s, err := c.WatchPins(l.t.Context(), "kitchen", apiclient.PinsOptions{})
	if err != nil {
		l.t.Fatal(err)
	}
	w := &watcher{t: l.t, seen: []float64{0}, news: make(chan struct{}, 1)}
	var reading sync.WaitGroup
	reading.Go(func() {
		for m := range s.All() {
			w.mu.Lock()
			if m.Pin == "sim/b/out" && m.Value != w.seen[len(w.seen)-1] {
				w.seen = append(w.seen, m.Value)
			}
			w.mu.Unlock()
			select {
			case w.news <- struct{}{}:
			default:
			}
		}
	})
	l.t.Cleanup(func() { s.Close(); reading.Wait() })
	return w
}

// last is the value that came last, and changes how often it was another.
func (w *watcher) last() float64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen[len(w.seen)-1]
}

func (w *watcher) changes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.seen) - 1
}

// sees waits until a value has come.
func (w *watcher) sees(v float64) {
	w.t.Helper()
	late := time.After(time.Minute)
	for w.last() != v {
		select {
		case <-w.news:
		case <-late:
			w.t.Fatalf("%v has not come", v)
		}
	}
}

// write has the owner write a value to the board's output.
func (l *lent) write(v float64) {
	l.t.Helper()
	if _, _, err := l.client.WritePin(l.t.Context(), "kitchen", "sim/b/out", apiclient.PinWrite{Value: v}); err != nil {
		l.t.Fatal(err)
	}
}

// runEnds waits until the command is ended, and says why.
func (l *lent) runEnds() {
	l.t.Helper()
	l.within(2*time.Minute, func(ctx context.Context) error {
		op, err := l.lab.Operation(ctx, l.run)
		if err == nil && op.Status != s4t.OperationFailed {
			err = fmt.Errorf("the command is %s", op.Status)
		}
		if err == nil && !strings.Contains(op.Error, "lease") {
			l.t.Fatalf("the command ended with %q", op.Error)
		}
		return err
	})
}

// TestALeaseThatIsGivenBackEndsAllAtOnce: with the cloud, by the book that comes.
func TestALeaseThatIsGivenBackEndsAllAtOnce(t *testing.T) {
	l := newLent(t)
	l.use()
	l.says()
	owner, lab := l.watch(l.client), l.watch(l.lab)
	l.write(1)
	owner.sees(1)
	lab.sees(1)
	over := time.Now()
	if _, err := l.lab.ReleaseLease(t.Context(), "night"); err != nil {
		t.Fatal(err)
	}
	l.streamEnds()
	t.Logf("the stream was closed %v after the lease was given back, the cloud there", time.Since(over))
	l.device(false)
	if _, err := l.try(); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a stream after it: %v", err)
	}
	l.write(0)
	owner.sees(0)
	l.write(1)
	owner.sees(1)
	if lab.last() != 1 || lab.changes() != 1 {
		t.Error("the lab still sees the pins")
	}
	l.runEnds()
}

// TestAfterABootNothingOfALeaseIsThereUntilTheCloudSpeaks: the owner's goes on.
func TestAfterABootNothingOfALeaseIsThereUntilTheCloudSpeaks(t *testing.T) {
	l := newLent(t)
	l.use()
	op, err := l.client.CreateBridge(t.Context(), apiclient.BridgeCreate{Name: "own", Boards: []string{"kitchen"}})
	l.done(op, err)
	l.board.Proxy.Cut()
	l.board.Stop()
	if err := l.board.Start(); err != nil {
		t.Fatal(err)
	}
	l.within(time.Minute, func(context.Context) error { // lightning-rod was started again, in the same boot
		if got := l.board.Devices(); len(got) != 2 {
			return fmt.Errorf("the board has the devices %v", got)
		}
		return nil
	})
	l.board.Stop()
	l.clock.reboot("two")
	if err := l.board.Start(); err != nil {
		t.Fatal(err)
	}
	l.device(true)
	if got := l.board.Devices(); len(got) != 1 {
		t.Errorf("after a boot the board has the devices %v", got)
	}
	l.board.Proxy.Heal()
	l.within(2*time.Minute, func(context.Context) error {
		if got := l.board.Devices(); len(got) != 2 {
			return fmt.Errorf("the cloud has spoken, and the board has the devices %v", got)
		}
		return nil
	})
}
