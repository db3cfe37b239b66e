package store

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

func TestWhatIsKeptOfABoardGoesWithItsOwner(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, other := newProject("lab"), newProject("other")
		b := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: "one", Project: lab.ID, Labels: map[string]string{"a": "b"}, CreatedAt: at}}
		ann := newUser("ann", lab, s4t.RoleMember)
		write(t, db, func(tx *Tx) error {
			for _, do := range []func() error{
				func() error { return tx.InsertProject(lab) },
				func() error { return tx.InsertProject(other) },
				func() error { return tx.InsertUser(ann, "") },
				func() error { return tx.InsertBoard(b) },
				func() error {
					return tx.SetTransfer(Transfer{Board: b.ID, To: other.ID, CodeHash: "c1", ExpiresAt: at}, at)
				},
				func() error {
					return tx.SetTransfer(Transfer{Board: b.ID, To: other.ID, CodeHash: "c2", ExpiresAt: at.Add(time.Hour)}, at)
				},
				func() error { return tx.InsertPlace(b.ID, s4t.Location{Latitude: 1}, at) },
			} {
				if err := do(); err != nil {
					return err
				}
			}
			for _, hash := range []string{"t1", "t2", "t3"} {
				if err := tx.InsertCalendarToken(CalendarToken{Hash: hash, Project: lab.ID, Board: b.ID, User: "ann"}, at, 2); err != nil {
					return err
				}
				at := at.Add(time.Second)
				if err := tx.InsertCalendarToken(CalendarToken{Hash: "p" + hash, Project: lab.ID, User: "ann"}, at, 2); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			if _, err := tx.TransferByCode("c1"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a code that was made anew: %v", err)
			}
			tr, err := tx.TransferByCode("c2")
			same(t, "the transfer", tr, err, Transfer{b.ID, other.ID, "c2", at.Add(time.Hour)})
			n := 0
			for _, hash := range []string{"t1", "t2", "t3", "pt1", "pt2", "pt3"} {
				if _, err := tx.CalendarToken(hash); err == nil {
					n++
				}
			}
			same(t, "tokens of calendars that are left", n, nil, 4)
			_, err = tx.BoardCalendar(b.ID, at, 10)
			if err == nil {
				_, err = tx.ProjectCalendar(lab.ID, at, 10)
			}
			return err
		})
		write(t, db, func(tx *Tx) error {
			moved := b
			moved.Project, moved.Labels = other.ID, nil
			return tx.MoveBoard(moved)
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.Board(b.ID)
			if err != nil || got.Project != other.ID || got.Tenure != 1 || len(got.Labels) != 0 {
				t.Errorf("%+v, %v", got, err)
			}
			places, err := tx.Places(b.ID)
			same(t, "places", len(places), err, 0)
			if _, err := tx.CalendarToken("t1"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("the token of its calendar: %v", err)
			}
			_, err = tx.CalendarToken("pt1")
			return err
		})
		write(t, db, func(tx *Tx) error {
			there, err := tx.DeleteTransfer(b.ID)
			same(t, "a transfer that was claimed is left", there, err, false)
			return tx.DeleteCalendarTokens(lab.ID, "")
		})
	})
}

func TestTheChainOfTheAuditIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		write(t, db, func(tx *Tx) error {
			for range 3 {
				if err := tx.InsertAudit(s4t.AuditRecord{Action: "x", Outcome: "ok"}); err != nil {
					return err
				}
			}
			state, err := tx.AuditState()
			if err != nil || !state.Adopt || state.Count != 0 {
				t.Errorf("%+v, %v", state, err)
			}
			state.Count, state.LastID, state.Holes = 3, 3, []AuditHole{{1, 1, at}, {3, 3, at}}
			blocks := []AuditBlock{
				{AuditBlock: s4t.AuditBlock{First: 1, Last: 2, At: at, Chain: "a", Signature: []byte{1}}, Entries: []byte{2}},
				{AuditBlock: s4t.AuditBlock{First: 3, Last: 3, At: at, Chain: "b", Signature: []byte{3}}, Entries: []byte{4}},
			}
			if err := tx.InsertAuditBlocks(blocks); err != nil {
				return err
			}
			return tx.SetAuditState(state)
		})
		view(t, db, func(tx *Tx) error {
			state, err := tx.AuditState()
			same(t, "holes", len(state.Holes), err, 2)
			late, err := tx.AuditIn(state.Holes, 10)
			same(t, "records in holes", len(late), err, 2)
			fresh, err := tx.AuditSince(1, 10)
			same(t, "records after one", len(fresh), err, 2)
			last, err := tx.LastAuditBlock()
			same(t, "the last block", last.Chain, err, "b")
			return err
		})
		write(t, db, func(tx *Tx) error {
			if err := tx.SetAuditMark(s4t.AuditMark{Project: "p", At: at, ID: 5, Signature: []byte{1}}); err != nil {
				return err
			}
			if err := tx.SetAuditMark(s4t.AuditMark{Project: "p", At: at, ID: 4, Signature: []byte{2}}); err != nil {
				return err
			}
			marks, err := tx.AuditMarks("p")
			if err != nil || len(marks) != 1 || marks[0].ID != 5 {
				t.Errorf("%+v, %v", marks, err)
			}
			return tx.ReplaceAuditBlocks(AuditBlock{AuditBlock: s4t.AuditBlock{First: 1, Last: 3, At: at, Chain: "b", Signature: []byte{3}, Gap: []byte{5}}})
		})
		view(t, db, func(tx *Tx) error {
			all, err := tx.AuditBlocks(0, 10)
			same(t, "blocks", len(all), err, 1)
			return err
		})
	})
}
