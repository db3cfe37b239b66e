package store

import (
	"time"

	"github.com/stack4things/s4t"
)

// MaxAuditRecords is how many audit records one list returns: the newest.
const MaxAuditRecords = 10000

const auditColumns = `id, at, who, project, action, object, name, board, outcome, detail`

func scanAudit(s scanner) (s4t.AuditRecord, error) {
	var r s4t.AuditRecord
	var at int64
	err := s.Scan(&r.ID, &at, &r.User, &r.Project, &r.Action, &r.Object, &r.Name, &r.Board, &r.Outcome, &r.Detail)
	r.At = fromMicros(at)
	return r, err
}

// InsertAudit appends a record; its ID is chosen here, and At where it is
// zero. It holds no secret: no password, token, code, ticket or key.
func (tx *Tx) InsertAudit(r s4t.AuditRecord) error {
	if r.At.IsZero() {
		r.At = time.Now()
	}
	_, err := tx.exec("write the audit record of "+r.Action,
		`INSERT INTO audit (`+auditColumns+`) VALUES ((SELECT COALESCE(MAX(id), 0) + 1 FROM audit), ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		micros(r.At), r.User, r.Project, r.Action, r.Object, r.Name, r.Board, r.Outcome, r.Detail)
	return err
}

// AuditFilter chooses audit records; what is empty does not filter.
type AuditFilter struct {
	Project s4t.ProjectID
	Board   string // id, or name: of a board that is there, or as it was when it was made or deleted
	Since   time.Time
}

// AuditRecords returns the newest [MaxAuditRecords] that match, oldest first.
func (tx *Tx) AuditRecords(f AuditFilter) ([]s4t.AuditRecord, error) {
	return many(tx, "list audit records", scanAudit,
		`SELECT `+auditColumns+` FROM (
			SELECT `+auditColumns+` FROM audit
			WHERE (? = '' OR project = ?) AND at >= ?
			  AND (? = '' OR board = ? OR object = ? OR (name = ? AND action LIKE 'board.%')
			       OR board IN (SELECT id FROM boards WHERE name = ?))
			ORDER BY id DESC LIMIT ?) AS newest
		ORDER BY id`,
		f.Project, f.Project, micros(f.Since), f.Board, f.Board, f.Board, f.Board, f.Board, MaxAuditRecords)
}

// TrimAudit deletes all but the newest keep records.
func (tx *Tx) TrimAudit(keep int) error {
	_, err := tx.exec("trim the audit", `DELETE FROM audit WHERE id <= (SELECT MAX(id) FROM audit) - ?`, keep)
	return err
}
