package conductor

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// change is one transaction that changes desired or reported state, and what
// follows from it. See [Conductor.change].
type change struct {
	*store.Tx
	c   *Conductor
	now time.Time

	boards   map[s4t.BoardID]bool   // whose desired state changed
	agents   map[s4t.AgentID]bool   // tunnel agents whose desired state changed
	networks map[s4t.NetworkID]bool // with a port whose status changed, or that came or went

	heardBoards map[s4t.BoardID]bool // that reported, came or went: operations that await them are looked at
	heardAgents map[s4t.AgentID]bool

	start   *progress // the operation that this change is
	started time.Time // when its request came in
	events  []s4t.Event
	casts   []cast
	judged  []verdict // on operations that ran before
}

// cast is a message to send after the commit.
type cast struct {
	topic, method string
	req           any
}

// change runs fn in a transaction and then, in the same transaction, grows the
// generation of every board and tunnel agent that fn touched, derives
// statuses, ends operations and appends events; after the commit it casts the
// wake-ups. fn may run more than once and so has no effect but on its change
// and on variables that it sets anew. An fn that changes nothing writes
// nothing.
func (c *Conductor) change(ctx context.Context, fn func(ch *change) error) error {
	var ch *change
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		ch = &change{
			Tx: tx, c: c, now: c.now(),
			boards: map[s4t.BoardID]bool{}, agents: map[s4t.AgentID]bool{}, networks: map[s4t.NetworkID]bool{},
			heardBoards: map[s4t.BoardID]bool{}, heardAgents: map[s4t.AgentID]bool{},
		}
		if err := fn(ch); err != nil {
			return err
		}
		return ch.finish()
	})
	if err != nil {
		return err
	}
	ch.committed(context.WithoutCancel(ctx))
	return nil
}

// finish does, inside the transaction, what follows from what fn did.
func (ch *change) finish() error {
	if err := ch.grow(); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(ch.networks)) {
		if err := ch.deriveBridge(id); err != nil {
			return err
		}
	}
	if ch.start != nil {
		ch.start.op.Awaits = ch.start.awaits.encode()
		if err := ch.InsertOperation(ch.start.op); err != nil {
			return err
		}
		ch.operationEvent("operation.started", ch.start.op, "")
	}
	if err := ch.judge(); err != nil {
		return err
	}
	if err := ch.grow(); err != nil { // what a verdict touched
		return err
	}
	for _, e := range ch.events {
		if err := ch.InsertEvent(e); err != nil {
			return err
		}
	}
	return nil
}

// grow makes a new generation for every tunnel agent and board that was
// touched since the last time, and wakes them.
func (ch *change) grow() error {
	// Tunnel agents are woken first: a board dials them as soon as it knows.
	for _, id := range slices.Sorted(maps.Keys(ch.agents)) {
		generation, err := ch.GrowAgent(id)
		if err != nil {
			return err
		}
		ch.wakeAgent(id, generation)
		ch.heardAgents[id] = true
		if ch.start != nil {
			ch.start.awaits.Agents[id] = generation
		}
	}
	for _, id := range slices.Sorted(maps.Keys(ch.boards)) {
		b, err := ch.GrowBoard(id)
		if err != nil {
			return err
		}
		ch.heardBoards[id] = true
		if b.Status == s4t.BoardOnline {
			ch.wakeBoard(b)
		}
		if ch.start != nil {
			ch.start.awaits.Boards[id] = b.Generation
			if b.Status == s4t.BoardOnline {
				ch.start.online[id] = true
			}
		}
	}
	clear(ch.agents)
	clear(ch.boards)
	return nil
}

// committed tells, after the commit, everybody who should know. What is lost
// here, with the process, is told again by upkeep.
func (ch *change) committed(ctx context.Context) {
	c := ch.c
	if ch.start != nil {
		c.adopt(ch.start, ch.started)
	}
	for _, m := range ch.casts {
		if err := c.cfg.Queue.Cast(ctx, m.topic, m.method, m.req); err != nil {
			c.cfg.Log.Info("a wake-up was not taken; it is told again", "topic", m.topic, "method", m.method, "err", err)
		}
	}
	if ch.start != nil {
		c.note(ch.start.op.ID, stepWake, c.now())
		c.reconsider(ctx, ch.start.op.ID) // it may have nothing to wait for
	}
	for _, v := range ch.judged {
		c.settle(v)
	}
	if len(ch.events) > 0 {
		select {
		case c.news <- struct{}{}:
		default: // the teller is told already
		}
	}
}

// touchBoard marks that the desired state of a board changes.
func (ch *change) touchBoard(id s4t.BoardID) { ch.boards[id] = true }

// touchAgent marks that the desired state of a tunnel agent changes.
func (ch *change) touchAgent(id s4t.AgentID) { ch.agents[id] = true }

// event appends an event.
func (ch *change) event(e s4t.Event) {
	e.At = ch.now
	ch.events = append(ch.events, e)
}

// boardEvent appends an event about a board.
func (ch *change) boardEvent(kind string, b store.Board, detail string) {
	ch.event(s4t.Event{Kind: kind, Project: b.Project, Object: string(b.ID), Name: b.Name, Board: b.Name, Detail: detail})
}

// wakeBoard sends a wake-up after the commit (steps 4 and 5 of Fig. 3).
func (ch *change) wakeBoard(b store.Board) {
	ch.casts = append(ch.casts, cast{wire.TopicWAMPAgent + "." + string(b.WAMPAgent), wire.MethodBoardWake, wire.BoardWake{Board: b.ID, Generation: b.Generation}})
}

// wakeAgent does it for a tunnel agent.
func (ch *change) wakeAgent(id s4t.AgentID, generation int64) {
	ch.casts = append(ch.casts, cast{wire.TopicTunnelAgent + "." + string(id), wire.MethodAgentWake, wire.AgentWake{Generation: generation}})
}

// kick ends the board's session of at most its present epoch.
func (ch *change) kick(b store.Board, reason string) {
	ch.casts = append(ch.casts, cast{wire.TopicWAMPAgent + "." + string(b.WAMPAgent), wire.MethodBoardKick, wire.BoardKick{Board: b.ID, Epoch: b.Epoch, Reason: reason}})
}

// setPort writes what was reported of a port, and the status that follows:
// pending until both halves were up once, then up or down.
func (ch *change) setPort(p store.Port) error {
	was := p.Status
	switch {
	case p.BoardUp && p.AgentUp:
		p.Status = s4t.PortUp
	case was != s4t.PortPending:
		p.Status = s4t.PortDown
	}
	ch.heardBoards[p.BoardID], ch.heardAgents[p.TunnelAgent] = true, true
	if p.Status != was {
		detail := p.BoardProblem
		if detail == "" {
			detail = p.AgentProblem
		}
		ch.event(s4t.Event{Kind: "port." + string(p.Status), Project: p.Project, Object: string(p.ID), Name: p.Interface, Board: p.Board, Detail: detail})
		ch.networks[p.Network] = true
	}
	return ch.UpdatePortState(p)
}

// setService does it for a service: up while its public port listens and the
// board is ready to take streams.
func (ch *change) setService(s store.Service) error {
	was := s.Status
	s.Status = s4t.ServicePending
	if s.AgentUp && s.StreamsUp {
		s.Status = s4t.ServiceUp
	}
	ch.heardBoards[s.BoardID], ch.heardAgents[s.Agent] = true, true
	if s.Status != was {
		kind := "service.up"
		if s.Status != s4t.ServiceUp {
			kind = "service.down"
		}
		ch.event(s4t.Event{Kind: kind, Project: s.Project, Object: string(s.ID), Name: s.Name, Board: s.Board, Detail: s.Problem})
	}
	return ch.UpdateServiceState(s)
}

// setServices does it for the services of a board that came or went: one whose
// link was cut may have rtunnels for a while that nobody knows to be dead.
func (ch *change) setServices(board s4t.BoardID) error {
	services, err := ch.ServicesOfBoard(board)
	if err != nil {
		return err
	}
	for _, s := range services {
		if (s.Status == s4t.ServiceUp) == (s.AgentUp && s.StreamsUp) {
			continue
		}
		if err := ch.setService(s); err != nil {
			return err
		}
	}
	return nil
}

// deriveBridge finds the status of the bridge of a network and tells when it
// is another than was told last. A network that is gone has none.
func (ch *change) deriveBridge(id s4t.NetworkID) error {
	b, err := ch.BridgeOfNetwork(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	states, err := ch.PortStates(id)
	if err != nil {
		return err
	}
	ports := make([]s4t.Port, len(states))
	for i, s := range states {
		ports[i].Status = s.Status
	}
	status := s4t.StatusOf(ports)
	if status == b.Status {
		return nil
	}
	ch.event(s4t.Event{Kind: "bridge." + string(status), Project: b.Project, Object: string(b.ID), Name: b.Name})
	return ch.SetBridgeStatus(b.ID, status)
}
