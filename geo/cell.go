package geo

import (
	"math"
	"slices"

	"github.com/stack4things/s4t"
)

// The earth is divided into cells of a tenth of a degree, numbered from west to east and band after
// band from south to north. An index on the number finds what is near, since neighbours of
// one band have numbers in a row.
const (
	bandCells = 3600 // of a band
	bands     = 1800
	perDegree = 10
)

// kmPerDegree is the length of a degree of a great circle, on the sphere that
// [s4t.Location.Kilometres] measures on.
const kmPerDegree = 6371.0 * math.Pi / 180

// Cell is the number of the cell of a place.
func Cell(l s4t.Location) int64 { return cellOf(band(l.Latitude), column(l.Longitude)) }

func cellOf(band, column int) int64 { return int64(band)*bandCells + int64(column) }

func band(latitude float64) int {
	return min(max(int(math.Floor((latitude+90)*perDegree)), 0), bands-1)
}

func column(longitude float64) int {
	return min(max(int(math.Floor((longitude+180)*perDegree)), 0), bandCells-1)
}

// Range is a span of cells, both ends in it.
type Range struct {
	First, Last int64
}

// Around are the ranges of cells that have every place at most some kilometres from one, in
// order, at most two for each band. They have others too: who is in a cell is measured then.
func Around(l s4t.Location, kilometres float64) []Range {
	high := kilometres/kmPerDegree + 1e-9 // degrees of latitude
	var out []Range
	for b := band(l.Latitude - high); b <= band(l.Latitude+high); b++ {
		wide := 180.0
		// Meridians lie closest where the circle is farthest from the equator.
		far := math.Max(math.Abs(l.Latitude-high), math.Abs(l.Latitude+high))
		if far < 90 {
			if s := math.Sin(high*math.Pi/180) / math.Cos(l.Latitude*math.Pi/180); s < 1 {
				wide = math.Asin(s)*180/math.Pi + 1e-9
			}
		}
		west, east := l.Longitude-wide, l.Longitude+wide
		switch {
		case wide >= 180:
			out = append(out, Range{cellOf(b, 0), cellOf(b, bandCells-1)})
		case west < -180:
			out = append(out, Range{cellOf(b, 0), cellOf(b, column(east))}, Range{cellOf(b, column(west+360)), cellOf(b, bandCells-1)})
		case east > 180:
			out = append(out, Range{cellOf(b, 0), cellOf(b, column(east-360))}, Range{cellOf(b, column(west)), cellOf(b, bandCells-1)})
		default:
			out = append(out, Range{cellOf(b, column(west)), cellOf(b, column(east))})
		}
	}
	return merge(out)
}

// merge joins ranges that touch or overlap.
func merge(ranges []Range) []Range {
	slices.SortFunc(ranges, func(a, b Range) int { return int(a.First - b.First) })
	out := ranges[:0]
	for _, r := range ranges {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}
