package store

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// AuditBlock is a block of the audit's chain as it is kept.
type AuditBlock struct {
	s4t.AuditBlock        // without Links and Own
	Entries        []byte // see seal.Entry; none: all of it was trimmed
}

// AuditHole is a range of ids that no record of the audit has, and since when that is known: a
// transaction may hold them that is not at its end.
type AuditHole struct {
	First int64     `json:"first"`
	Last  int64     `json:"last"`
	Since time.Time `json:"since"`
}

// AuditState is how far the audit is sealed.
type AuditState struct {
	Count  int64
	Chain  string // after Count records, hex; empty: there is none
	LastID int64  // of the audit: what comes after is not sealed
	Holes  []AuditHole
	Adopt  bool // what is not sealed may be old: there was no chain before, or a backup was restored
}

// AuditState returns how far the audit is sealed, with the lock: one seals at a time.
func (tx *Tx) AuditState() (AuditState, error) {
	return one(tx, "read how far the audit is sealed", func(s scanner) (a AuditState, err error) {
		var holes string
		if err = s.Scan(&a.Count, &a.Chain, &a.LastID, &holes, &a.Adopt); err != nil {
			return a, err
		}
		return a, fromJSON(holes, &a.Holes)
	}, `SELECT count, chain, last_id, holes, adopt FROM audit_head WHERE one = 1`+tx.forUpdate())
}

// SetAuditState keeps it.
func (tx *Tx) SetAuditState(a AuditState) error {
	holes := ""
	if len(a.Holes) > 0 {
		holes = jsonText(a.Holes)
	}
	_, err := tx.exec("keep how far the audit is sealed", `UPDATE audit_head SET count = ?, chain = ?, last_id = ?, holes = ?, adopt = ? WHERE one = 1`, a.Count, a.Chain, a.LastID, holes, bit(a.Adopt))
	return err
}

// AuditSince returns the records with ids after one, at most n, by id.
func (tx *Tx) AuditSince(id int64, n int) ([]s4t.AuditRecord, error) {
	return many(tx, "read the audit", scanAudit, `SELECT `+auditColumns+` FROM audit WHERE id > ? ORDER BY id LIMIT ?`, id, n)
}

// AuditIn returns the records with ids in ranges, at most n, by id.
func (tx *Tx) AuditIn(holes []AuditHole, n int) (all []s4t.AuditRecord, err error) {
	const together = 64 // ranges to a statement
	for ; len(holes) > 0 && len(all) < n; holes = holes[min(len(holes), together):] {
		part := holes[:min(len(holes), together)]
		var args []any
		for _, h := range part {
			args = append(args, h.First, h.Last)
		}
		for len(args) < 2*together { // one statement serves every length: with ranges that nothing is in
			args = append(args, int64(1), int64(0))
		}
		const r = `(CAST(? AS BIGINT), CAST(? AS BIGINT))`
		some, err := many(tx, "read the audit", scanAudit, `SELECT `+auditColumns+` FROM (VALUES `+r+strings.Repeat(`, `+r, together-1)+`) AS hole JOIN audit ON audit.id BETWEEN hole.column1 AND hole.column2 LIMIT ?`, append(args, n-len(all))...)
		if err != nil {
			return nil, err
		}
		slices.SortFunc(some, func(a, b s4t.AuditRecord) int { return cmp.Compare(a.ID, b.ID) })
		all = append(all, some...)
	}
	return all, nil
}

const auditBlockColumns = `first_number, last_number, at, adopted, chain, signature, entries, gap`

func scanAuditBlock(s scanner) (b AuditBlock, err error) {
	var at int64
	var signature, entries, gap string
	if err = s.Scan(&b.First, &b.Last, &at, &b.Adopted, &b.Chain, &signature, &entries, &gap); err != nil {
		return b, err
	}
	b.At = fromMicros(at)
	for text, into := range map[*string]*[]byte{&signature: &b.Signature, &entries: &b.Entries, &gap: &b.Gap} {
		if *into, err = base64.StdEncoding.DecodeString(*text); err != nil { // somebody wrote something else there
			*into, err = nil, nil
		}
	}
	return b, nil
}

// InsertAuditBlocks appends blocks to the chain.
func (tx *Tx) InsertAuditBlocks(blocks []AuditBlock) error {
	return insert(tx, "seal the audit", `INSERT INTO audit_blocks (`+auditBlockColumns+`) VALUES `, blocks, func(b AuditBlock) []any {
		text := base64.StdEncoding.EncodeToString
		return []any{b.First, b.Last, micros(b.At), bit(b.Adopted), b.Chain, text(b.Signature), text(b.Entries), text(b.Gap)}
	}, ``)
}

// AuditBlocks returns the blocks that end after a record of the chain, at most n, in order.
func (tx *Tx) AuditBlocks(after int64, n int) ([]AuditBlock, error) {
	return many(tx, "read the chain of the audit", scanAuditBlock, `SELECT `+auditBlockColumns+` FROM audit_blocks WHERE last_number > ? ORDER BY last_number LIMIT ?`, after, n)
}

// LastAuditBlock returns the newest block; NotFound where there is none.
func (tx *Tx) LastAuditBlock() (AuditBlock, error) {
	return one(tx, "read the head of the audit", scanAuditBlock, `SELECT `+auditBlockColumns+` FROM audit_blocks WHERE last_number = (SELECT MAX(last_number) FROM audit_blocks)`)
}

// ReplaceAuditBlocks puts one block in the place of those from its first to its last record.
func (tx *Tx) ReplaceAuditBlocks(b AuditBlock) error {
	if _, err := tx.exec(fmt.Sprintf("leave records %d to %d of the audit's chain", b.First, b.Last), `DELETE FROM audit_blocks WHERE last_number BETWEEN ? AND ?`, b.First, b.Last); err != nil {
		return err
	}
	return tx.InsertAuditBlocks([]AuditBlock{b})
}

// AuditMarks returns up to where the parts of the audit were trimmed: of a project, or of all.
func (tx *Tx) AuditMarks(project s4t.ProjectID) ([]s4t.AuditMark, error) {
	f := equal(filter{}, "project", project)
	return many(tx, "read where the audit was trimmed", func(s scanner) (m s4t.AuditMark, err error) {
		var at int64
		var signature string
		if err = s.Scan(&m.Project, &m.Refused, &at, &m.ID, &signature); err == nil {
			m.At = fromMicros(at)
			m.Signature, _ = base64.StdEncoding.DecodeString(signature) // what is none does not verify
		}
		return m, err
	}, `SELECT project, refused, at, id, signature FROM audit_marks`+f.where()+` ORDER BY project, refused`, f.args...)
}

// SetAuditMark notes up to where a part of the audit was trimmed, unless it is further already.
func (tx *Tx) SetAuditMark(m s4t.AuditMark) error {
	_, err := tx.exec("note where the audit was trimmed", `INSERT INTO audit_marks (project, refused, at, id, signature) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (project, refused) DO UPDATE SET at = excluded.at, id = excluded.id, signature = excluded.signature
		WHERE (audit_marks.at, audit_marks.id) < (excluded.at, excluded.id)`,
		m.Project, bit(m.Refused), micros(m.At), m.ID, base64.StdEncoding.EncodeToString(m.Signature))
	return err
}
