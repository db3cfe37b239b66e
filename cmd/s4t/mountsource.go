package main

import (
	"context"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/pinfs"
	"github.com/stack4things/s4t/wire"
)

// mountSource is the pins of boards as the cloud has them, for a tree (pinfs).
// Names and settings are the cloud's copy, read once and kept true by events;
// values are asked for.
type mountSource struct {
	client *apiclient.Client
	ctx    context.Context // of the mount: watches end with it
	only   []string        // boards, names or ids; none: all
	now    func() time.Time

	mu      sync.Mutex    // guards what follows; taken before a watch's
	changed chan struct{} // closed, and made anew, with each tree
	tree    pinfs.Tree
	event   int64 // up to here the tree is true
	boards  map[s4t.BoardID]*mountBoard
	named   map[string]*mountBoard // by name in the tree
	done    sync.WaitGroup         // of the watches
}

// mountBoard is a board of a tree. It is replaced when something changes, but for
// its watch.
type mountBoard struct {
	wire.PinBoard
	nodes []pinfs.Node
	watch *mountWatch
}

// newMountSource reads what there is.
func newMountSource(ctx context.Context, c *apiclient.Client, only []string) (*mountSource, error) {
	s := &mountSource{client: c, ctx: ctx, only: only, now: time.Now, changed: make(chan struct{}), boards: map[s4t.BoardID]*mountBoard{}}
	return s, s.load()
}

// load reads all boards, unless nothing has changed since they were read.
func (s *mountSource) load() error {
	s.mu.Lock()
	known := s.event
	s.mu.Unlock()
	all, err := s.client.AllPins(s.ctx, s.only, known)
	if err != nil || all.Unchanged {
		return err
	}
	s.show(all.Boards, all.EventID, true)
	return nil
}

// show replaces boards of the tree, or, with all, the tree.
func (s *mountSource) show(boards []wire.PinBoard, event int64, all bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := map[s4t.BoardID]*mountBoard{}
	if !all {
		maps.Copy(next, s.boards)
	}
	for _, b := range boards {
		slices.SortFunc(b.Pins, func(x, y s4t.Pin) int { return strings.Compare(x.Name, y.Name) })
		old := s.boards[b.ID]
		switch {
		case old == nil:
			next[b.ID] = &mountBoard{PinBoard: b, nodes: nodesOf(b.Pins), watch: newMountWatch(s, b.ID, b.Name)}
		case reflect.DeepEqual(old.Pins, b.Pins):
			next[b.ID] = &mountBoard{PinBoard: b, nodes: old.nodes, watch: old.watch}
		default:
			next[b.ID] = &mountBoard{PinBoard: b, nodes: nodesOf(b.Pins), watch: old.watch}
		}
		next[b.ID].watch.seen(b.Status == s4t.BoardOnline)
	}
	s.boards, s.event = next, max(s.event, event)
	s.rebuild()
}

func nodesOf(pins []s4t.Pin) []pinfs.Node {
	nodes := make([]pinfs.Node, len(pins))
	for i, p := range pins {
		nodes[i].Pin = p
	}
	return nodes
}

// rebuild makes the tree of the boards. Boards of several projects may have the
// same name, for an admin: then the id tells them apart. Caller holds mu.
func (s *mountSource) rebuild() {
	count := map[string]int{}
	for _, b := range s.boards {
		count[b.Name]++
	}
	s.named = make(map[string]*mountBoard, len(s.boards))
	for _, b := range s.boards {
		name := b.Name
		if count[name] > 1 {
			name += "." + string(b.ID)
		}
		s.named[name] = b
	}
	t := pinfs.Tree{Revision: s.tree.Revision + 1, Boards: make([]pinfs.Board, 0, len(s.named))}
	for _, name := range slices.Sorted(maps.Keys(s.named)) {
		b := s.named[name]
		board := pinfs.Board{Name: name, Pins: b.nodes, Online: b.Status == s4t.BoardOnline}
		if b.ReportedAt != nil {
			board.ReportedAt = *b.ReportedAt
		}
		t.Boards = append(t.Boards, board)
	}
	s.tree = t
	close(s.changed)
	s.changed = make(chan struct{})
}

// Tree is for pinfs.
func (s *mountSource) Tree() pinfs.Tree {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tree
}

// Changed is for pinfs.
func (s *mountSource) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// board returns a board of the tree, nil where it is not there.
func (s *mountSource) board(name string) *mountBoard {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.named[name]
}

// Set is for pinfs.
func (s *mountSource) Set(ctx context.Context, board, pin, key, value string, _ pinfs.Holder) error {
	b := s.board(board)
	if b == nil {
		return noSuchPin(board, pin)
	}
	if err := b.watch.offline(); err != nil {
		return err
	}
	p, err := s.client.SetPin(ctx, string(b.ID), pin, map[string]string{key: value})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if b = s.boards[b.ID]; b == nil {
		return nil
	}
	next := *b
	next.Pins = slices.Clone(b.Pins)
	for i := range next.Pins {
		if next.Pins[i].Name == pin {
			next.Pins[i] = p
		}
	}
	next.nodes = nodesOf(next.Pins)
	s.boards[b.ID] = &next
	s.rebuild()
	return nil
}

// follow keeps the tree true until the context of the mount ends, or nothing can
// be heard of the cloud any more.
func (s *mountSource) follow() error {
	s.mu.Lock()
	after := s.event
	s.mu.Unlock()
	events, err := s.client.Events(s.ctx, apiclient.EventsOptions{After: after})
	if err != nil {
		return err
	}
	defer events.Close()
	news := make(chan s4t.Event, 256)
	var reading sync.WaitGroup
	defer reading.Wait()
	defer events.Close()
	reading.Go(func() {
		defer close(news)
		for e := range events.All() {
			select {
			case news <- e:
			case <-s.ctx.Done():
				return
			}
		}
	})
	for e := range news {
		dirty, all := map[s4t.BoardID]bool{}, false
		for more := true; more; { // what came together is read together
			all = all || e.Kind == apiclient.EventReset || e.Kind == "board.deleted" || e.Kind == "board.created" || e.Kind == "board.updated"
			if s.concerns(e) {
				dirty[s4t.BoardID(e.Object)] = true
			}
			select {
			case e, more = <-news:
			default:
				more = false
			}
		}
		s.refresh(dirty, all)
	}
	return events.Err()
}

// concerns reports whether a board is to be read anew because of an event, and
// notes at once who is away, and who has a pin.
func (s *mountSource) concerns(e s4t.Event) bool {
	s.mu.Lock()
	b := s.boards[s4t.BoardID(e.Object)]
	s.mu.Unlock()
	switch {
	case strings.HasPrefix(e.Kind, "pin."):
		if b != nil {
			b.watch.lease(e)
		}
		return false
	case e.Kind != "pins.changed" && !strings.HasPrefix(e.Kind, "board."):
		return false
	case b == nil:
		return len(s.only) == 0
	case e.Kind == "board.offline":
		b.watch.seen(false)
	case e.Kind == "board.online":
		b.watch.seen(true)
	}
	return true
}

// maxRefresh is how many boards are read one by one: of more, all.
const maxRefresh = 200

// refresh reads boards anew, until the cloud answers.
func (s *mountSource) refresh(dirty map[s4t.BoardID]bool, all bool) {
	for s.ctx.Err() == nil && (all || len(dirty) > 0) {
		var err error
		if all || len(dirty) > maxRefresh {
			err = s.load()
		} else {
			var ids []string
			for id := range dirty {
				ids = append(ids, string(id))
			}
			slices.Sort(ids)
			var got apiclient.AllPins
			if got, err = s.client.AllPins(s.ctx, ids, 0); err == nil {
				s.show(got.Boards, 0, false)
			}
		}
		if err == nil {
			return
		}
		all = true // one of them may be gone
		t := time.NewTimer(time.Second)
		select {
		case <-s.ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// noSuchPin is the error of a pin that is not there (any more).
func noSuchPin(board, pin string) error {
	return s4t.Errorf(s4t.NotFound, "use pin "+pin+" of board "+board, "", "it is not there")
}
