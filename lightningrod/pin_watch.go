package lightningrod

import (
	"context"
	"encoding/json"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/hal"
	"github.com/stack4things/s4t/samples"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// maxUnsent is about how many samples wait for the link to the cloud; of more the
// newest of each pin stays.
const maxUnsent = 8192

// pinWatch has the samples that somebody at the cloud watches on their way there.
type pinWatch struct {
	hal  *hal.HAL
	sent func(n int) // samples that the cloud has taken

	allowed func(project s4t.ProjectID) bool // a lease lets the project watch now, or it owns the board

	mu      sync.Mutex     // guards what follows; taken before the locks of the HAL
	of      cloud          // whose session it is: it ends with that
	queue   *samples.Queue // of that session: one that has ended takes nothing of the next
	changed chan struct{}  // closed when of, queue or until are others
	names   []string       // what is to be watched, as the cloud named it
	all     bool
	shares  []wire.PinShare   // the parts of it, by whom they are for; none: it is all the board's own
	after   map[string]uint64 // where what begins to be watched begins
	until   time.Time
	watched map[string]*watchedPin // by name
}

// watchedPin is one pin that is watched.
type watchedPin struct {
	pin    *hal.Pin
	cancel func()

	mu      sync.Mutex // guards what follows; a leaf but for the queue's
	held    bool       // what comes waits until what the ring has is in the queue
	waiting []s4t.Sample
}

func newPinWatch(h *hal.HAL) *pinWatch {
	return &pinWatch{hal: h, sent: func(int) {}, allowed: func(s4t.ProjectID) bool { return true }, queue: samples.NewQueue(maxUnsent), changed: make(chan struct{}), watched: map[string]*watchedPin{}}
}

// firstValues is how long a watch waits for the values of pins that are not sampled.
const firstValues = 500 * time.Millisecond

// start watches exactly what ask says, and answers the newest sample of each pin: what
// is not sampled, as outputs are not, is read. Whose device does not answer in time has
// none.
func (w *pinWatch) start(ctx context.Context, of cloud, ask wire.PinAsk) (wire.PinAnswer, error) {
	a, unread, err := w.set(of, ask)
	if err != nil || len(unread) == 0 {
		return a, err
	}
	ctx, cancel := context.WithTimeout(ctx, firstValues)
	defer cancel()
	read := make([]*s4t.Sample, len(unread))
	var asking sync.WaitGroup
	for i, pin := range unread {
		asking.Go(func() {
			if s, err := pin.Read(ctx); err == nil {
				read[i] = &s
			}
		})
	}
	asking.Wait()
	for _, s := range read {
		if s != nil {
			a.Samples = append(a.Samples, *s)
		}
	}
	return a, nil
}

// set watches exactly what ask says, until its term is over, and answers the newest
// sample of each, and which have none in memory. A pin that is not there (yet) is
// watched from when it comes.
func (w *pinWatch) set(of cloud, ask wire.PinAsk) (a wire.PinAnswer, unread []*hal.Pin, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	nothing := len(ask.Pins) == 0 && !ask.All
	if w.of != of || nothing {
		select {
		case <-of.Done(): // its question waited, and the next session's watch is not its to end
			return a, nil, s4t.Errorf(s4t.Unavailable, "watch pins", "", "the session has ended")
		default:
		}
		w.clear()
	}
	if nothing {
		return a, nil, nil
	}
	w.of, w.names, w.all, w.shares, w.after = of, ask.Pins, ask.All, ask.Shares, ask.After
	w.until = time.Now().Add(min(max(ask.Term, 0), wire.PinWatchTerm))
	w.resolve()
	w.tell()
	for _, p := range w.watched {
		if s, ok := p.pin.Newest(); ok {
			a.Samples = append(a.Samples, s)
		} else {
			unread = append(unread, p.pin)
		}
	}
	if len(w.watched) == 0 && len(ask.Pins) > 0 {
		_, err = w.hal.Pin(ask.Pins[0])
		if err == nil { // the owner hides it
			err = s4t.Errorf(s4t.NotFound, "watch pins", "", "the board has no such pin")
		}
	}
	return a, unread, err
}

// stop ends the watch, if it is of that session still.
func (w *pinWatch) stop(of cloud) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of == of {
		w.clear()
	}
}

// clear watches nothing any more, and forgets what is unsent. Caller holds mu.
func (w *pinWatch) clear() {
	w.of, w.names, w.all, w.shares, w.after, w.until = nil, nil, false, nil, nil, time.Time{}
	w.resolve()
	w.queue.Take(math.MaxInt)
	w.queue = samples.NewQueue(maxUnsent)
	w.tell()
}

// tell wakes who sends. Caller holds mu.
func (w *pinWatch) tell() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// refresh looks again which pins there are, after they changed.
func (w *pinWatch) refresh() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.resolve()
}

// resolve makes what is watched what is to be watched. Caller holds mu.
func (w *pinWatch) resolve() {
	want := map[string]*hal.Pin{}
	names, all := w.lent()
	if all {
		names = nil
		for _, p := range w.hal.Pins() {
			names = append(names, p.Name)
		}
	}
	for _, name := range names {
		if pin, err := w.hal.Pin(name); err == nil && w.hal.Cloud(pin.Info().Name) != hal.CloudNone {
			want[pin.Info().Name] = pin
		}
	}
	for name, p := range w.watched {
		if want[name] != p.pin { // another one may have come in the place of one that was pulled
			p.cancel()
			delete(w.watched, name)
		}
	}
	for name, pin := range want {
		if w.watched[name] == nil {
			w.watched[name] = w.begin(name, pin)
		}
	}
}

// lent is what is to be watched of it for those who may watch now. Caller holds mu.
func (w *pinWatch) lent() (names []string, all bool) {
	if len(w.shares) == 0 {
		return w.names, w.all
	}
	for _, s := range w.shares {
		if w.allowed(s.Project) {
			names, all = append(names, s.Pins...), all || len(s.Pins) == 0
		}
	}
	return names, all
}

// begin watches a pin, from the sample after that which the cloud has.
func (w *pinWatch) begin(name string, pin *hal.Pin) *watchedPin {
	after, replay := w.after[name]
	p, queue := &watchedPin{pin: pin, held: replay}, w.queue
	p.cancel = pin.Watch(func(s s4t.Sample) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.held {
			p.waiting = append(p.waiting, s)
		} else {
			queue.Put(s)
		}
	})
	if !replay {
		return p
	}
	for more := true; more; {
		var list []s4t.Sample
		list, more = pin.History(after, time.Time{}, wire.MaxSamples)
		if len(list) == 0 {
			break
		}
		after = list[len(list)-1].Seq
		queue.Put(list...)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = false
	queue.Put(slices.DeleteFunc(p.waiting, func(s s4t.Sample) bool { return s.Seq <= after })...)
	p.waiting = nil
	return p
}

// now returns what a session watches, nil if nothing or not any more, for how long, and
// what is closed when that is another.
func (w *pinWatch) now(of cloud) (queue *samples.Queue, left time.Duration, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.of != of {
		return nil, 0, w.changed
	}
	if left = time.Until(w.until); left <= 0 {
		w.clear()
		return nil, 0, w.changed
	}
	return w.queue, left, w.changed
}

// send sends what is watched over one session until ctx ends or the session does.
// Batches go one by one: the cloud passes calls on in parallel, and samples have an
// order. So a link carries [wire.MaxSamples] samples a round trip; what is more is
// merged.
func (w *pinWatch) send(ctx context.Context, c cloud, board s4t.BoardID, log *slog.Logger) {
	defer w.stop(c)
	end := time.NewTimer(time.Hour)
	defer end.Stop()
	for {
		queue, left, changed := w.now(c)
		var ready <-chan struct{}
		if queue != nil {
			ready = queue.Ready()
			end.Reset(left)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.Done():
			return
		case <-changed:
			continue
		case <-end.C:
			continue
		case <-ready:
		}
		for list := queue.Take(wire.MaxSamples); len(list) > 0; list = queue.Take(wire.MaxSamples) {
			text, err := json.Marshal(list)
			if err != nil { // a value is finite, by contract of the HAL
				log.Error("samples cannot be sent", "err", err)
				continue
			}
			if !w.deliver(ctx, c, wire.PinSamples{Board: board, Samples: text}, log) {
				return
			}
			w.sent(len(list))
		}
	}
}

// deliver sends one batch until the cloud has it, or nobody watches. It reports
// whether the session goes on.
func (w *pinWatch) deliver(ctx context.Context, c cloud, batch wire.PinSamples, log *slog.Logger) bool {
	for {
		err := c.Call(ctx, wamp.Samples, batch, nil)
		switch s4t.KindOf(err) {
		case "":
			return true
		case s4t.NotFound:
			w.stop(c)
			return true
		}
		if wamp.ReasonOf(err) == wamp.NoSuchProcedure {
			w.stop(c)
			return true
		}
		wait := max(retryAfter(err), retryCall)
		log.Debug("samples wait", "err", err, "retry_in", wait)
		select {
		case <-ctx.Done():
			return false
		case <-c.Done():
			return false
		case <-time.After(wait):
		}
	}
}
