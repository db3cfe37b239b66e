package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// allow checks that the caller's role is at least needs. op is what was
// attempted, on what.
func allow(caller wire.Caller, op string, needs s4t.Role) error {
	if !caller.Role.Covers(needs) {
		return s4t.Lacks(op, needs, caller.Role)
	}
	return nil
}

// vouched wraps a method that a user can reach: a caller that no conductor has
// resolved gets nothing. Login and verify are where callers come from; an API
// process reads the events of all, what DNS names stand for and where tunnel agents are, on its own account, and a board asks for itself, as a
// tunnel agent does on a board's ticket.
func (c *Conductor) vouched(topic, method string, h queue.Handler) queue.Handler {
	switch method {
	case wire.MethodLogin, wire.MethodSessionOpen, wire.MethodVerify, wire.MethodEventFeed, wire.MethodOperationFeed, wire.MethodServiceLookup, wire.MethodAgentsReach, wire.MethodBoardRemote, wire.MethodBundleGet, wire.MethodCalendarRead:
		return h
	}
	switch topic {
	case wire.TopicConductor, wire.TopicQuestions, wire.TopicPins, wire.TopicCommands, wire.TopicBundles:
	default:
		return h
	}
	return func(ctx context.Context, method string, body []byte) ([]byte, error) {
		var req struct {
			Caller wire.Caller `json:"caller"`
		}
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, s4t.Errorf(s4t.Invalid, "call "+method, "", "the request is not understood: %w", err)
		}
		if err := req.Caller.Check(c.cfg.TicketKey, c.now()); err != nil {
			return nil, err
		}
		return h(ctx, method, body)
	}
}

// scope is the project whose objects the caller lists; "" means every one.
func scope(caller wire.Caller) s4t.ProjectID {
	if caller.Role == s4t.RoleAdmin {
		return ""
	}
	if caller.Project == "" {
		return "none"
	}
	return caller.Project
}

// choose returns the one of found, which have the name or the id ref, that the
// caller means: what it does not see does not exist.
func choose[T any](caller wire.Caller, op, noun, ref string, found []T, id func(T) string, project func(T) s4t.ProjectID) (T, error) {
	var zero T
	var seen []T
	for _, f := range found {
		switch {
		case !caller.Sees(project(f)):
		case id(f) == ref:
			return f, nil
		default:
			seen = append(seen, f)
		}
	}
	switch len(seen) {
	case 0:
		return zero, s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t %s list` shows what there is", noun), "%s %q does not exist", noun, ref)
	case 1:
		return seen[0], nil
	}
	ids := make([]string, len(seen))
	for i, c := range seen {
		ids[i] = id(c)
	}
	return zero, s4t.Errorf(s4t.Conflict, op, "give one of these ids: "+strings.Join(ids, ", "), "%s %q is ambiguous", noun, ref)
}

// find returns the one object that ref means for the caller: an id, or a name in
// the caller's own project. An admin sees what others have, and has to say which
// by its id: a name never means what somebody else has given it.
func find[T any](tx *store.Tx, caller wire.Caller, op, noun, ref string, byID func(string) (T, error), named func(s4t.ProjectID, string) ([]T, error), id func(T) string, project func(T) s4t.ProjectID) (T, error) {
	var zero T
	var found []T
	var err error
	if s4t.IsID(ref) {
		var v T
		if v, err = byID(ref); err == nil {
			found = append(found, v)
		} else if s4t.KindOf(err) == s4t.NotFound {
			err = nil
		}
	} else if found, err = named(caller.Project, ref); err == nil && len(found) == 0 && scope(caller) == "" {
		var others []T
		if others, err = named("", ref); err == nil && len(others) > 0 {
			return zero, elsewhere(tx, op, noun, ref, others, id, project)
		}
	}
	if err != nil {
		return zero, err
	}
	return choose(caller, op, noun, ref, found, id, project)
}

// maxCandidates bounds the objects of other projects that an error names.
const maxCandidates = 8

// elsewhere is the error for a name that only other projects have.
func elsewhere[T any](tx *store.Tx, op, noun, ref string, others []T, id func(T) string, project func(T) s4t.ProjectID) error {
	var names []string
	for _, o := range others[:min(len(others), maxCandidates)] {
		name := string(project(o))
		if p, err := tx.Project(name); err == nil {
			name = p.Name
		}
		names = append(names, fmt.Sprintf("%s of project %s", id(o), name))
	}
	if more := len(others) - len(names); more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return s4t.Errorf(s4t.NotFound, op, "give the id, or use a login of that project (`s4t login --project`)", "your project has no %s %q; others have: %s", noun, ref, strings.Join(names, ", "))
}

// findBridge returns the bridge that ref, a name or an id, means for the
// caller.
func findBridge(tx *store.Tx, caller wire.Caller, op, ref string) (store.Bridge, error) {
	return find(tx, caller, op, "bridge", ref, func(id string) (store.Bridge, error) { return tx.Bridge(s4t.BridgeID(id)) }, tx.BridgesNamed,
		func(b store.Bridge) string { return string(b.ID) }, func(b store.Bridge) s4t.ProjectID { return b.Project })
}

// findNetwork returns the network that ref, a name or an id, means for the
// caller.
func findNetwork(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Network, error) {
	return find(tx, caller, op, "network", ref, func(id string) (s4t.Network, error) { return tx.Network(s4t.NetworkID(id)) }, tx.NetworksNamed,
		func(n s4t.Network) string { return string(n.ID) }, func(n s4t.Network) s4t.ProjectID { return n.Project })
}

// request runs a changing request of a user: a [Conductor.change] with an
// audit record. fn fills in what the record is about; success is recorded in
// the same transaction, a refusal by itself.
func (c *Conductor) request(ctx context.Context, caller wire.Caller, action, name string, fn func(ch *change, rec *s4t.AuditRecord) error) error {
	var rec s4t.AuditRecord
	err := allow(caller, attempted(action, name), s4t.RoleMember)
	fresh := s4t.AuditRecord{At: c.now(), User: caller.User, Project: caller.Project, Action: action, Name: name, Outcome: "ok"}
	rec = fresh
	if err == nil {
		err = c.change(ctx, func(ch *change) error {
			rec = fresh
			if err := fn(ch, &rec); err != nil {
				return err
			}
			records := []s4t.AuditRecord{rec}
			for _, lender := range ch.lenders {
				if lender != rec.Project {
					lent := rec
					lent.Project = lender
					records = append(records, lent)
				}
			}
			return ch.InsertAudits(records)
		})
	}
	if kind := s4t.KindOf(err); kind == s4t.Forbidden || kind == s4t.Conflict {
		c.refused(ctx, rec, kind)
	}
	return err
}

// refused records something that was not done.
func (c *Conductor) refused(ctx context.Context, rec s4t.AuditRecord, kind s4t.Kind) {
	if _, ok := c.refusals.Take(string(rec.Project)+"/"+rec.User, c.now()); !ok {
		return // a flood of refusals does not fill the disk, and hides nobody else's
	}
	rec.Outcome = string(kind)
	if err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.InsertAudit(rec) }); err != nil {
		c.cfg.Log.Warn("a refusal is missing in the audit", "action", rec.Action, "err", err)
	}
}

// attempted says in an error what was attempted, on what: "board.create" on
// "kitchen" is `create board "kitchen"`.
func attempted(action, name string) string {
	noun, verb, _ := strings.Cut(action, ".")
	text := strings.ReplaceAll(verb, "_", " ") + " " + noun
	if name != "" {
		text += fmt.Sprintf(" %q", name)
	}
	return text
}
