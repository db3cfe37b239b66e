package store

import (
	"context"
	"strings"

	"github.com/stack4things/s4t"
)

// Copied is a table that was copied, and its rows, which were counted at both ends.
type Copied struct {
	Table string
	Rows  int64
}

const (
	copyBytes = 4 << 20 // that one statement inserts about, at most
	copyArgs  = 8192    // and its arguments
)

// notCopied is what each database has of its own: what migrations wrote.
const notCopied = "goose_db_version"

// Copy copies all rows from one database to another that is empty, in one
// transaction, of one moment of the first; one of the two is SQLite. told hears of each
// table that was copied. Ids go on where they were. Where it fails the target is as
// it was.
func Copy(ctx context.Context, from, to *DB, told func(Copied)) error {
	const op = "copy a database"
	if from.engine == postgres && to.engine == postgres {
		return s4t.Errorf(s4t.Invalid, op, "use pg_dump and psql", "both are PostgreSQL")
	}
	schema := to
	if to.engine == postgres {
		schema = from
	}
	tables, err := schema.tables(ctx)
	if err != nil {
		return err
	}
	if err := to.empty(ctx, op, tables); err != nil {
		return err
	}
	var all []Copied
	err = from.View(ctx, func(src *Tx) error {
		return to.Tx(ctx, func(dst *Tx) error {
			all = nil
			for _, t := range tables {
				n, err := copyTable(src, dst, t)
				if err != nil {
					return err
				}
				for _, tx := range []*Tx{src, dst} {
					found, err := one(tx, op, value[int64], `SELECT COUNT(*) FROM `+t.name)
					if err == nil && found != n {
						err = s4t.Errorf(s4t.Internal, op, "nothing was copied; try again, and report this", "%d of the %d rows of %s were copied", n, found, t.name)
					}
					if err != nil {
						return err
					}
				}
				all = append(all, Copied{t.name, n})
			}
			return goOn(src, dst)
		})
	})
	if err != nil {
		return err
	}
	for _, c := range all {
		told(c)
	}
	return nil
}

// table is a table with its columns.
type table struct {
	name    string
	columns []string
}

// tables lists the tables of an SQLite database, those that others refer to first.
func (db *DB) tables(ctx context.Context) (all []table, err error) {
	const op = "list the tables"
	err = db.View(ctx, func(tx *Tx) error {
		all = nil
		names, err := many(tx, op, value[string], `SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' AND name <> ? ORDER BY name`, notCopied)
		if err != nil {
			return err
		}
		refers := map[string][]string{}
		for _, name := range names {
			if refers[name], err = many(tx, op, value[string], `SELECT "table" FROM pragma_foreign_key_list(?)`, name); err != nil {
				return err
			}
		}
		done := map[string]bool{}
		var add func(name string) error
		add = func(name string) error {
			if done[name] {
				return nil
			}
			done[name] = true
			for _, of := range refers[name] {
				if err := add(of); err != nil {
					return err
				}
			}
			columns, err := many(tx, op, value[string], `SELECT name FROM pragma_table_info(?) ORDER BY cid`, name)
			all = append(all, table{name, columns})
			return err
		}
		for _, name := range names {
			if err := add(name); err != nil {
				return err
			}
		}
		return nil
	})
	return all, err
}

// ownRows are the tables that migrations write a row of: those of the source take
// their place.
var ownRows = map[string]bool{"audit_head": true, "events_trimmed": true, "realizations_filled": true}

// empty looks whether a database has nothing but what migrations wrote.
func (db *DB) empty(ctx context.Context, op string, tables []table) error {
	return db.View(ctx, func(tx *Tx) error {
		for _, t := range tables {
			if ownRows[t.name] {
				continue
			}
			n, err := one(tx, op, value[int64], `SELECT COUNT(*) FROM `+t.name)
			if err == nil && n > 0 {
				err = s4t.Errorf(s4t.Conflict, op, "name a database that nothing was in", "the target is not empty: its table %s has %d rows", t.name, n)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// copyTable copies the rows of a table, and returns how many.
func copyTable(src, dst *Tx, t table) (n int64, err error) {
	op := "copy the table " + t.name
	if ownRows[t.name] {
		if _, err := dst.exec(op, `DELETE FROM `+t.name); err != nil {
			return 0, err
		}
	}
	columns := strings.Join(t.columns, ", ")
	rows, err := src.on.QueryContext(src.ctx, `SELECT `+columns+` FROM `+t.name)
	if err != nil {
		return 0, src.fail(op, err)
	}
	defer rows.Close()
	var some [][]any
	size := 0
	flush := func() error {
		err := insert(dst, op, `INSERT INTO `+t.name+` (`+columns+`) VALUES `, some, func(r []any) []any { return r }, ``)
		n += int64(len(some))
		some, size = nil, 0
		return err
	}
	for rows.Next() {
		row := make([]any, len(t.columns))
		into := make([]any, len(row))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return 0, src.fail(op, err)
		}
		for _, v := range row {
			switch v := v.(type) {
			case string:
				size += len(v)
			case []byte:
				size += len(v)
			}
		}
		if some = append(some, row); size >= copyBytes || len(some)*len(row) >= copyArgs {
			if err := flush(); err != nil {
				return 0, err
			}
		}
	}
	if err := rows.Err(); err != nil {
		return 0, src.fail(op, err)
	}
	return n, flush()
}

// growing are the tables whose ids the engine gives.
var growing = []string{"audit", "events"}

// goOn has the ids of the target go on after those that the source gave, also where
// it has forgotten them.
func goOn(src, dst *Tx) error {
	for _, name := range growing {
		last, err := src.lastID(name)
		if err == nil {
			err = dst.setLastID(name, last)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// lastID is the last id of a table that was given.
func (tx *Tx) lastID(table string) (int64, error) {
	query := `SELECT COALESCE(MAX(seq), 0) FROM sqlite_sequence WHERE name = '` + table + `'`
	if tx.db.engine == postgres {
		query = `SELECT CASE WHEN is_called THEN last_value ELSE last_value - 1 END FROM ` + table + `_id_seq`
	}
	return one(tx, "find the last id of "+table, value[int64], query)
}

// setLastID has the next row get one more.
func (tx *Tx) setLastID(table string, last int64) error {
	op := "set the last id of " + table
	if tx.db.engine == postgres {
		_, err := one(tx, op, value[int64], `SELECT setval('`+table+`_id_seq', CAST(? AS BIGINT), false)`, last+1)
		return err
	}
	n, err := tx.exec(op, `UPDATE sqlite_sequence SET seq = ? WHERE name = ?`, last, table)
	if err == nil && n == 0 {
		_, err = tx.exec(op, `INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)`, table, last)
	}
	return err
}

// InUse reports whether a conductor uses the database: one has a lease, or had until
// a moment ago.
func (db *DB) InUse(ctx context.Context) (used bool, err error) {
	err = db.View(ctx, func(tx *Tx) error {
		n, err := one(tx, "look who uses the database", value[int64], `SELECT COUNT(*) FROM leases WHERE until > ?`, micros(tx.Now()))
		used = n > 0
		return err
	})
	return used, err
}

// Snapshot writes the database, as it is at one moment, to a new file of SQLite; it
// may be in use.
func (db *DB) Snapshot(ctx context.Context, path string) error {
	op := "write a snapshot to " + path
	if db.engine == sqlite {
		_, err := db.write.ExecContext(ctx, `VACUUM INTO ?`, path)
		return mapError(op, err)
	}
	to, err := Open(ctx, Config{URL: "sqlite:" + path})
	if err != nil {
		return err
	}
	err = Copy(ctx, db, to, func(Copied) {})
	if err == nil { // all of it into the one file
		to.read.SetMaxIdleConns(0) // closes them: they would keep it from that
		_, err = to.write.ExecContext(ctx, `PRAGMA journal_mode = DELETE`)
		err = mapError(op, err)
	}
	if cerr := to.Close(); err == nil {
		err = mapError(op, cerr)
	}
	return err
}

// restoredJump is by how much the numbers of a restored database are more than those
// that it had: more than were ever given since the backup.
const restoredJump = 1 << 32

// Restored makes a database that was restored from a backup fit to go on: boards,
// agents and readers of events have seen what came after. No session and no lease is
// live; epochs, generations, numbers of claims and ids of events are above all that were given;
// and who would resume among the events has to read all anew.
func (db *DB) Restored(ctx context.Context) error {
	const op = "have a restored database go on"
	return db.Tx(ctx, func(tx *Tx) error {
		for _, query := range []string{
			`UPDATE presence SET epoch = epoch + ?, generation = generation + ?, report_seq = 0, wamp_agent = '', incarnation = '', status = CASE WHEN status = 'online' THEN 'offline' ELSE status END`,
			`UPDATE agents SET generation = generation + ?, applied = 0, report_seq = 0, online = 0, incarnation = '', replaced = '', lease_until = 0, lost = 0`,
			`UPDATE board_pins SET fence = fence + ?`,
			`UPDATE audit_head SET adopt = 1`, // what was not sealed when the backup was made is so now
			`DELETE FROM leases`,
			`DELETE FROM processes`,
		} {
			args := make([]any, strings.Count(query, "?"))
			for i := range args {
				args[i] = int64(restoredJump)
			}
			if _, err := tx.exec(op, query, args...); err != nil {
				return err
			}
		}
		for _, name := range growing {
			last, err := tx.lastID(name)
			if err == nil {
				err = tx.setLastID(name, last+restoredJump)
			}
			if err == nil && name == "events" {
				_, err = tx.exec(op, `UPDATE events_trimmed SET id = ?`, last+restoredJump)
				tx.InsertEvents(s4t.Event{At: tx.Now(), Kind: "cloud.restored", Detail: "its database was restored from a backup"})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
