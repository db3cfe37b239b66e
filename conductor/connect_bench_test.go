package conductor

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// BenchmarkConnects is how many boards of 2,000 begin a session in a second, so many at
// once: they are back after an outage, and nothing has changed.
func BenchmarkConnects(b *testing.B) {
	const boards = 2000
	bench := func(b *testing.B, url string, atOnce int) {
		ids := make([]s4t.BoardID, boards)
		for i := range ids {
			ids[i] = s4t.BoardID(s4t.NewID())
		}
		slices.Sort(ids)
		c, stop := stateConductor(b, url, true, func(db *store.DB) error {
			return db.Tx(b.Context(), func(tx *store.Tx) error {
				if err := stateSetUp(tx); err != nil {
					return err
				}
				return stateFill(tx, ids)
			})
		})
		defer stop()
		if strings.HasPrefix(url, "postgres") { // as it does by itself, in time
			conn, err := pgx.Connect(b.Context(), url)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := conn.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
				b.Fatal(err)
			}
			conn.Close(b.Context())
		}
		var failed atomic.Int64
		var mu sync.Mutex
		var took []time.Duration
		for b.Loop() {
			var next atomic.Int64
			var running sync.WaitGroup
			for range atOnce {
				running.Go(func() {
					for {
						i := next.Add(1) - 1
						if i >= boards {
							return
						}
						start := time.Now()
						_, err := c.boardConnected(b.Context(), wire.BoardConnected{
							Board: ids[i*7919%boards], Agent: wampID, Incarnation: "w1", Instance: "i1",
							Info: s4t.BoardInfo{Networks: true, HostKeys: []string{"ssh-ed25519 AAAA"}},
						})
						if err != nil {
							if failed.Add(1) == 1 {
								b.Log(err)
							}
						}
						mu.Lock()
						took = append(took, time.Since(start))
						mu.Unlock()
					}
				})
			}
			running.Wait()
		}
		slices.Sort(took)
		b.ReportMetric(float64(len(took))/b.Elapsed().Seconds(), "boards/s")
		b.ReportMetric(float64(failed.Load()), "failed")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	}
	for _, e := range []struct {
		name string
		url  func(b *testing.B) string
	}{
		{"sqlite", func(b *testing.B) string { return "sqlite:" + filepath.Join(b.TempDir(), "s4t.db") }},
		{"postgres", statePostgres},
	} {
		for _, n := range []struct {
			name   string
			atOnce int
		}{{"1", 1}, {"16", 16}, {"256", 256}} {
			b.Run(e.name+"/"+n.name, func(b *testing.B) { bench(b, e.url(b), n.atOnce) })
		}
	}
}
