package lightningrod

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// fakeCloud answers in place of a session.
type fakeCloud struct {
	mu      sync.Mutex
	desired wire.BoardDesired
	refresh time.Duration // of the welcome
	epoch   int64
	refuse  error            // of connected
	fails   map[string]error // by procedure, once
	calls   []string
	reports []wire.BoardReport
	info    s4t.BoardInfo // of connected
	older   bool          // it does not know of reports that a session begins with

	wake chan int64
	move chan string
	done chan struct{}
	err  error
	once sync.Once
}

func newFakeCloud(d wire.BoardDesired) *fakeCloud {
	return &fakeCloud{desired: d, epoch: 1, fails: map[string]error{}, wake: make(chan int64, 1), done: make(chan struct{})}
}

func (c *fakeCloud) Call(_ context.Context, procedure string, arg, reply any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, procedure)
	if err := c.fails[procedure]; err != nil {
		delete(c.fails, procedure)
		return err
	}
	var answer any = wire.Empty{}
	switch procedure {
	case wamp.Connected:
		if c.refuse != nil {
			return c.refuse
		}
		c.info = arg.(wire.BoardConnected).Info
		first := arg.(wire.BoardConnected).Report
		if first != nil && !c.older {
			c.reports = append(c.reports, *first)
		}
		answer = wire.BoardWelcome{Epoch: c.epoch, Desired: c.desired, Refresh: c.refresh, Heard: first != nil && !c.older}
	case wamp.Desired:
		answer = c.desired
	case wamp.Report:
		c.reports = append(c.reports, arg.(wire.BoardReport))
	case wamp.Ticket:
		answer = wire.BoardTickets{Tickets: make([]string, arg.(wire.BoardTicket).Count)}
	}
	if reply == nil {
		return nil
	}
	return json.Unmarshal(wire.Encode(answer), reply)
}

func (c *fakeCloud) Serve(context.Context, string, wamp.Handler) error  { return nil }
func (c *fakeCloud) Follow(context.Context, string, func(string)) error { return nil }

func (c *fakeCloud) Wake() <-chan int64    { return c.wake }
func (c *fakeCloud) Move() <-chan string   { return c.move }
func (c *fakeCloud) Done() <-chan struct{} { return c.done }
func (c *fakeCloud) Err() error            { return c.err }
func (c *fakeCloud) URL() string           { return "https://127.0.0.1:8812" }
func (c *fakeCloud) Cut() bool             { return false }
func (c *fakeCloud) Close()                { c.end(nil) }

// end ends the session as the cloud, or the path to it, does.
func (c *fakeCloud) end(err error) {
	c.once.Do(func() { c.err = err; close(c.done) })
}

// tell gives the board another desired state.
func (c *fakeCloud) tell(d wire.BoardDesired) {
	c.mu.Lock()
	c.desired = d
	c.mu.Unlock()
	c.wake <- d.Generation
}

func (c *fakeCloud) reported() []wire.BoardReport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.reports)
}

// noDialer refuses to dial.
type noDialer struct{}

func (noDialer) Dial(context.Context, string, string, string, string) (*rtunnel.Conn, error) {
	return nil, errors.New("nothing there")
}

// engineFor returns an engine that connects with connect, and runs nothing
// but sessions.
func engineFor(t *testing.T, dialer rtunnelDialer, connect func(context.Context, []string) (cloud, error)) (*Engine, func() []int64) {
	t.Helper()
	var mu sync.Mutex
	var ready []int64
	e, err := New(Config{State: t.TempDir(), Ready: func(_ string, g int64) {
		mu.Lock()
		defer mu.Unlock()
		ready = append(ready, g)
	}, Devices: &Devices{
		Capabilities: func() link.Capabilities { return link.Capabilities{Networks: true} },
		Open:         func(link.Config) (Device, error) { return newFakeDevice(), nil },
		Apply:        func([]vnet.Op) (link.Outcome, error) { return link.Outcome{}, nil },
		Sweep:        func(func(string) bool) error { return nil },
	}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	e.id = testIdentity()
	e.caps = e.cfg.Devices.Capabilities()
	e.openProfile()
	if err := e.build(dialer, connect); err != nil {
		t.Fatal(err)
	}
	return e, func() []int64 {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(ready)
	}
}

// always gives the same session.
func always(c *fakeCloud) func(context.Context, []string) (cloud, error) {
	return func(context.Context, []string) (cloud, error) { return c, nil }
}

// run runs sessions until the end of the test or until stop is called.
func run(t *testing.T, e *Engine) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); e.keepSession(ctx); e.kinds.close() }()
	return func() { cancel(); <-done }
}

func TestSessionAppliesReportsAndSaysReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		e, ready := engineFor(t, noDialer{}, always(c))
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		if got := c.reported(); len(got) != 1 || got[0].Generation != 4 || got[0].Epoch != 1 {
			t.Fatalf("reports = %+v, want one of generation 4", got)
		}
		c.tell(testDesired(5))
		synctest.Wait()
		if got := c.reported(); len(got) != 2 || got[1].Generation != 5 {
			t.Fatalf("reports after a wake-up = %+v", got)
		}
		c.tell(testDesired(5)) // nothing new
		synctest.Wait()
		if got := c.reported(); len(got) != 2 {
			t.Errorf("a report that says the same was sent: %+v", got)
		}
		if want := []int64{4, 5}; !slices.Equal(ready(), want) {
			t.Errorf("ready lines %v, want %v", ready(), want)
		}
		if d, found, _ := e.dir.desired(boardA); !found || d.Generation != 5 {
			t.Errorf("on disk: %+v, %v", d, found)
		}
	})
}

// TestABoardThatComesBackReportsAsItConnects: it has what it should have, and one call
// says so. An older cloud gets a call of its own for it.
func TestABoardThatComesBackReportsAsItConnects(t *testing.T) {
	for _, older := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			idle := testDesired(4)
			idle.Resources = nil
			c := newFakeCloud(idle)
			c.older = older
			again := newFakeCloud(idle)
			again.older, again.epoch = older, 2
			sessions := make(chan *fakeCloud, 2)
			sessions <- c
			sessions <- again
			e, ready := engineFor(t, noDialer{}, func(context.Context, []string) (cloud, error) { return <-sessions, nil })
			stop := run(t, e)
			synctest.Wait()
			c.end(nil)
			time.Sleep(time.Minute)
			synctest.Wait()
			want := []string{wamp.Connected}
			if older {
				want = append(want, wamp.Report)
			}
			again.mu.Lock()
			var got []string
			for _, call := range again.calls {
				if call != wamp.Desired {
					got = append(got, call)
				}
			}
			again.mu.Unlock()
			if !slices.Equal(got, want) {
				t.Errorf("older cloud %t: calls %v, want %v", older, got, want)
			}
			if r := again.reported(); len(r) != 1 || r[0].Generation != 4 || len(r[0].Problems) > 0 || r[0].Seq != 1 {
				t.Errorf("older cloud %t: reports %+v", older, r)
			}
			if want := []int64{4, 4}; !slices.Equal(ready(), want) {
				t.Errorf("ready lines %v, want %v", ready(), want)
			}
			next := testDesired(5)
			next.Resources = nil
			again.tell(next)
			synctest.Wait()
			if r := again.reported(); len(r) != 2 || r[1].Generation != 5 || r[1].Seq != 2 || r[1].Epoch != 2 {
				t.Errorf("older cloud %t: after a wake-up reports %+v", older, r)
			}
			stop()
		})
	}
}

func TestLostWakeUpCostsADelayOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		e, ready := engineFor(t, noDialer{}, always(c))
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		c.mu.Lock()
		c.desired = testDesired(5)
		c.mu.Unlock()
		time.Sleep(2 * refreshInterval)
		synctest.Wait()
		if want := []int64{4, 5}; !slices.Equal(ready(), want) {
			t.Errorf("ready lines %v, want %v", ready(), want)
		}
	})
}

// TestACloudOfManyBoardsIsAskedSeldom: as often as its welcome says.
func TestACloudOfManyBoardsIsAskedSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		c.refresh = time.Hour
		e, ready := engineFor(t, noDialer{}, always(c))
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		c.mu.Lock()
		c.desired = testDesired(5)
		c.mu.Unlock()
		for _, step := range []struct {
			wait time.Duration
			want []int64
		}{{30 * time.Minute, []int64{4}}, {time.Hour, []int64{4, 5}}} {
			time.Sleep(step.wait)
			synctest.Wait()
			if !slices.Equal(ready(), step.want) {
				t.Errorf("after %v: ready lines %v, want %v", step.wait, ready(), step.want)
			}
		}
	})
}

func TestCallThatFailsIsMadeAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		c.fails[wamp.Report] = s4t.Errorf(s4t.Unavailable, "report", "", "the conductor is away")
		e, ready := engineFor(t, noDialer{}, always(c))
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		if len(ready()) != 0 {
			t.Errorf("ready before the report arrived")
		}
		time.Sleep(2 * retryCall)
		synctest.Wait()
		c.mu.Lock()
		c.fails[wamp.Desired] = s4t.Errorf(s4t.Unavailable, "ask", "", "the conductor is away")
		c.mu.Unlock()
		c.tell(testDesired(5))
		time.Sleep(2 * retryCall)
		synctest.Wait()
		if want := []int64{4, 5}; !slices.Equal(ready(), want) {
			t.Errorf("ready lines %v, want %v", ready(), want)
		}
	})
}

func TestRetriesAreSpacedByWhyTheSessionEnded(t *testing.T) {
	cloned := wamp.DecodeError("connect", wamp.ReasonCloned, "", "")
	left := wamp.DecodeError("connect", wamp.ReasonLeft, "", "")
	for _, tt := range []struct {
		name     string
		connect  func(n int) (cloud, error) // the n-th try
		tries    int
		min, max time.Duration // from the first try to the last
	}{
		{"the cloud is away", func(int) (cloud, error) { return nil, errors.New("refused") },
			3, 600 * time.Millisecond, 900 * time.Millisecond},
		{"TLS is re-signed on the way", func(int) (cloud, error) {
			return nil, s4t.Errorf(s4t.Unauthenticated, "dial", "", "the certificate is not the cloud's")
		}, 3, 600 * time.Millisecond, 900 * time.Millisecond},
		{"the cloud stays away", func(int) (cloud, error) { return nil, errors.New("refused") },
			11, 15 * time.Second, 25 * time.Second},
		{"a long session was lost", func(n int) (cloud, error) {
			c := newFakeCloud(testDesired(1))
			if n == 0 {
				time.AfterFunc(time.Hour, func() { c.end(errors.New("cut")) })
			}
			return c, nil
		}, 2, time.Hour + 100*time.Millisecond, time.Hour + 400*time.Millisecond},
		{"sessions end at once", func(n int) (cloud, error) {
			c := newFakeCloud(testDesired(1))
			time.AfterFunc(time.Millisecond, func() { c.end(errors.New("cut")) })
			return c, nil
		}, 6, 3 * time.Second, 8 * time.Second},
		{"the cloud does not know the key", func(int) (cloud, error) {
			return nil, wamp.DecodeError("join", wamp.ErrorURI(s4t.Unauthenticated), "", "unknown")
		}, 2, slowRetry * 8 / 10, slowRetry * 12 / 10},
		{"another board has the same key", func(int) (cloud, error) { return nil, cloned },
			2, slowRetry * 8 / 10, slowRetry * 12 / 10},
		{"the board was deleted", func(int) (cloud, error) { return nil, left },
			2, slowRetry * 8 / 10, slowRetry * 12 / 10},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var times []time.Time
				enough := make(chan struct{})
				e, _ := engineFor(t, noDialer{}, func(ctx context.Context, _ []string) (cloud, error) {
					times = append(times, time.Now())
					if len(times) == tt.tries {
						close(enough)
						<-ctx.Done()
						return nil, ctx.Err()
					}
					return tt.connect(len(times) - 1)
				})
				stop := run(t, e)
				<-enough
				stop()
				if took := times[len(times)-1].Sub(times[0]); took < tt.min || took > tt.max {
					t.Errorf("%d tries took %v, want %v to %v", tt.tries, took, tt.min, tt.max)
				}
			})
		})
	}
}

func TestADeletedBoardTakesDownWhatItHas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := testDesired(4)
		d.Resources = []wire.Resource{
			wire.NewResource(wire.KindService, "s1", wire.DesiredService{Target: "127.0.0.1", TCPPort: 22}),
			wire.NewResource(wire.KindStreams, string(boardA), wire.DesiredStreams{}),
		}
		c, start := newFakeCloud(d), time.Now()
		e, _ := engineFor(t, noDialer{}, func(context.Context, []string) (cloud, error) {
			switch {
			case time.Since(start) == 0:
				return c, nil
			case time.Since(start) < time.Minute:
				return nil, errors.New("refused")
			}
			return nil, wamp.DecodeError("connect", wamp.ReasonLeft, "", "")
		})
		defer run(t, e)()
		services := func() int { return len(e.Status().Services) }
		synctest.Wait()
		c.end(errors.New("cut"))
		time.Sleep(30 * time.Second)
		synctest.Wait()
		if n := services(); n != 1 {
			t.Fatalf("%d services; a cloud that is away takes nothing down", n)
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := services(); n != 0 {
			t.Errorf("%d services are left", n)
		}
		if saved, found, _ := e.dir.desired(boardA); !found || len(saved.Resources) != 0 {
			t.Errorf("after a restart it would come again: %+v", saved)
		}
	})
}

func TestTroubleIsSaidInTheStatus(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{wamp.DecodeError("connect", wamp.ReasonCloned, "", ""), "another board uses this board's identity"},
		{wamp.DecodeError("connect", wamp.ReasonLeft, "", ""), "does not know this board"},
		{wamp.DecodeError("join", wamp.ErrorURI(s4t.Unauthenticated), "", "no such key"), "does not know this board"},
		{s4t.Errorf(s4t.Unavailable, "dial https://a", "", "connection refused"), "connection refused"},
	} {
		synctest.Test(t, func(t *testing.T) {
			e, _ := engineFor(t, noDialer{}, func(context.Context, []string) (cloud, error) { return nil, tt.err })
			stop := run(t, e)
			synctest.Wait()
			s := e.Status()
			stop()
			if s.Connected || !slices.ContainsFunc(s.Problems, func(p string) bool { return contains(p, tt.want) }) {
				t.Errorf("problems = %q, want one that says %q", s.Problems, tt.want)
			}
		})
	}
}

func TestDamagedStateIsToldToTheCloudOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFakeCloud(testDesired(4))
		e, _ := engineFor(t, noDialer{}, always(c))
		if err := os.WriteFile(e.dir.path(desiredFile), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		e.restore()
		stop := run(t, e)
		defer stop()
		synctest.Wait()
		c.tell(testDesired(5))
		synctest.Wait()
		got := c.reported()
		if len(got) != 2 || got[0].Recovered == "" || got[1].Recovered != "" {
			t.Errorf("reports = %+v, want the first to say what was recovered", got)
		}
	})
}

func TestDesiredStateOfAnotherBoardIsRefused(t *testing.T) {
	e, _ := engineFor(t, noDialer{}, nil)
	d := testDesired(1)
	d.Board = boardB
	if err := e.adopt(d); err == nil {
		t.Error("it was taken")
	}
}

func TestURLsOfTheCloudComeFirstThenThoseOfTheJoin(t *testing.T) {
	e, _ := engineFor(t, noDialer{}, nil)
	e.desired.URLs = []string{"https://new:1", "https://127.0.0.1:8812"}
	want := []string{"https://new:1", "https://127.0.0.1:8812"}
	if got := e.urls(); !slices.Equal(got, want) {
		t.Errorf("urls = %q, want %q", got, want)
	}
	if got := preferred(want, "https://127.0.0.1:8812"); got[0] != "https://127.0.0.1:8812" || len(got) != 2 {
		t.Errorf("preferred = %q", got)
	}
}

// TestBoardsThatAreSentAwayComeBack: when it is their turn, within the second that
// it was told in.
func TestBoardsThatAreSentAwayComeBack(t *testing.T) {
	for after, from := range map[time.Duration]time.Duration{time.Second: time.Second, 40 * time.Second: 40 * time.Second, time.Hour: maxBusy} {
		for range 1000 {
			if wait := busyRetry(after); wait < from || wait > from+time.Second {
				t.Fatalf("told %v, it waits for %v", after, wait)
			}
		}
	}
}
