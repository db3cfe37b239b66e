package store

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/stack4things/s4t"
)

// Secret returns the secret of this name. The first time, it is what create
// makes; every process that shares the database gets the same. Call it in
// [DB.Tx].
func (tx *Tx) Secret(name string, create func() ([]byte, error)) ([]byte, error) {
	op := fmt.Sprintf("read secret %q", name)
	const query = `SELECT value FROM secrets WHERE name = ?`
	text, err := one(tx, op, value[string], query, name)
	if s4t.KindOf(err) == s4t.NotFound {
		var fresh []byte
		if fresh, err = create(); err != nil {
			return nil, err
		}
		// Another may be faster; then it is the other's.
		if _, err = tx.exec(op, `INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING`, name, base64.StdEncoding.EncodeToString(fresh)); err != nil {
			return nil, err
		}
		text, err = one(tx, op, value[string], query, name)
	}
	if err != nil {
		return nil, err
	}
	return decodeSecret(op, text)
}

// KeptSecret returns the secret of this name; NotFound where there is none.
func (tx *Tx) KeptSecret(name string) ([]byte, error) {
	op := fmt.Sprintf("read secret %q", name)
	text, err := one(tx, op, value[string], `SELECT value FROM secrets WHERE name = ?`, name)
	if err != nil {
		return nil, err
	}
	return decodeSecret(op, text)
}

// SetSecret keeps a secret, in place of the one of this name.
func (tx *Tx) SetSecret(name string, b []byte) error {
	_, err := tx.exec(fmt.Sprintf("keep secret %q", name),
		`INSERT INTO secrets (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value`, name, base64.StdEncoding.EncodeToString(b))
	return err
}

// DeleteSecret forgets a secret, if there is one.
func (tx *Tx) DeleteSecret(name string) error {
	_, err := tx.exec(fmt.Sprintf("forget secret %q", name), `DELETE FROM secrets WHERE name = ?`, name)
	return err
}

func decodeSecret(op, text string) ([]byte, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", errors.New("it is damaged"))
	}
	return b, nil
}
