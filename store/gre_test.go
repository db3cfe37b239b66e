package store

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestGREEndpointsOfANetwork(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		w := newWorld(t, db)
		e := Endpoint{
			GREEndpoint: s4t.GREEndpoint{ID: s4t.EndpointID(s4t.NewID()), Remote: "192.0.2.7", Local: "192.0.2.1", Key: 1<<32 - 1, Guards: s4t.PortGuards{AllowAnySource: true}, Status: s4t.PortDown},
			Network:     w.network.ID, Agent: w.agent.ID, CreatedAt: at,
		}
		write(t, db, func(tx *Tx) error { return tx.InsertEndpoint(e) })
		err := db.Tx(t.Context(), func(tx *Tx) error {
			again := e
			again.ID, again.Local = s4t.EndpointID(s4t.NewID()), ""
			return tx.InsertEndpoint(again)
		})
		if !IsUnique(err, "gre_endpoints.gre_key") {
			t.Errorf("the same remote and key again: %v", err)
		}
		e.Status, e.Problem = s4t.PortUp, "none of note"
		write(t, db, func(tx *Tx) error {
			return tx.PutRealizations([]Realization{held(string(e.Agent), wire.KindGRE, string(e.ID), true, "none of note")})
		})
		view(t, db, func(tx *Tx) error {
			got, err := tx.Endpoint(e.ID)
			same(t, "endpoint", got, err, e)
			n, err := tx.Network(w.network.ID)
			same(t, "of the network", n.AttachGRE, err, []s4t.GREEndpoint{e.GREEndpoint})
			list, err := tx.Networks("", wire.Page{})
			same(t, "of all networks", list.Items, err, []s4t.Network{n})
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteNetwork(w.network.ID) })
		view(t, db, func(tx *Tx) error {
			if left, err := tx.Endpoint(e.ID); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("they go with their network: %v, %v", left, err)
			}
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteEndpoint(e.ID) })
	})
}
