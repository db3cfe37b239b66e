package cloud

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

// authority is where our own CAs are kept: the present one, and the next.
type authority interface {
	// load reads a CA, and fails with fs.ErrNotExist where there is none.
	load(ctx context.Context, name string) (*ownCA, error)
	// take reads a CA, or makes it where there is none.
	take(ctx context.Context, name string, now time.Time) (*ownCA, error)
	// promote makes the next CA the present one, whose key is destroyed: boards
	// trust it for as long as they live.
	promote(ctx context.Context) error
	// finish goes on with what a crash interrupted.
	finish() error
}

// authorityOf is where the CAs of a cloud are: in the database where several
// conductors may share that, or where they came with it from there (iotronic migrate,
// restore); else in the data directory; nil without one.
func authorityOf(ctx context.Context, cfg Config, db *store.DB) (authority, error) {
	dir := caDir(cfg.Data)
	switch {
	case cfg.Data == "":
		return nil, nil
	case db == nil:
		return dir, nil
	case store.IsPostgreSQL(cfg.Database):
		return caTable{db, dir}, nil
	}
	err := db.View(ctx, func(tx *store.Tx) error {
		_, err := tx.KeptSecret(secretOf(presentCA))
		return err
	})
	switch {
	case err == nil:
		return caTable{db, dir}, nil
	case s4t.KindOf(err) == s4t.NotFound:
		return dir, nil
	}
	return nil, err
}

// caDir keeps them in files of a directory.
type caDir string

func (d caDir) files(name string) (cert, key string) {
	return filepath.Join(string(d), name+".pem"), filepath.Join(string(d), name+".key")
}

func (d caDir) load(_ context.Context, name string) (*ownCA, error) {
	certPath, keyPath := d.files(name)
	op := "read the CA " + certPath
	hint := "restore " + name + ".pem and " + name + ".key from a backup; boards trust only them"
	certText, certErr := os.ReadFile(certPath)
	keyText, keyErr := os.ReadFile(keyPath)
	if errors.Is(certErr, fs.ErrNotExist) {
		// The certificate is written last: without it no board has seen this CA.
		return nil, certErr
	}
	if certErr != nil || keyErr != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, hint, "%s", errors.Join(certErr, keyErr))
	}
	ca, err := parseCA(certText, keyText)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "%w", err)
	}
	return ca, nil
}

func (d caDir) take(ctx context.Context, name string, now time.Time) (*ownCA, error) {
	ca, err := d.load(ctx, name)
	if !errors.Is(err, fs.ErrNotExist) {
		return ca, err
	}
	if ca, err = newCA(now); err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(ca.key)
	if err != nil {
		return nil, err
	}
	certPath, keyPath := d.files(name)
	if err := WriteFile(keyPath, keyPEM, 0o600); err != nil { // the key first
		return nil, err
	}
	return ca, WriteFile(certPath, []byte(certPEM(ca.cert)), 0o644)
}

// promote goes on in finish after a crash between the two files.
func (d caDir) promote(ctx context.Context) error {
	if _, err := d.load(ctx, nextCA); err != nil {
		return err
	}
	_, from := d.files(nextCA)
	_, to := d.files(presentCA)
	key, err := os.ReadFile(from)
	if err == nil {
		err = WriteFile(to, key, 0o600)
	}
	if err != nil {
		return err
	}
	return d.finish()
}

// finish brings the certificate behind the key, where the next CA's key is the
// present one's already.
func (d caDir) finish() error {
	cert, key := d.files(presentCA)
	nextCert, nextKey := d.files(nextCA)
	text, err := os.ReadFile(nextCert)
	if err != nil {
		return nil // there is no next one
	}
	if _, err := tls.LoadX509KeyPair(nextCert, key); err != nil {
		return nil // it is the next one still
	}
	if err := WriteFile(cert, text, 0o644); err != nil {
		return err
	}
	if err := errors.Join(os.Remove(nextCert), os.Remove(nextKey)); err != nil {
		return s4t.Errorf(s4t.Unavailable, "change the CA in "+string(d), "check the directory's permissions", "%w", err)
	}
	return nil
}

// caTable keeps them among the secrets of the database. What is in the directory
// of a conductor that had them there is taken over once.
type caTable struct {
	db  *store.DB
	dir caDir
}

func secretOf(name string) string { return "own-" + name }

func (t caTable) load(ctx context.Context, name string) (ca *ownCA, err error) {
	err = t.db.View(ctx, func(tx *store.Tx) error {
		switch _, err := tx.KeptSecret(secretOf(presentCA)); {
		case s4t.KindOf(err) == s4t.NotFound:
			ca, err = t.dir.load(ctx, name)
			return err
		case err != nil:
			return err
		}
		ca, err = t.read(tx, name)
		return err
	})
	return ca, err
}

func (t caTable) take(ctx context.Context, name string, now time.Time) (ca *ownCA, err error) {
	err = t.db.Tx(ctx, func(tx *store.Tx) error {
		if err := t.takeOver(ctx, tx); err != nil {
			return err
		}
		_, err := tx.Secret(secretOf(name), func() ([]byte, error) {
			ca, err := newCA(now)
			if err != nil {
				return nil, err
			}
			return encodeCA(ca)
		})
		if err == nil {
			ca, err = t.read(tx, name) // another conductor may have been faster
		}
		return err
	})
	return ca, err
}

// takeOver takes what is in the directory, where the database has nothing yet.
func (t caTable) takeOver(ctx context.Context, tx *store.Tx) error {
	if _, err := tx.KeptSecret(secretOf(presentCA)); s4t.KindOf(err) != s4t.NotFound {
		return err
	}
	for _, name := range []string{nextCA, presentCA} {
		ca, err := t.dir.load(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		text, err := encodeCA(ca)
		if err != nil {
			return err
		}
		if _, err := tx.Secret(secretOf(name), func() ([]byte, error) { return text, nil }); err != nil {
			return err
		}
	}
	return nil
}

func (t caTable) promote(ctx context.Context) error {
	return t.db.Tx(ctx, func(tx *store.Tx) error {
		next, err := tx.KeptSecret(secretOf(nextCA))
		if err == nil {
			err = tx.SetSecret(secretOf(presentCA), next)
		}
		if err == nil {
			err = tx.DeleteSecret(secretOf(nextCA))
		}
		return err
	})
}

func (t caTable) finish() error { return nil }

// read reads a CA of the database.
func (t caTable) read(tx *store.Tx, name string) (*ownCA, error) {
	text, err := tx.KeptSecret(secretOf(name))
	if s4t.KindOf(err) == s4t.NotFound {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, err
	}
	ca, err := parseCA(text, text)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, "read the CA from the database", "restore the database from a backup; boards trust only that CA", "%w", err)
	}
	return ca, nil
}

// encodeCA is a CA in PEM: its certificate and its key.
func encodeCA(ca *ownCA) ([]byte, error) {
	key, err := encodeKey(ca.key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.cert.Raw}), key...), nil
}
