package identity

import (
	"context"
	"math"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/seal"
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

const (
	keepAudit = 1_000_000 // audit records that are kept: some 200 MB
	trimBatch = 5000      // that one transaction deletes
)

// trimAudit deletes the oldest records where there are more than keep, of the
// parts that have the most: what was done in one project, or refused there,
// costs no part that keeps to its share. Others may do it at the same time.
func (i *Identity) trimAudit(ctx context.Context, keep int) error {
	var shares []store.AuditShare
	if err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
		shares, err = tx.AuditShares()
		return err
	}); err != nil {
		return err
	}
	most := fairShare(shares, keep)
	key, err := i.sealKey(ctx)
	if err != nil {
		return err
	}
	trimmed := false
	for _, s := range shares {
		if s.Records <= most {
			continue
		}
		var last s4t.AuditRecord
		if err := i.cfg.Store.View(ctx, func(tx *store.Tx) (err error) {
			last, err = tx.AuditBefore(s, most)
			return err
		}); err != nil {
			return err
		}
		mark := s4t.AuditMark{Project: s.Project, Refused: s.Refused, At: last.At, ID: last.ID}
		mark.Signature = seal.SignMark(key, mark)
		for deleted := int64(trimBatch); deleted == trimBatch; trimmed = true {
			if err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
				if deleted, err = tx.TrimAudit(s, last, trimBatch); err != nil {
					return err
				}
				return tx.SetAuditMark(mark) // with the records: what is missing in the chain was trimmed, and nothing else is
			}); err != nil {
				return err
			}
		}
	}
	if !trimmed {
		return nil
	}
	return i.leaveTrimmed(ctx)
}

// fairShare is how many records each part may have so that there are no more
// than keep: what some do not need of an equal part is the others'.
func fairShare(shares []store.AuditShare, keep int) int {
	sizes := make([]int, len(shares))
	for n, s := range shares {
		sizes[n] = s.Records
	}
	slices.Sort(sizes)
	for n, size := range sizes {
		if equal := keep / (len(sizes) - n); size > equal {
			return equal
		}
		keep -= size
	}
	return math.MaxInt
}
