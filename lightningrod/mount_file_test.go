package lightningrod

import (
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
)

// handClock is a clock that a test sets.
type handClock struct {
	mu sync.Mutex
	at time.Time
}

func (c *handClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *handClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// offMount is a source that is not run: of one board, whose samples the test makes.
func offMount(clock *handClock) *remoteSource {
	s := newRemoteSource(boardA, nil, "", slog.New(slog.DiscardHandler))
	s.now, s.session = clock.now, 1
	s.boards[boardB] = &remoteBoard{id: boardB, name: "gate", online: true, live: true, pins: map[string]*remotePin{}, leases: map[string]*s4t.PinLease{}}
	s.tree.Boards = []pinfs.Board{{Name: "gate", Online: true, Pins: nodesOf([]s4t.Pin{
		{Name: "sim/demo/edges", Settings: map[string]string{s4t.PinKeyEdge: "both"}},
		{Name: "sim/demo/out", Writable: true},
		{Name: "sim/demo/rising", Settings: map[string]string{s4t.PinKeyEdge: "rising"}},
		{Name: "sim/demo/sine", PeriodMS: 100},
	})}}
	return s
}

// TestANewestSampleIsAtHandForAWhile: what came is read from memory while it is what the
// board would say; it is known for poll also then when it is not.
func TestANewestSampleIsAtHandForAWhile(t *testing.T) {
	clock := &handClock{at: time.Unix(5000, 0)}
	s := offMount(clock)
	woken := 0
	for pin, atHand := range map[string]bool{"sim/demo/sine": true, "sim/demo/edges": true, "sim/demo/rising": false, "sim/demo/out": false} {
		f := s.Open("gate", pin, pinfs.Holder{}).(*remoteFile)
		f.Watch(func() { woken++ })
		s.take(boardB, []s4t.Sample{{Pin: pin, Seq: 4, At: time.Unix(4, 0), Value: 1}}, false)
		if v, ok := f.Newest(); ok != atHand || ok && v.Seq != 4 {
			t.Errorf("%s: %+v, %v", pin, v, ok)
		}
		clock.pass(time.Second)
		if _, ok := f.Newest(); ok {
			t.Errorf("%s: served a second after it came", pin)
		}
		if v, ok := f.Last(); !ok || v.Seq != 4 {
			t.Errorf("%s: last %+v, %v", pin, v, ok)
		}
		if s.take(boardB, []s4t.Sample{{Pin: pin, Seq: 4, At: time.Unix(9, 0), Value: 1}}, false); woken != 1 {
			t.Errorf("%s: a sample that came again woke", pin)
		}
		if s.take(boardB, []s4t.Sample{{Pin: pin, Seq: 1, At: time.Unix(10, 0), Value: 1}}, false); woken != 2 {
			t.Errorf("%s: the board started again, and nobody was told", pin)
		}
		woken = 0
	}
}

// TestAReadThatFailedIsTheLastWord: the newest sample is not served after the board was
// asked in vain.
func TestAReadThatFailedIsTheLastWord(t *testing.T) {
	d := newPinDaemon(t)
	defer d.start(t)()
	c := newPinCloud(1)
	_, f, woken := watchSine(t, d, c)
	defer f.Close()
	receive(t, "the newest sample", woken)
	if err := c.send(boardB, s4t.Sample{Pin: "sim/demo/sine", Seq: 2, At: time.Unix(2, 0)}); err != nil {
		t.Fatal(err)
	}
	receive(t, "a sample", woken)
	if v, ok := f.Newest(); !ok || v.Seq != 2 {
		t.Errorf("%+v, %v", v, ok)
	}
	c.pmu.Lock()
	c.away = true
	c.pmu.Unlock()
	if _, err := f.Read(t.Context()); s4t.KindOf(err) != s4t.Offline {
		t.Errorf("a board that does not answer: %v", err)
	}
	if v, ok := f.Newest(); ok {
		t.Errorf("served after that: %+v", v)
	}
}
