package lightningrod

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// cutters are pins that cut the board off its cloud while one has level 1.
type cutters struct{ *pins }

func (cutters) MayCutOff() {}

func (c cutters) levels() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.level
}

func (c cutters) cut() bool {
	for _, level := range c.levels() {
		if level == 1 {
			return true
		}
	}
	return false
}

// trialBench is a board whose cloud it may cut itself off from.
type trialBench struct {
	t    *testing.T
	e    *Engine
	pins cutters

	mu      sync.Mutex // guards the fields below
	desired wire.BoardDesired
	away    bool // the cloud is, whatever the board does
	session *fakeCloud
}

func newTrialBench(t *testing.T) *trialBench {
	b := &trialBench{t: t, desired: testDesired(1)}
	b.reset("")
	return b
}

// reset gives the board a lightning-rod, on the state of the last one.
func (b *trialBench) reset(state stateDir) {
	b.e, _ = engineFor(b.t, noDialer{}, b.connect)
	if state != "" {
		b.e.dir = state
	}
	b.pins = cutters{&pins{level: map[string]int{}}}
	b.e.kinds.add(gpio, b.pins)
}

func (b *trialBench) connect(context.Context, []string) (cloud, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away || b.pins.cut() {
		return nil, errors.New("no way to the cloud")
	}
	b.session = newFakeCloud(b.desired)
	return b.session, nil
}

// start runs it, from its saved state.
func (b *trialBench) start() (stop func()) {
	ctx, cancel := context.WithCancel(b.t.Context())
	var running sync.WaitGroup
	b.e.restore()
	running.Go(func() { b.e.judge(ctx) })
	stopSessions := run(b.t, b.e)
	synctest.Wait()
	return func() { cancel(); running.Wait(); stopSessions() }
}

// want makes the cloud want these pins.
func (b *trialBench) want(pins ...wire.Resource) {
	b.mu.Lock()
	b.desired = testDesired(b.desired.Generation + 1)
	b.desired.Resources = pins
	s, d := b.session, b.desired
	b.mu.Unlock()
	s.tell(d)
	synctest.Wait()
}

// lose ends the session, as a path that has gone silent does after a while.
func (b *trialBench) lose(after time.Duration) {
	time.Sleep(after)
	b.mu.Lock()
	s := b.session
	b.mu.Unlock()
	s.end(errors.New("nothing was heard"))
	synctest.Wait()
}

func (b *trialBench) setAway(away bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.away = away
}

// takenBack returns the pins that are said to be, as the last report had them.
func (b *trialBench) takenBack() (ids []string) {
	states, _ := b.e.kinds.states()
	for _, st := range states {
		if st.ProblemID == wire.StateTakenBack {
			ids = append(ids, st.ID)
		}
	}
	return ids
}

func (b *trialBench) online() bool {
	up, _ := b.e.isOnline()
	return up
}

func TestWhatCutTheBoardOffIsTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrialBench(t)
		stop := b.start()
		b.want(pin("changed", 0), pin("same", 0))
		time.Sleep(2 * trialTime)
		b.want(pin("changed", 1), pin("same", 0), pin("new", 1))
		b.lose(6 * time.Second)
		time.Sleep(trialTime - time.Second)
		synctest.Wait()
		if b.online() || len(b.takenBack()) > 0 {
			t.Fatal("it was taken back before a session could have come")
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		check := func(when string) {
			t.Helper()
			want := map[string]int{"changed": 0, "same": 0}
			if got := b.pins.levels(); got["changed"] != 0 || len(got) != len(want) {
				t.Errorf("%s: pins %v, want %v", when, got, want)
			}
			if got := b.takenBack(); !slices.Equal(got, []string{"changed", "new"}) {
				t.Errorf("%s: taken back are %v", when, got)
			}
			if !b.online() {
				t.Errorf("%s: no session", when)
			}
		}
		check("after it was taken back")
		b.mu.Lock()
		last := b.session.reported()
		b.mu.Unlock()
		if r := last[len(last)-1]; !slices.ContainsFunc(r.Resources, func(st wire.ResourceState) bool {
			return st.ID == "new" && !st.Up && st.ProblemID == wire.StateTakenBack
		}) {
			t.Errorf("the cloud was told %+v", r)
		}
		time.Sleep(10 * time.Minute)
		b.lose(time.Hour)
		time.Sleep(time.Second)
		check("after another session")
		stop()
		b.reset(b.e.dir)
		stop = b.start()
		check("after a restart")
		b.want(pin("changed", 0), pin("same", 0), pin("new", 3))
		if got := b.pins.levels(); got["new"] != 3 || len(b.takenBack()) > 0 {
			t.Errorf("with another spec: pins %v, taken back %v", got, b.takenBack())
		}
		stop()
	})
}

// TestOnlyTheNewestIsBlamed: with what came before it a call was answered.
func TestOnlyTheNewestIsBlamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrialBench(t)
		defer b.start()()
		b.want(pin("first", 2), pin("changed", 2))
		time.Sleep(10 * time.Second)
		b.want(pin("first", 2), pin("changed", 1), pin("second", 1))
		b.lose(6 * time.Second)
		time.Sleep(trialTime + 10*time.Second)
		synctest.Wait()
		if got := b.pins.levels(); got["first"] != 2 || got["changed"] != 2 || len(got) != 2 || !slices.Equal(b.takenBack(), []string{"changed", "second"}) {
			t.Errorf("pins %v, taken back %v", got, b.takenBack())
		}
	})
}

func TestAStateIsBootedWithOnlyWhenACallWasAnsweredWithIt(t *testing.T) {
	for _, tt := range []struct {
		name     string
		answered bool
		level    int // of the pin after a restart
	}{
		{"answered", true, 2},
		{"not answered", false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newTrialBench(t)
				stop := b.start()
				b.want(pin("p", 0))
				time.Sleep(2 * trialTime)
				if !tt.answered {
					b.session.mu.Lock()
					b.session.fails[wamp.Report] = errors.New("nothing was heard")
					b.session.mu.Unlock()
				}
				b.want(pin("p", 2))
				stop() // power is lost
				b.setAway(true)
				b.reset(b.e.dir)
				defer b.start()()
				if got := b.pins.levels(); got["p"] != tt.level {
					t.Errorf("the board booted with %v", got)
				}
			})
		})
	}
}

// TestPowerLossDoesNotSaveWhatCutsOff: it was answered once, and then the board
// lost its session and its power.
func TestPowerLossDoesNotSaveWhatCutsOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrialBench(t)
		stop := b.start()
		b.want(pin("p", 0))
		time.Sleep(2 * trialTime)
		b.want(pin("p", 1))
		b.lose(6 * time.Second)
		stop()
		b.reset(b.e.dir)
		defer b.start()()
		if !b.pins.cut() {
			t.Fatalf("the board booted with %v", b.pins.levels())
		}
		time.Sleep(trialTime + 10*time.Second)
		synctest.Wait()
		if !b.online() || b.pins.cut() || !slices.Equal(b.takenBack(), []string{"p"}) {
			t.Errorf("online %v, pins %v, taken back %v", b.online(), b.pins.levels(), b.takenBack())
		}
	})
}

func TestWhatIsNotToBlameIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newTrialBench(t)
		defer b.start()()
		b.want(pin("p", 2))
		b.setAway(true)
		b.lose(time.Second)
		time.Sleep(2 * trialTime)
		synctest.Wait()
		if got := b.takenBack(); !slices.Equal(got, []string{"p"}) {
			t.Fatalf("taken back are %v", got)
		}
		time.Sleep(time.Hour)
		b.setAway(false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if got := b.pins.levels(); got["p"] != 2 || len(b.takenBack()) > 0 {
			t.Errorf("pins %v, taken back %v", got, b.takenBack())
		}
	})
}

func TestAConfirmedStateIsNotTakenBack(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(b *trialBench)
	}{
		{"a session lived for a minute", func(b *trialBench) { time.Sleep(trialTime + time.Second) }},
		{"a session was lost, and came back", func(b *trialBench) {
			b.lose(time.Second)
			time.Sleep(trialTime)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newTrialBench(t)
				defer b.start()()
				b.want(pin("p", 2))
				tt.do(b)
				synctest.Wait()
				if k, _, _ := b.e.dir.kept(boardA); len(k.Suspects) > 0 || len(k.Desired.Resources) != 1 {
					t.Errorf("kept %+v", k)
				}
				b.setAway(true)
				b.lose(0)
				time.Sleep(time.Hour)
				synctest.Wait()
				if got := b.pins.levels(); got["p"] != 2 || len(b.takenBack()) > 0 {
					t.Errorf("pins %v, taken back %v", got, b.takenBack())
				}
			})
		})
	}
}

// TestBoardsThatSpreadTheirReturnAreGivenTheTime: the cloud asked for it.
func TestBoardsThatSpreadTheirReturnAreGivenTheTime(t *testing.T) {
	now := time.Now()
	tr := newTrial(func(wire.Kind) bool { return true })
	tr.returns(5 * time.Minute)
	tr.session(true)
	tr.want([]wire.Resource{pin("p", 2)})
	tr.session(false)
	if _, back, wait := tr.due(); len(back) > 0 || wait < 5*time.Minute || wait > 6*time.Minute+time.Since(now) {
		t.Errorf("taken back %v, asks again after %v", back, wait)
	}
}
