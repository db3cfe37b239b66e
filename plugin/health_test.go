package plugin

import (
	"testing"
	"time"
)

func TestNextLook(t *testing.T) {
	for _, tt := range []struct {
		limit, n int64
		want     time.Duration
	}{
		{0, 5 << 30, lookEvery},
		{1 << 20, 0, lookSoon},
		{100 << 20, 60 << 20, 2 * time.Second},
		{100 << 20, 100 << 20, lookSoon},
		{1 << 40, 0, lookEvery},
		{1 << 20, 2 << 20, lookEvery}, // it has just been started: a while to tidy up
	} {
		if got := nextLook(tt.limit, tt.n); got != tt.want {
			t.Errorf("%d of %d: %v, want %v", tt.n, tt.limit, got, tt.want)
		}
	}
}
