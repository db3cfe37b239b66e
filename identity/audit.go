package identity

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// ListAudit lists who did what: an admin sees all, others what happened in
// their project.
func (i *Identity) ListAudit(ctx context.Context, req wire.AuditList) (list wire.List[s4t.AuditRecord], err error) {
	const op = "list audit records"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return list, err
	}
	if req.Since < 0 {
		return list, s4t.Errorf(s4t.Invalid, op, "give a time back from now, like 1h", "since %s is in the future", req.Since)
	}
	f := store.AuditFilter{Board: req.Board}
	if req.Caller.Role != s4t.RoleAdmin {
		f.Project = req.Caller.Project
	}
	if req.Since > 0 {
		f.Since = i.cfg.Now().Add(-req.Since)
	}
	err = i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		list, err = tx.AuditRecords(f, req.Page)
		return err
	})
	return list, err
}
