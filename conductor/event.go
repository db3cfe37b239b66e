package conductor

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	keepEvents     = 10_000 // events that a reader can resume among
	keepOperations = 10_000
	eventBatch     = 1000 // events of one list
)

// eventList returns the events after one, oldest first.
func (c *Conductor) eventList(ctx context.Context, req wire.EventList) ([]s4t.Event, error) {
	if err := allow(req.Caller, "list events", s4t.RoleReader); err != nil {
		return nil, err
	}
	return view(ctx, c, func(tx *store.Tx) ([]s4t.Event, error) { return tx.Events(scope(req.Caller), req.After, eventBatch) })
}

// tell fans out the events as they are committed, in their order, until ctx
// ends. It starts after the last one that there is: those who want older ones
// ask for them.
func (c *Conductor) tell(ctx context.Context, last int64) {
	for {
		events, err := view(ctx, c, func(tx *store.Tx) ([]s4t.Event, error) { return tx.Events("", last, eventBatch) })
		if err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("events could not be read; they are told later", "err", err)
		}
		for _, e := range events {
			last = e.ID
			if err := c.cfg.Queue.Fanout(ctx, wire.TopicEvents, wire.MethodEvent, e); err != nil {
				c.cfg.Log.Info("an event was not taken by all", "err", err)
			}
		}
		if len(events) == eventBatch {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-c.news:
		}
	}
}

// lastEvent is where tell begins.
func (c *Conductor) lastEvent(ctx context.Context) (int64, error) {
	return view(ctx, c, func(tx *store.Tx) (int64, error) { return tx.LastEvent() })
}
