package wampagent

import (
	"context"
	"time"

	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// Step 5 of the paper's Fig. 3: the board is told that there is something new.

// boardWake tells the board that there is a new generation of its desired
// state. A board that is not here hears of it when it connects. When it was
// told goes with what the board then asks, too: the conductor may lose the cast.
func (a *Agent) boardWake(ctx context.Context, req wire.BoardWake) (wire.Empty, error) {
	s, ok := a.sessions.of(req.Board)
	if !ok {
		return wire.Empty{}, offline(req.Board)
	}
	// Noted before: the board may ask before Publish returns.
	a.sessions.woke(s.Session, time.Now().UTC())
	if err := a.router.Publish(ctx, wamp.BoardURI(req.Board, wamp.Wake), string(wire.Encode(req))); err != nil {
		return wire.Empty{}, err
	}
	return wire.Empty{}, a.cfg.Queue.Cast(ctx, wire.TopicBoards, wire.MethodBoardWoken, req)
}
