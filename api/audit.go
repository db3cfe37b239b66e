package api

import (
	"context"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// auditRoutes are the chain of the audit; see seal.
func (a *API) auditRoutes() {
	register(a, guarded, "GET /v1/audit/head", "audit.head", "Show the head of the audit", "Where the chain of hashes over the audit ends, signed with the key that is in it. Who keeps it can tell later whether anything before it was changed.",
		func(ctx context.Context, _ *struct{}) (*answered[s4t.AuditHead], error) {
			page, err := call[s4t.AuditChain](ctx, a, wire.MethodAuditChain, wire.AuditChain{Caller: callerOf(ctx), After: 1<<63 - 1})
			if err != nil {
				return nil, err
			}
			return &answered[s4t.AuditHead]{Body: page.Head}, nil
		})
	register(a, guarded, "GET /v1/audit/chain", "audit.chain", "Read the chain of the audit", "A page of blocks, in order; the next page is after the last record of the last block, and one without blocks is the end. An admin gets the entry of every record, others those of their project, and of the rest only the links, which tell nothing but how many there are.",
		func(ctx context.Context, in *struct {
			After int64 `query:"after" minimum:"0" doc:"Number of a record of the chain: the blocks that end after it"`
		}) (*answered[s4t.AuditChain], error) {
			return get[s4t.AuditChain](ctx, a, wire.MethodAuditChain, wire.AuditChain{Caller: callerOf(ctx), After: in.After})
		})
}
