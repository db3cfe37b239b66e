package lease

import (
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// Holding is what a project holds of one board: by owning it, by a lease of its own, or by a
// share of another's.
type Holding struct {
	Lease   s4t.LeaseID // empty: it is the owner
	Parent  s4t.LeaseID // the lease it is a share of; empty: of none
	Name    string      // of the lease
	Project s4t.ProjectID
	Window  Window
	Allow   Set
}

// Tree is all that is held of one board. It decides who may do what, so it is whole: a share
// without its parent allows nothing.
type Tree []Holding

// find returns the lease with an id.
func (t Tree) find(id s4t.LeaseID) (Holding, bool) {
	i := slices.IndexFunc(t, func(h Holding) bool { return h.Lease == id && id != "" })
	if i < 0 {
		return Holding{}, false
	}
	return t[i], true
}

// effective is what a holding allows: no more than each of those above it. ok is false where
// one of them is missing, or a row says that it is above itself.
func (t Tree) effective(h Holding) (out Holding, ok bool) {
	out = h
	for depth := 0; h.Parent != ""; depth++ {
		if h, ok = t.find(h.Parent); !ok || depth > len(t) {
			return out, false
		}
		out.Allow = out.Allow.And(h.Allow)
		if h.Window.From.After(out.Window.From) {
			out.Window.From = h.Window.From
		}
		out.Window.Until = earlier(out.Window.Until, h.Window.Until)
	}
	return out, true
}

// May returns what allows a project an action at a time: its own board first, then the lease
// that lasts longest.
func (t Tree) May(project s4t.ProjectID, a Action, at time.Time) (by Holding, ok bool) {
	for _, h := range t {
		if h.Project != project {
			continue
		}
		if h.Lease == "" {
			return h, true
		}
		e, whole := t.effective(h)
		if !whole || !e.Allow.Has(a) || !e.Window.Has(at) {
			continue
		}
		if !ok || e.Window.Until.After(by.Window.Until) {
			by, ok = e, true
		}
	}
	return by, ok
}

// Who lists all that may use a board at a time, with what they may, the owner first.
func (t Tree) Who(at time.Time) []Holding {
	var all []Holding
	for _, h := range t {
		if e, whole := t.effective(h); h.Lease == "" || whole && e.Window.Has(at) && len(e.Allow) > 0 {
			all = append(all, e)
		}
	}
	slices.SortStableFunc(all, func(a, b Holding) int {
		return strings.Compare(string(a.Lease), string(b.Lease))
	})
	return all
}

// Below are the leases that end when one does: its shares, theirs, and so on, those at the
// ends first, which is the order to take them back in.
func (t Tree) Below(id s4t.LeaseID) []s4t.LeaseID {
	var out []s4t.LeaseID
	seen := map[s4t.LeaseID]bool{id: true}
	var walk func(s4t.LeaseID)
	walk = func(id s4t.LeaseID) {
		for _, h := range t {
			if h.Parent == id && h.Lease != "" && !seen[h.Lease] {
				seen[h.Lease] = true
				walk(h.Lease)
				out = append(out, h.Lease)
			}
		}
	}
	walk(id)
	return out
}
