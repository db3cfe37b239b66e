package lightningrod

import (
	"math/rand/v2"
	"time"
)

// backoff spaces retries: doubling from min to max, each ±20 % so that a
// thousand boards do not come back in the same instant.
type backoff struct {
	min, max time.Duration
	next     time.Duration // 0: the next is the first
}

// The backoffs of the control session and of a port. The maxima are short
// because everything has to be back within 5 s of the cause going away.
func sessionBackoff() backoff {
	return backoff{min: 250 * time.Millisecond, max: 2500 * time.Millisecond}
}
func portBackoff() backoff { return backoff{min: 100 * time.Millisecond, max: 2 * time.Second} }

// busyRetry is how long a board waits that the cloud sent away because too many
// want the same: until the turn that the cloud gave it, which is in whole
// seconds.
func busyRetry(after time.Duration) time.Duration {
	return min(after, maxBusy) + rand.N(time.Second)
}

// maxBusy is the longest that a board stays away.
const maxBusy = 10 * time.Minute

// maxReturn is the longest window that a board spreads its return over.
const maxReturn = time.Minute

// returning is the first wait after a session that the cloud ended, or that
// ended with it: many boards lost theirs at the same moment, and each comes back
// at some moment of the window that the cloud asked for.
func returning(within time.Duration) time.Duration {
	return max(firstRetry(), rand.N(min(within, maxReturn)+1))
}

// slowRetry is how long a board waits that the cloud refused for a reason
// which only a person can remove. It is long so that a copy of a board does not
// slip in before the first whenever that one's session is cut for a moment:
// the first is back after firstRetry. Who has removed the reason and does not
// want to wait restarts lightning-rod.
const slowRetry = 30 * time.Second

// settledAfter is how long a session must have lasted for the retries to
// start over.
const settledAfter = 30 * time.Second

// wait returns how long to wait before the next try.
func (b *backoff) wait() time.Duration {
	if b.next == 0 {
		b.next = b.min
	}
	d := b.next
	b.next = min(2*b.next, b.max)
	return jitter(d)
}

// reset starts over.
func (b *backoff) reset() { b.next = 0 }

// jitter returns d ±20 %.
func jitter(d time.Duration) time.Duration {
	return d*4/5 + rand.N(d*2/5+1)
}

// firstRetry is the wait after a live session was lost: 100 to 400 ms.
func firstRetry() time.Duration {
	return 100*time.Millisecond + rand.N(300*time.Millisecond)
}
