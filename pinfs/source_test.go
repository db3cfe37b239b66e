package pinfs

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// boards is a [Source] whose pins do as a test says.
type boards struct {
	mu      sync.Mutex
	tree    Tree
	changed chan struct{}
	pins    map[string]*pin
	set     func(ctx context.Context, board, pin, key, value string, by Holder) error
	opened  int // pins that are open
}

// pin is a pin of [boards]. Its fields are guarded by the mutex of those.
type pin struct {
	src       *boards
	board     string
	sample    s4t.Sample // the newest
	slow      bool       // it is not at hand
	err       error      // of reading and writing
	meanwhile func()     // called in the next read that is asked for
	hang      bool       // reading and writing do not end by themselves
	lease     *s4t.PinLease
	written   []float64
	fence     int64 // of the claim that is held by who writes
	by        []Holder
	watched   map[*handle]func()
	begun     chan struct{} // told, if there is room, when something waits in it or watches it
}

func newBoards(list ...Board) *boards {
	s := &boards{changed: make(chan struct{}), pins: map[string]*pin{}}
	s.show(list...)
	return s
}

// local is a tree of one board, the own one.
func local(nodes ...Node) *boards { return newBoards(Board{Pins: nodes}) }

func input(name string, keys ...string) Node {
	return Node{Pin: s4t.Pin{Name: name, Kind: s4t.PinDigital, Direction: s4t.PinIn, Keys: keys}}
}

func output(name string, keys ...string) Node {
	n := input(name, keys...)
	n.Direction, n.Writable = s4t.PinOut, true
	return n
}

func labelled(n Node, label string) Node {
	n.Label = label
	return n
}

// show makes these the boards that there are.
func (s *boards) show(list ...Board) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree = Tree{Revision: s.tree.Revision + 1, Boards: list}
	for _, b := range list {
		for _, n := range b.Pins {
			if key := b.Name + ":" + n.Name; s.pins[key] == nil {
				s.pins[key] = &pin{src: s, board: b.Name, watched: map[*handle]func(){}, begun: make(chan struct{}, 100), sample: s4t.Sample{Pin: n.Name, Seq: 1, Value: 1, At: time.Unix(1700000000, 123456789)}}
			}
		}
	}
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *boards) Tree() Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree
}

func (s *boards) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *boards) Open(board, name string, by Holder) Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pins[board+":"+name]
	p.by = append(p.by, by)
	s.opened++
	return &handle{pin: p}
}

func (s *boards) Set(ctx context.Context, board, pin, key, value string, by Holder) error {
	s.mu.Lock()
	set := s.set
	s.mu.Unlock()
	if set != nil {
		return set(ctx, board, pin, key, value, by)
	}
	s.mu.Lock()
	list := slices.Clone(s.tree.Boards)
	s.mu.Unlock()
	for i := range list {
		if list[i].Name != board {
			continue
		}
		list[i].Pins = slices.Clone(list[i].Pins)
		for j := range list[i].Pins {
			n := &list[i].Pins[j]
			if n.Name != pin {
				continue
			}
			n.Settings = maps.Clone(n.Settings)
			if n.Settings == nil {
				n.Settings = map[string]string{}
			}
			n.Settings[key] = value
			if key == s4t.PinKeyDirection {
				n.Direction, n.Writable = value, value == s4t.PinOut
			}
		}
	}
	s.show(list...)
	return nil
}

// pin returns a pin, to change with do.
func (s *boards) pin(board, name string) *pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pins[board+":"+name]
}

func (s *boards) open() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened
}

// do changes a pin.
func (p *pin) do(change func()) {
	p.src.mu.Lock()
	defer p.src.mu.Unlock()
	change()
}

// edge is a new sample.
func (p *pin) edge(value float64) {
	var wake []func()
	p.do(func() {
		p.sample.Seq++
		p.sample.Value = value
		p.sample.At = p.sample.At.Add(time.Second)
		wake = slices.Collect(maps.Values(p.watched))
	})
	for _, w := range wake {
		w()
	}
}

// begins waits until something waits in the pin, or watches it.
func (p *pin) begins(t *testing.T) {
	t.Helper()
	select {
	case <-p.begun:
	case <-time.After(limit):
		t.Fatal("nobody came to the pin")
	}
}

func (p *pin) begin() {
	select {
	case p.begun <- struct{}{}:
	default:
	}
}

func (p *pin) watchers() int {
	p.src.mu.Lock()
	defer p.src.mu.Unlock()
	return len(p.watched)
}

// handle is an open pin.
type handle struct{ *pin }

func (h *handle) Newest() (s4t.Sample, bool) {
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	return h.sample, !h.slow && h.err == nil
}

func (h *handle) Last() (s4t.Sample, bool) {
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	return h.sample, true
}

func (h *handle) wait(ctx context.Context) error {
	h.src.mu.Lock()
	hang, err := h.hang, h.err
	h.src.mu.Unlock()
	if hang {
		h.begin()
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (h *handle) Read(ctx context.Context) (s4t.Sample, error) {
	h.src.mu.Lock()
	meanwhile := h.meanwhile
	h.meanwhile = nil
	h.src.mu.Unlock()
	if meanwhile != nil {
		meanwhile()
	}
	err := h.wait(ctx)
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	return h.sample, err
}

func (h *handle) Write(ctx context.Context, value float64, fence int64) (int64, error) {
	if err := h.wait(ctx); err != nil {
		return 0, err
	}
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	if fence != 0 && fence != h.fence {
		return 0, s4t.Errorf(s4t.Stale, "write pin", "claim it again", "the claim %d has ended", fence)
	}
	h.written = append(h.written, value)
	return h.fence, nil
}

func (h *handle) Watch(wake func()) {
	h.do(func() { h.watched[h] = wake })
	h.begin()
}

func (h *handle) Lease() *s4t.PinLease {
	h.src.mu.Lock()
	defer h.src.mu.Unlock()
	return h.lease
}

func (h *handle) Close() {
	h.do(func() {
		delete(h.watched, h)
		h.src.opened--
	})
}

// fleet is a tree of many boards.
func fleet(n, pins int) []Board {
	list := make([]Board, n)
	for i := range list {
		list[i] = Board{Name: fmt.Sprintf("board-%04d", i), Online: true, ReportedAt: time.Unix(1700000000, 0)}
		for j := range pins {
			list[i].Pins = append(list[i].Pins, input(fmt.Sprintf("gpio/gpiochip0/%d", j)))
		}
	}
	return list
}
