package lightningrod

import (
	"context"
	"math/rand/v2"
	"time"

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
	h.hold = 0
	wait := rand.N(s4t.HealthInterval)
	if ago := h.now().Sub(h.toldAt); !h.toldAt.IsZero() && ago >= 0 && ago < s4t.HealthInterval && !pause(ctx, c, s4t.HealthInterval-ago) {
		return
	}
	for ; ; wait = s4t.HealthInterval {
		if s := h.sample(); h.worth(s) {
			var heard wire.HealthHeard
			err := c.Call(ctx, wamp.Health, wire.HealthReport{Board: e.id.Board, Epoch: epoch, Health: s}, &heard)
			switch {
			case wamp.ReasonOf(err) == wamp.NoSuchProcedure:
				return // an older cloud
			case err == nil:
				h.told, h.toldAt = s, h.now()
				h.hold = min(time.Duration(heard.Hold)*time.Second, s4t.HealthHold)
			case ctx.Err() == nil:
				e.cfg.Log.Debug("tell the cloud how the board is", "err", err)
			}
		}
		if !pause(ctx, c, wait) {
			return
		}
	}
}

// tellAnyway is a look before the next point of the history, [s4t.HealthStep], could
// stay empty, by half a look.
const tellAnyway = s4t.HealthStep - s4t.HealthInterval*3/2

// worth reports whether the cloud is to hear of s: something has changed that people
// look at, or the cloud might take the board for silent.
func (h *health) worth(s s4t.Health) bool {
	ago := h.now().Sub(h.toldAt)
	return h.toldAt.IsZero() || ago < 0 || ago >= max(tellAnyway, h.hold) || s.Differs(h.told)
}
