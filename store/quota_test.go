package store

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestQuotaCountsWhatAProjectHas(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, other := newProject("lab"), newProject("other")
		agent := Agent{ID: "tunnel-agent-1", Kind: wire.AgentTunnel}
		board := Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: "one", Project: lab.ID, CreatedAt: at}}
		network := s4t.Network{ID: s4t.NetworkID(s4t.NewID()), Name: "n", Project: lab.ID, Layer: 2, TunnelAgent: agent.ID, CreatedAt: at}
		ann := newUser("ann", lab, s4t.RoleMember)
		write(t, db, func(tx *Tx) error {
			for _, err := range []error{
				tx.InsertProject(lab), tx.InsertProject(other), tx.InsertUser(ann, ""), tx.PutAgent(agent), tx.InsertBoard(board),
				tx.InsertNetwork(network),
				tx.InsertPort(Port{Port: s4t.Port{ID: s4t.PortID(s4t.NewID()), Network: network.ID, Project: lab.ID, BoardID: board.ID, Interface: "s4t0"}}),
				tx.InsertService(Service{Service: s4t.Service{ID: s4t.ServiceID(s4t.NewID()), Project: lab.ID, BoardID: board.ID, TCPPort: 22, Target: "127.0.0.1", PublicPort: 20000, CreatedAt: at}, Agent: agent.ID}),
				tx.InsertFleet(s4t.Fleet{ID: s4t.FleetID(s4t.NewID()), Name: "all", Project: lab.ID, CreatedAt: at}),
				tx.InsertToken(TokenRow{Token: s4t.Token{ID: "t1", Project: lab.ID, Role: s4t.RoleReader, CreatedAt: at}, UserID: ann.ID}, "h1"),
				tx.SetUse(agent.ID, []wire.Use{{Project: lab.ID, Key: s4t.QuotaStreams, Used: 7}, {Project: other.ID, Key: s4t.QuotaStreams, Used: 9}}),
			} {
				if err != nil {
					return err
				}
			}
			// What it says nothing of stays as it is.
			if err := tx.SetUse(agent.ID, []wire.Use{{Project: other.ID, Key: s4t.QuotaStreams}}); err != nil {
				return err
			}
			if err := tx.SetUse(agent.ID, []wire.Use{{Project: lab.ID, Key: s4t.QuotaStreams, Used: 5}}); err != nil {
				return err
			}
			if err := tx.InsertOffer(s4t.Offer{ID: "o", Name: "all", Project: lab.ID, CreatedAt: at}); err != nil {
				return err
			}
			held := s4t.Lease{ID: "l", Name: "night", Project: lab.ID, Status: s4t.LeasePending, From: at, Until: at.Add(1), CreatedAt: at}
			if err := tx.InsertBoardLease(held, nil); err != nil {
				return err
			}
			if err := tx.InsertPlugin(s4t.Plugin{ID: "p", Project: lab.ID, Name: "p"}); err != nil {
				return err
			}
			if err := tx.InsertBundle(Bundle{ID: "b", Project: lab.ID, Digest: "d", Size: 1, Hash: "h"}); err != nil {
				return err
			}
			ports, none := int64(7), int64(s4t.Unlimited)
			for key, limit := range map[s4t.QuotaKey]*int64{s4t.QuotaPorts: &ports, s4t.QuotaBoards: &none} {
				if err := tx.SetQuota(lab.ID, key, limit); err != nil {
					return err
				}
				if err := tx.SetQuota(other.ID, key, limit); err != nil {
					return err
				}
				if err := tx.SetQuota(other.ID, key, nil); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, db, func(tx *Tx) error {
			want, none := map[s4t.QuotaKey]s4t.Quota{}, map[s4t.QuotaKey]s4t.Quota{}
			for key, limit := range s4t.DefaultQuota {
				want[key], none[key] = s4t.Quota{Used: 1, Limit: limit}, s4t.Quota{Limit: limit}
			}
			want[s4t.QuotaPorts] = s4t.Quota{Used: 1, Limit: 7}
			want[s4t.QuotaBoards] = s4t.Quota{Used: 1, Limit: s4t.Unlimited}
			want[s4t.QuotaStreams] = s4t.Quota{Used: 5, Limit: s4t.DefaultQuota[s4t.QuotaStreams]}
			want[s4t.QuotaWatchers] = none[s4t.QuotaWatchers] // counted elsewhere
			for project, want := range map[s4t.ProjectID]map[s4t.QuotaKey]s4t.Quota{lab.ID: want, other.ID: none} {
				got, err := tx.Quotas(project)
				if d := cmp.Diff(want, got); err != nil || d != "" {
					t.Errorf("%v (-want +got):\n%s", err, d)
				}
			}
			return nil
		})
	})
}

func TestAQuotaIsExactUnderConcurrency(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		lab, other := newProject("lab"), newProject("other")
		limit := int64(5)
		write(t, db, func(tx *Tx) error {
			for _, err := range []error{tx.InsertProject(lab), tx.InsertProject(other), tx.SetQuota(lab.ID, s4t.QuotaBoards, &limit)} {
				if err != nil {
					return err
				}
			}
			return nil
		})
		create := func(p s4t.Project, name string) error {
			return db.Tx(t.Context(), func(tx *Tx) error {
				if err := tx.Claim("create a board", p.ID, s4t.QuotaBoards, 1); err != nil {
					return err
				}
				return tx.InsertBoard(Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: name, Project: p.ID, CreatedAt: at}})
			})
		}
		var made atomic.Int64
		var wg sync.WaitGroup
		for n := range 20 {
			wg.Go(func() {
				err := create(lab, fmt.Sprint("b", n))
				switch {
				case err == nil:
					made.Add(1)
				case s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), `"lab" uses 5 of its 5 boards`) || !strings.Contains(err.Error(), "--quota boards=N"):
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if made.Load() != limit {
			t.Errorf("%d were made, %d are allowed", made.Load(), limit)
		}
		if err := create(other, "b"); err != nil {
			t.Errorf("another project: %v", err)
		}
		write(t, db, func(tx *Tx) error { return tx.SetQuota(lab.ID, s4t.QuotaBoards, nil) })
		if err := create(lab, "more"); err != nil {
			t.Errorf("with the default: %v", err)
		}
	})
}
