package store

import (
	"context"
	"database/sql"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stack4things/s4t"
)

// engine is the database underneath.
type engine int

const (
	sqlite engine = iota
	postgres
)

// Config of a [DB].
type Config struct {
	// URL is "sqlite:PATH" or "postgres://USER:PASSWORD@HOST:PORT/NAME". Required.
	URL string
	// Log is told about retries that went on for long. Default: nowhere.
	Log *slog.Logger
}

// DB is an open database with the current schema.
type DB struct {
	engine engine
	write  *sql.DB // SQLite: one connection, so that writers queue here and never meet SQLITE_BUSY
	read   *sql.DB // PostgreSQL: the same pool as write
	log    *slog.Logger
}

// synchronous is SQLite's: FULL syncs the write-ahead log at every commit, so
// that not even a power cut loses what was acknowledged.
const synchronous = "FULL"

// maxReaders bounds SQLite's read connections; each costs some 100 KB.
const maxReaders = 4

// Open opens the database, makes it where it does not exist (SQLite), and
// brings its schema up to date. The caller closes it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db := &DB{log: cfg.Log}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	var err error
	switch path, isFile := strings.CutPrefix(cfg.URL, "sqlite:"); {
	case isFile:
		err = db.openSQLite(path)
	case strings.HasPrefix(cfg.URL, "postgres://") || strings.HasPrefix(cfg.URL, "postgresql://"):
		err = db.openPostgres(cfg.URL)
	default:
		return nil, s4t.Errorf(s4t.Invalid, "open the database", "use sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME", "its URL is neither sqlite: nor postgres:")
	}
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// openSQLite opens the writer and the readers of one file.
func (db *DB) openSQLite(path string) error {
	if path == "" {
		return s4t.Errorf(s4t.Invalid, "open the database", "use sqlite:PATH", "its URL has no path")
	}
	db.engine = sqlite
	var err error
	uri := "file:" + strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)
	// foreign_keys is off by default in SQLite, for every connection.
	const common = "?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=journal_mode(WAL)&_pragma=synchronous(" + synchronous + ")"
	if db.write, err = sql.Open("sqlite", uri+common+"&_txlock=immediate"); err != nil {
		return mapError("open the database "+path, err)
	}
	db.write.SetMaxOpenConns(1)
	if db.read, err = sql.Open("sqlite", uri+common+"&_pragma=query_only(1)"); err != nil {
		db.write.Close()
		return mapError("open the database "+path, err)
	}
	db.read.SetMaxOpenConns(maxReaders)
	db.read.SetMaxIdleConns(maxReaders)
	return nil
}

// openPostgres makes the pool.
func (db *DB) openPostgres(url string) error {
	db.engine = postgres
	cfg, err := pgx.ParseConfig(url)
	if err != nil { // its text could show the password
		return s4t.Errorf(s4t.Invalid, "open the database", "use postgres://USER:PASSWORD@HOST/NAME", "its URL is not understood")
	}
	db.write = stdlib.OpenDB(*cfg)
	db.write.SetMaxOpenConns(16)
	db.write.SetMaxIdleConns(16)
	db.write.SetConnMaxIdleTime(5 * time.Minute)
	db.read = db.write
	return nil
}

// Close closes every connection.
func (db *DB) Close() error {
	err := db.write.Close()
	if db.read != db.write {
		if rerr := db.read.Close(); err == nil {
			err = rerr
		}
	}
	return err
}

// Tx is a transaction. It belongs to the goroutine that fn runs on, and ends
// with fn.
type Tx struct {
	ctx    context.Context
	tx     *sql.Tx
	engine engine
}

// Tx runs fn in a transaction that may write, and commits when fn returns nil.
// Transactions behave as if they ran one after the other: SQLite takes the
// write lock first, PostgreSQL is SERIALIZABLE and fn runs again when it met
// another. So fn has no effect but on tx and on variables that it sets anew
// each time. Calling Tx inside fn waits for itself for ever. What Tx returned
// nil for survives the death of this process.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	opts := &sql.TxOptions{}
	if db.engine == postgres {
		opts.Isolation = sql.LevelSerializable
	}
	start := time.Now()
	for attempt := 1; ; attempt++ {
		err := db.run(ctx, db.write, opts, fn)
		if err == nil || !retryable(err) || ctx.Err() != nil || attempt == maxAttempts {
			return err
		}
		// Full jitter, so that two transactions that met do not meet again.
		wait := rand.N(min(time.Millisecond<<attempt, 100*time.Millisecond))
		if attempt == maxAttempts/2 {
			db.log.Warn("a transaction keeps meeting others", "attempt", attempt, "took", time.Since(start), "err", err)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(wait):
		}
	}
}

// maxAttempts at one transaction.
const maxAttempts = 20

// View runs fn in a transaction that reads one moment of the database. It
// never waits for a writer.
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if db.engine == postgres {
		opts.Isolation = sql.LevelRepeatableRead
	}
	return db.run(ctx, db.read, opts, fn)
}

// run is one attempt.
func (db *DB) run(ctx context.Context, pool *sql.DB, opts *sql.TxOptions, fn func(tx *Tx) error) error {
	stx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return mapError("begin a transaction", err)
	}
	defer stx.Rollback() // after Commit it does nothing; a panic in fn passes through
	if err := fn(&Tx{ctx: ctx, tx: stx, engine: db.engine}); err != nil {
		return err
	}
	if err := stx.Commit(); err != nil {
		return mapError("commit a transaction", err)
	}
	return nil
}
