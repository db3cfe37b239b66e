package tunnelagent

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// tellState reports what the agent has (step 8 of the paper's Fig. 3) whenever
// that changes, the changes of a moment together, and on a timer because a
// report may be lost.
func (a *Agent) tellState(ctx context.Context) {
	again := time.NewTicker(fetchInterval)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.report:
		case <-again.C:
		}
		if a.fresh() { // before that we would report the loss of all there was
			continue
		}
		if !a.retry(ctx, "report to the conductor", func(ctx context.Context) error {
			return a.cfg.Queue.Cast(ctx, wire.TopicConductor, wire.MethodTunnelReport, a.state())
		}) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(reportGap):
		}
	}
}

// fresh reports whether no desired state was applied yet.
func (a *Agent) fresh() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.done == 0
}

// state is what the agent has now.
func (a *Agent) state() wire.TunnelReport {
	streams := a.opener.Boards()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.seq++
	r := wire.TunnelReport{
		Agent: a.cfg.ID, Incarnation: a.incarnation, Generation: a.generation, Seq: a.seq,
		Ports: []s4t.PortID{}, Exposures: []s4t.ServiceID{}, Streams: streams, Problems: maps.Clone(a.problems),
	}
	for id, p := range a.ports {
		if p.attached != nil {
			r.Ports = append(r.Ports, id)
		}
		if p.problem != "" {
			r.Problems[string(id)] = p.problem
		}
	}
	for id := range a.exposures {
		r.Exposures = append(r.Exposures, id)
	}
	r.Uplinks = a.uplinks()
	slices.Sort(r.Uplinks)
	r.Endpoints = a.endpoints()
	slices.Sort(r.Endpoints)
	slices.Sort(r.Ports)
	slices.Sort(r.Exposures)
	return r
}

// tellEvents passes on what the switches see.
func (a *Agent) tellEvents(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-a.events:
			id := s4t.PortID(e.Port)
			event := wire.TunnelEvent{Agent: a.cfg.ID, Kind: e.Kind, Port: id, Detail: e.Detail}
			a.mu.Lock()
			if p := a.ports[id]; p != nil {
				event.Board = p.want.Board
			}
			a.mu.Unlock()
			a.retry(ctx, "tell the conductor of "+e.Kind, func(ctx context.Context) error {
				return a.cfg.Queue.Cast(ctx, wire.TopicConductor, wire.MethodTunnelEvent, event)
			})
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
