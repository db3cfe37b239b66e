package conductor

import (
	"context"
	"fmt"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// notePlace notes where a board is from now on, where that is another place than it was said to be
// before. was is that; it is noted too where no place was before there was a history.
func (ch *change) notePlace(b store.Board, was *s4t.Location) error {
	if b.Location == nil || was != nil && *was == *b.Location {
		return nil
	}
	if was != nil {
		known, err := ch.Places(b.ID)
		if err != nil {
			return err
		}
		if len(known) == 0 {
			if err := ch.InsertPlace(b.ID, *was, b.CreatedAt); err != nil {
				return err
			}
		}
	}
	return ch.InsertPlace(b.ID, *b.Location, ch.now)
}

// boardPlaces lists where a board was.
func (c *Conductor) boardPlaces(ctx context.Context, req wire.RefRequest) (wire.List[s4t.Place], error) {
	op := fmt.Sprintf("list the places of board %q", req.Ref)
	list := wire.List[s4t.Place]{Items: []s4t.Place{}}
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return list, err
	}
	return view(ctx, c, func(tx *store.Tx) (wire.List[s4t.Place], error) {
		b, _, err := findBoard(tx, req.Caller, op, wire.MethodBoardPlaces, req.Ref)
		if err != nil {
			return list, err
		}
		list.Items, err = tx.Places(b.ID)
		if err == nil && len(list.Items) == 0 && b.Location != nil { // from before there was a history
			list.Items = append(list.Items, s4t.Place{Location: *b.Location, Since: b.CreatedAt})
		}
		return list, err
	})
}
