package conductor

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// What `make bench-state` measures of this build and of an earlier one: this
// file is copied into that one, so it uses only what both have. What differs is
// in state_bench_api_test.go, and of the build before in bench/state.

// stateConductor is a conductor without agents on a database that fill has
// written to; it runs if run is set.
func stateConductor(b *testing.B, url string, run bool, fill func(db *store.DB) error) (c *Conductor, stop func()) {
	b.Helper()
	db, err := store.Open(b.Context(), store.Config{URL: url})
	if err != nil {
		b.Fatal(err)
	}
	if err := fill(db); err != nil {
		b.Fatal(err)
	}
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	c, err = New(Config{Store: db, Queue: queue.New(), TicketKey: key, URLs: []string{cloudURL}})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	if run {
		running.Go(func() { c.Run(ctx) })
	}
	return c, sync.OnceFunc(func() {
		cancel()
		running.Wait()
		db.Close()
	})
}

// The load of BenchmarkStateCommits.
const (
	stateWriters = 64
	stateChanges = 4 // of each writer
)

// BenchmarkStateCommits is many at once on PostgreSQL: 64 writers, 4 changes
// each. "event" is the store alone: one row read and one event written;
// "board.create" and "board.report" are the conductor's.
func BenchmarkStateCommits(b *testing.B) {
	ctx := context.Background()
	bench := func(name string, prepare func(b *testing.B, c *Conductor) func(writer, n int) error) {
		b.Run(name, func(b *testing.B) {
			url := statePostgres(b)
			c, stop := stateConductor(b, url, true, func(db *store.DB) error {
				return db.Tx(ctx, func(tx *store.Tx) error { return stateSetUp(tx) })
			})
			defer stop()
			do := prepare(b, c)
			var commits atomic.Int64
			n := 0
			for b.Loop() {
				var writers sync.WaitGroup
				for w := range stateWriters {
					writers.Go(func() {
						for i := range stateChanges {
							if err := do(w, n*stateChanges+i); err != nil {
								b.Logf("a change was given up: %v", err)
								continue
							}
							commits.Add(1)
						}
					})
				}
				writers.Wait()
				n++
			}
			took := b.Elapsed()
			stop()
			aborted := stateRollbacks(b, url)
			b.ReportMetric(float64(commits.Load())/took.Seconds(), "commits/s")
			b.ReportMetric(100*float64(aborted)/float64(aborted+commits.Load()), "%aborted")
		})
	}
	bench("event", func(_ *testing.B, c *Conductor) func(writer, n int) error {
		return func(writer, _ int) error {
			return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
				p, err := tx.Project(fmt.Sprint("p", writer))
				if err != nil {
					return err
				}
				return stateEvent(tx, s4t.Event{At: time.Now(), Kind: "bench", Project: p.ID})
			})
		}
	})
	member := wire.Caller{User: "mia", Project: projectID, Role: s4t.RoleMember}
	bench("board.create", func(_ *testing.B, c *Conductor) func(writer, n int) error {
		return func(writer, n int) error {
			_, err := c.boardCreate(ctx, wire.BoardCreate{Caller: member, Name: fmt.Sprintf("b%d-%d", writer, n)})
			return err
		}
	})
	bench("board.report", func(b *testing.B, c *Conductor) func(writer, n int) error {
		boards := make([]wire.BoardWelcome, stateWriters)
		for i := range boards {
			boards[i] = stateBoard(b, c, member, fmt.Sprint("b", i))
		}
		if err := statePortsUp(c, boards); err != nil {
			b.Fatal(err)
		}
		return func(writer, n int) error {
			_, err := c.boardReport(ctx, stateReport(boards[writer], n))
			return err
		}
	})
}

// stateBoard makes a board with a session and a bridge of its own.
func stateBoard(b *testing.B, c *Conductor, member wire.Caller, name string) wire.BoardWelcome {
	b.Helper()
	ctx := context.Background()
	board, err := c.boardCreate(ctx, wire.BoardCreate{Caller: member, Name: name})
	if err == nil {
		_, err = c.boardJoin(ctx, wire.BoardJoin{Code: board.Code, PublicKey: make([]byte, ed25519.PublicKeySize)})
	}
	if err == nil {
		_, err = c.bridgeCreate(ctx, wire.BridgeCreate{Caller: member, Name: name, Boards: []string{name}})
	}
	var w wire.BoardWelcome
	if err == nil {
		w, err = c.boardConnected(ctx, wire.BoardConnected{Board: board.ID, Agent: wampID, Incarnation: "w1", Instance: "i1"})
	}
	if err != nil {
		b.Fatal(err)
	}
	return w
}

// stateRollbacks is how many transactions of a database that nobody uses any
// more were rolled back.
func stateRollbacks(b *testing.B, url string) (n int64) {
	b.Helper()
	ctx := b.Context()
	conn, err := pgx.Connect(ctx, stateServer(b, url))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(ctx)
	name := stateDatabase(b, url)
	for left := 1; left > 0; { // what a connection counted is written when it ends
		if err := conn.QueryRow(ctx, `SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1`, name).Scan(&left); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.QueryRow(ctx, `SELECT xact_rollback FROM pg_stat_database WHERE datname = $1`, name).Scan(&n); err != nil {
		b.Fatal(err)
	}
	return n
}

// stateDatabase is the name of the database that a URL names, and stateServer
// the URL of another one there.
func stateDatabase(b *testing.B, at string) string {
	b.Helper()
	u, err := url.Parse(at)
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimPrefix(u.Path, "/")
}

func stateServer(b *testing.B, at string) string {
	b.Helper()
	u, err := url.Parse(at)
	if err != nil {
		b.Fatal(err)
	}
	u.Path = "/postgres"
	return u.String()
}

// stateFleet is how many boards a fleet has.
const stateFleet = 20_000

// BenchmarkStateFleet is what one request costs with 20,000 boards, all at one
// tunnel agent: the median, in ms.
func BenchmarkStateFleet(b *testing.B) {
	member := wire.Caller{User: "mia", Project: projectID, Role: s4t.RoleMember}
	bench := func(b *testing.B, url string) {
		ids := make([]s4t.BoardID, stateFleet)
		for i := range ids {
			ids[i] = s4t.BoardID(s4t.NewID())
		}
		slices.Sort(ids)
		c, stop := stateConductor(b, url, false, func(db *store.DB) error {
			if err := db.Tx(b.Context(), func(tx *store.Tx) error { return stateSetUp(tx) }); err != nil {
				return err
			}
			for part := range slices.Chunk(ids, 500) {
				if err := db.Tx(b.Context(), func(tx *store.Tx) error { return stateFill(tx, part) }); err != nil {
					return err
				}
			}
			return nil
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
		// Of the first so many boards, idle rtunnels come and go.
		tunnel := func(boards int) func(n int) error {
			return func(n int) error { return stateTunnelReport(c, ids, boards, n) }
		}
		for _, m := range []struct {
			name string
			do   func(n int) error
		}{
			{"report", tunnel(1)},
			{"report500", tunnel(500)},
			{"lookup", func(n int) error {
				_, err := view(b.Context(), c, func(tx *store.Tx) (store.Board, error) {
					b, _, err := findBoard(tx, member, "look", wire.MethodBoardGet, stateName(ids[n*7919%len(ids)]))
					return b, err
				})
				return err
			}},
			{"stream.open", func(n int) error {
				_, err := c.streamOpen(b.Context(), wire.StreamOpen{Caller: member, Board: stateName(ids[n*7919%len(ids)]), TCPPort: 22})
				return err
			}},
		} {
			b.Run(m.name, func(b *testing.B) {
				n := 0
				var took []time.Duration
				for b.Loop() {
					n++
					start := time.Now()
					if err := m.do(n); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "ms")
			})
		}
	}
	b.Run("sqlite", func(b *testing.B) { bench(b, "sqlite:"+filepath.Join(b.TempDir(), "s4t.db")) })
	b.Run("postgres", func(b *testing.B) { bench(b, statePostgres(b)) })
}

// stateName is the name of a board of the fleet.
func stateName(id s4t.BoardID) string { return "board-" + string(id) }
