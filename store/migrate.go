package store

import (
	"context"
	"embed"
	"io/fs"
	"slices"
	"strings"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/stack4things/s4t"
)

// migrations is the schema, step by step. Both engines take the same files;
// a step that cannot be said alike is two, NAME.sqlite.sql and
// NAME.postgres.sql. A file that was released is never changed: a new one is
// added.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date. Of several processes that start on one
// PostgreSQL, one does it and the others wait.
func (db *DB) migrate(ctx context.Context) error {
	p, err := db.migrations()
	if err != nil {
		return s4t.Errorf(s4t.Internal, "read the migrations", "", "%w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return mapError("bring the schema up to date", err)
	}
	return nil
}

// migrations are the steps for this database.
func (db *DB) migrations() (*goose.Provider, error) {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	opts := []goose.ProviderOption{goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true)}
	if db.engine == sqlite {
		return goose.NewProvider(goose.DialectSQLite3, db.write, without{dir, ".postgres.sql"}, opts...)
	}
	locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(1, 300)) // seconds, times: others that start wait no longer than they have to
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db.write, without{dir, ".sqlite.sql"}, append(opts, goose.WithSessionLocker(locker))...)
}

// without is a directory without the files of the other engine.
type without struct {
	fs.FS
	suffix string
}

// ReadDir is where goose looks what there is.
func (w without) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(w.FS, name)
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), w.suffix) }), err
}
