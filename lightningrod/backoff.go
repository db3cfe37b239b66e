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
// want the same, for the n-th time in a row: any moment within a window that grows
// up to what the cloud said, or what it asked for in the last welcome (ReturnWithin), so that as many
// come in each second as it can serve; longer when that was in vain many times.
func busyRetry(after, within time.Duration, n int) time.Duration {
	window := max(min(after, firstBusy<<min(3*(n-1), 9)), within)
	for ; n > patientTries && window < maxBusy; n-- {
		window *= 2
	}
	window = min(window, maxBusy)
	return window/16 + rand.N(window*15/16+1)
}

// firstBusy is the window at first: a crowd of a thousand is in by then. It grows
// eightfold: being sent away costs both sides as much as a fifth of a session.
const firstBusy = 4 * time.Second

// patientTries is how often a board is sent away before it stays away for longer:
// while a crowd goes in, the last of it are not to be the longest away.
const patientTries = 8

// maxBusy is the longest that a board stays away.
const maxBusy = time.Minute

// returning is the first wait after a session that the cloud ended, or that
// ended with it: many boards lost theirs at the same moment, and each comes back
// at some moment of the window that the cloud asked for.
func returning(within time.Duration) time.Duration {
	return max(firstRetry(), rand.N(min(within, maxBusy)+1))
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
