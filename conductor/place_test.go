package conductor

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestWhereABoardWasIsKept(t *testing.T) {
	l := newLab(t)
	l.board("van")
	at := func(lat float64) *s4t.Location {
		return &s4t.Location{Latitude: lat, Longitude: 15.5, Altitude: 40, Mobile: true}
	}
	update := func(lat float64) {
		call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "van", Location: at(lat)})
	}
	places := func() []s4t.Place {
		return items[s4t.Place](l, wire.MethodBoardPlaces, wire.RefRequest{Caller: l.reader, Ref: "van"})
	}
	if p := places(); len(p) != 0 {
		t.Errorf("%+v", p)
	}
	for n := range 3 {
		update(38 + float64(n))
		update(38 + float64(n)) // the same again
	}
	p := places()
	if len(p) != 3 || p[0].Location != *at(38) || p[2].Location != *at(40) || !p[1].Since.After(p[0].Since) {
		t.Errorf("%+v", p)
	}
	id := l.boardNow("van").ID
	err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		for range s4t.MaxPlaces {
			if err := tx.InsertPlace(id, *at(1), tx.Now()); err != nil {
				return err
			}
		}
		return nil
	})
	update(50)
	if p := places(); err != nil || len(p) > s4t.MaxPlaces || p[len(p)-1].Location != *at(50) {
		t.Errorf("%d are kept, %v", len(p), err)
	}
	if _, err := try[wire.List[s4t.Place]](l, wire.MethodBoardPlaces, wire.RefRequest{Caller: l.foreign, Ref: "van"}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a stranger: %v", err)
	}
}

func TestBoardsAreFoundInAnArea(t *testing.T) {
	l := newLab(t)
	for name, at := range map[string]s4t.Location{"in": {Latitude: 38.2, Longitude: 15.5}, "hole": {Latitude: 38.5, Longitude: 15.5}, "out": {Latitude: 40, Longitude: 15.5}} {
		call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name, Location: &at})
	}
	call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "nowhere"})
	const area = `{"type":"Polygon","coordinates":[[[15,38],[16,38],[16,39],[15,39],[15,38]],[[15.4,38.4],[15.6,38.4],[15.6,38.6],[15.4,38.6],[15.4,38.4]]]}`
	found := items[s4t.FoundBoard](l, wire.MethodBoardSearch, wire.BoardSearch{Caller: l.reader, Area: json.RawMessage(area)})
	if len(found) != 1 || found[0].Name != "in" {
		t.Errorf("%+v", found)
	}
	if _, err := try[wire.List[s4t.FoundBoard]](l, wire.MethodBoardSearch, wire.BoardSearch{Caller: l.reader, Area: json.RawMessage(`{"type":"Point","coordinates":[1,2]}`)}); s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), "no area") {
		t.Errorf("of a point: %v", err)
	}
}
