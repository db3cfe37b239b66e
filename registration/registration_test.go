package registration

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const lease = 30 * time.Second

// rig is a Registration, and a conductor that answers as the test wants. It
// lives in a synctest bubble: times are exact.
type rig struct {
	t *testing.T
	r *Registration

	mu     sync.Mutex                                     // guards the fields below; the test holds it while no time passes
	answer func(ctx context.Context, method string) error // after which it is a yes
	lease  time.Duration
	said   []string // methods, in order
	uses   []wire.Use
	heard  map[s4t.ProjectID]int64 // of uses, as the conductor has them
	most   int                     // uses in one beat

	start  time.Time
	held   context.Context // of the last Registered
	hellos int
	lost   []time.Duration // since start
	stop   func()
	ended  chan error
}

// Call implements Queue.
func (r *rig) Call(ctx context.Context, topic, method string, req, reply any) error {
	r.mu.Lock()
	r.said = append(r.said, method)
	answer := r.answer
	if beat, ok := req.(wire.AgentBeat); ok { // an answer may be lost, not what was said
		for _, u := range beat.Use {
			r.heard[u.Project] = u.Used
		}
		r.most = max(r.most, len(beat.Use))
	}
	r.mu.Unlock()
	if answer != nil {
		if err := answer(ctx, method); err != nil {
			return err
		}
	}
	switch reply := reply.(type) {
	case *wire.AgentWelcome:
		reply.Lease = r.lease
	case *wire.AgentLease:
		reply.Lease = r.lease
	}
	return nil
}

// newRig runs a Registration until the conductor has heard its hello.
func newRig(t *testing.T, lease time.Duration) *rig {
	t.Helper()
	r := &rig{t: t, lease: lease, start: time.Now(), ended: make(chan error, 1), heard: map[s4t.ProjectID]int64{}}
	var err error
	r.r, err = New(Config{
		Hello: wire.AgentHello{ID: "a", Incarnation: "i"}, Queue: r,
		Uses: func() []wire.Use {
			r.mu.Lock()
			defer r.mu.Unlock()
			return slices.Clone(r.uses)
		},
		Registered: func(held context.Context, _ wire.AgentWelcome) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.held = held
			r.hellos++
			return nil
		},
		Lost: func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.held.Err() == nil {
				t.Error("Lost is called before the lease has ended")
			}
			r.lost = append(r.lost, time.Since(r.start))
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { r.ended <- r.r.Run(ctx) }()
	r.stop = cancel
	synctest.Wait()
	r.mu.Lock()
	if r.hellos != 1 {
		t.Fatalf("%d hellos", r.hellos)
	}
	return r
}

// pass lets time pass.
func (r *rig) pass(d time.Duration) {
	r.mu.Unlock()
	time.Sleep(d)
	synctest.Wait()
	r.mu.Lock()
}

// end stops it and expects no error.
func (r *rig) end() {
	r.t.Helper()
	r.stop()
	if err := <-r.ended; err != nil {
		r.t.Errorf("Run: %v", err)
	}
	if r.held.Err() == nil {
		r.t.Error("the lease outlives Run")
	}
}

func unavailable(context.Context, string) error {
	return s4t.Errorf(s4t.Unavailable, "call", "", "nobody is there")
}

// silent answers nothing until the caller gives up.
func silent(ctx context.Context, _ string) error {
	<-ctx.Done()
	return s4t.Errorf(s4t.Timeout, "call", "", "no answer: %w", ctx.Err())
}

func TestBeatsHoldTheLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lease)
		r.pass(time.Hour)
		if len(r.said) != 1+720 || r.hellos != 1 || len(r.lost) != 0 || r.held.Err() != nil {
			t.Errorf("%d messages, %d hellos, lost at %v", len(r.said), r.hellos, r.lost)
		}
		r.end()
		if len(r.lost) != 0 {
			t.Error("the lease was lost by stopping")
		}
	})
}

func TestBeatsSayWhatHasChangedInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lease)
		use := func(counts ...int64) {
			r.uses = nil
			for i, n := range counts {
				if n > 0 {
					r.uses = append(r.uses, wire.Use{Project: s4t.ProjectID(rune('a' + i)), Key: s4t.QuotaStreams, Used: n})
				}
			}
		}
		knows := func(when string, want ...int64) {
			t.Helper()
			for i, n := range want {
				if got := r.heard[s4t.ProjectID(rune('a'+i))]; got != n {
					t.Errorf("%s: of project %c it knows %d, want %d", when, 'a'+i, got, n)
				}
			}
		}
		use(3, 5)
		r.pass(beatInterval)
		knows("at first", 3, 5)
		r.most = 0
		r.pass(beatInterval)
		if r.most != 0 {
			t.Error("what has not changed is told again")
		}
		use(3, 0, 7)
		r.pass(beatInterval)
		knows("after a change", 3, 0, 7)
		if r.most != 2 {
			t.Errorf("%d changes were told, want 2", r.most)
		}

		r.answer = silent // heard, but the answer is lost
		use(4, 0, 7, 9)
		r.pass(beatInterval)
		knows("with a lost answer", 4, 0, 7, 9)
		r.answer = nil
		use(4, 0, 7)
		r.pass(callTimeout + 2*maxWait)
		knows("after a lost answer", 4, 0, 7, 0)

		r.heard = map[s4t.ProjectID]int64{"c": 7} // it has forgotten, all but what is gone meanwhile
		use(4)
		r.r.Renew()
		r.pass(2 * beatInterval)
		knows("after another hello", 4, 0, 0)

		var many []int64
		for i := range wire.MaxPage + 1 {
			many = append(many, int64(i+1))
		}
		use(many...)
		r.pass(2 * beatInterval)
		knows("of more than a page", many...)
		if r.most != wire.MaxPage {
			t.Errorf("%d in one beat, want a page", r.most)
		}
		r.end()
	})
}

func TestALeaseRunsOutToTheMoment(t *testing.T) {
	for name, answer := range map[string]func(context.Context, string) error{"nobody is there": unavailable, "nothing answers": silent} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, lease)
				first := r.held
				r.pass(2 * time.Second)
				r.answer = answer
				r.pass(lease - 2*time.Second - time.Millisecond)
				if len(r.lost) != 0 || first.Err() != nil {
					t.Fatalf("lost at %v", r.lost)
				}
				r.pass(2 * time.Millisecond)
				if len(r.lost) != 1 || r.lost[0] != lease {
					t.Fatalf("lost at %v, want at %v", r.lost, lease)
				}
				r.pass(time.Hour)
				if len(r.lost) != 1 || r.hellos != 1 {
					t.Errorf("lost at %v, %d hellos", r.lost, r.hellos)
				}
				r.answer = nil
				r.pass(callTimeout + 2*maxWait)
				if r.hellos != 2 || r.held == first || r.held.Err() != nil {
					t.Errorf("%d hellos, the new lease: %v", r.hellos, r.held.Err())
				}
				r.end()
			})
		})
	}
}

func TestALeaseCountsFromBeforeItWasAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const slow = 2 * time.Second
		r := newRig(t, lease)
		r.answer = func(ctx context.Context, _ string) error { time.Sleep(slow); return nil }
		r.pass(beatInterval + slow) // one beat, sent after 5 s, answered after 7 s
		r.answer = unavailable
		r.pass(time.Minute)
		if len(r.lost) != 1 || r.lost[0] != beatInterval+lease {
			t.Errorf("lost at %v, want %v", r.lost, beatInterval+lease)
		}
		r.end()
	})
}

func TestAnOutageShorterThanTheLeaseCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lease)
		first := r.held
		r.answer = unavailable
		r.pass(lease - maxWait*2)
		r.answer = nil
		r.pass(maxWait * 2)
		if len(r.lost) != 0 || r.held != first || first.Err() != nil || r.hellos != 2 {
			t.Errorf("lost at %v, %d hellos, want a second one in the same lease", r.lost, r.hellos)
		}
		r.end()
	})
}

func TestWhoIsToldThatItIsUnknownSaysHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lease)
		tries := 0
		r.mu.Unlock()
		err := r.r.Retry(t.Context(), "ask", func(ctx context.Context) error {
			if tries++; tries == 1 {
				return unavailable(ctx, "")
			}
			return nil
		})
		r.mu.Lock()
		r.pass(0)
		if err != nil || tries != 2 || r.hellos != 2 {
			t.Errorf("%v after %d tries, %d hellos", err, tries, r.hellos)
		}
		r.end()
	})
}

func TestAnotherIncarnationEndsIt(t *testing.T) {
	conflict := func(context.Context, string) error {
		return s4t.Errorf(s4t.Conflict, "beat", "", "another one has its place")
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, lease)
		r.answer = conflict
		r.pass(beatInterval)
		if err := <-r.ended; s4t.KindOf(err) != s4t.Conflict {
			t.Errorf("Run: %v", err)
		}
		if len(r.lost) != 1 || r.held.Err() == nil {
			t.Errorf("lost at %v", r.lost)
		}
		if err := r.r.Retry(t.Context(), "ask", func(ctx context.Context) error { return conflict(ctx, "") }); s4t.KindOf(err) != s4t.Conflict {
			t.Errorf("Retry: %v", err)
		}
		r.stop()
	})
}

func TestAConductorThatGivesNoLeaseIsServedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 0)
		r.answer = silent
		r.pass(time.Hour)
		if len(r.lost) != 0 || r.held.Err() != nil {
			t.Errorf("lost at %v", r.lost)
		}
		r.end()
	})
}

func TestAShortLeaseIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, time.Second)
		r.pass(time.Minute)
		if len(r.lost) != 0 || r.hellos != 1 {
			t.Errorf("lost at %v, %d hellos", r.lost, r.hellos)
		}
		r.end()
	})
}

func TestBackoffGrowsToItsBound(t *testing.T) {
	var b Backoff
	for i := range 100 {
		mean := min(minWait<<min(i, 10), maxWait)
		if got := b.Next(); got < mean*8/10 || got > mean*12/10 {
			t.Errorf("wait %d is %v, want about %v", i, got, mean)
		}
	}
}
