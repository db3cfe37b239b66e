package store

import (
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Bundle is a packed bundle of a project: what of it is there.
type Bundle struct {
	ID      string
	Project s4t.ProjectID
	Digest  string // SHA-256 of all of it, hex
	Size    int64  // of all of it
	Has     int64  // bytes that are there
	Hash    string // of those: the state of SHA-256, base64; empty: all is there, and has the digest
}

// Complete reports whether all of it is there.
func (b Bundle) Complete() bool { return b.Has == b.Size && b.Hash == "" }

const bundleColumns = `id, project, digest, size, has, hash`

func scanBundle(s scanner) (b Bundle, err error) {
	err = s.Scan(&b.ID, &b.Project, &b.Digest, &b.Size, &b.Has, &b.Hash)
	return b, err
}

// BundleOf returns the bundle of a project that has a digest, and holds it until
// the transaction ends: parts of it come one after the other.
func (tx *Tx) BundleOf(project s4t.ProjectID, digest string) (Bundle, error) {
	return one(tx, fmt.Sprintf("find bundle %q", digest), scanBundle, `SELECT `+bundleColumns+` FROM bundles WHERE project = ? AND digest = ?`+tx.forUpdate(), project, digest)
}

// WholeBundle returns a bundle with a digest that is complete, whosever it is: the
// bytes are the same.
func (tx *Tx) WholeBundle(digest string) (Bundle, error) {
	return one(tx, fmt.Sprintf("find bundle %q", digest), scanBundle, `SELECT `+bundleColumns+` FROM bundles WHERE digest = ? AND hash = '' ORDER BY id LIMIT 1`, digest)
}

// InsertBundle adds a bundle of which nothing is there. One that the project has
// is a Conflict on bundles.digest.
func (tx *Tx) InsertBundle(b Bundle) error {
	_, err := tx.exec(fmt.Sprintf("begin bundle %q", b.Digest), `INSERT INTO bundles (`+bundleColumns+`, idle_since) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		b.ID, b.Project, b.Digest, b.Size, b.Has, b.Hash, micros(tx.Now()))
	return err
}

// PutBundlePart appends a part to a bundle, which was read with [Tx.BundleOf], and
// writes what there is with it.
func (tx *Tx) PutBundlePart(b Bundle, start int64, data []byte) error {
	op := fmt.Sprintf("add to bundle %q", b.Digest)
	if _, err := tx.exec(op, `INSERT INTO bundle_parts (bundle, start, data) VALUES (?, ?, ?)`, b.ID, start, data); err != nil {
		return err
	}
	_, err := tx.exec(op, `UPDATE bundles SET has = ?, hash = ?, idle_since = ? WHERE id = ?`, b.Has, b.Hash, micros(tx.Now()), b.ID)
	return err
}

// BundlePart returns the part of a bundle that begins at an offset.
func (tx *Tx) BundlePart(id string, start int64) ([]byte, error) {
	return one(tx, fmt.Sprintf("read bundle %q at %d", id, start), value[[]byte], `SELECT data FROM bundle_parts WHERE bundle = ? AND start = ?`, id, start)
}

// DeleteBundle deletes a bundle, unless a version is of it.
func (tx *Tx) DeleteBundle(id string) error {
	_, err := tx.exec(fmt.Sprintf("delete bundle %q", id), `DELETE FROM bundles WHERE id = ? AND NOT EXISTS (SELECT 1 FROM plugin_versions v WHERE v.bundle = bundles.id)`, id)
	return err
}

// ForgetBundles deletes at most limit bundles that no version is of and that were
// not added to for a time, by the database's clock.
func (tx *Tx) ForgetBundles(quiet time.Duration, limit int) error {
	_, err := tx.exec("forget bundles that nobody uses", `DELETE FROM bundles WHERE id IN (SELECT id FROM bundles WHERE idle_since > 0 AND idle_since < ? LIMIT ?)`,
		micros(tx.Now().Add(-quiet)), limit)
	return err
}
