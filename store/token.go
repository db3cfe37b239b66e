package store

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// TokenRow is a token with the id of its user. Its Secret is empty: only a
// hash of it is kept.
type TokenRow struct {
	s4t.Token
	UserID   s4t.UserID
	UserRole s4t.Role // of the user now; a token is never stronger
}

const selectTokens = `SELECT t.id, u.name, t.project, t.role, t.expires_at, t.created_at, u.id, u.role
	FROM tokens t JOIN users u ON u.id = t.user_id `

func scanToken(s scanner) (TokenRow, error) {
	var t TokenRow
	var created int64
	var expires sql.NullInt64
	err := s.Scan(&t.ID, &t.User, &t.Project, &t.Role, &expires, &created, &t.UserID, &t.UserRole)
	t.CreatedAt, t.ExpiresAt = fromMicros(created), fromMicrosOrNull(expires)
	return t, err
}

// InsertToken adds a token of a user; secretHash is the SHA-256 of its secret
// in hex.
func (tx *Tx) InsertToken(t s4t.Token, user s4t.UserID, secretHash string) error {
	_, err := tx.exec("create a token",
		`INSERT INTO tokens (id, secret_hash, user_id, project, role, expires_at, created_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		t.ID, secretHash, user, t.Project, t.Role, microsOrNull(t.ExpiresAt), micros(t.CreatedAt))
	return err
}

// TokenByHash returns the token whose secret has this hash, expired or not.
func (tx *Tx) TokenByHash(secretHash string) (TokenRow, error) {
	return one(tx, "find a token", scanToken, selectTokens+`WHERE t.secret_hash = ?`, secretHash)
}

// Token returns the token with this id.
func (tx *Tx) Token(id s4t.TokenID) (TokenRow, error) {
	return one(tx, fmt.Sprintf("find token %q", id), scanToken, selectTokens+`WHERE t.id = ?`, id)
}

// Tokens returns the tokens of a user, of all users if user is empty, oldest
// first.
func (tx *Tx) Tokens(user s4t.UserID) ([]TokenRow, error) {
	return many(tx, "list tokens", scanToken, selectTokens+`WHERE ? = '' OR t.user_id = ? ORDER BY t.created_at, t.id`, user, user)
}

// DeleteToken deletes a token.
func (tx *Tx) DeleteToken(id s4t.TokenID) error {
	_, err := tx.exec(fmt.Sprintf("revoke token %q", id), `DELETE FROM tokens WHERE id = ?`, id)
	return err
}

// DeleteExpiredTokens deletes the tokens that expired before a time.
func (tx *Tx) DeleteExpiredTokens(before time.Time) error {
	_, err := tx.exec("delete expired tokens", `DELETE FROM tokens WHERE expires_at < ?`, micros(before))
	return err
}
