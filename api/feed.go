package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const (
	// ringSize is how many of the newest events a process keeps for its
	// watchers; who is further behind is served from event.list.
	ringSize = 4096
	// eventBatch is how many events a watcher takes out of the ring at once.
	eventBatch = 256
	// slowPoll is how often events are asked for where no news came: news may
	// be lost.
	slowPoll = 15 * time.Second
	// afterOutage is how long to wait before event.list is asked again, where
	// it did not answer.
	afterOutage = time.Second
	// newestOnly asks event.list for no event, but for the id of the newest.
	newestOnly = math.MaxInt64
)

// feed holds the newest events. It reads each of them once, whatever the
// number of those who watch.
type feed struct {
	queue   Queue
	log     *slog.Logger
	news    chan struct{}     // cap 1: there is something to read
	heard   func([]s4t.Event) // is told what came, in order; nil: not all is known. It does not wait
	watched func() bool       // whether somebody watches; nobody is told of what comes otherwise, and it is not kept
	reading chan struct{}     // cap 1: full while event.list is asked. Taken before mu, never while mu is held

	mu     sync.Mutex    // guards what follows; a leaf: nothing else is locked while it is held
	ring   []*told       // ids grow: every event after floor, up to newest
	floor  int64         // id before the first of ring
	newest int64         // -1: not known yet
	more   chan struct{} // closed, and made anew, when ring or newest changes
}

// told is an event as it is sent to a watcher.
type told struct {
	id      int64 // 0: it is not kept
	project s4t.ProjectID
	kind    string
	text    string
}

func newFeed(q Queue, log *slog.Logger) *feed {
	return &feed{queue: q, log: log, news: make(chan struct{}, 1), reading: make(chan struct{}, 1), newest: -1, more: make(chan struct{}), heard: func([]s4t.Event) {}, watched: func() bool { return true }}
}

// wake makes the feed read what is new.
func (f *feed) wake() {
	select {
	case f.news <- struct{}{}:
	default: // it will, anyway
	}
}

// run reads events as news of them comes, until ctx ends.
func (f *feed) run(ctx context.Context) {
	for ctx.Err() == nil {
		wait := slowPoll
		if err := f.read(ctx); err != nil && ctx.Err() == nil {
			f.log.Debug("events could not be read; they are read later", "err", err)
			wait = afterOutage
		}
		t := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-f.news:
		case <-t.C:
		}
		t.Stop()
	}
}

// read asks event.list for what came after the newest event that is known; at
// first, only for its id.
func (f *feed) read(ctx context.Context) error {
	select {
	case f.reading <- struct{}{}:
		defer func() { <-f.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		after := f.last()
		if after < 0 {
			after = newestOnly
		}
		l, err := eventFeed(ctx, f.queue, wire.EventList{After: after})
		switch {
		case s4t.KindOf(err) == s4t.NotFound: // too long without the conductor: begin anew
			f.begin(-1)
			f.heard(nil)
		case err != nil:
			return err
		case after == newestOnly:
			f.begin(l.EventID)
			return nil
		case len(l.Items) == 0 && l.EventID < after: // the database is an older one: a backup
			f.begin(l.EventID)
			f.heard(nil)
			return nil
		default:
			f.add(l.Items)
			f.heard(l.Items)
			if len(l.Items) < wire.MaxEvents {
				return nil
			}
		}
	}
}

// eventFeed asks for events, whoever may see them.
func eventFeed(ctx context.Context, q Queue, req wire.EventList) (l wire.List[s4t.Event], err error) {
	return l, q.Call(ctx, wire.TopicConductor, wire.MethodEventFeed, req, &l)
}

// last is the id of the newest event, -1 where it is not known.
func (f *feed) last() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.newest
}

// begin empties the ring: it holds what comes after newest.
func (f *feed) begin(newest int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ring, f.floor, f.newest = nil, newest, newest
	f.changed()
}

// add puts events at the end of the ring, or, where nobody watches, begins it anew after
// them: who comes later and asks for them is served from event.list.
func (f *feed) add(events []s4t.Event) {
	watched := f.watched()
	f.mu.Lock()
	defer f.mu.Unlock()
	if !watched {
		for _, e := range events {
			f.newest = max(f.newest, e.ID)
		}
		f.ring, f.floor = nil, f.newest
		f.changed()
		return
	}
	for _, e := range events {
		if e.ID > f.newest {
			f.ring = append(f.ring, &told{e.ID, e.Project, e.Kind, eventText(e)})
			f.newest = e.ID
		}
	}
	if n := len(f.ring) - ringSize; n > 0 {
		f.floor = f.ring[n-1].id
		f.ring = slices.Delete(f.ring, 0, n)
	}
	if len(events) > 0 {
		f.changed()
	}
}

// changed wakes who waits. Caller holds mu.
func (f *feed) changed() {
	close(f.more)
	f.more = make(chan struct{})
}

// after returns the first events of the ring after an id, and what is closed
// when there is more. It is not ok where the ring cannot tell what came after
// it.
func (f *feed) after(id int64) (l []*told, more <-chan struct{}, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.newest < 0 || id < f.floor || id > f.newest {
		return nil, f.more, false
	}
	i, _ := slices.BinarySearchFunc(f.ring, id+1, func(t *told, id int64) int { return int(min(max(t.id-id, -1), 1)) })
	return slices.Clone(f.ring[i:min(i+eventBatch, len(f.ring))]), f.more, true
}

// eventText is an event in the event stream format (HTML standard, 9.2).
func eventText(e s4t.Event) string {
	b, err := json.Marshal(e)
	if err != nil { // it was JSON a moment ago
		b = []byte("{}")
	}
	if e.ID == 0 { // one that is not kept: where to resume stays as it is
		return fmt.Sprintf("event: %s\ndata: %s\n\n", e.Kind, b)
	}
	return fmt.Sprintf("id: %d\nevent: %s\ndata: %s\n\n", e.ID, e.Kind, b)
}
