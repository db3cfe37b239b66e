package store

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// present is what is true of this moment only: who holds leases, and when agents were
// heard. An SQLite database has one process, and rows would say it to nobody else: they
// would be most of what a cloud at rest writes. So it is kept here, and of agents also
// written now and then, for the process after this one. PostgreSQL's is in its rows.
type present struct {
	mu     sync.Mutex
	leases map[string]hold
	heard  map[s4t.AgentID]heard
}

// hold is who has a lease of a process, and until when, in microseconds.
type hold struct {
	holder string
	until  int64
}

// heard is when an agent was heard, in microseconds.
type heard struct {
	seen, lease int64
	written     int64 // the seen that its row has
}

// beatWritten is how old the time in an agent's row may be: by so much an outage begins
// too early where a process with an SQLite database was killed. The lease in the row
// ends later by as much, so that no agent has one that its row does not know of.
const beatWritten = 30 * time.Second

// hear notes that an agent was heard, and returns those whose rows are to be written: all, where
// one is due, so that they are one transaction.
func (p *present) hear(a Agent) (due map[s4t.AgentID]heard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.heard[a.ID]
	h.seen, h.lease = micros(a.SeenAt), micros(a.LeaseUntil)
	p.heard[a.ID] = h
	if late := h.seen - h.written; late >= 0 && late < beatWritten.Microseconds() {
		return nil
	}
	return p.unwritten()
}

// unwritten are the agents whose rows have another time. mu is held.
func (p *present) unwritten() map[s4t.AgentID]heard {
	all := map[s4t.AgentID]heard{}
	for id, h := range p.heard {
		if h.seen != h.written {
			all[id] = h
		}
	}
	return all
}

// wrote notes what rows have, when that was committed.
func (p *present) wrote(all map[s4t.AgentID]heard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, was := range all {
		h := p.heard[id]
		h.written = was.seen
		p.heard[id] = h
	}
}

// of corrects what an agent's row says.
func (p *present) of(a *Agent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h, ok := p.heard[a.ID]; ok {
		a.SeenAt, a.LeaseUntil = fromMicros(h.seen), fromMicros(h.lease)
	}
}

// leaseOf returns who has a lease, empty where nobody has it.
func (p *present) leaseOf(name string) hold {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.leases[name]
}

// take is what [Tx.TakeLease] says; the times are in microseconds.
func (p *present) take(name string, l hold, now int64) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was, held := p.leases[name]; held && was.holder != l.holder && was.until >= now {
		return false
	}
	p.leases[name] = l
	return true
}

// give is what [Tx.GiveLease] says.
func (p *present) give(name, holder string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.leases[name].holder == holder {
		delete(p.leases, name)
	}
}

// alone reports whether this process has the database alone.
func (tx *Tx) alone() bool { return tx.db.engine == sqlite }

// Beat notes that an agent was heard, which else is as it was, and its lease.
func (tx *Tx) Beat(a Agent) error {
	due := map[s4t.AgentID]heard{a.ID: {seen: micros(a.SeenAt), lease: micros(a.LeaseUntil)}}
	if tx.alone() {
		due = tx.db.present.hear(a)
	}
	return tx.setHeard(due)
}

// setHeard writes when agents were heard.
func (tx *Tx) setHeard(all map[s4t.AgentID]heard) error {
	for id, h := range all {
		if _, err := tx.exec("record that agents were heard", `UPDATE agents SET seen_at = ?, lease_until = ? WHERE id = ?`, h.seen, tx.leaseInRow(h.lease), id); err != nil {
			return err
		}
	}
	tx.heard = all
	return nil
}

// leaseInRow is the end of an agent's lease as its row has it, see beatWritten.
func (tx *Tx) leaseInRow(until int64) int64 {
	if until == 0 || !tx.alone() {
		return until
	}
	return until + beatWritten.Microseconds()
}

// keepPresent writes what only this process knows, before it ends in order. Where it
// cannot the rows are as after a kill.
func (db *DB) keepPresent() {
	db.present.mu.Lock()
	all := db.present.unwritten()
	db.present.mu.Unlock()
	if len(all) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	if err := db.Tx(ctx, func(tx *Tx) error { return tx.setHeard(all) }); err != nil {
		db.log.Info("when agents were heard last is not written", "err", err)
	}
}
