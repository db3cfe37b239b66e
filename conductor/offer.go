package conductor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// findOffer returns the offer that ref, a name or an id, means for its owner.
func findOffer(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Offer, error) {
	return find(tx, caller, op, "offer", ref, func(id string) (s4t.Offer, error) { return tx.OfferByID(s4t.OfferID(id)) }, tx.OffersNamed,
		func(o s4t.Offer) string { return string(o.ID) }, func(o s4t.Offer) s4t.ProjectID { return o.Project })
}

// hoursOf are the hours of an offer.
func hoursOf(o s4t.Offer) (s4t.Hours, error) {
	zone, err := s4t.Profile{Zone: cmp.Or(o.Zone, "UTC")}.Location()
	if err != nil {
		return s4t.Hours{}, err
	}
	return s4t.ParseHours(o.Hours, zone)
}

// checkOffer checks what an owner says of an offer, and fills in what is not said.
func checkOffer(op string, o *s4t.Offer, allow []string) error {
	if err := s4t.ValidName("offer", o.Name); err != nil {
		return err
	}
	if err := checkDescription(op, "", o.Labels); err != nil {
		return err
	}
	set, err := lease.ParseSet(strings.Join(allow, ","))
	if err != nil {
		return err
	}
	o.Allow = set.Words()
	if o.Max == 0 {
		o.Max = s4t.Seconds(s4t.MaxLease / time.Second)
	}
	if o.Max < 60 || o.Max.Duration() > s4t.MaxLease {
		return s4t.Errorf(s4t.Invalid, op, "use 1m to 366 days", "leases of at most %v are not possible", o.Max.Duration())
	}
	if o.MaxPriority < 0 || o.MaxPriority > s4t.MaxPriority {
		return s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use 0 to %d", s4t.MaxPriority), "there is no priority %d", o.MaxPriority)
	}
	_, err = hoursOf(*o)
	return err
}

// withOffered fills in the boards of an offer, and to whom it is.
func withOffered(tx *store.Tx, o *s4t.Offer) (err error) {
	if o.Boards, err = tx.OfferBoards(o); err != nil {
		return err
	}
	o.To, err = tx.OfferTo(o.ID)
	return err
}

// offerCreate offers boards of the caller's project.
func (c *Conductor) offerCreate(ctx context.Context, req wire.OfferCreate) (s4t.Offer, error) {
	op := fmt.Sprintf("create offer %q", s4t.Line(req.Name, s4t.MaxName))
	var o s4t.Offer
	var err error
	if req.Boards, err = c.meant(ctx, req.Caller, op, req.Boards, req.Fleet, nil); err != nil {
		return o, err
	}
	err = c.request(ctx, req.Caller, "offer.create", s4t.Line(req.Name, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		if err := allow(req.Caller, op, s4t.RoleManager); err != nil {
			return err
		}
		o = s4t.Offer{
			ID: s4t.OfferID(s4t.NewID()), Name: req.Name, Project: req.Caller.Project, Labels: req.Labels, Max: req.Max, Hours: req.Hours, Zone: req.Zone,
			Shared: req.Shared, MaxPriority: req.MaxPriority, CreatedAt: ch.now,
		}
		if err := checkOffer(op, &o, req.Allow); err != nil {
			return err
		}
		if len(req.Boards) == 0 && len(req.Labels) == 0 {
			return s4t.Errorf(s4t.Invalid, op, "name boards (--board) or labels (--label)", "it offers nothing")
		}
		for _, ref := range req.Boards {
			b, _, err := ch.findBoard(req.Caller, op, wire.MethodOfferCreate, ref)
			if err != nil {
				return err
			}
			if b.Project != o.Project {
				return s4t.Errorf(s4t.Forbidden, op, "only the owner offers a board", "board %q is of another project", ref)
			}
			o.Named = append(o.Named, b.ID)
		}
		slices.Sort(o.Named)
		o.Named = slices.Compact(o.Named)
		for _, ref := range req.To {
			p, err := ch.Project(ref)
			if err != nil {
				return err
			}
			o.To = append(o.To, p.ID)
		}
		slices.Sort(o.To)
		o.To = slices.Compact(o.To)
		if err := ch.Claim(op, o.Project, s4t.QuotaOffers, 1); err != nil {
			return err
		}
		rec.Object = string(o.ID)
		if err := ch.InsertOffer(o); err != nil {
			if store.IsUnique(err, "offers.name") {
				return s4t.Errorf(s4t.Conflict, op, "choose another name", "the project has an offer of this name")
			}
			return err
		}
		ch.event(s4t.Event{Kind: "offer.created", Project: o.Project, Object: string(o.ID), Name: o.Name})
		return withOffered(ch.Tx, &o)
	})
	return o, err
}

// offerList returns the offers that the caller's project has, or may book, by name.
func (c *Conductor) offerList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Offer], error) {
	return list(ctx, c, req.Caller, "list offers", req.Page, same[s4t.Offer], func(tx *store.Tx, p wire.Page) (wire.List[s4t.Offer], error) {
		l, err := tx.Offers(scope(req.Caller), p)
		if err != nil {
			return l, err
		}
		for i := range l.Items {
			if err := withOffered(tx, &l.Items[i]); err != nil {
				return l, err
			}
		}
		return l, nil
	})
}

// offerGet returns an offer with its boards.
func (c *Conductor) offerGet(ctx context.Context, req wire.RefRequest) (s4t.Offer, error) {
	op := fmt.Sprintf("show offer %q", req.Ref)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Offer{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (o s4t.Offer, err error) {
		if o, err = findOffer(tx, req.Caller, op, req.Ref); s4t.KindOf(err) == s4t.NotFound {
			o, err = offeredTo(tx, req.Caller, op, req.Ref)
		}
		if err != nil {
			return o, err
		}
		return o, withOffered(tx, &o)
	})
}

// offeredTo returns the offer of another project that ref means for who may book by it.
func offeredTo(tx *store.Tx, caller wire.Caller, op, ref string) (s4t.Offer, error) {
	var found []s4t.Offer
	offers, err := tx.OffersTo(caller.Project)
	if err != nil {
		return s4t.Offer{}, err
	}
	for _, o := range offers {
		if string(o.ID) == ref || o.Name == ref {
			found = append(found, o)
		}
	}
	switch len(found) {
	case 0:
		return s4t.Offer{}, s4t.Errorf(s4t.NotFound, op, "`s4t offer list` shows what there is", "offer %q does not exist", s4t.Line(ref, s4t.MaxName))
	case 1:
		return found[0], nil
	}
	return s4t.Offer{}, s4t.Errorf(s4t.Conflict, op, "give its id: `s4t offer list`", "several projects have an offer %q", s4t.Line(ref, s4t.MaxName))
}

// offerDelete takes an offer back. Leases by it go on until their time is over.
func (c *Conductor) offerDelete(ctx context.Context, req wire.RefRequest) (wire.Empty, error) {
	op := fmt.Sprintf("delete offer %q", req.Ref)
	return wire.Empty{}, c.request(ctx, req.Caller, "offer.delete", req.Ref, func(ch *change, rec *s4t.AuditRecord) error {
		if err := allow(req.Caller, op, s4t.RoleManager); err != nil {
			return err
		}
		o, err := findOffer(ch.Tx, req.Caller, op, req.Ref)
		if err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Project = string(o.ID), o.Name, o.Project
		ch.event(s4t.Event{Kind: "offer.deleted", Project: o.Project, Object: string(o.ID), Name: o.Name})
		return ch.DeleteOffer(o.ID)
	})
}
