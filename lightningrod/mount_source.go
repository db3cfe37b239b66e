package lightningrod

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/wire"
)

// mountInterest is how often a mount asks whether something changed, as the cloud tells
// news to boards only that asked within the last two minutes.
const mountInterest = 45 * time.Second

// remoteSource is the source of a tree of other boards' pins: what the cloud tells
// of them, by way of the lightning-rod that runs on this board.
type remoteSource struct {
	own   s4t.BoardID // left out
	names []string    // of the boards; none: all
	link  *mountLink
	log   *slog.Logger
	news  chan struct{} // cap 1: the boards are to be looked at again
	due   chan struct{} // cap 1: a board's watch is to be told
	now   func() time.Time

	mu      sync.Mutex // guards what follows, and what is said of boards and pins
	session int64      // of this board with the cloud; 0: none
	tree    pinfs.Tree
	changed chan struct{}
	boards  map[s4t.BoardID]*remoteBoard
	event   int64 // as of which the tree is
}

// remoteBoard is another board.
type remoteBoard struct {
	id      s4t.BoardID
	name    string
	online  bool
	epoch   int64
	pins    map[string]*remotePin // those that are watched
	leases  map[string]*s4t.PinLease
	due     bool // what is watched is to be told to the cloud
	telling bool
	live    bool // samples of what is watched come
}

// remotePin is a pin that is watched by at least one file.
type remotePin struct {
	newest s4t.Sample
	came   time.Time // when it did; zero: what is read next is to be asked for
	seen   bool      // it came from the board, since this mount watches
	files  map[*remoteFile]func()
}

func newRemoteSource(own s4t.BoardID, names []string, dir stateDir, log *slog.Logger) *remoteSource {
	s := &remoteSource{
		own: own, names: names, log: log, news: make(chan struct{}, 1), due: make(chan struct{}, 1), now: time.Now,
		changed: make(chan struct{}), boards: map[s4t.BoardID]*remoteBoard{},
	}
	s.tree.Revision = 1
	s.link = &mountLink{dir: dir, got: s.got, log: log}
	return s
}

// run keeps the tree as the cloud says until ctx ends. first is called once, with why
// there are no boards, or nil when they are there.
func (s *remoteSource) run(ctx context.Context, first func(error)) {
	var working sync.WaitGroup
	defer working.Wait()
	working.Go(func() {
		s.link.run(ctx, func(err error) {
			s.away()
			first(err)
		})
	})
	renew := time.NewTicker(wire.PinWatchTerm / 3)
	defer renew.Stop()
	interest := time.NewTicker(mountInterest)
	defer interest.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.news:
			if err := s.look(ctx); err != nil {
				first(err)
				if again := s4t.KindOf(err) != s4t.Offline; again && ctx.Err() == nil {
					s.log.Warn("list the pins of other boards", "err", err, "retry_in", max(retryAfter(err), retryCall))
					working.Go(func() { sleep(ctx, max(retryAfter(err), retryCall)); notify(s.news) })
				}
			} else {
				first(nil)
			}
		case <-interest.C:
			notify(s.news)
		case <-renew.C:
			s.mu.Lock()
			for _, b := range s.boards {
				b.due = b.due || len(b.pins) > 0
			}
			s.mu.Unlock()
		case <-s.due:
		}
		s.mu.Lock()
		for _, b := range s.boards {
			if b.due && !b.telling {
				b.due, b.telling = false, true
				working.Go(func() { s.tellWatch(ctx, b) })
			}
		}
		s.mu.Unlock()
	}
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// got takes what the lightning-rod of this board tells by itself.
func (s *remoteSource) got(f mountFrame) {
	if f.Samples != nil {
		var list []s4t.Sample
		if json.Unmarshal(f.Samples.Samples, &list) == nil {
			s.take(f.Samples.Board, list, false)
		}
	}
	if f.News == nil {
		return
	}
	session := f.News.Session
	if !f.News.Online {
		session = 0
	}
	s.mu.Lock()
	if session != s.session {
		for _, b := range s.boards {
			b.live = false
			b.due = b.due || session != 0 && len(b.pins) > 0
		}
	}
	s.session = session
	s.mu.Unlock()
	if session == 0 {
		s.away()
	}
	notify(s.news)
}

// away notes that there is no way to the boards.
func (s *remoteSource) away() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.session, s.event = 0, 0
	some := false
	boards := slices.Clone(s.tree.Boards)
	for i := range boards {
		some = some || boards[i].Online
		boards[i].Online = false
	}
	for _, b := range s.boards {
		b.online, b.live = false, false
	}
	if some {
		s.show(boards)
	}
}

// show makes boards the tree. Caller holds mu.
func (s *remoteSource) show(boards []pinfs.Board) {
	s.tree = pinfs.Tree{Revision: s.tree.Revision + 1, Boards: boards}
	close(s.changed)
	s.changed = make(chan struct{})
}

// look asks the cloud which boards and pins there are.
func (s *remoteSource) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	s.mu.Lock()
	known := s.event
	s.mu.Unlock()
	list, event, unchanged, err := s.link.boards(ctx, s.names, known)
	if err != nil || unchanged {
		return err
	}
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
	s.mu.Lock()
	defer s.mu.Unlock()
	before := map[string]pinfs.Board{}
	for _, b := range s.tree.Boards {
		before[b.Name] = b
	}
	gone := s.boards
	s.boards = make(map[s4t.BoardID]*remoteBoard, len(list))
	boards := make([]pinfs.Board, 0, len(list))
	for _, at := range list {
		if at.ID == s.own {
			continue
		}
		b := gone[at.ID]
		if b == nil {
			b = &remoteBoard{id: at.ID, pins: map[string]*remotePin{}, leases: map[string]*s4t.PinLease{}}
		}
		s.boards[at.ID] = b
		online := at.Status == s4t.BoardOnline
		if online && (!b.online || b.epoch != at.Epoch) {
			b.live, b.due = false, len(b.pins) > 0
		}
		b.name, b.online, b.epoch = at.Name, online, at.Epoch
		show := pinfs.Board{Name: at.Name, Online: online}
		if at.ReportedAt != nil {
			show.ReportedAt = *at.ReportedAt
		}
		if was, ok := before[at.Name]; ok && was.ReportedAt.Equal(show.ReportedAt) && len(was.Pins) == len(at.Pins) {
			show.Pins = was.Pins
		} else {
			show.Pins = nodesOf(at.Pins)
		}
		boards = append(boards, show)
	}
	s.event = event
	s.show(boards)
	notify(s.due)
	return nil
}

func nodesOf(pins []s4t.Pin) []pinfs.Node {
	nodes := make([]pinfs.Node, len(pins))
	for i, p := range pins {
		nodes[i].Pin = p
	}
	sort.Slice(nodes, func(i, j int) bool { return nodes[i].Name < nodes[j].Name })
	return nodes
}

// tellWatch tells the cloud what is watched of a board. telling is set.
func (s *remoteSource) tellWatch(ctx context.Context, b *remoteBoard) {
	w := wire.PinWatch{Board: string(b.id), After: map[string]uint64{}}
	s.mu.Lock()
	session := s.session
	for name, p := range b.pins {
		w.Pins = append(w.Pins, name)
		if p.seen {
			w.After[name] = p.newest.Seq
		}
	}
	s.mu.Unlock()
	slices.Sort(w.Pins)
	if w.End = len(w.Pins) == 0; len(w.Pins) > s4t.MaxPinWatch {
		w.Pins = nil
	}
	call, cancel := context.WithTimeout(ctx, callTimeout)
	a, err := s.link.ask(call, mountFrame{Watch: &w})
	cancel()
	again := false
	switch s4t.KindOf(err) {
	case "", s4t.Offline, s4t.NotFound, s4t.Forbidden: // offline: news come when it is there again
	default:
		again = true
		s.log.Warn("watch pins of another board", "board", string(b.id), "err", err, "retry_in", max(retryAfter(err), retryCall))
		sleep(ctx, max(retryAfter(err), retryCall))
	}
	s.mu.Lock()
	b.live = err == nil && !w.End && session == s.session
	b.due = b.due || again
	b.telling = false
	if b.due {
		notify(s.due)
	}
	live := b.live
	s.mu.Unlock()
	if live && a.Answer != nil {
		s.take(b.id, a.Answer.Samples, true)
	}
}

// take takes samples of a board, and wakes the files that watch. What comes twice
// is left out: a board sends again what may have been lost. begins: the watch begins,
// and what was the newest before may be so still.
func (s *remoteSource) take(id s4t.BoardID, list []s4t.Sample, begins bool) {
	var wake []func()
	s.mu.Lock()
	if b := s.boards[id]; b != nil {
		b.live = b.live || b.online && s.session != 0 && len(list) > 0
		for _, sample := range list {
			p := b.pins[sample.Pin]
			again := p != nil && p.seen && !sample.Newer(p.newest)
			if p == nil || again && !begins {
				continue
			}
			if !again {
				p.newest, p.came, p.seen = sample, s.now(), true
			}
			for _, w := range p.files {
				wake = append(wake, w)
			}
		}
	}
	s.mu.Unlock()
	for _, w := range wake {
		w()
	}
}

// Tree returns what the cloud said last.
func (s *remoteSource) Tree() pinfs.Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree
}

// Changed is closed when the tree is another.
func (s *remoteSource) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// node is a pin of the tree, nil where it is not there. Caller holds mu.
func (s *remoteSource) node(board, pin string) *pinfs.Node {
	i, ok := slices.BinarySearchFunc(s.tree.Boards, board, func(b pinfs.Board, name string) int { return cmp.Compare(b.Name, name) })
	if !ok {
		return nil
	}
	pins := s.tree.Boards[i].Pins
	i, ok = slices.BinarySearchFunc(pins, pin, func(n pinfs.Node, name string) int { return cmp.Compare(n.Name, name) })
	if !ok {
		return nil
	}
	return &pins[i]
}

// Open opens a pin for a file. Whether it is there the board says.
func (s *remoteSource) Open(board, pin string, _ pinfs.Holder) pinfs.Pin {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, b := range s.boards {
		if b.name == board {
			return &remoteFile{source: s, board: b, pin: pin}
		}
	}
	return gonePin{s4t.Errorf(s4t.NotFound, "open pin "+pin, "", "there is no board %q", board)}
}

// Set changes a setting.
func (s *remoteSource) Set(ctx context.Context, board, pin, key, value string, by pinfs.Holder) error {
	f, ok := s.Open(board, pin, by).(*remoteFile)
	if !ok {
		return s4t.Errorf(s4t.NotFound, "set "+key+" of pin "+pin, "", "there is no board %q", board)
	}
	a, err := f.ask(ctx, wire.PinAsk{Do: wire.PinSet, Pins: []string{pin}, Settings: map[string]string{key: value}})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	boards := slices.Clone(s.tree.Boards)
	for i := range boards {
		if boards[i].Name != board {
			continue
		}
		boards[i].Pins = slices.Clone(boards[i].Pins)
		for n := range boards[i].Pins {
			for _, now := range a.Pins {
				if node := &boards[i].Pins[n]; node.Name == now.Name {
					node.Pin = now
				}
			}
		}
	}
	s.show(boards)
	return nil
}
