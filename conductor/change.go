package conductor

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// change is one transaction that changes desired or reported state, and what
// follows from it. See [Conductor.change].
//
// Its locks are taken in this order, so that two changes do not wait for each
// other: networks, boards, agents (each by id), realizations (by object),
// bridges, operations, events. A change that withdraws what an operation could not make
// goes back to agents; where it meets another there, the database ends one of
// the two, and it runs again.
type change struct {
	*store.Tx
	c   *Conductor
	now time.Time

	wants       map[holder]map[wire.ResourceKey]*wanted // to be applied
	touched     map[holder]bool                         // whose desired state is looked at; true: it changes in any case
	generations map[holder]int64                        // that this change made
	networks    map[s4t.NetworkID]bool                  // with a port whose status changed, or that came or went
	heard       map[string]bool                         // holders that reported, came or went: operations that await them are looked at
	deletes     []func() error                          // of rows, when what hung on them is not wanted any more
	lasts       []func() error                          // when operations have been looked at

	start   *begun // the operation that this change is
	events  []s4t.Event
	casts   []cast
	moved   []s4t.OperationID // operations with something new to show
	lenders []s4t.ProjectID   // whose boards are used by leases
	logged  []logged          // of operations
	rolled  bool              // rollouts are to be looked at
}

// logged is what the log says of an operation after the commit.
type logged struct {
	msg    string
	op     store.Operation
	detail string
}

// cast is a message to send after the commit.
type cast struct {
	topic, method string
	req           any
}

// change runs fn in a transaction and then, in the same transaction, writes
// what fn wants of boards and agents, derives statuses, ends operations and
// appends events; after the commit it casts the wake-ups. fn may run more than
// once and so has no effect but on its change and on variables that it sets
// anew. An fn that changes nothing writes nothing.
func (c *Conductor) change(ctx context.Context, fn func(ch *change) error) error {
	var ch *change
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		ch = &change{
			Tx: tx, c: c, now: c.now(), wants: map[holder]map[wire.ResourceKey]*wanted{}, touched: map[holder]bool{},
			generations: map[holder]int64{}, networks: map[s4t.NetworkID]bool{}, heard: map[string]bool{},
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
	if err := ch.settle(); err != nil {
		return err
	}
	if ch.start != nil {
		if err := ch.insertStart(); err != nil {
			return err
		}
	}
	if err := ch.assess(); err != nil {
		return err
	}
	for _, do := range ch.lasts {
		if err := do(); err != nil {
			return err
		}
	}
	if err := ch.settle(); err != nil { // what an assessment took back
		return err
	}
	if err := ch.lesseesHear(); err != nil {
		return err
	}
	ch.InsertEvents(ch.events...)
	return nil
}

// settle writes what is wanted, deletes what is not needed for it any more, and
// derives the statuses of bridges.
func (ch *change) settle() error {
	if err := ch.apply(); err != nil {
		return err
	}
	for _, del := range ch.deletes {
		if err := del(); err != nil {
			return err
		}
	}
	ch.deletes = nil
	for _, id := range slices.Sorted(maps.Keys(ch.networks)) {
		if err := ch.deriveBridge(id); err != nil {
			return err
		}
	}
	clear(ch.networks)
	return nil
}

// committed tells, after the commit, everybody who should know. What is lost
// here, with the process, is told again by upkeep.
func (ch *change) committed(ctx context.Context) {
	for _, l := range ch.logged {
		ch.c.cfg.Log.InfoContext(queue.ForOperation(ctx, l.op.ID), l.msg, "kind", l.op.Kind, "name", l.op.Name, "project", l.op.Project, "detail", l.detail)
	}
	if ch.start != nil { // whoever hears of it knows what it is for
		ctx = queue.ForOperation(ctx, ch.start.op.ID)
	}
	for _, m := range ch.casts {
		if err := ch.c.cfg.Queue.Cast(ctx, m.topic, m.method, m.req); err != nil {
			ch.c.cfg.Log.InfoContext(ctx, "a wake-up was not taken; it is told again", "topic", m.topic, "method", m.method, "err", err)
		}
	}
	last := int64(0)
	if ch.Tx != nil {
		last = ch.LastInserted()
	}
	ch.c.news.publish(last, ch.moved...)
	if ch.rolled {
		ch.c.wakeRollouts()
	}
}

// later deletes a row after what hung on it has been taken back.
func (ch *change) later(del func() error) { ch.deletes = append(ch.deletes, del) }

// last does something when the operations that this change concerns have been looked
// at.
func (ch *change) last(do func() error) { ch.lasts = append(ch.lasts, do) }

// event appends an event.
func (ch *change) event(e s4t.Event) {
	e.At = ch.now
	ch.events = append(ch.events, e)
}

// boardEvent appends an event about a board.
func (ch *change) boardEvent(kind string, b store.Board, detail string) {
	e := s4t.Event{Kind: kind, Project: b.Project, Object: string(b.ID), Name: b.Name, Board: b.Name, Detail: detail}
	if kind != "board.deleted" {
		e.Data = boardFields(kind, b, ch.now)
	}
	ch.event(e)
}

// boardFields are the fields of a board that lists show, as they are after an event of a kind. What
// has the list of boards keeps it true with them, and asks for nothing.
func boardFields(kind string, b store.Board, now time.Time) map[string]any {
	status, seen := b.Status, b.LastSeen
	switch kind {
	case "board.online":
		status, seen = s4t.BoardOnline, &now
	case "board.offline":
		status, seen = s4t.BoardOffline, &now
	}
	fields := map[string]any{"id": b.ID, "name": b.Name, "status": status, "labels": b.Labels}
	if b.Type != "" {
		fields["type"] = b.Type
	}
	if seen != nil {
		fields["last_seen"] = *seen
	}
	return fields
}

// wakeBoard sends a wake-up after the commit (steps 4 and 5 of Fig. 3).
func (ch *change) wakeBoard(w store.Woken) {
	ch.casts = append(ch.casts, cast{wire.TopicWAMPAgent + "." + string(w.WAMPAgent), wire.MethodBoardWake, wire.BoardWake{Board: w.Board, Generation: w.Generation}})
}

// wakeAgent does it for a tunnel agent.
func (ch *change) wakeAgent(a store.Agent) {
	ch.casts = append(ch.casts, cast{wire.TopicTunnelAgent + "." + string(a.ID), wire.MethodAgentWake, wire.AgentWake{Generation: a.Generation}})
}

// kick ends the board's session of at most its present epoch. message is for
// people.
func (ch *change) kick(b store.Board, reason, message string) {
	ch.casts = append(ch.casts, cast{wire.TopicWAMPAgent + "." + string(b.WAMPAgent), wire.MethodBoardKick, wire.BoardKick{Board: b.ID, Epoch: b.Epoch, Reason: reason, Message: message}})
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
	ports, err := ch.PortStatuses(id)
	if err != nil {
		return err
	}
	status := s4t.StatusOf(ports)
	if status == b.Status {
		return nil
	}
	ch.event(s4t.Event{Kind: "bridge." + string(status), Project: b.Project, Object: string(b.ID), Name: b.Name, Data: map[string]any{"id": b.ID, "status": status}})
	return ch.SetBridgeStatus(b.ID, status)
}
