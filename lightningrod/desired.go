package lightningrod

import (
	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// The desired state of the board: taken from the cloud, applied, and kept on disk.

// adopt takes a desired state from the cloud: keeps it and applies it.
func (e *Engine) adopt(d wire.BoardDesired) error {
	if d.Board != e.id.Board {
		return s4t.Errorf(s4t.Internal, "take the desired state", "", "it is for the board %q", d.Board)
	}
	if len(d.Resources) > wire.MaxResources {
		return s4t.Errorf(s4t.TooMany, "take the desired state", "", "it has %d resources, at most %d are possible on one board", len(d.Resources), wire.MaxResources)
	}
	if d.Resources == nil {
		d.Resources = []wire.Resource{} // nothing is wanted; on disk that differs from a file without resources
	}
	if e.changesOwner(d) {
		e.end()
		return errNewOwner
	}
	e.clock.set(d.Time)
	e.believe(d.Trust)
	e.leases.take(d.Book, d.TicketKey)
	d.Book = "" // it has a file of its own
	e.take(d)
	return nil
}

// clearDesired takes down what the board has for a cloud that does not know it any
// more. The identity stays: that it is worth nothing is for people to hear.
func (e *Engine) clearDesired() {
	e.mu.Lock()
	d := e.desired
	e.mu.Unlock()
	if len(d.Resources) == 0 {
		return
	}
	d.Resources = []wire.Resource{}
	e.take(d)
}

// take applies a desired state and saves it.
func (e *Engine) take(d wire.BoardDesired) {
	e.trial.want(d.Resources)
	e.apply(d)
	e.save()
}

// save keeps the desired state for the next boot, unless it is not yet known
// whether the board can boot with it.
func (e *Engine) save() {
	e.applying.Lock()
	defer e.applying.Unlock()
	suspects, ok := e.trial.saved()
	if !ok {
		return
	}
	e.mu.Lock()
	now, last := kept{e.desired, suspects}, e.kept
	e.mu.Unlock()
	err := e.dir.saveDesired(now, last)
	e.mu.Lock()
	defer e.mu.Unlock()
	if readOnlyError(err) { // told by itself
		e.saving = ""
		return
	}
	if err != nil {
		e.saving = err.Error() + "; after a restart the board waits for the cloud"
		return
	}
	e.kept, e.saving = now, ""
}

// wanted is the desired state.
func (e *Engine) wanted() wire.BoardDesired {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.desired
}

// apply makes the board what d says, but for what was taken back. It returns
// when what should go is gone; what should come is on its way.
func (e *Engine) apply(d wire.BoardDesired) {
	e.applying.Lock()
	defer e.applying.Unlock()
	e.mu.Lock()
	e.desired = d
	e.heard = max(e.heard, d.Generation)
	e.mu.Unlock()
	e.profile.traffic.usage.belong(d.Project)
	e.kinds.apply(e.leases.admitted(e.profile.windowNow().admitted(e.trial.effective(d.Resources))))
	e.mu.Lock()
	e.applied = d.Generation
	e.mu.Unlock()
}

// turn makes the board follow its owner's hours: while it is closed it has nothing of
// what the cloud wants.
func (e *Engine) turn(w window) {
	e.applying.Lock()
	defer e.applying.Unlock()
	e.kinds.apply(e.leases.admitted(w.admitted(e.trial.effective(e.wanted().Resources))))
	switch w.state {
	case windowOpen:
		e.kinds.retry()
	case windowClosed:
		e.streams.cut(w.refused("use the board"))
		if e.guests != nil {
			e.guests.runs.end(w.refused("it was ended"))
		}
	}
	e.markDirty()
}

// endLeased ends what is open by leases that are over, and gives the kinds what leases that have begun
// allow.
func (e *Engine) endLeased(over func(id s4t.LeaseID) bool) {
	e.streams.endLeased(over)
	if e.guests != nil {
		e.guests.runs.endLeased(over)
	}
	if e.pins != nil {
		e.pins.watch.refresh()
	}
	if !e.leases.turned(e.wanted().Resources) {
		return
	}
	e.applying.Lock()
	defer e.applying.Unlock()
	e.kinds.apply(e.leases.admitted(e.profile.windowNow().admitted(e.trial.effective(e.wanted().Resources))))
	e.markDirty()
}
