package lease

import (
	"slices"
	"time"

	"github.com/stack4things/s4t"
)

// Book is what a board knows of who holds it, with the clock to judge that by.
type Book struct {
	Number int64 // only grows
	Tree   Tree  // the owner first
	Told   Told
}

// By returns what allows a project an action at a time: its own board, the lease that is named where
// that does, else what [Tree.May] finds. An empty project is that of the lease, or else the owner.
func (t Tree) By(project s4t.ProjectID, id s4t.LeaseID, a Action, at time.Time) (Holding, bool) {
	h, there := t.find(id)
	switch {
	case project == "" && there:
		project = h.Project
	case project == "" && id != "":
		return Holding{}, false
	case project == "":
		project = t.owner()
	}
	if there && h.Project == project && project != t.owner() {
		if e, whole := t.effective(h); whole && e.Allow.Has(a) && e.Window.Has(at) {
			return e, true
		}
	}
	return t.May(project, a, at)
}

// owner is the project whose board it is; empty: it is not known.
func (t Tree) owner() s4t.ProjectID {
	for _, h := range t {
		if h.Lease == "" {
			return h.Project
		}
	}
	return ""
}

// Lasts reports whether a lease allows anything at a time.
func (t Tree) Lasts(id s4t.LeaseID, at time.Time) bool {
	h, there := t.find(id)
	if !there {
		return false
	}
	e, whole := t.effective(h)
	return whole && e.Window.Has(at) && len(e.Allow) > 0
}

// Next is when the first lease begins or ends after a time; zero: none does.
func (t Tree) Next(at time.Time) (next time.Time) {
	for _, h := range t {
		if h.Lease == "" {
			continue
		}
		for _, edge := range []time.Time{h.Window.From, h.Window.Until} {
			if edge.After(at) && (next.IsZero() || edge.Before(next)) {
				next = edge
			}
		}
	}
	return next
}

// May decides whether a project may do something with the board at a moment, and by what. The owner
// may at any time. What a lease allows is allowed while the time is known.
func (b *Book) May(op string, project s4t.ProjectID, id s4t.LeaseID, a Action, m Moment) (Holding, error) {
	now, known := b.Told.Now(m)
	if h, ok := b.Tree.By(project, id, a, now); ok && (known || h.Lease == "") {
		return h, nil
	}
	refused := func(hint, format string, args ...any) (Holding, error) {
		return Holding{}, s4t.Errorf(s4t.Forbidden, op, hint, format, args...)
	}
	if h, there := b.Tree.find(id); there && project == "" {
		project = h.Project
	}
	held := slices.DeleteFunc(slices.Clone(b.Tree), func(h Holding) bool { return h.Lease == "" || h.Project != project })
	switch {
	case len(held) == 0:
		return refused("see `s4t lease list`", "the board is not leased to the project (any more)")
	case !known:
		return refused("try again when the board is online", "the board has restarted, and has not heard from the cloud what time it is")
	}
	h := held[len(held)-1]
	if i := slices.IndexFunc(held, func(h Holding) bool { return h.Lease == id }); i >= 0 {
		h = held[i]
	}
	e, whole := b.Tree.effective(h)
	switch {
	case !whole:
		return refused("see `s4t lease list`", "what lease %q is a share of is over", h.Name)
	case now.Before(e.Window.From):
		return refused("wait until then", "lease %q begins at %s", h.Name, clock(e.Window.From))
	case !now.Before(e.Window.Until):
		return refused("`s4t lease create` books it again", "lease %q ended at %s", h.Name, clock(e.Window.Until))
	}
	return refused("see `s4t lease list`", "lease %q allows %s, not %s", h.Name, e.Allow, a)
}
