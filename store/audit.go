package store

import (
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

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
func (tx *Tx) InsertAudit(r s4t.AuditRecord) error { return tx.InsertAudits([]s4t.AuditRecord{r}) }

// InsertAudits appends several, of which it says the same.
func (tx *Tx) InsertAudits(all []s4t.AuditRecord) error {
	return insert(tx, "write the audit", `INSERT INTO audit (at, who, project, action, object, name, board, outcome, detail) VALUES `, all, func(r s4t.AuditRecord) []any {
		if r.At.IsZero() {
			r.At = tx.Now()
		}
		return []any{micros(r.At), r.User, r.Project, r.Action, r.Object, r.Name, r.Board, r.Outcome, r.Detail}
	}, ``)
}

// AuditFilter chooses audit records; what is empty does not filter.
type AuditFilter struct {
	Project s4t.ProjectID
	Board   string // id, or name: of a board that is there, or as it was when it was made or deleted
	Since   time.Time
}

// auditByTime is by time, not by id alone, so that a list since a time begins
// there.
var auditByTime = order[s4t.AuditRecord]{"at, id", func(r s4t.AuditRecord) []any { return []any{micros(r.At), r.ID} }}

// AuditRecords returns a page of the records that match, oldest first.
func (tx *Tx) AuditRecords(chosen AuditFilter, p wire.Page) (wire.List[s4t.AuditRecord], error) {
	f := equal(filter{}, "project", chosen.Project)
	if !chosen.Since.IsZero() {
		f = f.and("at >= ?", micros(chosen.Since))
	}
	if b := chosen.Board; b != "" { // each part by an index of its own
		f = f.and(`id IN (SELECT id FROM audit WHERE board = ?
			UNION SELECT id FROM audit WHERE object = ?
			UNION SELECT id FROM audit WHERE name = ? AND action LIKE 'board.%'
			UNION SELECT a.id FROM boards b JOIN audit a ON a.board = b.id WHERE b.name = ?)`, b, b, b, b)
	}
	return page(tx, "list audit records", p, auditByTime, scanAudit, `SELECT `+auditColumns+` FROM audit`, f)
}

// AuditShare is a part of the audit, and how many records it has: what was
// done in a project, or what was refused there.
type AuditShare struct {
	Project s4t.ProjectID
	Refused bool
	Records int
}

// AuditShares returns the parts of the audit.
func (tx *Tx) AuditShares() ([]AuditShare, error) {
	const op = "count the audit"
	all, refused := map[s4t.ProjectID]int{}, map[s4t.ProjectID]int{}
	if err := count(tx, op, all, `SELECT project, COUNT(*) FROM audit GROUP BY project`); err != nil {
		return nil, err
	}
	if err := count(tx, op, refused, `SELECT project, COUNT(*) FROM audit WHERE outcome <> 'ok' GROUP BY project`); err != nil {
		return nil, err
	}
	var shares []AuditShare
	for project, n := range all {
		shares = append(shares, AuditShare{project, false, n - refused[project]}, AuditShare{project, true, refused[project]})
	}
	return shares, nil
}

// where is the condition of a part, and its arguments.
func (part AuditShare) where() filter {
	f := filter{}.and("project = ?", part.Project)
	if part.Refused {
		return f.and("outcome <> 'ok'")
	}
	return f.and("outcome = 'ok'")
}

// AuditBefore returns the newest record of a part before the keep newest ones;
// the zero value where there is none.
func (tx *Tx) AuditBefore(part AuditShare, keep int) (s4t.AuditRecord, error) {
	f := part.where()
	r, err := one(tx, "look through the audit", scanAudit, `SELECT `+auditColumns+` FROM audit`+f.where()+` ORDER BY at DESC, id DESC LIMIT 1 OFFSET ?`, append(f.args, keep)...)
	if s4t.KindOf(err) == s4t.NotFound {
		return s4t.AuditRecord{}, nil
	}
	return r, err
}

// TrimAudit deletes the oldest records of a part, up to that one, but no more
// than most, and returns how many.
func (tx *Tx) TrimAudit(part AuditShare, last s4t.AuditRecord, most int) (int64, error) {
	f := part.where().and("(at, id) <= (?, ?)", micros(last.At), last.ID)
	return tx.exec("trim the audit", `DELETE FROM audit WHERE id IN (SELECT id FROM audit`+f.where()+` ORDER BY at, id LIMIT ?)`, append(f.args, most)...)
}
