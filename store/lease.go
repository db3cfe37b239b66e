package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// TakeLease makes holder the one who has the lease of this name for some time
// from now, by the database's clock, and reports whether it has it: nobody has
// it, or holder itself, or it has run out.
func (tx *Tx) TakeLease(name, holder string, d time.Duration) (bool, error) {
	now := tx.Now()
	if tx.alone() {
		return tx.db.present.take(name, hold{holder, micros(now.Add(d))}, micros(now)), tx.failed
	}
	n, err := tx.exec(fmt.Sprintf("take the lease %q", name),
		`INSERT INTO leases (name, holder, until) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until WHERE leases.holder = excluded.holder OR leases.until < ?`,
		name, holder, micros(now.Add(d)), micros(now))
	return n > 0, err
}

// LeaseHolder returns who has a lease, empty where nobody has it, and until
// when.
func (tx *Tx) LeaseHolder(name string) (holder string, until time.Time, err error) {
	if tx.alone() {
		l := tx.db.present.leaseOf(name)
		return l.holder, fromMicros(l.until), tx.failed
	}
	l, err := one(tx, fmt.Sprintf("look at the lease %q", name), func(s scanner) (l hold, err error) {
		err = s.Scan(&l.holder, &l.until)
		return
	}, `SELECT holder, until FROM leases WHERE name = ?`, name)
	if s4t.KindOf(err) == s4t.NotFound {
		return "", time.Time{}, nil
	}
	return l.holder, fromMicros(l.until), err
}

// GiveLease ends a lease that holder has.
func (tx *Tx) GiveLease(name, holder string) error {
	if tx.alone() {
		tx.db.present.give(name, holder)
		return tx.failed
	}
	_, err := tx.exec(fmt.Sprintf("give the lease %q back", name), `DELETE FROM leases WHERE name = ? AND holder = ?`, name, holder)
	return err
}
