package conductor

import (
	"context"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// findFleet returns the fleet that ref, a name or an id, means for the caller,
// without its members.
func findFleet(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Fleet, error) {
	return find(tx, caller, op, "fleet", ref, func(id string) (s4t.Fleet, error) { return tx.FleetByID(s4t.FleetID(id)) }, tx.FleetsNamed,
		func(f s4t.Fleet) string { return string(f.ID) }, func(f s4t.Fleet) s4t.ProjectID { return f.Project })
}

// fleetBoards returns the members of the fleet that ref means for the caller, by
// name.
func fleetBoards(tx *store.Tx, caller wire.Caller, op, ref string) ([]s4t.FleetBoard, error) {
	f, err := findFleet(tx, caller, op, ref)
	if err != nil {
		return nil, err
	}
	return tx.FleetBoards(&f)
}

// withBoards fills in the members of a fleet.
func withBoards(tx *store.Tx, f *s4t.Fleet) (err error) {
	f.Boards, err = tx.FleetBoards(f)
	return err
}

// checkFleet checks what a user says of a fleet.
func checkFleet(op string, f s4t.Fleet) error {
	if err := s4t.ValidName("fleet", f.Name); err != nil {
		return err
	}
	if err := checkDescription(op, "", f.Labels); err != nil {
		return err
	}
	if f.Near == nil && f.Within != 0 {
		return s4t.Errorf(s4t.Invalid, op, "give the place, too", "within %v km of what?", f.Within)
	}
	if f.Near != nil && !(f.Within > 0 && f.Within <= s4t.MaxWithin) {
		return s4t.Errorf(s4t.Invalid, op, "give kilometres", "%v is not between 0 and %d", f.Within, s4t.MaxWithin)
	}
	return checkPlace(f.Near)
}

// nameBoards finds the boards that are named in a fleet: of its own project.
func (ch *change) nameBoards(caller wire.Caller, op string, u use, f *s4t.Fleet, refs []string) error {
	if len(refs) > s4t.MaxFleetBoards {
		return s4t.Errorf(s4t.Invalid, op, "make several fleets", "%d boards are too many, %d are allowed", len(refs), s4t.MaxFleetBoards)
	}
	f.Named = nil
	for _, ref := range refs {
		b, _, err := ch.findBoard(caller, op, u, ref)
		if err != nil {
			return err
		}
		if b.Project != f.Project {
			return s4t.Errorf(s4t.Invalid, op, "name boards of the fleet's project", "board %q is of another project", ref)
		}
		f.Named = append(f.Named, b.ID)
	}
	slices.Sort(f.Named)
	f.Named = slices.Compact(f.Named)
	return nil
}

// fleetNamed is the error of a name that the project has already.
func fleetNamed(op string, err error) error {
	if store.IsUnique(err, "fleets.name") {
		return s4t.Errorf(s4t.Conflict, op, "choose another name", "the project has a fleet of this name")
	}
	return err
}

// fleetCreate makes a fleet.
func (c *Conductor) fleetCreate(ctx context.Context, req wire.FleetCreate) (s4t.Fleet, error) {
	op := fmt.Sprintf("create fleet %q", s4t.Line(req.Name, s4t.MaxName))
	var f s4t.Fleet
	err := c.request(ctx, req.Caller, "fleet.create", s4t.Line(req.Name, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		f = s4t.Fleet{
			ID: s4t.FleetID(s4t.NewID()), Name: req.Name, Project: req.Caller.Project, CreatedAt: ch.now,
			FleetRule: s4t.FleetRule{Labels: req.Labels, Near: req.Near, Within: req.Within},
		}
		if f.Near != nil && f.Within == 0 {
			f.Within = s4t.DefaultWithin
		}
		if err := checkFleet(op, f); err != nil {
			return err
		}
		if err := ch.Claim(op, f.Project, s4t.QuotaFleets, 1); err != nil {
			return err
		}
		if err := ch.nameBoards(req.Caller, op, wire.MethodFleetCreate, &f, req.Boards); err != nil {
			return err
		}
		rec.Object = string(f.ID)
		if err := ch.InsertFleet(f); err != nil {
			return fleetNamed(op, err)
		}
		ch.event(s4t.Event{Kind: "fleet.created", Project: f.Project, Object: string(f.ID), Name: f.Name})
		return withBoards(ch.Tx, &f)
	})
	return f, err
}

// fleetList returns the fleets that the caller sees, by name.
func (c *Conductor) fleetList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Fleet], error) {
	return list(ctx, c, req.Caller, "list fleets", req.Page, same[s4t.Fleet], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Fleet], error) {
		l, err := tx.Fleets(scope(req.Caller), p)
		if err != nil {
			return l, err
		}
		for i := range l.Items {
			err := withBoards(tx, &l.Items[i])
			if s4t.KindOf(err) == s4t.TooMany { // one that cannot be used hides no other
				l.Items[i].Boards = []s4t.FleetBoard{}
				err = nil
			}
			if err != nil {
				return l, err
			}
		}
		return l, nil
	})
}

// fleetGet returns a fleet with its members.
func (c *Conductor) fleetGet(ctx context.Context, req wire.RefRequest) (s4t.Fleet, error) {
	op := fmt.Sprintf("show fleet %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Fleet{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (s4t.Fleet, error) {
		f, err := findFleet(tx, req.Caller, op, req.Ref)
		if err != nil {
			return f, err
		}
		return f, withBoards(tx, &f)
	})
}

// fleetUpdate changes what the request names.
func (c *Conductor) fleetUpdate(ctx context.Context, req wire.FleetUpdate) (s4t.Fleet, error) {
	op := fmt.Sprintf("update fleet %q", req.Ref)
	var f s4t.Fleet
	err := c.request(ctx, req.Caller, "fleet.update", req.Ref, func(ch *change, rec *s4t.AuditRecord) (err error) {
		if f, err = findFleet(ch.Tx, req.Caller, op, req.Ref); err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Project = string(f.ID), f.Name, f.Project
		if _, err = ch.FleetBoards(&f); err != nil && s4t.KindOf(err) != s4t.TooMany {
			return err
		}
		if req.Name != nil {
			f.Name = *req.Name
		}
		if req.Labels != nil {
			f.Labels = *req.Labels
		}
		if req.Near != nil {
			if f.Near = req.Near; f.Within == 0 {
				f.Within = s4t.DefaultWithin
			}
		}
		if req.Within != nil {
			f.Within = *req.Within
		}
		if req.Anywhere {
			f.Near, f.Within = nil, 0
		}
		if err := checkFleet(op, f); err != nil {
			return err
		}
		if req.Boards != nil {
			if err := ch.nameBoards(req.Caller, op, wire.MethodFleetUpdate, &f, *req.Boards); err != nil {
				return err
			}
		}
		if err := ch.UpdateFleet(f); err != nil {
			return fleetNamed(op, err)
		}
		ch.event(s4t.Event{Kind: "fleet.updated", Project: f.Project, Object: string(f.ID), Name: f.Name})
		return withBoards(ch.Tx, &f)
	})
	return f, err
}

// fleetDelete deletes a fleet. Its boards stay as they are.
func (c *Conductor) fleetDelete(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	op := fmt.Sprintf("delete fleet %q", req.Ref)
	return wire.Empty{}, c.request(ctx, req.Caller, "fleet.delete", req.Ref, func(ch *change, rec *s4t.AuditRecord) error {
		f, err := findFleet(ch.Tx, req.Caller, op, req.Ref)
		if err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Project = string(f.ID), f.Name, f.Project
		going, err := ch.FleetRollouts(f.ID)
		if err != nil {
			return err
		}
		if len(going) > 0 {
			return s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("`s4t rollout abort %s` first", going[0]), "a rollout to it has not ended")
		}
		ch.event(s4t.Event{Kind: "fleet.deleted", Project: f.Project, Object: string(f.ID), Name: f.Name})
		return ch.DeleteFleet(f.ID)
	})
}
