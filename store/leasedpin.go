package store

import (
	"database/sql"
	"fmt"

	"github.com/stack4things/s4t"
)

// LeasedPin is how a pin was before a lease first changed it.
type LeasedPin struct {
	Lease    s4t.LeaseID
	Board    s4t.BoardID
	Pin      string
	Settings map[string]string
	Value    *float64 // nil: it was no output, or had none
	Holder   string   // who changed it first
}

func scanLeasedPin(s scanner) (p LeasedPin, err error) {
	var settings string
	var value sql.NullFloat64
	if err = s.Scan(&p.Lease, &p.Board, &p.Pin, &settings, &value, &p.Holder); err != nil {
		return p, err
	}
	if value.Valid {
		p.Value = &value.Float64
	}
	return p, fromJSON(settings, &p.Settings)
}

// KeepPins notes how pins were, unless that is known of the same lease already.
func (tx *Tx) KeepPins(pins []LeasedPin) error {
	return insert(tx, "keep how pins were", `INSERT INTO leased_pins (lease, board, pin, settings, value, holder) VALUES `, pins, func(p LeasedPin) []any {
		var value any
		if p.Value != nil {
			value = *p.Value
		}
		return []any{p.Lease, p.Board, p.Pin, jsonText(p.Settings), value, p.Holder}
	}, ` ON CONFLICT DO NOTHING`)
}

// LeasedPins returns how pins of a board were before a lease changed them.
func (tx *Tx) LeasedPins(lease s4t.LeaseID, board s4t.BoardID) ([]LeasedPin, error) {
	return many(tx, fmt.Sprintf("find the pins of lease %q", lease), scanLeasedPin, `SELECT lease, board, pin, settings, value, holder FROM leased_pins WHERE lease = ? AND board = ?`, lease, board)
}

// PinsDue notes that a lease is over: its pins are to go back.
func (tx *Tx) PinsDue(lease s4t.LeaseID) error {
	_, err := tx.exec(fmt.Sprintf("give the pins of lease %q back", lease), `UPDATE leased_pins SET due = 1 WHERE lease = ?`, lease)
	return err
}

// PinsToGiveBack returns how pins were, of leases that are over and boards that are online, at most n.
func (tx *Tx) PinsToGiveBack(n int) ([]LeasedPin, error) {
	return many(tx, "find the pins of leases that are over", scanLeasedPin, `SELECT k.lease, k.board, k.pin, k.settings, k.value, k.holder FROM leased_pins k
		WHERE k.due = 1 AND (SELECT `+statusOf("p")+` FROM presence p WHERE p.board = k.board) = 'online' ORDER BY k.lease, k.board, k.pin LIMIT ?`, n)
}

// ForgetPin forgets how a pin was: it is so again, or somebody else's by now.
func (tx *Tx) ForgetPin(p LeasedPin) error {
	_, err := tx.exec(fmt.Sprintf("forget how pin %q was", p.Pin), `DELETE FROM leased_pins WHERE lease = ? AND board = ? AND pin = ?`, p.Lease, p.Board, p.Pin)
	return err
}
