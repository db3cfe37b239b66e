package s4t

import (
	"slices"
	"sync"
	"time"
)

// Budgets bounds how often each of many may do something: so many times at
// once, and one more with every period. It remembers a bounded number of them,
// and is safe for use by many goroutines.
type Budgets struct {
	atOnce float64
	every  time.Duration
	max    int

	mu sync.Mutex // guards the field below
	of map[string]budget
}

// budget is what was left at a time.
type budget struct {
	left float64
	at   time.Time
}

// NewBudgets returns budgets of atOnce each, of which one comes back with every
// period, for at most that many keys.
func NewBudgets(atOnce int, every time.Duration, keys int) *Budgets {
	return &Budgets{atOnce: float64(atOnce), every: every, max: keys, of: map[string]budget{}}
}

// left is what a budget has now.
func (b *Budgets) left(v budget, now time.Time) float64 {
	return min(b.atOnce, v.left+max(0, float64(now.Sub(v.at))/float64(b.every)))
}

// Take takes one from the budget of key. Where none is left, it takes nothing
// and returns how long it is until there is one.
func (b *Budgets) Take(key string, now time.Time) (wait time.Duration, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, known := b.of[key]
	left := b.atOnce
	if known {
		left = b.left(v, now)
	} else if len(b.of) >= b.max {
		b.forget(now)
	}
	if left < 1 {
		return time.Duration((1 - left) * float64(b.every)), false
	}
	b.of[key] = budget{left - 1, now}
	return 0, true
}

// Give gives one back that was taken.
func (b *Budgets) Give(key string, now time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	v, known := b.of[key]
	if !known {
		return
	}
	if v = (budget{b.left(v, now) + 1, now}); v.left >= b.atOnce {
		delete(b.of, key)
		return
	}
	b.of[key] = v
}

// Reset makes the budget of key whole again.
func (b *Budgets) Reset(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.of, key)
}

// forget makes room: for a tenth, of those who have the most left. Who has
// nothing left does not get it back by a crowd of others.
func (b *Budgets) forget(now time.Time) {
	keys := make([]string, 0, len(b.of))
	for key := range b.of {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(x, y string) int {
		switch l, r := b.left(b.of[x], now), b.left(b.of[y], now); {
		case l > r:
			return -1
		case l < r:
			return 1
		}
		return 0
	})
	for _, key := range keys[:max(1, len(keys)/10)] {
		delete(b.of, key)
	}
}
