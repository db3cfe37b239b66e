package store

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestProcessesAreKnownUntilTheyEndOrAreSilentForLong(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		known := func(want ...Process) (all []Process) {
			t.Helper()
			view(t, db, func(tx *Tx) (err error) { all, err = tx.Processes(); return err })
			if d := cmp.Diff(want, all, cmpopts.IgnoreFields(Process{}, "Since", "SeenAt"), cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			return all
		}
		hear := func(p Process) { t.Helper(); write(t, db, func(tx *Tx) error { return tx.HearProcess(p) }) }
		api := Process{Name: "a", Role: "api", Incarnation: "1", Host: "h", URL: "https://h:1", Version: "1.2", Load: 20}
		conductor := Process{Name: "a", Role: "conductor", Incarnation: "1", Host: "h"}
		hear(conductor)
		hear(api)
		first := known(api, conductor)
		api.Load, api.CertificateUntil = 30, time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)
		hear(api)
		if again := known(api, conductor); !again[0].Since.Equal(first[0].Since) || again[0].SeenAt.Before(first[0].SeenAt) || again[0].SeenAt.IsZero() {
			t.Errorf("heard again: %+v, before %+v", again[0], first[0])
		}
		api.Incarnation, api.Version, api.CertificateUntil = "2", "1.3", time.Time{} // it was started anew, and does not say
		hear(api)
		if now := known(api, conductor); !now[0].Since.Equal(now[0].SeenAt) {
			t.Errorf("a new incarnation: %+v", now[0])
		}
		write(t, db, func(tx *Tx) error { return tx.EndProcess("a", "api", "1") })
		known(api, conductor) // the one before ended late
		write(t, db, func(tx *Tx) error { return tx.EndProcess("a", "api", "2") })
		known(conductor)
		write(t, db, func(tx *Tx) error { return tx.ForgetProcesses(time.Hour) })
		known(conductor)
		write(t, db, func(tx *Tx) error { return tx.ForgetProcesses(-time.Hour) })
		known()
	})
}
