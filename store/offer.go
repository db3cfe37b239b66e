package store

import (
	"fmt"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const offerColumns = `id, project, name, labels, allow, max_seconds, hours, zone, shared, max_priority, created_at`

func scanOffer(s scanner) (o s4t.Offer, err error) {
	var labels, allow string
	var created int64
	if err = s.Scan(&o.ID, &o.Project, &o.Name, &labels, &allow, &o.Max, &o.Hours, &o.Zone, flag(&o.Shared), &o.MaxPriority, &created); err != nil {
		return o, err
	}
	o.CreatedAt = fromMicros(created)
	o.Allow = strings.Split(allow, ",")
	return o, fromJSON(labels, &o.Labels)
}

// InsertOffer adds an offer with who is named, and to whom it is. A name that the project has
// is a Conflict on offers.name.
func (tx *Tx) InsertOffer(o s4t.Offer) error {
	op := fmt.Sprintf("create offer %q", o.Name)
	if _, err := tx.exec(op, `INSERT INTO offers (`+offerColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		o.ID, o.Project, o.Name, jsonText(o.Labels), strings.Join(o.Allow, ","), int64(o.Max), o.Hours, o.Zone, bit(o.Shared), o.MaxPriority, micros(o.CreatedAt)); err != nil {
		return err
	}
	if err := insert(tx, op, `INSERT INTO offer_boards (offer, board) VALUES `, o.Named, func(b s4t.BoardID) []any { return []any{o.ID, b} }, ""); err != nil {
		return err
	}
	to := o.To
	if len(to) == 0 {
		to = []s4t.ProjectID{""}
	}
	return insert(tx, op, `INSERT INTO offer_projects (offer, project, books) VALUES `, append([]s4t.ProjectID{o.Project}, to...), func(p s4t.ProjectID) []any {
		return []any{o.ID, textOrNull(string(p)), bit(p != o.Project)}
	}, "")
}

// DeleteOffer deletes an offer; leases by it stay.
func (tx *Tx) DeleteOffer(id s4t.OfferID) error {
	_, err := tx.exec(fmt.Sprintf("delete offer %q", id), `DELETE FROM offers WHERE id = ?`, id)
	return err
}

// dropOffersTo deletes the offers that are to a project alone.
func (tx *Tx) dropOffersTo(op string, project s4t.ProjectID) error {
	offers, err := many(tx, op, value[s4t.OfferID], `SELECT offer FROM offer_projects WHERE project = ? AND books = 1`, project)
	for _, id := range offers {
		if err != nil {
			break
		}
		var to []s4t.ProjectID
		if to, err = tx.OfferTo(id); err == nil && len(to) == 1 {
			err = tx.DeleteOffer(id)
		}
	}
	return err
}

// OfferByID returns the offer with this id, without its boards.
func (tx *Tx) OfferByID(id s4t.OfferID) (s4t.Offer, error) {
	return one(tx, fmt.Sprintf("find offer %q", id), scanOffer, `SELECT `+offerColumns+` FROM offers WHERE id = ?`, id)
}

// OffersNamed returns the offers with a name: of a project, or with "" of every one; without
// their boards.
func (tx *Tx) OffersNamed(project s4t.ProjectID, name string) ([]s4t.Offer, error) {
	where, args := named("offers", project, name)
	return many(tx, fmt.Sprintf("find offer %q", name), scanOffer, `SELECT `+offerColumns+` FROM offers `+where, args...)
}

// Offers returns a page of the offers that a project sees, by name, without their boards; ""
// means every one.
func (tx *Tx) Offers(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Offer], error) {
	var where filter
	if project != "" {
		where = where.and(`id IN (SELECT offer FROM offer_projects WHERE project = ? UNION SELECT offer FROM offer_projects WHERE project IS NULL)`, project)
	}
	return page(tx, "list offers", p, order[s4t.Offer]{"name, id", func(o s4t.Offer) []any { return []any{o.Name, string(o.ID)} }},
		scanOffer, `SELECT `+offerColumns+` FROM offers`, where)
}

// OffersTo returns the offers of other projects that a project may book, oldest first.
func (tx *Tx) OffersTo(project s4t.ProjectID) ([]s4t.Offer, error) {
	return many(tx, "find what is offered", scanOffer, `SELECT `+offerColumns+` FROM offers WHERE project <> ? AND id IN
		(SELECT offer FROM offer_projects WHERE project = ? AND books = 1 UNION SELECT offer FROM offer_projects WHERE project IS NULL) ORDER BY created_at, id`, project, project)
}

// OfferTo returns to whom an offer is; none: to every project.
func (tx *Tx) OfferTo(id s4t.OfferID) ([]s4t.ProjectID, error) {
	return many(tx, fmt.Sprintf("list whom offer %q is to", id), value[s4t.ProjectID], `SELECT project FROM offer_projects WHERE offer = ? AND books = 1 AND project IS NOT NULL ORDER BY project`, id)
}

// OfferBoards fills in who is named in an offer, and returns its boards, by name: of those the
// owner's.
func (tx *Tx) OfferBoards(o *s4t.Offer) ([]s4t.FleetBoard, error) {
	op := fmt.Sprintf("list the boards of offer %q", o.Name)
	named, err := tx.OfferNamed(*o)
	if err != nil {
		return nil, err
	}
	f := s4t.Fleet{Name: o.Name, Project: o.Project, FleetRule: s4t.FleetRule{Named: named, Labels: o.Labels}}
	o.Named = nil
	if len(named) > 0 {
		o.Named = named
	}
	return tx.members(op, f)
}

// OfferNamed returns the boards that an offer names, which are its owner's, sorted.
func (tx *Tx) OfferNamed(o s4t.Offer) ([]s4t.BoardID, error) {
	return many(tx, fmt.Sprintf("list the boards of offer %q", o.Name), value[s4t.BoardID], `SELECT f.board FROM offer_boards f JOIN boards b ON b.id = f.board WHERE f.offer = ? AND b.project = ? ORDER BY f.board`, o.ID, o.Project)
}
