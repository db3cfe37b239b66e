package main

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/pinfs"
)

// mountWatch is the samples of one board: however many files are polled, it is
// one stream.
type mountWatch struct {
	source *mountSource
	id     s4t.BoardID
	name   string
	change chan struct{} // cap 1: other pins are to be watched

	mu      sync.Mutex // guards what follows; a leaf
	away    bool       // the board is offline
	files   map[string]map[*mountPin]func()
	newest  map[string]mountSample // by pin, of those that are watched
	leases  map[string]*s4t.PinLease
	asking  int // leases that are asked for
	running bool
}

// mountSample is the newest sample of a pin.
type mountSample struct {
	s4t.Sample
	came time.Time // on the local clock; zero: nothing has come since the stream or the board was lost
}

func newMountWatch(s *mountSource, id s4t.BoardID, name string) *mountWatch {
	return &mountWatch{source: s, id: id, name: name, change: make(chan struct{}, 1), files: map[string]map[*mountPin]func(){}, newest: map[string]mountSample{}, leases: map[string]*s4t.PinLease{}}
}

// seen notes whether the board is online. While it is away nothing is known of
// its pins.
func (w *mountWatch) seen(online bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away = !online; w.away {
		w.age()
		clear(w.leases)
	}
}

// age has what is known count as old: who reads asks. Caller holds mu.
func (w *mountWatch) age() {
	for pin, s := range w.newest {
		s.came = time.Time{}
		w.newest[pin] = s
	}
}

// lease notes what an event tells of who has a pin. Until when a claim lasts is
// asked for.
func (w *mountWatch) lease(e s4t.Event) {
	data, _ := e.Data.(map[string]any)
	pin, _ := data["pin"].(string)
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.leases, pin)
	if e.Kind != "pin.claimed" || pin == "" || w.asking >= maxAsking || w.source.ctx.Err() != nil {
		return
	}
	w.asking++
	w.source.done.Go(func() {
		l, err := w.source.client.Pins(w.source.ctx, string(w.id), pin)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.asking--
		if err == nil && len(l.Pins) == 1 {
			w.leases[pin] = l.Pins[0].Lease
		}
	})
}

// maxAsking is how many leases of a board are asked for at a time; of more,
// nothing is known.
const maxAsking = 4

// offline is the error of a board that is known to be away.
func (w *mountWatch) offline() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.away {
		return nil
	}
	return s4t.Errorf(s4t.Offline, "use pins of board "+w.name, "", "it is offline")
}

// add has wake called after each sample of a pin.
func (w *mountWatch) add(p *mountPin, wake func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files[p.name] == nil {
		w.files[p.name] = map[*mountPin]func(){}
	}
	w.files[p.name][p] = wake
	if w.running {
		w.kick()
		return
	}
	if w.source.ctx.Err() != nil {
		return
	}
	w.running = true
	w.source.done.Go(w.run)
}

// remove ends that.
func (w *mountWatch) remove(p *mountPin) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.files[p.name], p)
	if len(w.files[p.name]) == 0 {
		delete(w.files, p.name)
		delete(w.newest, p.name)
	}
	w.kick()
}

func (w *mountWatch) kick() {
	select {
	case w.change <- struct{}{}:
	default:
	}
}

// wanted are the pins to watch; too many: all of the board, which is none. It is
// not ok when there are none.
func (w *mountWatch) wanted() (pins []string, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.files); n == 0 || n > s4t.MaxPinWatch {
		return nil, n > 0
	}
	return slices.Sorted(maps.Keys(w.files)), true
}

// idle ends run, unless somebody came meanwhile.
func (w *mountWatch) idle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.running = len(w.files) > 0 && w.source.ctx.Err() == nil
	return !w.running
}

// run watches what is wanted until nothing is.
func (w *mountWatch) run() {
	for {
		pins, ok := w.wanted()
		if (!ok || w.source.ctx.Err() != nil) && w.idle() {
			return
		}
		ctx, cancel := context.WithCancel(w.source.ctx)
		var watching sync.WaitGroup
		watching.Go(func() { w.watch(ctx, pins) })
		for same := true; same && ctx.Err() == nil; {
			select {
			case <-ctx.Done():
			case <-w.change:
				next, ok := w.wanted()
				same = ok && slices.Equal(next, pins)
			}
		}
		cancel()
		watching.Wait()
	}
}

// rewatch is when a stream that ended is opened anew.
const rewatch = time.Second

// watch follows one stream until ctx ends.
func (w *mountWatch) watch(ctx context.Context, pins []string) {
	for {
		stream, err := w.source.client.WatchPins(ctx, string(w.id), apiclient.PinsOptions{Pins: pins})
		if err == nil {
			for m := range stream.All() {
				w.take(m)
			}
			stream.Close()
		}
		w.cut()
		again := time.NewTimer(rewatch)
		select {
		case <-ctx.Done():
			again.Stop()
			return
		case <-again.C:
		}
	}
}

// take notes a sample, and wakes who waits for it.
func (w *mountWatch) take(m apiclient.PinMessage) {
	if m.Notice != nil {
		if m.Notice.Status != s4t.BoardOnline {
			w.cut()
		}
		return
	}
	w.mu.Lock()
	if w.files[m.Pin] == nil {
		w.mu.Unlock()
		return
	}
	if was, known := w.newest[m.Pin]; !known || m.Sample.Newer(was.Sample) {
		w.newest[m.Pin] = mountSample{m.Sample, w.source.now()}
	}
	wakes := slices.Collect(maps.Values(w.files[m.Pin]))
	w.mu.Unlock()
	for _, wake := range wakes {
		wake()
	}
}

// cut notes that what comes is not heard.
func (w *mountWatch) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.age()
}

// lost notes that a pin was asked for and gave nothing.
func (w *mountWatch) lost(pin string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s, ok := w.newest[pin]; ok {
		s.came = time.Time{}
		w.newest[pin] = s
	}
}

// mountPin is a pin in use by an open file.
type mountPin struct {
	source *mountSource
	board  string
	name   string

	mu     sync.Mutex  // guards what follows; taken before a watch's
	watch  *mountWatch // nil: nobody polls the file
	read   *s4t.Sample // by Read; nil: it was not read
	ours   int64       // fence under which it wrote
	others int64       // fence of a claim that somebody else made
}

// Open is for pinfs.
func (s *mountSource) Open(board, pin string, _ pinfs.Holder) pinfs.Pin {
	return &mountPin{source: s, board: board, name: pin}
}

// find is the board with the pin; the error says that one is not there, or away.
func (p *mountPin) find() (*mountBoard, error) {
	b := p.source.board(p.board)
	if b == nil {
		return nil, noSuchPin(p.board, p.name)
	}
	if b.pin(p.name) == nil {
		return nil, noSuchPin(p.board, p.name)
	}
	return b, b.watch.offline()
}

// pin is a pin of the board, nil where it is not there.
func (b *mountBoard) pin(name string) *s4t.Pin {
	i, ok := slices.BinarySearchFunc(b.Pins, name, func(q s4t.Pin, name string) int { return strings.Compare(q.Name, name) })
	if !ok {
		return nil
	}
	return &b.Pins[i]
}

// Newest is for pinfs.
func (p *mountPin) Newest() (s4t.Sample, bool) {
	b := p.source.board(p.board)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.watch == nil || b == nil {
		return s4t.Sample{}, false
	}
	p.watch.mu.Lock()
	s, ok := p.watch.newest[p.name]
	p.watch.mu.Unlock()
	q := b.pin(p.name)
	return s.Sample, ok && q != nil && pinfs.AtHand(q, s.Sample, p.source.now().Sub(s.came), p.read)
}

// Last is for pinfs.
func (p *mountPin) Last() (s s4t.Sample, ok bool) {
	p.mu.Lock()
	w := p.watch
	p.mu.Unlock()
	if w == nil {
		return s, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	newest, ok := w.newest[p.name]
	return newest.Sample, ok
}

// Read is for pinfs.
func (p *mountPin) Read(ctx context.Context) (s4t.Sample, error) {
	b, err := p.find()
	if err != nil {
		return s4t.Sample{}, err
	}
	s, err := p.source.client.ReadPin(ctx, string(b.ID), p.name)
	if err != nil {
		b.watch.lost(p.name)
		return s, err
	}
	p.mu.Lock()
	p.read = &s
	p.mu.Unlock()
	return s, nil
}

// Write is for pinfs. The lease in the answer to a write without a fence is most often
// that of the holder; but somebody else may have claimed the pin just then. A fence
// that is stale though its claim lasts is that of somebody else, and is not used again.
func (p *mountPin) Write(ctx context.Context, value float64, fence int64) (held int64, err error) {
	b, err := p.find()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	guess := fence != p.ours
	if fence == p.others {
		fence, guess = 0, false
	}
	p.mu.Unlock()
	now, err := p.write(ctx, b, value, fence)
	if guess && s4t.KindOf(err) == s4t.Stale {
		l, e := p.source.client.Pins(ctx, string(b.ID), p.name)
		if e == nil && len(l.Pins) == 1 && l.Pins[0].Lease != nil && l.Pins[0].Lease.Fence == fence {
			p.mu.Lock()
			p.others = fence
			p.mu.Unlock()
			fence = 0
			now, err = p.write(ctx, b, value, fence)
		}
	}
	if err != nil || now == nil {
		return 0, err
	}
	if fence != 0 {
		p.mu.Lock()
		p.ours = fence
		p.mu.Unlock()
		return fence, nil
	}
	if now.Lease == nil {
		return 0, nil
	}
	return now.Lease.Fence, nil
}

// write has the board write, and notes who has the pin then.
func (p *mountPin) write(ctx context.Context, b *mountBoard, value float64, fence int64) (*s4t.Pin, error) {
	now, _, err := p.source.client.WritePin(ctx, string(b.ID), p.name, apiclient.PinWrite{Value: value, Fence: fence})
	if err == nil && now != nil {
		b.watch.mu.Lock()
		b.watch.leases[p.name] = now.Lease
		b.watch.mu.Unlock()
	}
	return now, err
}

// Watch is for pinfs.
func (p *mountPin) Watch(wake func()) {
	b := p.source.board(p.board)
	if b == nil {
		return
	}
	p.mu.Lock()
	p.watch = b.watch
	p.mu.Unlock()
	b.watch.add(p, wake)
}

// Lease is for pinfs.
func (p *mountPin) Lease() *s4t.PinLease {
	b, _ := p.find()
	if b == nil {
		return nil
	}
	b.watch.mu.Lock()
	defer b.watch.mu.Unlock()
	return b.watch.leases[p.name]
}

// Close is for pinfs.
func (p *mountPin) Close() {
	p.mu.Lock()
	w := p.watch
	p.mu.Unlock()
	if w != nil {
		w.remove(p)
	}
}
