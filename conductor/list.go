package conductor

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// maxList bounds a page, in bytes of JSON: what people and boards say of
// themselves may be long, and an answer has to go through every queue.
const maxList = 4 << 20

// list answers with a page of what a caller may see; shown makes of a row what
// a user is shown. A page whose objects are large has fewer of them.
func list[Row, Shown any](ctx context.Context, c *Conductor, caller wire.Caller, op string, p wire.Page, shown func(Row) Shown, read func(tx *store.Tx, p wire.Page) (wire.List[Row], error)) (wire.List[Shown], error) {
	if err := allow(caller, op, s4t.RoleReader); err != nil {
		return wire.List[Shown]{}, err
	}
	for {
		rows, err := view(ctx, c, func(tx *store.Tx) (wire.List[Row], error) { return read(tx, p) })
		if err != nil {
			return wire.List[Shown]{}, err
		}
		page := wire.List[Shown]{Items: make([]Shown, len(rows.Items)), Next: rows.Next, EventID: rows.EventID}
		for i, r := range rows.Items {
			page.Items[i] = shown(r)
		}
		if len(page.Items) < 2 || len(wire.Encode(page)) <= maxList {
			return page, nil
		}
		p.Limit = len(page.Items) / 2
	}
}

// same is for rows that are shown as they are.
func same[T any](v T) T { return v }
