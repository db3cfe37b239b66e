package store

import (
	"context"
	"embed"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/stack4things/s4t"
)

// migrations is the schema, step by step; both engines take the same files. A
// file that was released is never changed: a new one is added.
//
//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the schema up to date. Of several processes that start on one
// PostgreSQL, one does it and the others wait.
func (db *DB) migrate(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return s4t.Errorf(s4t.Internal, "read the migrations", "", "%w", err)
	}
	dialect := goose.DialectSQLite3
	opts := []goose.ProviderOption{goose.WithLogger(goose.NopLogger()), goose.WithDisableGlobalRegistry(true)}
	if db.engine == postgres {
		dialect = goose.DialectPostgres
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
