package conductor

import (
	"maps"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// arrive writes what boards say that have begun sessions, and places those that
// have no place yet: together where nothing of theirs waits for it, as it is for nearly all.
func (ch *change) arrive(begun []s4t.BoardID, at map[s4t.BoardID]*store.Board, began map[s4t.BoardID]began) error {
	var says []store.Board
	var fresh []s4t.BoardID
	for _, id := range begun {
		if b := at[id]; began[id].says {
			says = append(says, *b)
		}
		if began[id].first || at[id].TunnelAgent == "" {
			fresh = append(fresh, id)
		}
	}
	if err := ch.SetBoardsSay(says); err != nil || len(fresh) == 0 {
		return err
	}
	waits, err := ch.BoardsWithParts(fresh)
	if err != nil {
		return err
	}
	var bare []*store.Board
	for _, id := range fresh {
		if _, has := slices.BinarySearch(waits, id); has || at[id].TunnelAgent != "" {
			if err := ch.arriveWith(at[id], began[id]); err != nil {
				return err
			}
			continue
		}
		bare = append(bare, at[id])
	}
	return ch.placeBare(bare)
}

// arriveWith places a board that has no place yet, and has what waits for its first
// session applied.
func (ch *change) arriveWith(b *store.Board, began began) error {
	if b.TunnelAgent == "" {
		if _, err := ch.placeBoard("", b); err != nil && s4t.KindOf(err) != s4t.Unavailable {
			return err
		}
	} else if began.first {
		if err := ch.wantStreams(*b); err != nil {
			return err
		}
	}
	if began.first {
		return ch.attach(*b)
	}
	return nil
}

// placeBare gives boards that are locked, have no place and nothing that has to go
// there, tunnel agents, where there are any: as placeBoard does.
func (ch *change) placeBare(boards []*store.Board) error {
	if len(boards) == 0 {
		return nil
	}
	p, err := ch.placing()
	if err != nil {
		return err
	}
	placed := map[s4t.AgentID][]s4t.BoardID{}
	limits := map[s4t.ProjectID]int64{}
	for _, b := range boards {
		a, ok := p.take(b.Labels[placeLabel])
		if !ok {
			return nil
		}
		b.TunnelAgent = a.ID
		placed[a.ID] = append(placed[a.ID], b.ID)
		limit, known := limits[b.Project]
		if !known {
			if limit, err = ch.QuotaLimit(b.Project, s4t.QuotaStreams); err != nil {
				return err
			}
			limits[b.Project] = limit
		}
		ch.wantStreamsAt(*b, a, nil, wire.TunnelStreams{Project: b.Project, Limit: limit})
	}
	for _, agent := range slices.Sorted(maps.Keys(placed)) {
		if err := ch.SetBoardsAgent(placed[agent], agent); err != nil {
			return err
		}
	}
	return nil
}
