package lease

import (
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// Window is a span of time, from From up to but without Until.
type Window struct {
	From, Until time.Time
}

// Overlaps reports whether two windows have an instant in common. Windows that touch have none.
func (w Window) Overlaps(o Window) bool { return w.From.Before(o.Until) && o.From.Before(w.Until) }

// Has reports whether an instant is within the window.
func (w Window) Has(t time.Time) bool { return !t.Before(w.From) && t.Before(w.Until) }

// Within reports whether all of the window is in another.
func (w Window) Within(o Window) bool {
	return !w.From.Before(o.From) && !w.Until.After(o.Until)
}

// For is the length of the window.
func (w Window) For() time.Duration { return w.Until.Sub(w.From) }

// Entry is one booking of a board.
type Entry struct {
	Lease    s4t.LeaseID
	Window   Window
	Priority int
	// Shared entries stand side by side; one that is not stands alone.
	Shared bool
}

// Calendar is what is booked of one board, in any order. It may have more than is needed for
// a question, as what has ended.
type Calendar []Entry

// against reports whether two entries of one board cannot both be.
func against(a, b Entry) bool {
	return a.Lease != b.Lease && !(a.Shared && b.Shared) && a.Window.Overlaps(b.Window)
}

// Conflicts are the entries that stand against one that is wanted, by the time they begin.
func (c Calendar) Conflicts(want Entry) []Entry {
	var found []Entry
	for _, e := range c {
		if against(e, want) {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, byTime)
	return found
}

func byTime(a, b Entry) int {
	if n := a.Window.From.Compare(b.Window.From); n != 0 {
		return n
	}
	return strings.Compare(string(a.Lease), string(b.Lease))
}

// FirstFree is the earliest window of a length, not before from and wholly before horizon,
// in which nothing stands against an entry as want (whose own window does not count) and the
// hours are open; ok is false where there is none.
//
// It walks from one end of a conflict or of closed hours to the next, so its cost is that of
// the calendar, not of the time in between.
func (c Calendar) FirstFree(want Entry, length time.Duration, from, horizon time.Time, hours s4t.Hours) (Window, bool) {
	booked := slices.Clone(c)
	slices.SortFunc(booked, byTime)
	for at := from; ; {
		w := Window{at, at.Add(length)}
		if w.Until.After(horizon) {
			return Window{}, false
		}
		want.Window = w
		if next, blocked := closedIn(hours, w); blocked {
			if next.IsZero() {
				return Window{}, false
			}
			at = next
			continue
		}
		moved := false
		for _, e := range booked {
			if against(e, want) {
				at, moved = e.Window.Until, true
				break
			}
		}
		if !moved {
			return w, true
		}
	}
}

// closedIn reports whether hours are closed at some instant of a window, and when they open
// after that: the zero time where they never do.
func closedIn(hours s4t.Hours, w Window) (opens time.Time, closed bool) {
	open, changes := hours.At(w.From)
	if !open {
		return changes, true
	}
	if changes.IsZero() || !changes.Before(w.Until) {
		return time.Time{}, false
	}
	_, opens = hours.At(changes)
	return opens, true
}

// Open reports whether hours are open all through a window.
func Open(hours s4t.Hours, w Window) bool {
	_, closed := closedIn(hours, w)
	return !closed
}
