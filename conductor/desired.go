package conductor

import (
	"context"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	// warmBusy idle data rtunnels are kept for a board with an exposed service:
	// two connections that come together cost no handshake.
	warmBusy = 2
	// warmRecent is kept for a while after a user opened a stream.
	warmRecent = 1

	// streamsFor is how long a board keeps idle data rtunnels after a user
	// opened a stream; it is renewed when less than streamsRenew is left.
	streamsFor   = 10 * time.Minute
	streamsRenew = 5 * time.Minute
)

// agentOuter is the outer address of every tunnel agent for GRE: an address of
// the shared space of RFC 6598 that exists inside rtunnels only.
const agentOuter = "100.64.0.1"

// boardDesired answers a board that asks for its desired state (step 6 of
// Fig. 3).
func (c *Conductor) boardDesired(ctx context.Context, req wire.BoardAsk) (wire.BoardDesired, error) {
	op := fmt.Sprintf("give board %q its desired state", req.Board)
	d, err := view(ctx, c, func(tx *store.Tx) (wire.BoardDesired, error) {
		b, err := tx.Board(req.Board)
		if err == nil {
			err = current(op, b, req.Epoch)
		}
		if err != nil {
			return wire.BoardDesired{}, err
		}
		return c.desiredOf(tx, b, c.now())
	})
	if err == nil {
		c.noteBoard(req.Board, d.Generation, true)
	}
	return d, err
}

// desiredOf is the whole state that a board should have.
func (c *Conductor) desiredOf(tx *store.Tx, b store.Board, now time.Time) (wire.BoardDesired, error) {
	d := wire.BoardDesired{
		Board: b.ID, Name: b.Name, Generation: b.Generation, Time: now, URLs: c.cfg.URLs, TicketKey: c.ticketKey(),
		Ports: []wire.DesiredPort{}, Services: []wire.DesiredService{},
	}
	if !b.ClonedAt.IsZero() && now.Sub(b.ClonedAt) < cloneNotice {
		d.Notices = append(d.Notices, "another board connects with this board's key and is refused; un-enrol the copy with `lightning-rod leave`")
	}
	urls := map[s4t.AgentID]string{}
	agents, err := tx.Agents(wire.AgentTunnel)
	if err != nil {
		return d, err
	}
	for _, a := range agents {
		urls[a.ID] = a.URL
	}
	ports, err := tx.PortsOfBoard(b.ID)
	if err != nil {
		return d, err
	}
	for _, p := range ports {
		d.Ports = append(d.Ports, wire.DesiredPort{
			ID: p.ID, Network: p.Network, Layer: p.Layer, Encapsulation: p.Encap, Interface: p.Interface, MAC: p.MAC,
			Addresses: p.Addresses, MTU: p.MTU, Guards: p.Guards, GRE: outer(p), URL: urls[p.TunnelAgent],
		})
	}
	services, err := tx.ServicesOfBoard(b.ID)
	if err != nil {
		return d, err
	}
	for _, s := range services {
		d.Services = append(d.Services, wire.DesiredService{ID: s.ID, Target: s.Target, TCPPort: s.TCPPort})
	}
	switch {
	case len(services) > 0:
		d.Streams = &wire.DesiredStreams{URL: urls[b.TunnelAgent], Warm: warmBusy}
	case b.StreamsUntil.After(now):
		d.Streams = &wire.DesiredStreams{URL: urls[b.TunnelAgent], Warm: warmRecent}
	}
	return d, nil
}

// outer are the outer addresses of a port with encapsulation gre, nil of
// another.
func outer(p store.Port) *s4t.PortGRE {
	if p.GRE == nil {
		return nil
	}
	return &s4t.PortGRE{Local: p.GRE.Local, Remote: agentOuter, Key: p.GRE.Key}
}
