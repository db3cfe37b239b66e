package identity

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/pgtest"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// onBoth runs a test on both engines: as two processes on PostgreSQL.
func onBoth(t *testing.T, f func(t *testing.T, db *store.DB)) {
	for name, url := range map[string]func(t *testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "s4t.db") },
		"postgres": func(t *testing.T) string { return pgtest.URL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			db, err := store.Open(t.Context(), store.Config{URL: url(t)})
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			f(t, db)
		})
	}
}

func newIdentity(t *testing.T, db *store.DB) *Identity {
	t.Helper()
	i, err := New(Config{Store: db, Key: testKey})
	if err != nil {
		t.Fatal(err)
	}
	i.password = newHasher(64)
	return i
}

// atOnce runs f n times at the same time and returns the errors.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f(i) })
	}
	all.Wait()
	return errs
}

func TestOneOfTheLastAdminsStays(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		id := newIdentity(t, db)
		if _, err := id.Bootstrap(t.Context(), func(First) error { return nil }); err != nil {
			t.Fatal(err)
		}
		caller := wire.Caller{Role: s4t.RoleAdmin}
		left := AdminUser
		for round := range 5 {
			other := fmt.Sprint("admin", round)
			if _, err := id.CreateUser(t.Context(), wire.UserCreate{Caller: caller, Name: other, Project: DefaultProject, Role: s4t.RoleAdmin}); err != nil {
				t.Fatal(err)
			}
			names := []string{left, other}
			errs := atOnce(2, func(i int) error {
				_, err := id.DeleteUser(t.Context(), wire.RefRequest{Caller: caller, Ref: names[i]})
				return err
			})
			switch {
			case errs[0] == nil && s4t.KindOf(errs[1]) == s4t.Conflict:
				left = names[1]
			case errs[1] == nil && s4t.KindOf(errs[0]) == s4t.Conflict:
			default:
				t.Fatalf("round %d: %v", round, errs)
			}
		}
	})
}

func TestOneOfManyFirstStartsMakesTheAdmin(t *testing.T) {
	onBoth(t, func(t *testing.T, db *store.DB) {
		var mu sync.Mutex
		kept := 0
		errs := atOnce(4, func(int) error {
			_, err := newIdentity(t, db).Bootstrap(context.Background(), func(First) error {
				mu.Lock()
				defer mu.Unlock()
				kept++
				return nil
			})
			return err
		})
		for _, err := range errs {
			if err != nil {
				t.Error(err)
			}
		}
		if kept != 1 {
			t.Errorf("the secrets of %d admins were kept", kept)
		}
	})
}
