package e2e

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// idleBudget is what an idle layer-2 network of 50 boards may cost each, in
// bytes an hour.
const idleBudget = 20_000

// TestAnIdleNetworkCostsLittle counts what passes a port of a layer-2 network
// on which nobody says anything. S4T_IDLE_BOARDS=50 makes it a large one, and
// longer: `make test-idle`.
func TestAnIdleNetworkCostsLittle(t *testing.T) {
	t.Parallel()
	boards, window := 4, 10*time.Second
	if n, err := strconv.Atoi(os.Getenv("S4T_IDLE_BOARDS")); err == nil {
		boards, window = n, 2*time.Minute
	}
	c := newCloud(t, boards)
	args := []string{"bridge", "create", "idle", "--cidr6", "fd00:95::/64"}
	for _, b := range c.Boards {
		args = append(args, "--board", b.Name)
	}
	var b s4t.Bridge
	s4tJSON(t, c, &b, args...)
	bytes := func() map[string]uint64 {
		n := map[string]uint64{}
		for _, p := range b.Ports {
			k := portOf(t, c, b, p.Board).Counters
			n[p.Board] = k.RxBytes + k.TxBytes
		}
		return n
	}
	time.Sleep(5 * time.Second) // duplicate address detection, groups
	begin := bytes()
	time.Sleep(window)
	end := bytes()
	var most, start uint64
	for board := range begin {
		most, start = max(most, end[board]-begin[board]), max(start, begin[board])
	}
	// What comes up once counts once; what passed meanwhile goes on for an hour.
	hour := start + most*uint64(time.Hour/window)
	what := fmt.Sprintf("%d boards: %d bytes at the start, %d in %v, at most %d in the first hour", boards, start, most, window, hour)
	t.Log(what)
	if hour > idleBudget {
		t.Errorf("%s, want %d", what, idleBudget)
	}
}
