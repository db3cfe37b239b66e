package lightningrod

import (
	"context"
	"math"
	"math/rand/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// tellHealth tells each session's cloud how the board is: at the begin of the first,
// and then each minute, at a moment of the minute that is the board's own, what is
// worth telling. Nothing is kept while there is no session.
func (e *Engine) tellHealth(ctx context.Context) {
	for ctx.Err() == nil {
		c, epoch, changed := e.online()
		if c != nil {
			e.tellHealthTo(ctx, c, epoch)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

// tellHealthTo does it for one session, until that ends. A cloud that was told a
// moment ago, in another session, knows.
func (e *Engine) tellHealthTo(ctx context.Context, c cloud, epoch int64) {
	h := e.health
	wait := rand.N(s4t.HealthInterval)
	if ago := h.now().Sub(h.toldAt); !h.toldAt.IsZero() && ago >= 0 && ago < s4t.HealthInterval && !pause(ctx, c, s4t.HealthInterval-ago) {
		return
	}
	for ; ; wait = s4t.HealthInterval {
		if s := h.sample(); h.worth(s) {
			err := c.Call(ctx, wamp.Health, wire.HealthReport{Board: e.id.Board, Epoch: epoch, Health: s}, nil)
			switch {
			case wamp.ReasonOf(err) == wamp.NoSuchProcedure:
				return // an older cloud
			case err == nil:
				h.told, h.toldAt = s, h.now()
			case ctx.Err() == nil:
				e.cfg.Log.Debug("tell the cloud how the board is", "err", err)
			}
		}
		if !pause(ctx, c, wait) {
			return
		}
	}
}

// Changes that are worth telling before the next point of the history is due.
const (
	loadStep        = 0.2
	rateStep        = 2048 // bytes a second
	temperatureStep = 2    // degC
	usePart         = 50   // of memory and disk: a fiftieth

	// tellAnyway is a look before the next point of the history, [s4t.HealthStep], could
	// stay empty, by half a look.
	tellAnyway = s4t.HealthStep - s4t.HealthInterval*3/2
)

// worth reports whether the cloud is to hear of s: something has changed that people
// look at, or a point of the history might stay empty.
func (h *health) worth(s s4t.Health) bool {
	was, ago := h.told, h.now().Sub(h.toldAt)
	switch {
	case h.toldAt.IsZero(), ago < 0, ago >= tellAnyway:
		return true
	case s.Version != was.Version, s.Kernel != was.Kernel, s.System != was.System, s.Uptime < was.Uptime, s.AgentUptime < was.AgentUptime,
		s.MemoryTotal != was.MemoryTotal, s.DiskTotal != was.DiskTotal:
		return true
	case (s.Temperature == nil) != (was.Temperature == nil), s.Temperature != nil && math.Abs(*s.Temperature-*was.Temperature) >= temperatureStep:
		return true
	}
	return other(was.Load1, s.Load1, loadStep) || other(was.ReceivedRate, s.ReceivedRate, rateStep) || other(was.SentRate, s.SentRate, rateStep) ||
		math.Abs(float64(s.MemoryUsed-was.MemoryUsed)) > float64(s.MemoryTotal)/usePart || math.Abs(float64(s.DiskUsed-was.DiskUsed)) > float64(s.DiskTotal)/usePart
}

// other reports whether two measurements differ by a step, and by a quarter of the
// larger.
func other(a, b, step float64) bool {
	d := math.Abs(a - b)
	return d >= step && d >= max(a, b)/4
}
