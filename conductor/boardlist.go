package conductor

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// maxLooked bounds the boards that one request looks at for those that are found.
const maxLooked = 20_000

// boardList returns the boards that the caller sees, by name, each as the JSON of a
// [s4t.Board] with the fields that are wanted. There may be thousands: what nobody asks
// for is not read, and none is encoded twice.
func (c *Conductor) boardList(ctx context.Context, req wire.BoardList) (wire.RawList, error) {
	const op = "list boards"
	var none wire.RawList
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return none, err
	}
	switch req.Status {
	case "", s4t.BoardRegistered, s4t.BoardOnline, s4t.BoardOffline:
	default:
		return none, s4t.Errorf(s4t.Invalid, op, "use online, offline or registered", "%q is not a status that a board has", req.Status)
	}
	query, err := s4t.ParseBoardQuery(req.Query)
	if err != nil {
		return none, err
	}
	l := boardLister{c: c, query: query, encode: func(b s4t.Board) (json.RawMessage, error) { return json.Marshal(b) }, parts: store.AllParts &^ store.PartKey}
	if req.Fields != "" {
		fields, err := wire.ProjectionOf[s4t.Board](op, req.Fields)
		if err != nil {
			return none, err
		}
		l.encode = func(b s4t.Board) (json.RawMessage, error) { return fields.Append(nil, &b) }
		if texts := newBoardTexts(fields, c.now()); texts != nil && !req.Leased && query.Empty() && len(req.Labels) == 0 && req.Fleet == "" {
			return view(ctx, c, func(tx *store.Tx) (wire.RawList, error) { return texts.read(tx, req) })
		}
		l.parts = partsOf(fields.Has) | partsOf(func(names ...string) bool { return query.Has(searched[names[0]]...) })
	}
	return view(ctx, c, func(tx *store.Tx) (wire.RawList, error) {
		var err error
		if l.members, err = membersOf(tx, req.Caller, op, req.Fleet); err != nil {
			return none, err
		}
		return l.read(tx, req)
	})
}

// boardLister makes pages of boards.
type boardLister struct {
	c       *Conductor
	query   s4t.BoardQuery
	members map[s4t.BoardID]bool // of the fleet that is meant; nil: every board
	parts   store.BoardParts
	encode  func(s4t.Board) (json.RawMessage, error)
}

// read reads as many boards as it takes to find a page of them, or as many as one request may.
func (l boardLister) read(tx *store.Tx, req wire.BoardList) (page wire.RawList, err error) {
	limit := cmp.Or(req.Page.Limit, wire.MaxPage)
	filtered := !l.query.Empty() || l.members != nil
	items := newArray(0)
	defer func() { page.Items = items.end() }()
	ask := req.Page
	for looked := 0; ; ask.Limit = wire.MaxBoardPage {
		rows, err := l.rows(tx, req, ask)
		if err != nil {
			return page, err
		}
		if page.EventID == 0 {
			page.EventID = rows.EventID
		}
		found := rows.Items
		if filtered {
			if found, err = l.find(tx, found); err != nil {
				return page, err
			}
		}
		for i, b := range found {
			text, err := l.encode(l.c.shown(b))
			if err != nil {
				return page, err
			}
			if !items.add(text) {
				page.Next = store.AfterBoard(found[i-1])
				if i == 0 {
					page.Next = ask.After
				}
				return page, nil
			}
			if items.n == limit && (i < len(found)-1 || rows.Next != "") {
				page.Next = store.AfterBoard(b)
				return page, nil
			}
		}
		looked += len(rows.Items)
		if page.Next = rows.Next; page.Next == "" || !filtered || looked >= maxLooked {
			return page, nil
		}
		ask.After = rows.Next
	}
}

// rows reads a page: of the boards that the caller's project has, or of those that are leased to it.
func (l boardLister) rows(tx *store.Tx, req wire.BoardList, ask wire.Page) (wire.List[store.Board], error) {
	if req.Leased {
		return tx.BoardsLeased(l.parts, req.Caller.Project, tx.Now(), req.Status, req.Labels, ask)
	}
	return tx.BoardsWith(l.parts, scope(req.Caller), req.Status, req.Labels, ask)
}

// array is the JSON of one, as long as a page may be.
type array struct {
	text []byte
	n    int
}

func newArray(size int) *array { return &array{text: append(make([]byte, 0, size), '[')} }

// add reports whether there was room: there is for one, however long.
func (a *array) add(item []byte) bool {
	if a.n > 0 && len(a.text)+len(item) >= maxList {
		return false
	}
	if a.n++; a.n > 1 {
		a.text = append(a.text, ',')
	}
	a.text = append(a.text, item...)
	return true
}

func (a *array) end() json.RawMessage { return append(a.text, ']') }

// find returns those boards that the query finds, as users are shown them.
func (l boardLister) find(tx *store.Tx, boards []store.Board) (found []store.Board, err error) {
	var bridges map[s4t.BoardID][]string
	if l.query.Has("bridge") {
		ids := make([]s4t.BoardID, len(boards))
		for i, b := range boards {
			ids[i] = b.ID
		}
		if bridges, err = tx.BridgeNames(ids); err != nil {
			return nil, err
		}
	}
	now := l.c.now()
	for _, b := range boards {
		if (l.members == nil || l.members[b.ID]) && l.query.Match(&b.Board, now, bridges[b.ID]) {
			found = append(found, b)
		}
	}
	return found, nil
}

// searched are the words of a search that a part of boards is read for, by its first field.
var searched = map[string][]string{"labels": {"label", ""}, "problems": {"problem"}, "info": {"version", "arch"}}

// partsOf are the parts of boards that fields of them are in, which has says.
func partsOf(has func(fields ...string) bool) (parts store.BoardParts) {
	for _, p := range []struct {
		part   store.BoardParts
		fields []string
	}{
		{store.PartLabels, []string{"labels"}}, {store.PartLocation, []string{"location"}}, {store.PartProblems, []string{"problems"}},
		{store.PartBrief, []string{"info"}}, {store.PartInfo, []string{"info.hostname", "info.host_keys", "info.routes", "info.resolvers", "info.trusts"}},
	} {
		if has(p.fields...) {
			parts |= p.part
		}
	}
	return parts
}
