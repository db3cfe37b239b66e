package lease

import "time"

// Moment is when something was by a clock that nobody sets: how long the machine has run, sleep
// included, and of which of its boots that is told.
type Moment struct {
	Boot  string
	Since time.Duration
}

// Told is a time that a cloud told, and the moment when it was heard.
type Told struct {
	Time time.Time
	At   Moment
}

// Now is the cloud's time at a moment. ok is false where nobody can know: no cloud has told it since
// the boot.
func (t Told) Now(m Moment) (now time.Time, ok bool) {
	if t.Time.IsZero() || m.Boot == "" || m.Boot != t.At.Boot || m.Since < t.At.Since {
		return time.Time{}, false
	}
	return t.Time.Add(m.Since - t.At.Since), true
}

// Later takes what a cloud told anew, of the same number of its book: it is never earlier than what
// was told before makes it, so that what was kept back on its way gives nobody more time.
func (t Told) Later(next Told) Told {
	if now, ok := t.Now(next.At); ok && now.After(next.Time) {
		return Told{now, next.At}
	}
	return next
}
