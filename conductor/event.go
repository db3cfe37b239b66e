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
)

// eventList returns the events after one, oldest first. One that is not kept
// any more is NotFound: what came after it may be gone too.
func (c *Conductor) eventList(ctx context.Context, req wire.EventList) (wire.List[s4t.Event], error) {
	if err := allow(req.Caller, listEvents, s4t.RoleReader); err != nil {
		return wire.List[s4t.Event]{}, err
	}
	return c.events(ctx, scope(req.Caller), req)
}

// eventFeed returns the events of all projects, to an API process that shows
// its users theirs.
func (c *Conductor) eventFeed(ctx context.Context, req wire.EventList) (wire.List[s4t.Event], error) {
	return c.events(ctx, "", req)
}

const listEvents = "list events"

func (c *Conductor) events(ctx context.Context, project s4t.ProjectID, req wire.EventList) (wire.List[s4t.Event], error) {
	limit := req.Limit
	if limit <= 0 || limit > wire.MaxEvents {
		limit = wire.MaxEvents
	}
	return view(ctx, c, func(tx *store.Tx) (list wire.List[s4t.Event], err error) {
		if list.EventID, err = tx.LastEvent(); err != nil {
			return list, err
		}
		trimmed, err := tx.TrimmedEvents()
		if err != nil {
			return list, err
		}
		if req.After > 0 && req.After < trimmed {
			return list, s4t.Errorf(s4t.NotFound, listEvents, "list the objects anew, and go on after the newest event", "the events after %d are not kept any more", req.After)
		}
		list.Items, err = tx.Events(project, req.After, limit)
		return list, err
	})
}
