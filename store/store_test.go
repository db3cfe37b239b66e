package store

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t/internal/pgtest"
)

func TestMain(m *testing.M) {
	if os.Getenv(crashChild) != "" {
		crashWriter()
		return
	}
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// onBothURLs runs a test with the URL of a fresh database of each engine.
func onBothURLs(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a ?#%20 b.db")
		b, err := sqliteTemplate()
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		test(t, "sqlite:"+path)
	})
	t.Run("postgres", func(t *testing.T) { test(t, pgtest.Copy(t, withSchema)) })
}

// sqliteTemplate is a file of SQLite with the schema: to make one takes many
// syncs of the disk.
var sqliteTemplate = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "s4t.db")
	if err := withSchema("sqlite:" + path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// withSchema brings a database up to date.
func withSchema(url string) error {
	db, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		return err
	}
	return db.Close()
}

// onBoth runs a test on a fresh database of each engine.
func onBoth(t *testing.T, test func(t *testing.T, db *DB)) {
	onBothURLs(t, func(t *testing.T, url string) { test(t, openTest(t, url)) })
}

func openTest(t *testing.T, url string) *DB {
	t.Helper()
	db := openUnwatched(t, url)
	watchPlans(t, db)
	return db
}

// openUnwatched is openTest for a database whose tables had rows before their
// indexes: PostgreSQL knows then how few they are.
func openUnwatched(t *testing.T, url string) *DB {
	t.Helper()
	db, err := Open(context.Background(), Config{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

// write and view fail the test on an error.
func write(t *testing.T, db *DB, fn func(tx *Tx) error) {
	t.Helper()
	if err := db.Tx(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, db *DB, fn func(tx *Tx) error) {
	t.Helper()
	if err := db.View(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}
