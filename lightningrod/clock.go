package lightningrod

import (
	"sync"
	"time"
)

// cloudClock follows the cloud's clock. A board's own may say 1970, and may
// jump; after the first word from the cloud only its monotonic clock counts.
type cloudClock struct {
	mu    sync.Mutex // guards the fields below
	cloud time.Time  // what the cloud said
	at    time.Time  // when, with the monotonic reading
}

// set takes the cloud's time as told now.
func (c *cloudClock) set(t time.Time) {
	if t.IsZero() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cloud, c.at = t.Round(0), time.Now()
}

// now returns the cloud's time; the board's own as long as the cloud has not
// told any.
func (c *cloudClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cloud.IsZero() {
		return time.Now()
	}
	return c.cloud.Add(time.Since(c.at))
}

// known reports whether the cloud has told its time.
func (c *cloudClock) known() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.cloud.IsZero()
}
