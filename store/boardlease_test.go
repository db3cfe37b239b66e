package store

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wire"
)

// anotherProject adds a project.
func anotherProject(t *testing.T, db *DB, name string) s4t.ProjectID {
	t.Helper()
	p := newProject(name)
	write(t, db, func(tx *Tx) error { return tx.InsertProject(p) })
	return p.ID
}

func TestOffersAreSeenByWhomTheyAreTo(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		other, third := anotherProject(t, db, "other"), anotherProject(t, db, "third")
		some := s4t.Offer{ID: s4t.OfferID(s4t.NewID()), Name: "some", Project: w.project.ID, To: []s4t.ProjectID{other}, Allow: []string{"ssh", "pins"},
			Max: 3600, Hours: "Mon-Fri", Zone: "UTC", Shared: true, MaxPriority: 3, CreatedAt: fromMicros(1), Labels: map[string]string{"kind": "lamp"}}
		all := s4t.Offer{ID: s4t.OfferID(s4t.NewID()), Name: "all", Project: w.project.ID, Allow: []string{"ssh"}, Max: 60, CreatedAt: fromMicros(2)}
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertOffer(some); err != nil {
				return err
			}
			return tx.InsertOffer(all)
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.OfferByID(some.ID)
			want := some
			want.To = nil
			same(t, "offer", got, err, want)
			to, err := tx.OfferTo(some.ID)
			same(t, "to", to, err, []s4t.ProjectID{other})
			for _, test := range []struct {
				project     s4t.ProjectID
				sees, books int
			}{{w.project.ID, 2, 0}, {other, 2, 2}, {third, 1, 1}, {"", 2, 2}} {
				l, err := tx.Offers(test.project, wire.Page{})
				same(t, "seen", len(l.Items), err, test.sees)
				if test.project != "" {
					books, err := tx.OffersTo(test.project)
					same(t, "bookable", len(books), err, test.books)
				}
			}
			return nil
		})
	})
}

// TestOffersToAProjectThatGoes: what was to it alone is to nobody, and not to everybody.
func TestOffersToAProjectThatGoes(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		other, third := anotherProject(t, db, "other"), anotherProject(t, db, "third")
		alone := s4t.Offer{ID: s4t.OfferID(s4t.NewID()), Name: "alone", Project: w.project.ID, To: []s4t.ProjectID{other}, Allow: []string{"ssh"}, CreatedAt: fromMicros(1)}
		both := s4t.Offer{ID: s4t.OfferID(s4t.NewID()), Name: "both", Project: w.project.ID, To: []s4t.ProjectID{other, third}, Allow: []string{"ssh"}, CreatedAt: fromMicros(1)}
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertOffer(alone); err != nil {
				return err
			}
			if err := tx.InsertOffer(both); err != nil {
				return err
			}
			return tx.DeleteProject(other)
		})
		view(t, db, func(tx *Tx) error {
			if _, err := tx.OfferByID(alone.ID); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("an offer to nobody: %v", err)
			}
			to, err := tx.OfferTo(both.ID)
			same(t, "to", to, err, []s4t.ProjectID{third})
			return nil
		})
	})
}

func TestCalendarsAndHoldings(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		other, third := anotherProject(t, db, "other"), anotherProject(t, db, "third")
		b := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: "lamp", Project: w.project.ID, CreatedAt: fromMicros(1)}}
		at := func(minutes int) time.Time { return fromMicros(1e15).Add(time.Duration(minutes) * time.Minute) }
		booked := s4t.Lease{ID: s4t.LeaseID(s4t.NewID()), Name: "night", Project: other, User: "eva", Status: s4t.LeaseActive, From: at(0), Until: at(60), Allow: []string{"ssh", "pins"}, Priority: 2, CreatedAt: at(0)}
		shared := booked
		shared.ID, shared.Parent, shared.Project, shared.Name, shared.Allow = s4t.LeaseID(s4t.NewID()), booked.ID, third, "part", []string{"pins"}
		over := booked
		over.ID, over.Status = s4t.LeaseID(s4t.NewID()), s4t.LeaseReleased
		later := booked
		later.ID, later.Status, later.From, later.Until = s4t.LeaseID(s4t.NewID()), s4t.LeasePending, at(100), at(120)
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertBoard(b); err != nil {
				return err
			}
			for _, l := range []s4t.Lease{booked, shared, over, later} {
				if err := tx.InsertBoardLease(l, []LeaseMember{{Board: b.ID, Shared: l.ID == later.ID}}); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			c, err := tx.Calendars([]s4t.BoardID{b.ID}, at(10))
			same(t, "calendar", c[b.ID], err, lease.Calendar{
				{Lease: booked.ID, Window: lease.Window{From: at(0), Until: at(60)}, Priority: 2},
				{Lease: later.ID, Window: lease.Window{From: at(100), Until: at(120)}, Priority: 2, Shared: true}})
			c, err = tx.Calendars([]s4t.BoardID{b.ID}, at(60))
			same(t, "calendar after it", len(c[b.ID]), err, 1)
			tree, err := tx.Holdings(b.ID)
			same(t, "holdings", len(tree), err, 4)
			if by, ok := tree.May(third, lease.Pins, at(30)); !ok || by.Lease != shared.ID {
				t.Errorf("who has a share: %v, %v", by, ok)
			}
			if _, ok := tree.May(third, lease.SSH, at(30)); ok {
				t.Error("a share allows more than it has")
			}
			if _, ok := tree.May(w.project.ID, lease.Plugins, at(30)); !ok {
				t.Error("the owner may not")
			}
			boards, err := tx.LeaseBoards([]s4t.LeaseID{booked.ID})
			same(t, "boards", boards[booked.ID], err, []s4t.LeaseBoard{{ID: b.ID, Name: "lamp", Owner: w.project.ID}})
			due, err := tx.DueLeases(at(105), 10)
			same(t, "due", len(due), err, 3)
			next, err := tx.NextLease()
			same(t, "next", next, err, at(60))
			for _, test := range []struct {
				project s4t.ProjectID
				sees    int
			}{{w.project.ID, 4}, {other, 3}, {third, 1}, {"", 4}} {
				l, err := tx.BoardLeases(test.project, wire.Page{})
				same(t, "seen", len(l.Items), err, test.sees)
			}
			named, err := tx.LeasesNamed(other, "night")
			same(t, "named", len(named), err, 2)
			return nil
		})
		booked.Status, booked.Until, booked.Reason = s4t.LeasePreempted, at(20), "for another"
		write(t, db, func(tx *Tx) error { return tx.SetBoardLease(booked) })
		view(t, db, func(tx *Tx) error {
			got, err := tx.LeaseByID(booked.ID)
			same(t, "lease", got, err, booked)
			tree, err := tx.Holdings(b.ID)
			if _, ok := tree.May(third, lease.Pins, at(10)); ok || err != nil {
				t.Errorf("a share goes on without its lease: %v", err)
			}
			return nil
		})
	})
}
