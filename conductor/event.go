package conductor

import (
	"context"
	"maps"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	keepOfProject = 10_000  // events of a project that a reader can resume among, and operations
	keepOfAll     = 200_000 // of all projects: with more, those that have most are cut first

	keepRuns     = 10_000   // runs of commands of a project, of which
	keepRunBytes = 64 << 20 // the parameters and results together have so many bytes
	trimTogether = 1000     // that one transaction forgets: others have their turn in between
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
		trimmed, err := tx.TrimmedEvents(project)
		if err != nil {
			return list, err
		}
		if req.After > 0 && req.After < trimmed {
			return list, s4t.Errorf(s4t.NotFound, listEvents, "list the objects anew, and go on after the newest event", "the events after %d are not kept any more", req.After)
		}
		list.Items, err = tx.Events(project, req.Board, req.After, limit)
		return list, err
	})
}

// fairShare is how many each may keep of what the counts say: as many as most,
// or fewer where all would have more than total. Who has little keeps it.
func fairShare[K comparable](counts map[K]int, most, total int) int {
	sizes := slices.Sorted(maps.Values(counts))
	left := total
	for i, n := range sizes {
		if share := left / (len(sizes) - i); min(n, most) > share {
			return max(share, 1)
		}
		left -= min(n, most)
	}
	return most
}

// trim forgets the oldest events and operations of the projects that have more
// than their share. Nobody's noise shortens the history of others.
func (c *Conductor) trim(ctx context.Context) error {
	var events, operations map[s4t.ProjectID]int
	_, err := view(ctx, c, func(tx *store.Tx) (_ struct{}, err error) {
		if events, err = tx.CountEvents(); err != nil {
			return
		}
		operations, err = tx.CountOperations()
		return
	})
	if err != nil {
		return err
	}
	for _, kept := range []struct {
		counts map[s4t.ProjectID]int
		trim   func(*store.Tx, s4t.ProjectID, int) error
	}{{events, (*store.Tx).TrimEvents}, {operations, (*store.Tx).TrimOperations}} {
		share := fairShare(kept.counts, keepOfProject, keepOfAll)
		for project, n := range kept.counts {
			if n <= share {
				continue
			}
			if err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return kept.trim(tx, project, share) }); err != nil {
				return err
			}
		}
	}
	return c.trimRuns(ctx, keepRuns, trimTogether)
}

// trimRuns does it for runs of commands, which have shares of their own: keep of a
// project. One transaction forgets as many as together says.
func (c *Conductor) trimRuns(ctx context.Context, keep, together int) error {
	for {
		var counts map[s4t.ProjectID]int
		var bytes map[s4t.ProjectID]int64
		_, err := view(ctx, c, func(tx *store.Tx) (_ struct{}, err error) {
			counts, bytes, err = tx.CountRuns()
			return
		})
		if err != nil {
			return err
		}
		share := fairShare(counts, keep, keepOfAll)
		more := false
		for project, n := range counts {
			over := n - share
			if size := bytes[project]; size > keepRunBytes { // of about the same size each
				over = max(over, int(int64(n)*(size-keepRunBytes)/size)+1)
			}
			if over <= 0 {
				continue
			}
			forgot := int64(0)
			if err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
				forgot, err = tx.TrimRuns(project, min(over, together))
				return err
			}); err != nil {
				return err
			}
			more = more || forgot > 0 && over > together
		}
		if !more {
			return nil
		}
	}
}
