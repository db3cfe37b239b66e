package wampagent

import (
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Reports of how a board is, of one session: it tells one each minute.
const (
	healthRate  = rate.Limit(0.1) // a second
	healthBurst = 5
)

// decodeHealth reads a report of how a board is; one that comes too often is
// TooMany.
func decodeHealth(op, arg string, bound *rate.Limiter, req *wire.HealthReport) error {
	if !bound.AllowN(time.Now(), 1) {
		return s4t.Errorf(s4t.TooMany, op, "tell it each minute", "it tells how it is too often").After(10 * time.Second)
	}
	if len(arg) > wire.MaxHealthReport {
		return s4t.Errorf(s4t.TooMany, op, "", "it has %d bytes, at most %d are possible", len(arg), wire.MaxHealthReport)
	}
	return decode(op, arg, req)
}
