package store

import (
	"fmt"
	"time"
)

// Process is a role of a process. An agent's name is its id.
type Process struct {
	Name        string // no other process with this role has it
	Role        string
	Incarnation string
	Host        string // name of its machine
	URL         string
	Version     string    // of iotronic
	Load        int64     // thousandths of a processor that the process took of late
	Since       time.Time // when this incarnation was first heard, by the database's clock
	SeenAt      time.Time // when it was last heard, by that clock

	CertificateUntil time.Time // when the TLS certificate that it shows ends; zero: it shows none, or did not say
}

// HearProcess notes that a process is there now. Of several with its name and role
// the one that was heard last is known.
func (tx *Tx) HearProcess(p Process) error {
	now := micros(tx.Now())
	_, err := tx.exec(fmt.Sprintf("record process %q", p.Name),
		`INSERT INTO processes (name, role, incarnation, host, url, version, load, since, seen_at, certificate_until) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name, role) DO UPDATE SET incarnation = excluded.incarnation, host = excluded.host, url = excluded.url, version = excluded.version, load = excluded.load,
			since = CASE WHEN processes.incarnation = excluded.incarnation THEN processes.since ELSE excluded.since END, seen_at = excluded.seen_at,
			certificate_until = excluded.certificate_until`,
		p.Name, p.Role, p.Incarnation, p.Host, p.URL, p.Version, p.Load, now, now, micros(p.CertificateUntil))
	return err
}

// EndProcess forgets a role of a process that ends, unless another incarnation has
// its name.
func (tx *Tx) EndProcess(name, role, incarnation string) error {
	_, err := tx.exec(fmt.Sprintf("forget process %q", name), `DELETE FROM processes WHERE name = ? AND role = ? AND incarnation = ?`, name, role, incarnation)
	return err
}

// Processes returns all that are known, by role and name.
func (tx *Tx) Processes() ([]Process, error) {
	return many(tx, "list processes", func(s scanner) (p Process, err error) {
		var since, seen, until int64
		err = s.Scan(&p.Name, &p.Role, &p.Incarnation, &p.Host, &p.URL, &p.Version, &p.Load, &since, &seen, &until)
		p.Since, p.SeenAt, p.CertificateUntil = fromMicros(since), fromMicros(seen), fromMicros(until)
		return p, err
	}, `SELECT name, role, incarnation, host, url, version, load, since, seen_at, certificate_until FROM processes ORDER BY role, name`)
}

// ForgetProcesses forgets those that were not heard for so long.
func (tx *Tx) ForgetProcesses(silent time.Duration) error {
	_, err := tx.exec("forget processes that are gone", `DELETE FROM processes WHERE seen_at < ?`, micros(tx.Now().Add(-silent)))
	return err
}
