package geo

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stack4things/s4t"
)

func drawPlace(t *rapid.T, what string) s4t.Location {
	return s4t.Location{Latitude: rapid.Float64Range(-90, 90).Draw(t, what+" latitude"), Longitude: rapid.Float64Range(-180, 180).Draw(t, what+" longitude")}
}

func in(ranges []Range, cell int64) bool {
	for _, r := range ranges {
		if cell >= r.First && cell <= r.Last {
			return true
		}
	}
	return false
}

// What is within a distance is in the cells around, also over the poles and where the
// longitude begins anew.
func TestWhatIsNearIsInACellAround(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		from := drawPlace(t, "from")
		to := drawPlace(t, "to")
		if rapid.Bool().Draw(t, "close") {
			to = from
			to.Latitude = min(max(to.Latitude+rapid.Float64Range(-2, 2).Draw(t, "north"), -90), 90)
			to.Longitude += rapid.Float64Range(-3, 3).Draw(t, "east")
			if to.Longitude > 180 {
				to.Longitude -= 360
			} else if to.Longitude < -180 {
				to.Longitude += 360
			}
		}
		if km := from.Kilometres(to); !in(Around(from, km), Cell(to)) {
			t.Fatalf("%v is %v km from %v, and in none of %v", to, km, from, Around(from, km))
		}
	})
}

func TestFewCellsForAShortDistance(t *testing.T) {
	n := int64(0)
	for _, r := range Around(s4t.Location{Latitude: 38.2, Longitude: 15.5}, 10) {
		n += r.Last - r.First + 1
	}
	if n > 9 {
		t.Errorf("10 km around Messina are %d cells", n)
	}
}

func TestArea(t *testing.T) {
	a, err := ParseArea([]byte(`{"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [
		[[10, 10], [20, 10], [20, 20], [10, 20], [10, 10]], [[14, 14], [16, 14], [16, 16], [14, 16], [14, 14]]]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		lat, lon float64
		in       bool
	}{{11, 11, true}, {15, 15, false}, {15, 17, true}, {21, 15, false}, {15, 9, false}} {
		l := s4t.Location{Latitude: test.lat, Longitude: test.lon}
		if a.Has(l) != test.in {
			t.Errorf("%v: %v", l, a.Has(l))
		}
		if test.in && !in(a.Cells(), Cell(l)) {
			t.Errorf("%v is in no cell of the area", l)
		}
	}
}

func TestWhatIsNoArea(t *testing.T) {
	for _, text := range []string{``, `{}`, `{"type":"Point","coordinates":[1,2]}`, `{"type":"Polygon","coordinates":[]}`, `{"type":"Polygon","coordinates":[[]]}`,
		`{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,1]]]}`, `{"type":"Polygon","coordinates":[[[0,0],[1],[1,1],[0,0]]]}`,
		`{"type":"Polygon","coordinates":[[[0,0],[0,100],[1,1],[0,0]]]}`, `{"type":"MultiPolygon","coordinates":[]}`,
		`{"type":"Polygon","coordinates":[[` + strings.Repeat(`[0,0],`, MaxCorner) + `[0,0]]]}`} {
		if _, err := ParseArea([]byte(text)); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%.60s: %v", text, err)
		}
	}
}

func FuzzParseArea(f *testing.F) {
	f.Add([]byte(`{"type":"Polygon","coordinates":[[[0,0],[1,0],[1,1],[0,0]]]}`), 0.5, 0.5)
	f.Fuzz(func(t *testing.T, b []byte, lat, lon float64) {
		a, err := ParseArea(b)
		if err != nil {
			return
		}
		if l := (s4t.Location{Latitude: lat, Longitude: lon}); l.Validate() == nil && a.Has(l) && !in(a.Cells(), Cell(l)) {
			t.Errorf("%v is in no cell of the area", l)
		}
	})
}
