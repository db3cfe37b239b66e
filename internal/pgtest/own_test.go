package pgtest

import (
	"context"
	"testing"

	"github.com/jackc/pgx/v5"
)

// TestANodeIsKilledAndComesBack with what was committed; one that stands still goes on.
func TestANodeIsKilledAndComesBack(t *testing.T) {
	n := Own(t)
	if err := execute(n.URL(), "CREATE TABLE kept AS SELECT 1 AS one"); err != nil {
		t.Fatal(err)
	}
	held, err := pgx.Connect(t.Context(), n.URL()) // a backend that has something to do
	if err != nil {
		t.Fatal(err)
	}
	n.Kill(t)
	if _, err := held.Exec(t.Context(), "SELECT pg_sleep(60)"); err == nil {
		t.Error("a connection outlives its server")
	}
	held.Close(context.Background())
	n.Restart(t)
	n.Pause(t)
	n.Resume(t)
	if err := execute(n.URL(), "DROP TABLE kept"); err != nil {
		t.Error(err)
	}
}
