package lease

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// Candidate is a board that may be booked in the window that is wanted.
type Candidate struct {
	Board      s4t.BoardID
	Name       string
	Online     bool
	Kilometres float64       // from the place that is wanted; 0 where none is
	FreeFor    time.Duration // how long it stays free from the begin of the window on
	Used       time.Duration // how long it was booked in the last 30 days
}

// Fit chooses the boards of a booking by count: those that are there now before those that
// are away; of these the nearest, to a tenth of a kilometre; of these the ones that stay free
// the shortest time after the window, by hours, so that long free times stay whole; of these
// the least used; at last by name. It returns fewer than count where there are fewer.
func Fit(candidates []Candidate, count int) []Candidate {
	sorted := slices.Clone(candidates)
	slices.SortFunc(sorted, func(a, b Candidate) int {
		return cmp.Or(
			Closer(a, b),
			cmp.Compare(a.FreeFor/time.Hour, b.FreeFor/time.Hour),
			cmp.Compare(a.Used, b.Used),
			strings.Compare(a.Name, b.Name),
			strings.Compare(string(a.Board), string(b.Board)),
		)
	})
	return sorted[:min(count, len(sorted))]
}

// Closer compares two boards as far as that takes no calendar: who is there, and how near. What
// is less fits better, whatever else there is.
func Closer(a, b Candidate) int {
	return cmp.Or(-compareBools(a.Online, b.Online), cmp.Compare(int64(a.Kilometres*10), int64(b.Kilometres*10)))
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
