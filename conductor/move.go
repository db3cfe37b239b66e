package conductor

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// What a tunnel agent has moves to others when it is silent, all at once, and when
// it is drained, so many a second. A board opens its new data rtunnel before it
// leaves the old one, and a drained agent carries a network for long enough that
// all its boards have: no frame is lost in between.

const (
	moveLinger     = 10 * time.Second // that a drained agent goes on to carry a network; boards send through the other after 2 s
	moveBatch      = 50               // networks or boards that one transaction moves
	networksAtOnce = 20               // that a drained agent is rid of in one round
	boardsAtOnce   = 200              // the same of boards
	lostNetworks   = 500              // the same of a silent one: upkeep has other things to do, too
	lostBoards     = 1000
)

// moveAway moves what silent and drained tunnel agents have, and finishes with
// drained agents.
func (c *Conductor) moveAway(ctx context.Context) error {
	var now time.Time
	var leaving map[s4t.AgentID]time.Time
	agents, err := view(ctx, c, func(tx *store.Tx) (agents []store.Agent, err error) {
		now = tx.Now()
		if leaving, err = tx.AgentsLeft(); err != nil {
			return nil, err
		}
		return tx.Agents()
	})
	if err != nil {
		return err
	}
	c.upkept.listen(agents, now)
	taken := slices.ContainsFunc(agents, func(a store.Agent) bool { return a.Takes(wire.AgentTunnel) })
	for _, a := range agents {
		switch silent := !a.Online && now.Sub(a.SeenAt) >= agentTimeout; {
		case a.Kind != wire.AgentTunnel || !taken:
		case silent && now.Before(c.upkept.grace): // it had no time to be heard
		case silent:
			err = c.moveAll(ctx, a, lostNetworks, lostBoards)
		case a.Drain != store.DrainNot && a.Online: // also after it was empty: something new was on its way there
			err = c.moveAll(ctx, a, networksAtOnce, boardsAtOnce)
		}
		if err == nil {
			err = c.letGo(ctx, a, leaving[a.ID], now)
		}
		if err != nil {
			return err
		}
	}
	return err
}

// listen gives agents the time to be heard where none was heard for a while: it was
// the broker that was away, or this conductor, and not all agents at once. Else the one that
// is heard first would get what all others have.
func (u *upkept) listen(agents []store.Agent, now time.Time) {
	heard := slices.ContainsFunc(agents, func(a store.Agent) bool { return now.Sub(a.SeenAt) < agentTimeout })
	if heard && u.deaf {
		u.grace = now.Add(agentTimeout)
	}
	u.deaf = !heard
}

// moveAll moves what an agent has: so many networks and boards at most. Networks come first, then boards with services, which somebody may miss.
func (c *Conductor) moveAll(ctx context.Context, from store.Agent, networks, boards int) error {
	err := moveEach(ctx, c, networks, func(tx *store.Tx, after s4t.NetworkID, n int) ([]s4t.NetworkID, error) {
		return tx.NetworksToMove(from.ID, after, n)
	}, func(ch *change, p *placing, id s4t.NetworkID) error { return ch.moveNetwork(id, from, p) })
	for _, services := range []bool{true, false} {
		if err != nil {
			return err
		}
		err = moveEach(ctx, c, boards, func(tx *store.Tx, after s4t.BoardID, n int) ([]s4t.BoardID, error) {
			return tx.BoardsToMove(from.ID, services, after, n)
		}, func(ch *change, p *placing, id s4t.BoardID) error {
			b, err := ch.LockBoard(id)
			if s4t.KindOf(err) == s4t.NotFound {
				return nil
			}
			if err != nil {
				return err
			}
			to, ok := p.take(b.Labels[placeLabel])
			if !ok {
				return nil
			}
			return ch.moveBoard(&b, from, to)
		})
	}
	return err
}

// moveEach moves what list says, at most limit.
func moveEach[ID ~string](ctx context.Context, c *Conductor, limit int, list func(*store.Tx, ID, int) ([]ID, error), move func(*change, *placing, ID) error) error {
	for last, done := ID(""), 0; done < limit; {
		n := min(moveBatch, limit-done)
		ids, err := view(ctx, c, func(tx *store.Tx) ([]ID, error) { return list(tx, last, n) })
		if err != nil || len(ids) == 0 {
			return err
		}
		last, done = ids[len(ids)-1], done+len(ids)
		err = c.change(ctx, func(ch *change) error {
			p, err := ch.placing()
			if err != nil || len(p.agents) == 0 {
				return err
			}
			for _, id := range ids {
				if err := move(ch, p, id); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// moveNetwork gives what a tunnel agent has of a network to others, if it is still at
// from: the network itself, with the ports that are at its own, and the ports of
// another's. The one that they leave goes on for a while where it is alive.
func (ch *change) moveNetwork(id s4t.NetworkID, from store.Agent, p *placing) error {
	_, err := ch.LockNetwork(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	n, err := ch.Network(id)
	if err != nil {
		return err
	}
	all, err := ch.PortsOfNetwork(id)
	if err != nil {
		return err
	}
	own := n.TunnelAgent == from.ID && n.Uplink == nil && len(n.AttachGRE) == 0
	ports := slices.DeleteFunc(all, func(port store.Port) bool {
		return port.TunnelAgent != from.ID || port.OwnAgent == "" && !own
	})
	if !own && len(ports) == 0 {
		return nil // another was faster, or its other end is that machine
	}
	was, err := ch.Peerings(id)
	if err != nil {
		return err
	}
	home, err := ch.Agent(n.TunnelAgent)
	if err != nil {
		return err
	}
	if own {
		place, err := ch.placeOf(ports)
		if err != nil {
			return err
		}
		to, ok := p.take(place)
		if !ok || to.ID == from.ID {
			return nil
		}
		home = to
	}
	leaving := time.Time{}
	if from.Online {
		leaving = ch.Now().Add(moveLinger)
	} else {
		for _, port := range ports {
			ch.unwant(agentOf(from.ID), wire.KindPort, string(port.ID))
		}
	}
	if own {
		if !from.Online {
			ch.unwant(agentOf(from.ID), wire.KindNetwork, string(id))
		}
		if err := ch.MoveNetwork(id, from.ID, home.ID, leaving); err != nil {
			return err
		}
		n.TunnelAgent = home.ID
	}
	if own && len(was) == 0 && !slices.ContainsFunc(ports, func(port store.Port) bool { return port.OwnAgent != "" }) { // it moves as a whole
		for i := range ports {
			ports[i].TunnelAgent = home.ID
		}
	} else if err := ch.movePorts(home, from, ports, leaving, p); err != nil {
		return err
	}
	if err := ch.wantNetwork(n); err != nil {
		return err
	}
	for _, port := range ports {
		if err := ch.wantPort(port); err != nil {
			return err
		}
	}
	if own {
		ch.event(s4t.Event{Kind: "network.moved", Project: n.Project, Object: string(n.ID), Name: n.Name, Detail: fmt.Sprintf("from %s to %s", from.ID, home.ID)})
	}
	return nil
}

// movePorts gives ports of a network that is at several tunnel agents to others: to
// home, its own, or one of their board's place.
func (ch *change) movePorts(home, from store.Agent, ports []store.Port, leaving time.Time, p *placing) error {
	if len(ports) == 0 {
		return nil
	}
	members, err := ch.agentsOf(ports[0].Network)
	if err != nil {
		return err
	}
	moved := make(map[s4t.PortID]s4t.AgentID, len(ports))
	for i := range ports {
		port := &ports[i]
		b, err := ch.Board(port.BoardID)
		if err != nil {
			return err
		}
		port.OwnAgent = p.beside(home, b.Labels[placeLabel], members)
		port.TunnelAgent = cmp.Or(port.OwnAgent, home.ID)
		if !leaving.IsZero() {
			port.Leaving = from.ID
		}
		moved[port.ID] = port.OwnAgent
	}
	return ch.MovePorts(moved, from.ID, leaving)
}

// placeOf is the place of the first board of ports that says one.
func (ch *change) placeOf(ports []store.Port) (string, error) {
	for _, p := range ports {
		b, err := ch.Board(p.BoardID)
		if err != nil {
			return "", err
		}
		if place := b.Labels[placeLabel]; place != "" {
			return place, nil
		}
	}
	return "", nil
}

// moveBoard gives the services and streams of a board to another tunnel agent, if
// they are still at from. A public port keeps its number where that is free there;
// the new place is told. b is as it is then.
func (ch *change) moveBoard(b *store.Board, from, to store.Agent) error {
	now, err := ch.LockBoard(b.ID)
	if err != nil {
		return err
	}
	*b = now
	if to.ID == from.ID {
		return nil
	}
	moved := b.TunnelAgent == from.ID
	if moved {
		ch.unwant(agentOf(from.ID), wire.KindStreams, string(b.ID))
		b.TunnelAgent = to.ID
		if err := ch.SetBoardStreams(*b); err != nil {
			return err
		}
	} else if to, err = ch.Agent(b.TunnelAgent); err != nil { // but for services that found no port
		return err
	}
	services, err := ch.ServicesOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, s := range services {
		if s.Agent != from.ID {
			continue
		}
		if err := ch.moveService(s, to); err != nil {
			return err
		}
	}
	if !moved {
		return nil
	}
	if err := ch.wantPlugins(*b); err != nil { // from where it fetches their bundles
		return err
	}
	return ch.wantStreams(*b)
}

// moveService gives a service to another tunnel agent.
func (ch *change) moveService(s store.Service, to store.Agent) error {
	op := fmt.Sprintf("move service %s of board %q to %s", s.Name, s.Board, to.ID)
	was := s
	port, err := ch.choosePublicPort(op, to, s.PublicPort)
	if s4t.KindOf(err) == s4t.Conflict { // it is taken there, or not one of the agent's
		port, err = ch.choosePublicPort(op, to, 0)
	}
	if kind := s4t.KindOf(err); kind == s4t.Conflict || kind == s4t.TooMany {
		ch.c.stuck.Warn(ch.c.cfg.Log, "a service does not move to another tunnel agent", "service", s.ID, "err", err)
		return nil
	}
	if err != nil {
		return err
	}
	ch.unwant(agentOf(s.Agent), wire.KindService, string(s.ID))
	s.Agent, s.Host, s.PublicPort = to.ID, to.Host, port
	if err := ch.MoveService(s); err != nil {
		return err
	}
	ch.wantService(s)
	at := func(s store.Service) string { return net.JoinHostPort(s.Host, strconv.Itoa(s.PublicPort)) }
	ch.event(s4t.Event{
		Kind: "service.moved", Project: s.Project, Object: string(s.ID), Name: s.Name, Board: s.Board, Detail: fmt.Sprintf("from %s to %s", at(was), at(s)),
		Data: wire.Encode(map[string]any{"host": s.Host, "public_port": s.PublicPort, "dns_name": s.DNSName}),
	})
	return nil
}
