package conductor

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// lendPlace is where the boards of these benchmarks are around: a grid of some 200 km.
var lendPlace = s4t.Location{Latitude: 45.07, Longitude: 7.69}

// lendConductor is a conductor whose project default has so many boards, one of two with the label
// kind=lamp, one of 100 of each lot, one of two online, and offers them to who has the caller.
func lendConductor(b *testing.B, url string, boards int) (*Conductor, wire.Caller, func()) {
	lessee := s4t.ProjectID(s4t.NewID())
	ids := make([]s4t.BoardID, boards)
	for i := range ids {
		ids[i] = s4t.BoardID(s4t.NewID())
	}
	side := 1
	for side*side < boards {
		side++
	}
	c, stop := stateConductor(b, url, false, func(db *store.DB) error {
		if err := db.Tx(b.Context(), stateSetUp); err != nil {
			return err
		}
		for n, part := range slices.Collect(slices.Chunk(ids, 5000)) {
			if err := db.Tx(b.Context(), func(tx *store.Tx) error {
				for i, id := range part {
					i += n * 5000
					board := store.Board{Board: s4t.Board{ID: id, Project: projectID, Name: "board-" + strconv.Itoa(i), CreatedAt: time.Now(), Labels: map[string]string{"kind": []string{"lamp", "gate"}[i/7%2], "lot": strconv.Itoa(i / 100)},
						Location: &s4t.Location{Latitude: lendPlace.Latitude + float64(i/side-side/2)*2/float64(side), Longitude: lendPlace.Longitude + float64(i%side-side/2)*2.8/float64(side)}}}
					if err := tx.InsertBoard(board); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				return err
			}
		}
		return db.Tx(b.Context(), func(tx *store.Tx) error {
			if err := tx.InsertProject(s4t.Project{ID: lessee, Name: "lab", Weight: 1, CreatedAt: time.Now()}); err != nil {
				return err
			}
			return tx.InsertOffer(s4t.Offer{ID: s4t.OfferID(s4t.NewID()), Name: "spare", Project: projectID, Labels: map[string]string{"kind": "lamp"}, To: []s4t.ProjectID{lessee},
				Allow: []string{"ssh", "bridge"}, Max: 3600 * 24, CreatedAt: time.Now()})
		})
	})
	if len(url) > 8 && url[:8] == "postgres" { // as it does by itself, in time
		conn, err := pgx.Connect(b.Context(), url)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := conn.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
			b.Fatal(err)
		}
		conn.Close(b.Context())
	}
	return c, vouched(c.cfg.TicketKey, wire.Caller{User: "mia", Project: lessee, Role: s4t.RoleMember}), stop
}

func lendEngines(b *testing.B, bench func(b *testing.B, url string)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, "sqlite:"+filepath.Join(b.TempDir(), "s4t.db")) })
	b.Run("postgres", func(b *testing.B) { bench(b, statePostgres(b)) })
}

// p50 reports the median of some times.
func p50(b *testing.B, took []time.Duration) {
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
}

// BenchmarkLease is a lease of 100 of 10,000 boards by a label that half of them have, near a place and
// anywhere.
func BenchmarkLease(b *testing.B) {
	lendEngines(b, func(b *testing.B, url string) {
		c, caller, stop := lendConductor(b, url, 10_000)
		defer stop()
		for _, where := range []struct {
			name   string
			near   *s4t.Location
			within float64
		}{{"near", &lendPlace, 50}, {"far", &lendPlace, 500}, {"anywhere", nil, 0}} {
			b.Run(where.name, func(b *testing.B) {
				var took []time.Duration
				for n := 0; b.Loop(); n++ {
					start := time.Now()
					l, err := c.leaseCreate(b.Context(), wire.LeaseCreate{Caller: caller, Name: fmt.Sprint("lease", n), Labels: map[string]string{"kind": "lamp"}, Near: where.near, Within: where.within, Count: 100})
					took = append(took, time.Since(start))
					if err != nil || len(l.Boards) != 100 {
						b.Fatalf("%d boards, %v", len(l.Boards), err)
					}
					b.StopTimer()
					if _, err := c.leaseRelease(b.Context(), wire.RefRequest{Caller: caller, Ref: string(l.ID)}); err != nil {
						b.Fatal(err)
					}
					b.StartTimer()
				}
				p50(b, took)
			})
		}
	})
}

// BenchmarkBoardSearch is a search of 100,000 boards.
func BenchmarkBoardSearch(b *testing.B) {
	lendEngines(b, func(b *testing.B, url string) {
		c, caller, stop := lendConductor(b, url, 100_000)
		defer stop()
		for name, req := range map[string]wire.BoardSearch{
			"5km":         {Near: &lendPlace, Within: 5},
			"5km+label":   {Near: &lendPlace, Within: 5, Labels: map[string]string{"kind": "lamp"}},
			"label":       {Labels: map[string]string{"lot": "77"}},
			"label+label": {Labels: map[string]string{"lot": "77", "kind": "lamp"}},
			"15km":        {Near: &lendPlace, Within: 15},
		} {
			req.Caller = caller
			b.Run(name, func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					start := time.Now()
					l, err := c.boardSearch(b.Context(), req)
					took = append(took, time.Since(start))
					if err != nil || len(l.Items) == 0 {
						b.Fatalf("%d boards, %v", len(l.Items), err)
					}
					b.ReportMetric(float64(len(l.Items)), "boards")
				}
				p50(b, took)
			})
		}
	})
}
