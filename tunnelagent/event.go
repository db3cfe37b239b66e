package tunnelagent

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// tellEvents passes on what the switches see.
func (a *Agent) tellEvents(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case e := <-a.events:
			id := s4t.PortID(e.Port)
			event := wire.TunnelEvent{Agent: a.cfg.ID, Kind: e.Kind, Port: id, Board: a.ports.board(id), Detail: e.Detail}
			err := a.registration.Retry(ctx, "tell the conductor of "+e.Kind, func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, callTimeout)
				defer cancel()
				return a.cfg.Queue.Cast(ctx, wire.TopicAgents, wire.MethodTunnelEvent, event)
			})
			if err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// switchEvent takes an event of a switch. A reader of frames calls it, which
// must not wait: with too many of them, some are lost.
func (a *Agent) switchEvent(e vswitch.Event) {
	select {
	case a.events <- e:
	default:
		a.cfg.Log.Warn("too many events of the data path; one is lost", "port", e.Port, "event", e.Kind)
	}
}
