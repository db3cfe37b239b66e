package store

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestMembersOfFleets(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		board := func(name string, labels map[string]string, at *s4t.Location) s4t.FleetBoard {
			b := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: name, Project: w.project.ID, Labels: labels, Location: at, CreatedAt: fromMicros(1)}}
			write(t, db, func(tx *Tx) error { return tx.InsertBoard(b) })
			return s4t.FleetBoard{ID: b.ID, Name: name}
		}
		oslo := &s4t.Location{Latitude: 59.9, Longitude: 10.75}
		lamp := board("lamp", map[string]string{"kind": "lamp", "room": `a "hall"`}, oslo)
		far := board("far", map[string]string{"kind": "lamp"}, &s4t.Location{Latitude: 45, Longitude: 9})
		gate := board("gate", nil, oslo)
		f := s4t.Fleet{ID: s4t.FleetID(s4t.NewID()), Name: "lamps", Project: w.project.ID, CreatedAt: fromMicros(7), FleetRule: s4t.FleetRule{Labels: map[string]string{"kind": "lamp"}}}
		write(t, db, func(tx *Tx) error { return tx.InsertFleet(f) })
		members := func(want ...s4t.FleetBoard) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				got, err := tx.FleetByID(f.ID)
				if err != nil {
					return err
				}
				boards, err := tx.FleetBoards(&got)
				same(t, "members", boards, err, append([]s4t.FleetBoard{}, want...))
				same(t, "fleet", got, err, f)
				return nil
			})
		}
		update := func(change func()) {
			change()
			write(t, db, func(tx *Tx) error { return tx.UpdateFleet(f) })
		}
		members(far, lamp)
		update(func() { f.Labels["room"] = `a "hall"` })
		members(lamp)
		update(func() { f.Labels, f.Near, f.Within = nil, oslo, 5 })
		members(gate, lamp)
		update(func() { f.Labels, f.Named = map[string]string{"kind": "lamp"}, []s4t.BoardID{gate.ID} })
		members(gate, lamp)
		update(func() { f.FleetRule = s4t.FleetRule{Named: []s4t.BoardID{far.ID}} })
		members(far)
		if err := db.Tx(t.Context(), func(tx *Tx) error {
			other := f
			other.ID, other.Named = s4t.FleetID(s4t.NewID()), nil
			return tx.InsertFleet(other)
		}); !IsUnique(err, "fleets.name") {
			t.Errorf("two of one name: %v", err)
		}
		view(t, db, func(tx *Tx) error {
			l, err := tx.Fleets(w.project.ID, wire.Page{})
			same(t, "fleets", len(l.Items), err, 1)
			named, err := tx.FleetsNamed("", "lamps")
			same(t, "by name", len(named), err, 1)
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteBoard(far.ID) })
		f.Named = nil
		members()
		write(t, db, func(tx *Tx) error { return tx.DeleteFleet(f.ID) })
	})
}
