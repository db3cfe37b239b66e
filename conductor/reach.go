package conductor

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A use is what a method does with a board: the method, and where it does more than one thing with
// boards, which.
type use string

// streamSSH is a stream to the board's SSH service, or a terminal; wire.MethodStreamOpen are the others.
const streamSSH use = wire.MethodStreamOpen + " ssh"

// What a use needs besides an action.
const (
	toLook lease.Action = "look"  // any action will do
	toOwn  lease.Action = "owner" // no lease gives it
)

// uses says what each use of a board needs of who has it by a lease; its owner may all of them. A use
// that is not here is refused to everybody.
var uses = map[use]lease.Action{
	wire.MethodBoardGet:       toLook,
	wire.MethodBoardUpdate:    toOwn,
	wire.MethodBoardDelete:    toOwn,
	wire.MethodBoardPlaces:    toOwn,
	wire.MethodBoardTransfer:  toOwn,
	wire.MethodBoardDoctor:    toLook,
	wire.MethodBoardProfile:   toLook,
	wire.MethodHealthGet:      toLook,
	wire.MethodOutageList:     toLook,
	wire.MethodCalendarCreate: toLook,
	wire.MethodWhoCan:         toLook,

	wire.MethodFleetCreate: toOwn,
	wire.MethodFleetUpdate: toOwn,
	wire.MethodOfferCreate: toOwn,

	streamSSH:                lease.SSH,
	wire.MethodStreamOpen:    lease.Service,
	wire.MethodServiceExpose: lease.Service,
	wire.MethodServiceList:   lease.Service,
	wire.MethodServiceUpdate: lease.Service,
	wire.MethodServiceHide:   lease.Service,

	wire.MethodBridgeCreate: lease.Bridge,
	wire.MethodBridgeAdd:    lease.Bridge,
	wire.MethodBridgeRemove: lease.Bridge,

	wire.MethodPinAsk:   lease.Pins,
	wire.MethodPinAll:   lease.Pins,
	wire.MethodPinWatch: lease.Pins,

	wire.MethodCommandRun:   lease.Commands,
	wire.MethodCommandFleet: lease.Commands,
	wire.MethodCommandList:  lease.Commands,
	wire.MethodCommandGet:   lease.Commands,

	wire.MethodPluginInject: lease.Plugins,
	wire.MethodPluginAct:    lease.Plugins,
	wire.MethodPluginStatus: lease.Plugins,
	wire.MethodBoardAsk:     lease.Plugins,
	wire.MethodFeedFollow:   lease.Plugins,
}

// right is by what somebody uses a board.
type right struct {
	Project s4t.ProjectID // whose what comes of it is
	Lease   s4t.LeaseID   // by which; empty: the board is the project's
	Until   time.Time     // without this instant; zero: it does not end
}

// lent reports whether it is by a lease.
func (r right) lent() bool { return r.Lease != "" }

// within is a time from now, or what is left of a lease where that is shorter. 0 stays 0.
func (r right) within(d time.Duration, now time.Time) time.Duration {
	if left := r.Until.Sub(now); r.lent() && d > left {
		return max(left, time.Millisecond)
	}
	return d
}

// reach returns the board that ref, a name or an id, means for the caller, if the caller may use it so:
// as one of its project's, or else by a lease. What nobody told it of does not exist.
func reach[T any](tx *store.Tx, caller wire.Caller, op string, u use, ref string, byID func(string) (T, error), named func(s4t.ProjectID, string) ([]T, error), id func(T) s4t.BoardID, project func(T) s4t.ProjectID) (T, right, error) {
	var none T
	needs, known := uses[u]
	if !known {
		return none, right{}, s4t.Errorf(s4t.Internal, op, "", "nobody says what %q needs of a board", u)
	}
	v, err := find(tx, caller, op, "board", ref, byID, named, func(v T) string { return string(id(v)) }, project)
	owned := err == nil
	if owned && (project(v) == caller.Project || caller.Project == "") {
		return v, right{Project: project(v)}, nil
	}
	if !owned && s4t.KindOf(err) != s4t.NotFound {
		return none, right{}, err
	}
	lent := []s4t.BoardID{s4t.BoardID(ref)}
	if !s4t.IsID(ref) {
		var failed error
		if lent, failed = tx.LentNamed(caller.Project, ref); failed != nil {
			return none, right{}, failed
		}
	}
	now := tx.Now()
	var held lease.Tree
	var at s4t.BoardID
	for _, b := range lent {
		tree, failed := tx.Holdings(b)
		if failed != nil && s4t.KindOf(failed) != s4t.NotFound {
			return none, right{}, failed
		}
		if !slices.ContainsFunc(tree, func(h lease.Holding) bool { return h.Project == caller.Project && h.Window.Until.After(now) }) {
			continue
		}
		if at != "" {
			return none, right{}, s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("give one of these ids: %s, %s", at, b), "several boards %q are leased to the project", ref)
		}
		held, at = tree, b
	}
	if owned { // an admin, of another's board: by a lease of its own project, where there is one
		if by, ok := mayUse(held, caller.Project, needs, now); ok {
			return v, right{caller.Project, by.Lease, by.Window.Until}, nil
		}
		return v, right{Project: project(v)}, nil
	}
	if at == "" {
		return none, right{}, err
	}
	by, ok := mayUse(held, caller.Project, needs, now)
	if !ok {
		return none, right{}, denied(op, ref, held, caller.Project, needs, now)
	}
	v, err = byID(string(at))
	return v, right{caller.Project, by.Lease, by.Window.Until}, err
}

// mayUse returns by what a project may use a board that it does not own.
func mayUse(tree lease.Tree, project s4t.ProjectID, needs lease.Action, now time.Time) (by lease.Holding, ok bool) {
	actions := []lease.Action{needs}
	switch needs {
	case toOwn:
		return by, false
	case toLook:
		actions = lease.Actions()
	}
	for _, a := range actions {
		if h, may := tree.May(project, a, now); may && (!ok || h.Window.Until.After(by.Window.Until)) {
			by, ok = h, true
		}
	}
	return by, ok
}

// denied says why a project that has a lease of a board may not use it so.
func denied(op, ref string, tree lease.Tree, project s4t.ProjectID, needs lease.Action, now time.Time) error {
	if needs == toOwn {
		return s4t.Errorf(s4t.Forbidden, op, "ask its owner", "board %q is leased to this project, and that is its owner's to do", ref)
	}
	var has []string
	for _, h := range tree {
		switch {
		case h.Project != project || !h.Window.Until.After(now):
		case h.Window.From.After(now):
			has = append(has, fmt.Sprintf("lease %q begins at %s", h.Name, h.Window.From.UTC().Format(time.RFC3339)))
		default:
			has = append(has, fmt.Sprintf("lease %q allows %s", h.Name, h.Allow))
		}
	}
	return s4t.Errorf(s4t.Forbidden, op, "see `s4t lease list`", "for board %q that needs a lease that allows %s now: %s", ref, needs, strings.Join(has, ", "))
}

// findBoard returns the board that ref, a name or an id, means for the caller who wants to use it so,
// and by what it may.
func findBoard(tx *store.Tx, caller wire.Caller, op string, u use, ref string) (store.Board, right, error) {
	return reach(tx, caller, op, u, ref, func(id string) (store.Board, error) { return tx.Board(s4t.BoardID(id)) }, tx.BoardsNamed,
		func(b store.Board) s4t.BoardID { return b.ID }, func(b store.Board) s4t.ProjectID { return b.Project })
}

// findBoard does it for a request that is in the audit: the owner of a board that is leased has it in
// its own, too.
func (ch *change) findBoard(caller wire.Caller, op string, u use, ref string) (store.Board, right, error) {
	b, by, err := findBoard(ch.Tx, caller, op, u, ref)
	if err == nil && by.lent() {
		ch.lentBy(b.Project)
	}
	return b, by, err
}

// lentBy has the audit of a project tell of the request, too: its boards are used.
func (ch *change) lentBy(p s4t.ProjectID) {
	if !slices.Contains(ch.lenders, p) {
		ch.lenders = append(ch.lenders, p)
	}
}

// told are a record and the same for the owner of the board, where that is another project; empty: it
// is not.
func told(rec s4t.AuditRecord, owner s4t.ProjectID) []s4t.AuditRecord {
	if owner == "" || owner == rec.Project {
		return []s4t.AuditRecord{rec}
	}
	lent := rec
	lent.Project = owner
	return []s4t.AuditRecord{rec, lent}
}

// lockBoard does it for a request that changes the board.
func (ch *change) lockBoard(caller wire.Caller, op string, u use, ref string) (store.Board, right, error) {
	b, by, err := ch.findBoard(caller, op, u, ref)
	if err != nil {
		return b, by, err
	}
	b, err = ch.LockBoard(b.ID)
	return b, by, err
}

// findRoute returns the way to the board that ref, a name or an id, means for the caller who wants to
// use it so, and by what it may. The project of the route is that for which it is used.
func findRoute(tx *store.Tx, caller wire.Caller, op string, u use, ref string) (store.Route, right, error) {
	r, by, err := reach(tx, caller, op, u, ref, func(id string) (store.Route, error) { return tx.Route(s4t.BoardID(id)) }, tx.RoutesNamed,
		func(r store.Route) s4t.BoardID { return r.ID }, func(r store.Route) s4t.ProjectID { return r.Project })
	if by.Project != "" {
		if by.lent() {
			r.Owner = r.Project
		}
		r.Project = by.Project
	}
	return r, by, err
}
