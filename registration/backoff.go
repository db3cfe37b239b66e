package registration

import (
	"log/slog"
	"math/rand/v2"
	"time"
)

// Bounds of a [Backoff].
const (
	minWait = 50 * time.Millisecond
	maxWait = 2 * time.Second
	patient = 5 // waits in a row, 1.5 s, before it is worth a line in the log
)

// Backoff is how long to wait before something that failed is tried again:
// from 50 ms, doubled up to 2 s, each +-20 %. The zero value is for the first
// failure.
type Backoff struct{ tries int }

// Next returns the wait after one more failure.
func (b *Backoff) Next() time.Duration {
	wait := min(minWait<<min(b.tries, 10), maxWait)
	b.tries++
	return time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
}

// Log logs a failure: a warning once it has lasted for more than a moment, and
// every minute or so from then on.
func (b *Backoff) Log(log *slog.Logger, what string, err error) {
	if b.tries%32 == patient {
		log.Warn("cannot "+what+"; it is tried again", "err", err)
		return
	}
	log.Debug("cannot "+what, "err", err)
}
