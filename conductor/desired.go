package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// boardDesired answers a board that asks for its desired state (step 6 of
// Fig. 3).
func (c *Conductor) boardDesired(ctx context.Context, req wire.BoardAsk) (wire.BoardDesired, error) {
	op := fmt.Sprintf("give board %q its desired state", req.Board)
	d, err := view(ctx, c, func(tx *store.Tx) (wire.BoardDesired, error) {
		b, err := tx.Board(req.Board)
		if err == nil {
			err = current(op, &b, req.Epoch)
		}
		if err != nil {
			return wire.BoardDesired{}, err
		}
		rows, err := tx.RealizationsOfHolder(string(b.ID))
		if err != nil {
			return wire.BoardDesired{}, err
		}
		tree, err := tx.Holdings(b.ID) // read after the generation: it is as new as that, or newer
		d := c.desiredOf(b, rows, c.now())
		d.Book = c.bookOf(b, tree, tx.Now())
		return d, err
	})
	if err == nil {
		d.Told = req.Told
		c.noteStep(note{board: req.Board, generation: d.Generation, told: d.Told, received: d.Time})
	}
	return d, err
}

// desiredOf is the whole state that a board should have, of which rows are wanted.
func (c *Conductor) desiredOf(b store.Board, rows []store.Realization, now time.Time) wire.BoardDesired {
	d := wire.BoardDesired{
		Board: b.ID, Name: b.Name, Project: b.Project, Tenure: b.Tenure, Generation: b.Generation, Time: now, URLs: c.around.urls(b, c.cfg.URLs), TicketKey: c.ticketKey(), Resources: []wire.Resource{}, Trust: c.cfg.Trust(),
	}
	if !b.ClonedAt.IsZero() && now.Sub(b.ClonedAt) < cloneNotice {
		d.Notices = append(d.Notices, "another board connects with this board's key and is refused; un-enrol the copy with `lightning-rod leave`")
	}
	if !b.CodeUsed && b.CodeExpiresAt != nil && now.Before(*b.CodeExpiresAt) {
		d.Notices = append(d.Notices, "a code was made for another device to take this board's place; this one's key ends when it is used")
	}
	for _, r := range rows {
		d.Resources = append(d.Resources, r.Resource())
	}
	return d
}

// fillRealizations wants everything where that has not been done to the end:
// after the migration that brought the table.
func (c *Conductor) fillRealizations(ctx context.Context) error {
	filled, err := view(ctx, c, func(tx *store.Tx) (bool, error) { return tx.RealizationsFilled() })
	if err != nil || filled {
		return err
	}
	if err := c.wantAll(ctx); err != nil {
		return err
	}
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.SetRealizationsFilled() })
}

// wantAll wants of everybody what the objects say. What is wanted so already
// changes nothing.
func (c *Conductor) wantAll(ctx context.Context) error {
	err := wantEach(ctx, c, func(tx *store.Tx, p wire.Page) (wire.List[s4t.Network], error) { return tx.Networks("", p) }, (*change).wantNetwork)
	if err != nil {
		return err
	}
	err = wantEach(ctx, c, func(tx *store.Tx, p wire.Page) (wire.List[store.Port], error) { return tx.Ports("", p) }, (*change).wantPort)
	if err != nil {
		return err
	}
	err = wantEach(ctx, c, func(tx *store.Tx, p wire.Page) (wire.List[store.Service], error) { return tx.Services("", "", p) },
		func(ch *change, s store.Service) error { ch.wantService(s); return nil })
	if err != nil {
		return err
	}
	return wantEach(ctx, c, func(tx *store.Tx, p wire.Page) (wire.List[store.Board], error) { return tx.Boards("", "", nil, p) },
		func(ch *change, b store.Board) error {
			if err := ch.wantPlugins(b); err != nil {
				return err
			}
			return ch.wantStreams(b)
		})
}

// wantEach wants what the objects of a list say, each page in a change of its
// own.
func wantEach[T any](ctx context.Context, c *Conductor, read func(*store.Tx, wire.Page) (wire.List[T], error), want func(*change, T) error) error {
	page := wire.Page{Limit: batch}
	for {
		next := ""
		err := c.change(ctx, func(ch *change) error {
			list, err := read(ch.Tx, page)
			if err != nil {
				return err
			}
			next = list.Next
			for _, v := range list.Items {
				if err := want(ch, v); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || next == "" {
			return err
		}
		page.After = next
	}
}
