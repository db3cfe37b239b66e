package apiclient

import (
	"context"
	"strconv"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/seal"
)

// AuditHead is where the chain of the audit ends.
func (c *Client) AuditHead(ctx context.Context) (h s4t.AuditHead, err error) {
	return h, c.do(ctx, "read the head of the audit", "GET", path("audit", "head"), nil, &h)
}

// AuditChain is a page of the chain: the blocks that end after a record of it.
func (c *Client) AuditChain(ctx context.Context, after int64) (p s4t.AuditChain, err error) {
	return p, c.do(ctx, "read the chain of the audit", "GET", query(path("audit", "chain"), "after", strconv.FormatInt(after, 10)), nil, &p)
}

// VerifyAudit looks whether the records that the caller sees are those that the cloud sealed, in that
// order and all of them. kept is a head from before that the chain has to go through; nil: none.
func (c *Client) VerifyAudit(ctx context.Context, kept *s4t.AuditHead) (seal.Report, error) {
	v := seal.NewVerifier(kept)
	read := func() (p s4t.AuditChain, err error) {
		for {
			if p, err = c.AuditChain(ctx, v.Count()); err != nil || len(p.Blocks) == 0 {
				return p, err
			}
			v.Page(p)
		}
	}
	if _, err := read(); err != nil {
		return seal.Report{}, err
	}
	v.Chained()
	for r, err := range c.AuditList("", 0).Each(ctx) {
		if err != nil {
			return seal.Report{}, err
		}
		v.Record(r)
	}
	last, err := c.AuditChain(ctx, v.Count())
	if err != nil {
		return seal.Report{}, err
	}
	v.Page(last)
	if len(last.Blocks) > 0 {
		if _, err := read(); err != nil {
			return seal.Report{}, err
		}
	}
	return v.Report(last), nil
}
