package store

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestUplinksOfNetworks(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		u := Uplink{
			Uplink:  s4t.Uplink{Bridge: "br0", Guards: s4t.PortGuards{AllowDHCP: true}, Status: s4t.PortPending},
			Network: w.network.ID, Project: w.project.ID, Name: "net", Agent: "t1", CreatedAt: at,
		}
		read := func(want ...Uplink) {
			t.Helper()
			view(t, db, func(tx *Tx) error {
				for _, project := range []s4t.ProjectID{"", w.project.ID} {
					got, err := tx.Uplinks(project)
					same(t, "uplinks", got, err, append([]Uplink{}, want...))
				}
				n, err := tx.Network(w.network.ID)
				if len(want) == 0 {
					same(t, "of the network", n.Uplink, err, nil)
					_, err = tx.Uplink(w.network.ID)
					same(t, "one that is not there", s4t.KindOf(err), nil, s4t.NotFound)
					return nil
				}
				same(t, "of the network", n.Uplink, err, &want[0].Uplink)
				got, err := tx.Uplink(w.network.ID)
				same(t, "uplink", got, err, want[0])
				return nil
			})
		}
		read()
		write(t, db, func(tx *Tx) error { return tx.PutUplink(u) })
		read(u)
		u.Bridge = "br1"
		write(t, db, func(tx *Tx) error { return tx.PutUplink(u) }) // in its place
		read(u)
		says := func(up bool, problem string) {
			write(t, db, func(tx *Tx) error {
				r := held("t1", wire.KindUplink, string(u.Network), up, problem)
				r.WasUp = true
				return tx.PutRealizations([]Realization{r})
			})
		}
		says(true, "")
		u.Status = s4t.PortUp
		read(u)
		says(false, "no such bridge")
		u.Status, u.Problem = s4t.PortDown, "no such bridge"
		read(u)

		other := w.network
		other.ID, other.Key, other.Subnets = s4t.NetworkID(s4t.NewID()), 5, nil
		write(t, db, func(tx *Tx) error { return tx.InsertNetwork(other) })
		if err := db.Tx(t.Context(), func(tx *Tx) error {
			o := u
			o.Network = other.ID
			return tx.PutUplink(o)
		}); !IsUnique(err, "uplinks.bridge") {
			t.Errorf("the bridge of another network: %v", err)
		}
		write(t, db, func(tx *Tx) error { return tx.DeleteUplink(u.Network) })
		read()
		write(t, db, func(tx *Tx) error { return tx.DeleteUplink(u.Network) }) // again
	})
}
