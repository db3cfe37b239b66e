package store

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/wire"
)

func TestRollback(t *testing.T) {
	boom := errors.New("boom")
	onBoth(t, func(t *testing.T, db *DB) {
		err := db.Tx(t.Context(), func(tx *Tx) error {
			if err := tx.InsertProject(newProject("lab")); err != nil {
				return err
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Errorf("Tx returned %v", err)
		}
		func() {
			defer func() { recover() }()
			db.Tx(t.Context(), func(tx *Tx) error {
				tx.InsertProject(newProject("lab"))
				panic("boom")
			})
		}()
		view(t, db, func(tx *Tx) error {
			if _, err := tx.Project("lab"); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a project is there that was rolled back: %v", err)
			}
			return nil
		})
	})
}

func TestAViewCannotWriteAndDoesNotWait(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		if err := db.View(t.Context(), func(tx *Tx) error { return tx.InsertProject(newProject("lab")) }); err == nil {
			t.Error("a view could write")
		}
		write(t, db, func(tx *Tx) error {
			if err := tx.InsertProject(newProject("lab")); err != nil {
				return err
			}
			return db.View(t.Context(), func(tx *Tx) error { // while the writer holds its lock
				_, err := tx.Project("lab")
				if s4t.KindOf(err) != s4t.NotFound {
					t.Errorf("a view sees what is not committed: %v", err)
				}
				return nil
			})
		})
	})
}

func TestReadThenWriteIsSerial(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		const writers, each = 4, 8
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				for range each {
					// Reads, then writes what depends on it: the id of an audit record.
					if err := db.Tx(t.Context(), func(tx *Tx) error {
						return tx.InsertAudit(s4t.AuditRecord{At: at, Action: "test", Outcome: "ok"})
					}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		view(t, db, func(tx *Tx) error {
			list, err := tx.AuditRecords(AuditFilter{}, wire.Page{})
			recs := list.Items
			if len(recs) != writers*each || recs[len(recs)-1].ID != writers*each {
				t.Errorf("%d records, want %d without a gap", len(recs), writers*each)
			}
			return err
		})
	})
}

func TestACancelledTransactionIsATimeout(t *testing.T) {
	onBoth(t, func(t *testing.T, db *DB) {
		ctx, cancel := context.WithCancel(t.Context())
		err := db.Tx(ctx, func(tx *Tx) error {
			cancel()
			return tx.InsertProject(newProject("lab"))
		})
		if s4t.KindOf(err) != s4t.Timeout {
			t.Errorf("%v (%s)", err, s4t.KindOf(err))
		}
		write(t, db, func(tx *Tx) error { return tx.InsertProject(newProject("lab")) })
	})
}

func TestOpenTwiceKeepsWhatIsThere(t *testing.T) {
	onBothURLs(t, func(t *testing.T, url string) {
		db := openTest(t, url)
		write(t, db, func(tx *Tx) error { return tx.InsertProject(newProject("lab")) })
		db.Close()
		db = openTest(t, url)
		view(t, db, func(tx *Tx) error { _, err := tx.Project("lab"); return err })
	})
}

func TestOpenErrorsSayWhatToDo(t *testing.T) {
	tests := []struct {
		name, url string
		kind      s4t.Kind
		says      string
	}{
		{"another scheme", "mysql://x", s4t.Invalid, "use sqlite:PATH"},
		{"no path", "sqlite:", s4t.Invalid, "path"},
		{"a directory that does not exist", "sqlite:/nonexistent/x.db", s4t.Unavailable, "disk of the data directory"},
		{"a password in a broken URL", "postgres://u:secret@h:port/x", s4t.Invalid, "postgres://USER"},
		{"a server that is not there", "postgres://u:secret@127.0.0.1:1/x?connect_timeout=1", s4t.Unavailable, "--database"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Open(t.Context(), Config{URL: tt.url})
			if s4t.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("%v (%s)", err, s4t.KindOf(err))
			}
		})
	}
}

func TestAFullDatabaseIsUnavailableAndRecovers(t *testing.T) {
	db := openTest(t, "sqlite:"+filepath.Join(t.TempDir(), "s4t.db"))
	limit := func(pages int) {
		if _, err := db.write.Exec(fmt.Sprintf("PRAGMA max_page_count = %d", pages)); err != nil {
			t.Fatal(err)
		}
	}
	limit(1) // SQLite takes the present size where that is more
	fill := func() (err error) {
		for range 200 {
			if err = db.Tx(t.Context(), func(tx *Tx) error {
				return tx.InsertAudit(s4t.AuditRecord{Detail: strings.Repeat("x", 4096)})
			}); err != nil {
				break
			}
		}
		return err
	}
	if err := fill(); s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), "full") {
		t.Fatalf("%v (%s)", err, s4t.KindOf(err))
	}
	view(t, db, func(tx *Tx) error { _, err := tx.Projects(wire.Page{}); return err })
	limit(1 << 20)
	if err := fill(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestDollars(t *testing.T) {
	const query, want = `SELECT '?', a FROM t WHERE b = ? AND c IN (?, ?)`, `SELECT '?', a FROM t WHERE b = $1 AND c IN ($2, $3)`
	if got := dollars(query); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// crashChild names the database that a child of this test writes to until it
// is killed.
const crashChild = "S4T_STORE_CRASH_CHILD"

// crashWriter adds projects for ever and says each name once it is committed.
func crashWriter() {
	db, err := Open(context.Background(), Config{URL: os.Getenv(crashChild)})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	for {
		p := newProject(s4t.NewID()[:13])
		if err := db.Tx(context.Background(), func(tx *Tx) error { return tx.InsertProject(p) }); err != nil {
			fmt.Println("error", err)
			return
		}
		fmt.Println("ok", p.Name)
	}
}

func TestKillNineLosesNothingAcknowledged(t *testing.T) { onBothURLs(t, killNine) }

func killNine(t *testing.T, url string) {
	openTest(t, url).Close()
	acknowledged := map[string]bool{}
	for range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), crashChild+"="+url)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines, killAfter, seen := bufio.NewReader(out), 20+rand.N(100), 0
		for {
			line, err := lines.ReadString('\n')
			if err == io.EOF {
				break
			}
			name, ok := strings.CutPrefix(strings.TrimSpace(line), "ok ")
			if !ok {
				t.Fatalf("child: %s", line)
			}
			acknowledged[name] = true
			if seen++; seen == killAfter {
				child.Process.Kill() // and read on: what it said before it died counts
			}
		}
		child.Wait()

		db := openTest(t, url)
		if db.engine == sqlite {
			var verdict string
			if err := db.write.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
				t.Fatalf("integrity: %s, %v", verdict, err)
			}
		}
		view(t, db, func(tx *Tx) error {
			for name := range acknowledged {
				if _, err := tx.Project(name); err != nil {
					t.Errorf("acknowledged and lost: %v", err)
				}
			}
			return nil
		})
		db.Close()
	}
	if len(acknowledged) < 100 {
		t.Errorf("only %d rows were written", len(acknowledged))
	}
}

// BenchmarkCommit is the cost of one small transaction, for the choice of
// synchronous.
func BenchmarkCommit(b *testing.B) {
	for _, mode := range []string{"FULL", "NORMAL"} {
		b.Run(mode, func(b *testing.B) {
			db, err := Open(b.Context(), Config{URL: "sqlite:" + filepath.Join(b.TempDir(), "s4t.db")})
			if err != nil {
				b.Fatal(err)
			}
			defer db.Close()
			if _, err := db.write.Exec("PRAGMA synchronous = " + mode); err != nil {
				b.Fatal(err)
			}
			start := time.Now()
			for b.Loop() {
				if err := db.Tx(b.Context(), func(tx *Tx) error { return tx.InsertProject(newProject(s4t.NewID()[:13])) }); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/time.Since(start).Seconds(), "commits/s")
		})
	}
}

// BenchmarkCommits is many conductors at once: 64 writers, each of 4
// transactions that lock one row and tell one event.
func BenchmarkCommits(b *testing.B) {
	bench := func(b *testing.B, url string) {
		db, err := Open(b.Context(), Config{URL: url})
		if err != nil {
			b.Fatal(err)
		}
		defer db.Close()
		const writers, each = 64, 4
		projects := make([]s4t.Project, writers)
		for i := range projects {
			projects[i] = newProject(fmt.Sprint("p", i))
			if err := db.Tx(b.Context(), func(tx *Tx) error { return tx.InsertProject(projects[i]) }); err != nil {
				b.Fatal(err)
			}
		}
		var attempts, commits atomic.Int64
		for b.Loop() {
			var wg sync.WaitGroup
			for i := range writers {
				wg.Go(func() {
					for range each {
						err := db.Tx(b.Context(), func(tx *Tx) error {
							attempts.Add(1)
							if _, err := weight(tx, projects[i].ID); err != nil {
								return err
							}
							tx.InsertEvents(s4t.Event{At: at, Kind: "bench", Project: projects[i].ID})
							return nil
						})
						if err != nil {
							b.Error(err)
							continue
						}
						commits.Add(1)
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(commits.Load())/b.Elapsed().Seconds(), "commits/s")
		b.ReportMetric(100*float64(attempts.Load()-commits.Load())/float64(attempts.Load()), "%aborted")
	}
	b.Run("sqlite", func(b *testing.B) { bench(b, "sqlite:"+filepath.Join(b.TempDir(), "s4t.db")) })
	b.Run("postgres", func(b *testing.B) { bench(b, pgtest.URL(b)) })
}
