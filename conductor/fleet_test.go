package conductor

import (
	"fmt"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestFleets(t *testing.T) {
	l := newLab(t)
	board := func(name string, labels map[string]string) s4t.Board {
		return call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name, Labels: labels})
	}
	hall, attic := board("hall", map[string]string{"kind": "lamp"}), board("attic", nil)
	f := call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "lamps", Boards: []string{"attic", string(attic.ID)}, Labels: map[string]string{"kind": "lamp"}})
	if want := fmt.Sprint([]s4t.FleetBoard{{ID: attic.ID, Name: "attic"}, {ID: hall.ID, Name: "hall"}}); fmt.Sprint(f.Boards) != want || len(f.Named) != 1 {
		t.Errorf("members %v, named %v", f.Boards, f.Named)
	}
	board("door", map[string]string{"kind": "lamp"})
	none, lat := []string{}, 91.0
	for name, tt := range map[string]struct {
		method string
		req    any
		want   s4t.Kind
	}{
		"a reader creates":       {wire.MethodFleetCreate, wire.FleetCreate{Caller: l.reader, Name: "x"}, s4t.Forbidden},
		"a name twice":           {wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "lamps"}, s4t.Conflict},
		"no such board":          {wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "x", Boards: []string{"nobody"}}, s4t.NotFound},
		"a place that is none":   {wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "x", Near: &s4t.Location{Latitude: lat}}, s4t.Invalid},
		"kilometres from where":  {wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "x", Within: 3}, s4t.Invalid},
		"a foreign one":          {wire.MethodFleetGet, wire.RefRequest{Caller: l.foreign, Ref: "lamps"}, s4t.NotFound},
		"a foreign one, by id":   {wire.MethodFleetDelete, wire.RefRequest{Caller: l.foreign, Ref: string(f.ID)}, s4t.NotFound},
		"a reader deletes":       {wire.MethodFleetDelete, wire.RefRequest{Caller: l.reader, Ref: "lamps"}, s4t.Forbidden},
		"another's boards":       {wire.MethodFleetCreate, wire.FleetCreate{Caller: l.admin, Name: "x", Boards: []string{string(hall.ID)}}, s4t.Invalid},
		"a rule without a place": {wire.MethodFleetUpdate, wire.FleetUpdate{Caller: l.member, Ref: "lamps", Within: &lat}, s4t.Invalid},
	} {
		if _, err := try[s4t.Fleet](l, tt.method, tt.req); s4t.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
		}
	}
	got := call[s4t.Fleet](l, wire.MethodFleetUpdate, wire.FleetUpdate{Caller: l.member, Ref: "lamps", Name: ref("lights"), Boards: &none})
	if got.Name != "lights" || len(got.Named) != 0 || len(got.Boards) != 2 || got.Boards[0].Name != "door" {
		t.Errorf("updated: %+v", got)
	}
	list := call[wire.List[s4t.Fleet]](l, wire.MethodFleetList, wire.ListRequest{Caller: l.reader})
	if len(list.Items) != 1 || len(list.Items[0].Boards) != 2 {
		t.Errorf("list: %+v", list.Items)
	}
	if list := call[wire.List[s4t.Fleet]](l, wire.MethodFleetList, wire.ListRequest{Caller: l.foreign}); len(list.Items) != 0 {
		t.Errorf("foreign list: %+v", list.Items)
	}
	call[wire.Empty](l, wire.MethodFleetDelete, wire.RefRequest{Caller: l.member, Ref: "lights"})
	if _, err := try[s4t.Fleet](l, wire.MethodFleetGet, wire.RefRequest{Caller: l.member, Ref: string(f.ID)}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("after its end: %v", err)
	}
}
