package store

import (
	"encoding/base64"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

const fleetTokenSelect = `SELECT x.id, x.fleet, f.name, f.project, x.user_name, x.count, x.used, x.expires_at, x.created_at FROM fleet_tokens x JOIN fleets f ON f.id = x.fleet`

func scanFleetToken(s scanner) (t s4t.FleetToken, err error) {
	var expires, created int64
	err = s.Scan(&t.ID, &t.Fleet, &t.FleetName, &t.Project, &t.User, &t.Count, &t.Used, &expires, &created)
	t.ExpiresAt, t.CreatedAt = fromMicros(expires), fromMicros(created)
	return t, err
}

// InsertFleetToken adds a token by the hash of its code.
func (tx *Tx) InsertFleetToken(t s4t.FleetToken, codeHash string) error {
	_, err := tx.exec(fmt.Sprintf("create a token of fleet %q", t.FleetName), `INSERT INTO fleet_tokens (id, fleet, user_name, code_hash, count, used, expires_at, created_at) VALUES (?, ?, ?, ?, ?, 0, ?, ?)`,
		t.ID, t.Fleet, t.User, codeHash, t.Count, micros(t.ExpiresAt), micros(t.CreatedAt))
	return err
}

// FleetTokens returns a page of the tokens of a fleet, oldest first.
func (tx *Tx) FleetTokens(fleet s4t.FleetID, p wire.Page) (wire.List[s4t.FleetToken], error) {
	return page(tx, "list the tokens of a fleet", p, order[s4t.FleetToken]{"x.created_at, x.id", func(t s4t.FleetToken) []any { return []any{micros(t.CreatedAt), string(t.ID)} }},
		scanFleetToken, fleetTokenSelect, filter{}.and("x.fleet = ?", fleet))
}

// CountFleetTokens returns how many tokens a fleet has.
func (tx *Tx) CountFleetTokens(fleet s4t.FleetID) (int, error) {
	return one(tx, "count the tokens of a fleet", value[int], `SELECT COUNT(*) FROM fleet_tokens WHERE fleet = ?`, fleet)
}

// FleetToken returns a token of a fleet.
func (tx *Tx) FleetToken(fleet s4t.FleetID, id s4t.TokenID) (s4t.FleetToken, error) {
	return one(tx, fmt.Sprintf("find fleet token %q", id), scanFleetToken, fleetTokenSelect+` WHERE x.id = ? AND x.fleet = ?`, id, fleet)
}

// FleetTokenByCode returns the token of a code, by its hash.
func (tx *Tx) FleetTokenByCode(hash string) (s4t.FleetToken, error) {
	return one(tx, "find the fleet of a code", scanFleetToken, fleetTokenSelect+` WHERE x.code_hash = ?`, hash)
}

// UseFleetToken uses a token once; false: it has been used as often as it may, or is gone. The token is
// held until the transaction ends.
func (tx *Tx) UseFleetToken(id s4t.TokenID) (bool, error) {
	n, err := tx.exec(fmt.Sprintf("use fleet token %q", id), `UPDATE fleet_tokens SET used = used + 1 WHERE id = ? AND used < count`, id)
	return n > 0, err
}

// DeleteFleetToken deletes a token; boards that joined with it stay.
func (tx *Tx) DeleteFleetToken(id s4t.TokenID) error {
	_, err := tx.exec(fmt.Sprintf("revoke fleet token %q", id), `DELETE FROM fleet_tokens WHERE id = ?`, id)
	return err
}

// ForgetFleetTokens forgets at most limit of those that expired before a time.
func (tx *Tx) ForgetFleetTokens(before time.Time, limit int) error {
	_, err := tx.exec("forget fleet tokens", `DELETE FROM fleet_tokens WHERE id IN (SELECT id FROM fleet_tokens WHERE expires_at < ? ORDER BY expires_at LIMIT ?)`, micros(before), limit)
	return err
}

// InsertFleetJoin notes that a key joined with a token, and makes its board a member of the fleet. A
// key that did before is a Conflict on fleet_joins.key.
func (tx *Tx) InsertFleetJoin(t s4t.FleetToken, key []byte, board s4t.BoardID) error {
	op := fmt.Sprintf("join fleet %q", t.FleetName)
	if _, err := tx.exec(op, `INSERT INTO fleet_joins (token, key, board) VALUES (?, ?, ?)`, t.ID, base64.StdEncoding.EncodeToString(key), board); err != nil {
		return err
	}
	_, err := tx.exec(op, `INSERT INTO fleet_boards (fleet, board) VALUES (?, ?)`, t.Fleet, board)
	return err
}

// FleetJoin returns the board of a key that joined with a token.
func (tx *Tx) FleetJoin(token s4t.TokenID, key []byte) (s4t.BoardID, error) {
	return one(tx, "find the board of a key", value[s4t.BoardID], `SELECT board FROM fleet_joins WHERE token = ? AND key = ?`, token, base64.StdEncoding.EncodeToString(key))
}

// CountNamed returns how many boards are named in a fleet.
func (tx *Tx) CountNamed(fleet s4t.FleetID) (int, error) {
	return one(tx, "count the boards of a fleet", value[int], `SELECT COUNT(*) FROM fleet_boards WHERE fleet = ?`, fleet)
}
