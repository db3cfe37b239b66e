package geo

import (
	"encoding/json"
	"math"

	"github.com/stack4things/s4t"
)

// Bounds of an area.
const (
	MaxArea   = 256 << 10 // bytes of GeoJSON
	MaxCorner = 8192      // corners of all its rings
)

// Area is one or more polygons with holes (RFC 7946, 3.1.6 and 3.1.7).
type Area struct {
	polygons [][]ring
	west     float64
	south    float64
	east     float64
	north    float64
}

// ring is a closed line of corners, longitude before latitude as in GeoJSON.
type ring [][2]float64

// ParseArea reads a GeoJSON Polygon or MultiPolygon, or a Feature with one. What goes over the
// 180th meridian is two polygons (RFC 7946, 3.1.9).
func ParseArea(b []byte) (Area, error) {
	const op, hint = "read an area", "give a GeoJSON Polygon or MultiPolygon"
	bad := func(format string, args ...any) (Area, error) {
		return Area{}, s4t.Errorf(s4t.Invalid, op, hint, format, args...)
	}
	if len(b) > MaxArea {
		return bad("it has %d bytes, at most %d are possible", len(b), MaxArea)
	}
	type geometry struct {
		Type        string          `json:"type"`
		Coordinates json.RawMessage `json:"coordinates"`
	}
	var g struct {
		geometry
		Geometry *geometry `json:"geometry"`
	}
	if err := json.Unmarshal(b, &g); err != nil {
		return bad("it is no JSON: %w", err)
	}
	if g.Type == "Feature" && g.Geometry != nil {
		g.geometry = *g.Geometry
	}
	var polygons [][][][]float64
	var err error
	switch g.Type {
	case "Polygon":
		polygons = make([][][][]float64, 1)
		err = json.Unmarshal(g.Coordinates, &polygons[0])
	case "MultiPolygon":
		err = json.Unmarshal(g.Coordinates, &polygons)
	default:
		return bad("%q is no area", s4t.Line(g.Type, s4t.MaxName))
	}
	if err != nil {
		return bad("its coordinates are not understood: %w", err)
	}
	a := Area{west: math.Inf(1), south: math.Inf(1), east: math.Inf(-1), north: math.Inf(-1)}
	corners := 0
	for _, p := range polygons {
		var rings []ring
		for _, line := range p {
			if corners += len(line); corners > MaxCorner {
				return bad("it has more than %d corners", MaxCorner)
			}
			var r ring
			for _, at := range line {
				if len(at) < 2 {
					return bad("a corner has no longitude and latitude")
				}
				if (s4t.Location{Latitude: at[1], Longitude: at[0]}).Validate() != nil {
					return bad("%v,%v is no longitude and latitude, in this order", at[0], at[1])
				}
				r = append(r, [2]float64{at[0], at[1]})
				a.west, a.east = math.Min(a.west, at[0]), math.Max(a.east, at[0])
				a.south, a.north = math.Min(a.south, at[1]), math.Max(a.north, at[1])
			}
			if len(r) < 4 || r[0] != r[len(r)-1] {
				return bad("a ring has four corners or more, and its last is its first")
			}
			rings = append(rings, r)
		}
		if len(rings) == 0 {
			return bad("a polygon has no ring")
		}
		a.polygons = append(a.polygons, rings)
	}
	if len(a.polygons) == 0 {
		return bad("it has no polygon")
	}
	return a, nil
}

// Has reports whether a place is in the area. A place on its border may be either.
func (a Area) Has(l s4t.Location) bool {
	if l.Longitude < a.west || l.Longitude > a.east || l.Latitude < a.south || l.Latitude > a.north {
		return false
	}
	for _, rings := range a.polygons {
		in := rings[0].has(l)
		for _, hole := range rings[1:] {
			in = in && !hole.has(l)
		}
		if in {
			return true
		}
	}
	return false
}

// has counts the sides east of a place on its parallel: an odd number is inside.
func (r ring) has(l s4t.Location) (in bool) {
	for i := range len(r) - 1 {
		a, b := r[i], r[i+1]
		if (a[1] > l.Latitude) == (b[1] > l.Latitude) {
			continue
		}
		if l.Longitude < a[0]+(l.Latitude-a[1])/(b[1]-a[1])*(b[0]-a[0]) {
			in = !in
		}
	}
	return in
}

// Cells are the ranges of cells that have all of the area, in order.
func (a Area) Cells() []Range {
	var out []Range
	for b := band(a.south); b <= band(a.north); b++ {
		out = append(out, Range{cellOf(b, column(a.west)), cellOf(b, column(a.east))})
	}
	return merge(out)
}
