package lease

import "time"

// Notice is how long a lease that is pre-empted while it is used goes on: time to save work.
const Notice = time.Minute

// Verdict is what becomes of a booking that is wanted of one board.
type Verdict struct {
	// Against are entries of the same or a higher priority: the booking is refused.
	Against []Entry
	// Yield are entries of a lower priority, with the windows that are left to them: what
	// has begun ends after its notice, what has not begun does not begin (an empty window).
	Yield []Entry
	// From is when the board can be used: the begin of the window, or when the last that
	// yields has ended.
	From time.Time
}

// Decide says what becomes of an entry that is wanted of a board, now.
func (c Calendar) Decide(want Entry, now time.Time) Verdict {
	v := Verdict{From: want.Window.From}
	for _, e := range c.Conflicts(want) {
		if e.Priority >= want.Priority {
			v.Against = append(v.Against, e)
			continue
		}
		if e.Window.From.After(now) {
			e.Window.Until = e.Window.From
		} else if end := now.Add(Notice); end.After(want.Window.From) {
			e.Window.Until = earlier(e.Window.Until, end)
			if e.Window.Until.After(v.From) {
				v.From = e.Window.Until
			}
		} else {
			e.Window.Until = want.Window.From // the notice is over by then
		}
		v.Yield = append(v.Yield, e)
	}
	return v
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
