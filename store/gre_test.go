package store

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
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
		write(t, db, func(tx *Tx) error { return tx.UpdateEndpointState(e) })
		view(t, db, func(tx *Tx) error {
			for name, list := range map[string]func() ([]Endpoint, error){
				"network": func() ([]Endpoint, error) { return tx.EndpointsOfNetwork(w.network.ID) },
				"agent":   func() ([]Endpoint, error) { return tx.EndpointsOfAgent(w.agent.ID) },
				"project": func() ([]Endpoint, error) { return tx.Endpoints(w.project.ID) },
				"all":     func() ([]Endpoint, error) { return tx.Endpoints("") },
			} {
				got, err := list()
				if diff := cmp.Diff([]Endpoint{e}, got); err != nil || diff != "" {
					t.Errorf("of the %s: %v %s", name, err, diff)
				}
			}
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteNetwork(w.network.ID) })
		view(t, db, func(tx *Tx) error {
			if left, err := tx.Endpoints(""); err != nil || len(left) > 0 {
				t.Errorf("they go with their network: %v, %v", left, err)
			}
			return nil
		})
		write(t, db, func(tx *Tx) error { return tx.DeleteEndpoint(e.ID) })
	})
}
