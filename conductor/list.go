package conductor

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// list answers with a page of what a caller may see; shown makes of a row what
// a user is shown.
func list[Row, Shown any](ctx context.Context, c *Conductor, caller wire.Caller, op string, shown func(Row) Shown, read func(tx *store.Tx) (wire.List[Row], error)) (wire.List[Shown], error) {
	if err := allow(caller, op, s4t.RoleReader); err != nil {
		return wire.List[Shown]{}, err
	}
	rows, err := view(ctx, c, read)
	if err != nil {
		return wire.List[Shown]{}, err
	}
	page := wire.List[Shown]{Items: make([]Shown, len(rows.Items)), Next: rows.Next, EventID: rows.EventID}
	for i, r := range rows.Items {
		page.Items[i] = shown(r)
	}
	return page, nil
}

// same is for rows that are shown as they are.
func same[T any](v T) T { return v }
