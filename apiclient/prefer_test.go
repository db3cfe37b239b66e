package apiclient

import (
	"testing"
	"time"
)

// TestARunIsAskedForWithinItsTime: who waits shortly hears of the operation in time, and
// can ask for it then.
func TestARunIsAskedForWithinItsTime(t *testing.T) {
	for _, tt := range []struct {
		o    RunOptions
		many bool
		want string
	}{
		{RunOptions{}, false, "wait=2"},
		{RunOptions{}, true, "wait=20"},
		{RunOptions{Wait: time.Hour}, false, "wait=2"},
		{RunOptions{Wait: 5500 * time.Millisecond}, true, "wait=5"},
		{RunOptions{Wait: 999 * time.Millisecond}, true, "respond-async"},
		{RunOptions{Async: true}, false, "respond-async"},
	} {
		if got := tt.o.prefer(tt.many); got != tt.want {
			t.Errorf("%+v, many %v: %s, want %s", tt.o, tt.many, got, tt.want)
		}
	}
}
