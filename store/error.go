package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	sqlitedriver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/stack4things/s4t"
)

// constraint is the cause of a Conflict: which constraint was violated.
type constraint struct {
	columns []string // "table.column"; empty where the engine does not say
	foreign bool     // a foreign key, else uniqueness
	err     error
}

func (c *constraint) Error() string { return c.err.Error() }
func (c *constraint) Unwrap() error { return c.err }

// IsUnique reports whether err is the violation of a unique constraint that
// has this column ("boards.name").
func IsUnique(err error, column string) bool {
	c, ok := errors.AsType[*constraint](err)
	return ok && !c.foreign && slices.Contains(c.columns, column)
}

// IsInUse reports whether err says that other rows refer to the row that was
// to be deleted, or that a row that is referred to does not exist.
func IsInUse(err error) bool {
	c, ok := errors.AsType[*constraint](err)
	return ok && c.foreign
}

// errRetry marks a transaction that met another and may be run again.
var errRetry = errors.New("met another transaction")

// retryable reports whether the transaction that err comes from may succeed
// when it is run again.
func retryable(err error) bool { return errors.Is(err, errRetry) }

// mapError gives an error of the engine its kind. op is what was attempted.
func mapError(op string, err error) error {
	var conflict *constraint
	switch e, pe := asSQLite(err), asPostgres(err); {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return s4t.Errorf(s4t.NotFound, op, "", "it does not exist")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return s4t.Errorf(s4t.Timeout, op, "", "it was not done in the time given: %w", err)
	case errors.Is(err, driver.ErrBadConn): // before anything was committed
		return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the connection to the database was lost", Hint: "try again", Err: errors.Join(errRetry, err)}
	case e != nil:
		switch {
		case e.Code() == lib.SQLITE_CONSTRAINT_UNIQUE, e.Code() == lib.SQLITE_CONSTRAINT_PRIMARYKEY:
			conflict = &constraint{columns: sqliteColumns(e.Error()), err: err}
		case e.Code() == lib.SQLITE_CONSTRAINT_FOREIGNKEY:
			conflict = &constraint{foreign: true, err: err}
		case e.Code()&0xff == lib.SQLITE_BUSY, e.Code()&0xff == lib.SQLITE_LOCKED:
			return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the database is busy", Hint: "try again", Err: errors.Join(errRetry, err)}
		case e.Code()&0xff == lib.SQLITE_FULL:
			return diskFull(op, err)
		case e.Code()&0xff == lib.SQLITE_IOERR, e.Code()&0xff == lib.SQLITE_CANTOPEN, e.Code()&0xff == lib.SQLITE_READONLY:
			return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the database cannot be read or written", Hint: "the operator must look at the disk of the data directory: space, permissions, health", Err: err}
		}
	case pe != nil:
		switch pe.Code {
		case "23505": // unique_violation
			conflict = &constraint{columns: postgresColumns(pe), err: err}
		case "23503": // foreign_key_violation
			conflict = &constraint{foreign: true, err: err}
		case "40001", "40P01", "25P02", "25P03": // serialization_failure, deadlock_detected, in_failed_sql_transaction, idle_in_transaction_session_timeout: nothing was committed
			return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the database is busy", Hint: "try again", Err: errors.Join(errRetry, err)}
		case "53100": // disk_full
			return diskFull(op, err)
		case "57P01", "57P02", "57P03", "53300": // shut down, crashed, starting, too many connections
			return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the database does not answer now", Hint: "try again in a moment", Err: err}
		}
	case isLost(err): // whether it was committed is not known where it was about to be
		return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the connection to the database was lost", Hint: "try again", Err: err}
	case isConnect(err):
		return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the database cannot be reached", Hint: "the operator must check --database and that PostgreSQL runs", Err: err}
	}
	if conflict != nil {
		msg := "it exists already"
		if conflict.foreign {
			msg = "something else refers to it, or what it refers to does not exist"
		}
		return &s4t.Error{Op: op, Kind: s4t.Conflict, Msg: msg, Err: conflict}
	}
	return &s4t.Error{Op: op, Kind: s4t.Internal, Msg: err.Error(), Err: err}
}

// diskFull is the error of a full disk: reading goes on, nothing is lost, and
// writing works again as soon as there is room.
func diskFull(op string, err error) error {
	return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "the disk of the database is full", Hint: "nothing was changed; the operator must make room, then try again", Err: err}
}

func asSQLite(err error) *sqlitedriver.Error {
	e, _ := errors.AsType[*sqlitedriver.Error](err)
	return e
}

func asPostgres(err error) *pgconn.PgError {
	e, _ := errors.AsType[*pgconn.PgError](err)
	return e
}

func isConnect(err error) bool {
	_, ok := errors.AsType[*pgconn.ConnectError](err)
	return ok
}

// isLost reports whether the connection to PostgreSQL ended in the midst of something.
func isLost(err error) bool {
	_, network := errors.AsType[net.Error](err)
	return !isConnect(err) && (network || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed))
}

// sqliteColumns reads "... UNIQUE constraint failed: boards.project, boards.name (2067)".
func sqliteColumns(text string) []string {
	_, list, ok := strings.Cut(text, "UNIQUE constraint failed: ")
	if !ok {
		return nil
	}
	list, _, _ = strings.Cut(list, " (")
	return strings.Split(list, ", ")
}

// postgresColumns reads the detail "Key (project, name)=(..., ...) already
// exists."; only its words depend on the server's language.
func postgresColumns(e *pgconn.PgError) []string {
	_, list, ok := strings.Cut(e.Detail, "(")
	if !ok {
		return nil
	}
	list, _, ok = strings.Cut(list, ")=(")
	if !ok {
		return nil
	}
	columns := strings.Split(list, ", ")
	for i, c := range columns {
		columns[i] = e.TableName + "." + strings.Trim(c, `"`)
	}
	return columns
}
