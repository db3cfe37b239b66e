package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/stack4things/s4t"
)

// Certificate is whom the cloud's certificate is of, and what it announced: names
// as [s4t.BoardInfo] has them in Trusts.
type Certificate struct {
	Shown string
	Next  []string
}

// Certificate returns what the cloud showed last; nothing before the first start.
func (tx *Tx) Certificate() (Certificate, error) {
	c, err := one(tx, "read the cloud's certificate", func(s scanner) (c Certificate, err error) {
		var next string
		err = s.Scan(&c.Shown, &next)
		c.Next = strings.Fields(next)
		return c, err
	}, `SELECT shown, next FROM certificate WHERE one = 1`)
	if s4t.KindOf(err) == s4t.NotFound {
		return Certificate{}, nil
	}
	return c, err
}

// SetCertificate notes it.
func (tx *Tx) SetCertificate(c Certificate) error {
	_, err := tx.exec("note the cloud's certificate",
		`INSERT INTO certificate (one, shown, next) VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE SET shown = excluded.shown, next = excluded.next`,
		c.Shown, strings.Join(c.Next, " "))
	return err
}

// BoardTrust is whom an enrolled board trusts as the cloud.
type BoardTrust struct {
	Name   string
	Online bool
	Trusts []string // as in [s4t.BoardInfo]; empty: an older lightning-rod, which does not say
}

// BoardTrusts are those of all enrolled boards, by name.
func (tx *Tx) BoardTrusts() ([]BoardTrust, error) {
	return many(tx, "ask whom the boards trust", func(s scanner) (b BoardTrust, err error) {
		var info string
		var status s4t.BoardStatus
		if err = s.Scan(&b.Name, &status, &info); err != nil {
			return b, err
		}
		var said struct {
			Trusts []string `json:"trusts"`
		}
		err = fromJSON(info, &said)
		b.Online, b.Trusts = status == s4t.BoardOnline, said.Trusts
		return b, err
	}, `SELECT b.name, p.status, b.info FROM boards b JOIN presence p ON p.board = b.id WHERE b.public_key <> '' ORDER BY b.name, b.id`)
}

// OpenToRead opens a database that another process may be using, to read from it
// and change nothing. One that was never made is NotFound, one with the schema of
// another version a Conflict. The caller closes it.
func OpenToRead(ctx context.Context, url string) (*DB, error) {
	const op = "read the database"
	if path, isFile := strings.CutPrefix(url, "sqlite:"); isFile {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return nil, s4t.Errorf(s4t.NotFound, op, "start the cloud once with `iotronic serve`", "%s does not exist", path)
		}
	}
	db := newDB(Config{URL: url})
	if err := db.open(url); err != nil {
		return nil, err
	}
	pending, err := db.pending(ctx)
	if err == nil && pending {
		err = s4t.Errorf(s4t.Conflict, op, "start the cloud once with this version", "its schema is of an older version of iotronic")
	}
	if err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// pending reports whether the schema is not up to date.
func (db *DB) pending(ctx context.Context) (bool, error) {
	p, err := db.migrations()
	if err != nil {
		return false, s4t.Errorf(s4t.Internal, "read the migrations", "", "%w", err)
	}
	steps := p.ListSources()
	var at int64
	if err := db.read.QueryRowContext(ctx, `SELECT MAX(version_id) FROM goose_db_version`).Scan(&at); err != nil {
		if err = mapError("read the database", err); s4t.KindOf(err) == s4t.Unavailable {
			return false, err
		}
		return true, nil // no migration was ever made
	}
	return at < steps[len(steps)-1].Version, nil
}
