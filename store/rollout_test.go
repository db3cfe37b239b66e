package store

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// fleetWorld is a project with a fleet of two boards, of which the first is online.
func fleetWorld(t *testing.T, db *DB) (s4t.Fleet, []s4t.BoardID) {
	t.Helper()
	w := newWorld(t, db)
	f := s4t.Fleet{ID: s4t.FleetID(s4t.NewID()), Name: "lamps", Project: w.project.ID, CreatedAt: fromMicros(7)}
	for _, name := range []string{"hall", "roof"} {
		b := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: name, Project: f.Project, CreatedAt: fromMicros(1)}}
		f.Named = append(f.Named, b.ID)
		write(t, db, func(tx *Tx) error { return tx.InsertBoard(b) })
	}
	write(t, db, func(tx *Tx) error { return tx.InsertFleet(f) })
	write(t, db, func(tx *Tx) error {
		_, err := tx.exec("connect", `UPDATE presence SET status = 'online' WHERE board = ?`, f.Named[0])
		return err
	})
	return f, f.Named
}

func TestRollouts(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		f, ids := fleetWorld(t, db)
		began := fromMicros(3)
		r := Rollout{
			Rollout: s4t.Rollout{ID: s4t.RolloutID(s4t.NewID()), Fleet: f.ID, FleetName: f.Name, Project: f.Project, Plugin: "p", PluginName: "hello", Version: "2", User: "mia", MaxFailed: "5%", Pause: 60,
				Status: s4t.RolloutRunning, Waves: []s4t.RolloutWave{{Number: 1, Size: "1", Status: s4t.WaveRunning, BeganAt: &began}, {Number: 2, Size: "100%", Status: s4t.WaveWaiting}}, CreatedAt: fromMicros(5)},
			Injector: "u", Role: s4t.RoleMember, Wave: 1,
		}
		r.Boards = []s4t.RolloutBoard{{ID: ids[0], Wave: 1, Status: s4t.StepWaiting}, {ID: ids[1], Wave: 2, Status: s4t.StepWaiting}}
		write(t, db, func(tx *Tx) error { return tx.InsertRollout(r) })
		second := r
		second.ID = s4t.RolloutID(s4t.NewID())
		if err := db.Tx(t.Context(), func(tx *Tx) error { return tx.InsertRollout(second) }); !IsUnique(err, "rollouts.plugin") {
			t.Errorf("two at a time: %v", err)
		}
		view(t, db, func(tx *Tx) error {
			got, err := tx.Rollout(r.ID)
			want := r
			want.Boards = nil
			same(t, "rollout", got, err, want)
			going, err := tx.GoingRollouts()
			same(t, "going", going, err, []s4t.RolloutID{r.ID})
			startable, err := tx.StartableOfRollout(r.ID, 2, 10)
			same(t, "startable", startable, err, ids[:1])
			of, err := tx.RolloutsOf("p", "2")
			same(t, "of the plugin", len(of), err, 1)
			to, err := tx.FleetRollouts(f.ID)
			same(t, "to the fleet", to, err, []s4t.RolloutID{r.ID})
			there, err := tx.OnlineAmong(ids)
			same(t, "online", there, err, map[s4t.BoardID]bool{ids[0]: true})
			return nil
		})
		row := RolloutBoard{RolloutBoard: s4t.RolloutBoard{ID: ids[0], Name: "hall", Wave: 1, Status: s4t.StepRunning, Before: "1"}, Changed: true, StartedAt: fromMicros(9), Operation: "op"}
		write(t, db, func(tx *Tx) error {
			if _, err := tx.LockRollout(r.ID); err != nil {
				return err
			}
			return tx.SetRolloutBoard(r.ID, row)
		})
		write(t, db, func(tx *Tx) error {
			id, board, err := tx.RolloutOfOperation("op")
			same(t, "rollout of the operation", id, err, r.ID)
			same(t, "its board", board, err, ids[0])
			got, err := tx.RolloutBoard(r.ID, ids[0])
			same(t, "board", got, err, row)
			still, err := tx.StepRolloutBoard("op", s4t.StepFailed, "why")
			same(t, "was of interest", still, err, true)
			still, err = tx.StepRolloutBoard("op", s4t.StepDone, "")
			same(t, "is not any more", still, err, false)
			late, err := tx.LateOfRollout(r.ID, fromMicros(10))
			same(t, "late", len(late), err, 0)
			counts, err := tx.CountRollout(r.ID)
			same(t, "counts", counts, err, []RolloutCount{{Wave: 1, Status: s4t.StepFailed, Online: true, Changed: true, N: 1}, {Wave: 2, Status: s4t.StepWaiting, N: 1}})
			changed, err := tx.ChangedByRollout(r.ID, 5)
			same(t, "changed", changed, err, ids[:1])
			return nil
		})
		write(t, db, func(tx *Tx) error {
			if err := tx.RetryRolloutBoards(r.ID); err != nil {
				return err
			}
			if err := tx.SkipRolloutBoards(r.ID, "over"); err != nil {
				return err
			}
			all, err := tx.RolloutBoards(r.ID)
			for _, b := range all {
				same(t, "skipped", b.Status, err, s4t.StepSkipped)
			}
			ended := fromMicros(20)
			r.Status, r.EndedAt, r.GoesOn, r.Reason = s4t.RolloutAborted, &ended, &ended, "x"
			if err := tx.SetRollout(r); err != nil {
				return err
			}
			l, err := tx.Rollouts(f.Project, wire.Page{})
			same(t, "listed", len(l.Items), err, 1)
			l, err = tx.Rollouts("", wire.Page{})
			same(t, "of all projects", len(l.Items), err, 1)
			return tx.TrimRollouts(f.Project, 1)
		})
		write(t, db, func(tx *Tx) error { return tx.InsertRollout(second) })
		write(t, db, func(tx *Tx) error { return tx.ForgetRollouts(fromMicros(30), 10) })
		view(t, db, func(tx *Tx) error {
			l, err := tx.Rollouts(f.Project, wire.Page{})
			same(t, "kept", len(l.Items), err, 1)
			return nil
		})
	})
}

func TestFleetTokens(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		f, ids := fleetWorld(t, db)
		token := s4t.FleetToken{ID: s4t.TokenID(s4t.NewID()), Fleet: f.ID, FleetName: f.Name, Project: f.Project, User: "mia", Count: 1, ExpiresAt: fromMicros(50), CreatedAt: fromMicros(5)}
		write(t, db, func(tx *Tx) error { return tx.InsertFleetToken(token, "hash") })
		more := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: "more", Project: f.Project, CreatedAt: fromMicros(1)}}
		key := []byte{1, 2, 3}
		write(t, db, func(tx *Tx) error {
			got, err := tx.FleetTokenByCode("hash")
			same(t, "by its code", got, err, token)
			used, err := tx.UseFleetToken(token.ID)
			same(t, "used", used, err, true)
			if used, err = tx.UseFleetToken(token.ID); used || err != nil {
				t.Errorf("used more often than it may: %v", err)
			}
			if err := tx.InsertBoard(more); err != nil {
				return err
			}
			return tx.InsertFleetJoin(token, key, more.ID)
		})
		view(t, db, func(tx *Tx) error {
			b, err := tx.FleetJoin(token.ID, key)
			same(t, "board of the key", b, err, more.ID)
			n, err := tx.CountNamed(f.ID)
			same(t, "named", n, err, len(ids)+1)
			n, err = tx.CountFleetTokens(f.ID)
			same(t, "tokens", n, err, 1)
			l, err := tx.FleetTokens(f.ID, wire.Page{})
			same(t, "listed", l.Items[0].Used, err, 1)
			_, err = tx.FleetToken("another", token.ID)
			if s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("of another fleet: %v", err)
			}
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.ForgetFleetTokens(fromMicros(10), 5) })
		write(t, db, func(tx *Tx) error { return tx.DeleteFleetToken(token.ID) })
		write(t, db, func(tx *Tx) error { return tx.ForgetFleetTokens(time.Now(), 5) })
	})
}
