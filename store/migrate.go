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
	all, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return s4t.Errorf(s4t.Internal, "read the migrations", "", "%w", err)
	}
	dialect, dir := goose.DialectSQLite3, fs.FS(without{all, ".postgres.sql"})
	opts := []goose.ProviderOption{goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true)}
	if db.engine == postgres {
		dialect, dir = goose.DialectPostgres, without{all, ".sqlite.sql"}
		locker, err := lock.NewPostgresSessionLocker()
		if err != nil {
			return s4t.Errorf(s4t.Internal, "lock the schema", "", "%w", err)
		}
		opts = append(opts, goose.WithSessionLocker(locker))
	}
	p, err := goose.NewProvider(dialect, db.write, dir, opts...)
	if err != nil {
		return s4t.Errorf(s4t.Internal, "read the migrations", "", "%w", err)
	}
	if _, err := p.Up(ctx); err != nil {
		return mapError("bring the schema up to date", err)
	}
	return nil
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
