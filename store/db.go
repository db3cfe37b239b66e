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
}

// synchronous is SQLite's: FULL syncs the write-ahead log at every commit, so
// that not even a power cut loses what was acknowledged.
const synchronous = "FULL"

// maxReaders bounds SQLite's read connections; each costs some 100 KB.
const maxReaders = 4

// Open opens the database, makes it where it does not exist (SQLite), and
// brings its schema up to date. The caller closes it.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	db := &DB{log: cfg.Log, now: cfg.Now}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	if db.now == nil {
		db.now = time.Now
	}
	if err := db.open(cfg.URL); err != nil {
		return nil, err
	}
	if err := db.migrate(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// open opens the database as it is.
func (db *DB) open(url string) error {
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		return db.openSQLite(path)
	}
	if strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://") {
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
	ctx      context.Context
	db       *DB
	tx       *sql.Tx
	readOnly bool
	failed   error // of the first statement that failed; every later one returns it
	ended    bool  // events were appended: nothing is written after them
}

// Tx runs fn in a transaction that may write, and commits when fn returns nil.
// What Tx returned nil for survives the death of this process.
//
// What fn may rely on, whatever runs beside it, here or in another process:
//
//   - All of it is committed, or nothing.
//   - What it reads was committed, or is its own. SQLite takes the write lock
//     first, so nothing changes while fn runs. PostgreSQL is READ COMMITTED:
//     two statements may see two moments, and a row that was read plainly may
//     change or go before fn writes.
//   - A row that was read with the lock (see forUpdate; the methods that do it
//     say so) is the newest there is, and stays as it is until fn ends: another
//     that wants to change, lock or delete it waits. Whoever writes on the
//     strength of what a row says reads it so, or says the condition in the
//     statement that writes ("... WHERE status = 'running'") and looks at how
//     many rows that changed.
//   - The absence of a row cannot be locked: that there is one of something is
//     a unique constraint, and that something is there while others refer to
//     it a foreign key.
//   - Rows of several kinds are locked in one order: project, agent, network,
//     board, what belongs to a board; several of a kind by id. Two that lock
//     against each other in spite of that are found, and one runs again.
//
// fn runs again when it met another transaction, so it has no effect but on tx
// and on variables that it sets anew each time. A statement that failed, with
// another error than NotFound, ends the transaction: every later one returns
// its error, and so does Tx, even if fn returns nil. Calling Tx inside fn waits
// for itself for ever.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	opts := &sql.TxOptions{}
	if db.engine == postgres {
		opts.Isolation = sql.LevelReadCommitted
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

// View runs fn in a transaction that reads: all of it one moment of the
// database. It never waits for a writer.
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
	tx := &Tx{ctx: ctx, db: db, tx: stx, readOnly: opts.ReadOnly}
	err = fn(tx)
	if tx.failed != nil && (err == nil || retryable(tx.failed)) {
		return tx.failed // fn may have made another error of it, or nothing
	}
	if err != nil {
		return err
	}
	if err := stx.Commit(); err != nil {
		return mapError("commit a transaction", err)
	}
	return nil
}

// forUpdate ends a SELECT of one table whose rows fn changes on the strength of
// what they say: it waits for whoever has them, reads them as they are then,
// and nobody else changes or deletes them until the transaction ends; other
// rows may still come to refer to them. SQLite needs nothing, and a [DB.View]
// locks nothing.
func (tx *Tx) forUpdate() string {
	if tx.db.engine != postgres || tx.readOnly {
		return ""
	}
	return " FOR NO KEY UPDATE"
}

// Now is the time by the clock that all processes share: PostgreSQL's, in
// microseconds; SQLite's is that of this process. Each call looks anew, since
// a transaction may have waited for a lock. Zero where the database does not
// answer: then nothing that follows works, and the transaction fails with that.
func (tx *Tx) Now() time.Time {
	if tx.db.engine != postgres {
		return fromMicros(micros(tx.db.now()))
	}
	us, _ := one(tx, "read the clock of the database", value[int64], `SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)`)
	return fromMicros(us)
}
