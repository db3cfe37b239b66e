package conductor

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// news gathers what is new since it was fanned out last: many commits of a
// moment are told at once.
type news struct {
	some chan struct{} // room for one: there is something to tell

	mu     sync.Mutex // guards the fields below
	events int64      // id of the newest event
	told   int64      // the same, as it was told last
	moved  map[s4t.OperationID]bool
}

func newNews() *news {
	return &news{some: make(chan struct{}, 1), moved: map[s4t.OperationID]bool{}}
}

// publish has it told that there are events up to an id (0: none is new), and
// that operations have something new to show. It does not wait.
func (n *news) publish(events int64, moved ...s4t.OperationID) {
	n.mu.Lock()
	n.events = max(n.events, events)
	for _, id := range moved {
		n.moved[id] = true
	}
	due := n.events > n.told || len(n.moved) > 0
	n.mu.Unlock()
	if due {
		select {
		case n.some <- struct{}{}:
		default: // it is told already
		}
	}
}

// take returns what is to be told, in messages that are bounded.
func (n *news) take() (all []wire.News) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for part := range slices.Chunk(slices.Sorted(maps.Keys(n.moved)), wire.MaxNews) {
		all = append(all, wire.News{Operations: part})
	}
	if n.events > n.told {
		if len(all) == 0 {
			all = append(all, wire.News{})
		}
		all[0].Events = n.events
	}
	n.told = n.events
	clear(n.moved)
	return all
}

// tellNews fans out what is new until ctx ends. One that is lost costs who waits
// for it a delay.
func (c *Conductor) tellNews(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.news.some:
		}
		for _, n := range c.news.take() {
			if err := c.cfg.Queue.Fanout(ctx, wire.TopicEvents, wire.MethodNews, n); err != nil {
				c.cfg.Log.Info("not all have been told what is new", "err", err)
			}
		}
	}
}
