package store

import (
	"context"
	"database/sql"
	"log/slog"
	"strings"
	"sync/atomic"
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
	// Now is the clock of an SQLite database, which has none of its own.
	// Default: time.Now.
	Now func() time.Time
}

// DB is an open database with the current schema.
type DB struct {
	engine engine
	write  *sql.DB // SQLite: one connection, so that writers queue here and never meet SQLITE_BUSY
	read   *sql.DB // PostgreSQL: the same pool as write
	log    *slog.Logger
	now    func() time.Time // of SQLite

	// executed, where a test sets it, is told the text of every statement.
	executed func(query string)

	writes, reads prepared // of SQLite's two pools

	present       present
	commits, rows atomic.Int64
}

// Written is how many transactions this process has committed that wrote, and how many
// rows they wrote.
func (db *DB) Written() (commits, rows int64) { return db.commits.Load(), db.rows.Load() }

// synchronous is SQLite's: FULL syncs the write-ahead log at every commit, so
// that not even a power cut loses what was acknowledged.
const synchronous = "FULL"

// maxReaders bounds SQLite's read connections; each costs some 100 KB.
const maxReaders = 4

// idleTransaction is after how long PostgreSQL ends a transaction whose process does
// not go on, and with it the locks that it holds: a process that was stopped (SIGSTOP, a
// machine that is suspended) holds nobody up for longer.
const idleTransaction = "15s"

// Open opens the database, makes it where it does not exist (SQLite), and
// brings its schema up to date. The caller closes it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db := newDB(cfg)
	if err := db.open(cfg.URL); err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// newDB is a database that is not open.
func newDB(cfg Config) *DB {
	db := &DB{writes: prepared{stmts: map[string]*sql.Stmt{}}, reads: prepared{stmts: map[string]*sql.Stmt{}}, log: cfg.Log, now: cfg.Now,
		present: present{leases: map[string]hold{}, heard: map[s4t.AgentID]heard{}}}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.now == nil {
		db.now = time.Now
	}
	return db
}

// IsPostgreSQL reports whether a URL is of the engine that several processes share.
func IsPostgreSQL(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// open opens the database as it is.
func (db *DB) open(url string) error {
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		return db.openSQLite(path)
	}
	if IsPostgreSQL(url) {
		return db.openPostgres(url)
	}
	return s4t.Errorf(s4t.Invalid, "open the database", "use sqlite:PATH or postgres://USER:PASSWORD@HOST/NAME", "its URL is neither sqlite: nor postgres:")
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
	db.write = stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "SET idle_in_transaction_session_timeout = '"+idleTransaction+"'")
		return err
	}))
	db.write.SetMaxOpenConns(16)
	db.write.SetMaxIdleConns(16)
	db.write.SetConnMaxIdleTime(5 * time.Minute)
	db.read = db.write
	return nil
}

// Close closes every connection.
func (db *DB) Close() error {
	db.keepPresent()
	err := db.write.Close()
	if db.read != db.write {
		if rerr := db.read.Close(); err == nil {
			err = rerr
		}
	}
	return err
}
