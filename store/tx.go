package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/stack4things/s4t"
)

// Tx is a transaction. It belongs to the goroutine that fn runs on, and ends
// with fn.
type Tx struct {
	ctx      context.Context
	db       *DB
	on       statements
	readOnly bool
	failed   error // of the first statement that failed; every later one returns it

	events       []s4t.Event // to be appended by the commit
	lastInserted int64
	wrote        int64                 // rows
	heard        map[s4t.AgentID]heard // whose rows were written
}

// statements is what runs them: *sql.Tx or *sql.Conn.
type statements interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
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
//   - Rows of several kinds are locked in one order: projects (see Claim),
//     networks, boards (each with its presence), agents, realizations (by object and holder), bridges,
//     operations; several of a kind by id. Changing or deleting a row locks it
//     too. Two that lock against each other in spite of that are found, and one
//     runs again.
//
// fn runs again when it met another transaction, so it has no effect but on tx
// and on variables that it sets anew each time. A statement that failed, with
// another error than NotFound, ends the transaction: every later one returns
// its error, and so does Tx, even if fn returns nil. Calling Tx inside fn waits
// for itself for ever.
func (db *DB) Tx(ctx context.Context, fn func(tx *Tx) error) error {
	start := time.Now()
	for attempt := 1; ; attempt++ {
		err := db.run(ctx, false, fn)
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
func (db *DB) View(ctx context.Context, fn func(tx *Tx) error) error { return db.run(ctx, true, fn) }

// run is one attempt.
func (db *DB) run(ctx context.Context, readOnly bool, fn func(tx *Tx) error) error {
	tx := &Tx{ctx: ctx, db: db, readOnly: readOnly}
	begin := tx.beginSQLite
	if db.engine == postgres {
		begin = tx.beginPostgres
	}
	commit, rollback, err := begin()
	if err != nil {
		return tx.fail("begin a transaction", err)
	}
	defer rollback() // after a commit it does nothing; a panic in fn passes through
	err = fn(tx)
	if tx.failed != nil && (err == nil || retryable(tx.failed)) {
		return tx.failed // fn may have made another error of it, or nothing
	}
	if err != nil {
		return err
	}
	if err := commit(); err != nil {
		return err
	}
	if tx.wrote > 0 {
		db.commits.Add(1)
		db.rows.Add(tx.wrote)
	}
	db.present.wrote(tx.heard)
	return nil
}

// beginSQLite begins a transaction of SQLite.
func (tx *Tx) beginSQLite() (commit func() error, rollback func(), err error) {
	pool, kept := tx.db.write, &tx.db.writes
	if tx.readOnly {
		pool, kept = tx.db.read, &tx.db.reads
	}
	stx, err := pool.BeginTx(tx.ctx, &sql.TxOptions{ReadOnly: tx.readOnly})
	if err != nil {
		return nil, nil, err
	}
	on := &compiled{Tx: stx, prepared: kept}
	tx.on = on
	rollback = func() {
		stx.Rollback()
		kept.keep(tx.ctx, pool, on.missed)
	}
	commit = func() error {
		for _, s := range tx.eventStatements() {
			ids, err := many(tx, opEvents, value[int64], s.query, s.args...)
			if err != nil {
				return err
			}
			tx.inserted(ids)
		}
		return mapError(opCommit, stx.Commit())
	}
	return commit, rollback, nil
}

// inserted notes the ids of events.
func (tx *Tx) inserted(ids []int64) {
	for _, id := range ids {
		tx.lastInserted = max(tx.lastInserted, id)
	}
}

const opCommit = "commit a transaction"

// beginPostgres begins a transaction of PostgreSQL on a connection of the pool.
// It is not one of database/sql, whose commit is a round trip of its own: here
// it goes with the events, so that others wait for the database only, not for
// the way to this process and back.
func (tx *Tx) beginPostgres() (commit func() error, rollback func(), err error) {
	begin := "BEGIN ISOLATION LEVEL READ COMMITTED"
	if tx.readOnly {
		begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
	}
	conn, err := tx.db.write.Conn(tx.ctx)
	if err != nil {
		return nil, nil, err
	}
	ended := false
	rollback = func() {
		if !ended {
			// By a context of its own: the caller's may have ended.
			ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
			defer cancel()
			if _, err := conn.ExecContext(ctx, "ROLLBACK"); err != nil {
				conn.Raw(func(any) error { return driver.ErrBadConn }) // not for the next
			}
		}
		conn.Close()
	}
	if _, err := conn.ExecContext(tx.ctx, begin); err != nil {
		rollback()
		return nil, nil, err
	}
	tx.on = conn
	commit = func() error {
		batch := &pgx.Batch{}
		for _, s := range tx.eventStatements() {
			if err := tx.begin(opEvents, s.query, s.args); err != nil {
				return err
			}
			batch.Queue(dollars(s.query), s.args...).Query(func(rows pgx.Rows) error {
				ids, err := pgx.CollectRows(rows, pgx.RowTo[int64])
				tx.wrote += int64(len(ids))
				tx.inserted(ids)
				return err
			})
		}
		batch.Queue("COMMIT").Exec(func(tag pgconn.CommandTag) error {
			if ended = true; tag.String() != "COMMIT" {
				return pgx.ErrTxCommitRollback
			}
			return nil
		})
		return mapError(opCommit, conn.Raw(func(c any) error { return c.(*stdlib.Conn).Conn().SendBatch(tx.ctx, batch).Close() }))
	}
	return commit, rollback, nil
}

// rollbackTimeout is how long a transaction may take to be dropped, before its
// connection is.
const rollbackTimeout = 5 * time.Second

// forUpdate ends a SELECT whose rows, of every table in it, fn changes on the
// strength of what they say: it waits for whoever has them, reads them as they are then,
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
