package identity

import (
	"context"
	"crypto/ed25519"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Config of an [Identity].
type Config struct {
	Store         *store.DB          // required; the caller closes it
	Key           ed25519.PrivateKey // required: vouches for callers; the conductors share it
	LoginLifetime time.Duration      // of a token that a login gives; default 7 days
	Now           func() time.Time   // default time.Now
	Log           *slog.Logger       // default: nowhere
}

// Identity is the built-in identity service. Its methods take requests as they
// come over the queue and enforce the caller's role; see [Identity.Register].
type Identity struct {
	cfg      Config
	password hasher
	attempts *attempts
	signer   atomic.Pointer[ed25519.PrivateKey] // of the audit; see sealKey
	refusals *s4t.Budgets                       // of audit records of what was refused: nobody fills the disk, or hides another's
}

// New returns an Identity. Several processes may share the store.
func New(cfg Config) (*Identity, error) {
	if cfg.Store == nil || len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, s4t.Errorf(s4t.Internal, "construct identity", "", "Store and Key are required")
	}
	if cfg.LoginLifetime == 0 {
		cfg.LoginLifetime = 7 * 24 * time.Hour
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Identity{
		cfg:      cfg,
		password: newHasher(memory),
		attempts: newAttempts(),
		refusals: s4t.NewBudgets(60, time.Second, maxAttempts),
	}, nil
}

// Register adds the methods of identity to mux.
func (i *Identity) Register(mux queue.Mux) {
	mux[wire.MethodLogin] = queue.Handle(i.Login)
	mux[wire.MethodSessionOpen] = queue.Handle(i.OpenSession)
	mux[wire.MethodSessionGet] = queue.Handle(i.GetSession)
	mux[wire.MethodSessionCode] = queue.Handle(i.CreateLoginCode)
	mux[wire.MethodVerify] = queue.Handle(i.Verify)
	mux[wire.MethodProjectCreate] = queue.Handle(i.CreateProject)
	mux[wire.MethodProjectList] = queue.Handle(i.ListProjects)
	mux[wire.MethodProjectGet] = queue.Handle(i.GetProject)
	mux[wire.MethodProjectDelete] = queue.Handle(i.DeleteProject)
	mux[wire.MethodUserCreate] = queue.Handle(i.CreateUser)
	mux[wire.MethodUserList] = queue.Handle(i.ListUsers)
	mux[wire.MethodUserDelete] = queue.Handle(i.DeleteUser)
	mux[wire.MethodUserPassword] = queue.Handle(i.SetPassword)
	mux[wire.MethodTokenCreate] = queue.Handle(i.CreateToken)
	mux[wire.MethodTokenList] = queue.Handle(i.ListTokens)
	mux[wire.MethodTokenRevoke] = queue.Handle(i.RevokeToken)
	mux[wire.MethodAuditChain] = queue.Handle(i.AuditChain)
	mux[wire.MethodAuditList] = queue.Handle(i.ListAudit)
}

// Run seals the audit, every second, and forgets expired tokens and the oldest
// audit records, every ten minutes, until ctx ends.
func (i *Identity) Run(ctx context.Context) error {
	var sealer sync.WaitGroup
	sealer.Go(func() { i.sealing(ctx) })
	defer sealer.Wait()
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		// A week after its end, so that a list can still say that it expired.
		err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.DeleteExpiredTokens(i.cfg.Now().Add(-7 * 24 * time.Hour)) })
		if err == nil {
			err = i.trimAudit(ctx, keepAudit)
		}
		if err != nil && ctx.Err() == nil {
			i.cfg.Log.Warn("forgetting expired tokens and old audit records must wait", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// allow checks the role. op is what was attempted, on what.
func allow(caller wire.Caller, op string, needs s4t.Role) error {
	if !caller.Role.Covers(needs) {
		return s4t.Lacks(op, needs, caller.Role)
	}
	return nil
}

// audited runs fn in a transaction and records what came of it: success in the
// same transaction, a refusal by itself. fn fills in the record's object.
func (i *Identity) audited(ctx context.Context, caller wire.Caller, action, name string, fn func(tx *store.Tx, rec *s4t.AuditRecord) error) error {
	fresh := func() s4t.AuditRecord {
		return s4t.AuditRecord{At: i.cfg.Now(), User: caller.User, Project: caller.Project, Action: action, Name: name, Outcome: "ok"}
	}
	var rec s4t.AuditRecord
	err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		rec = fresh()
		if err := fn(tx, &rec); err != nil {
			return err
		}
		return tx.InsertAudit(rec)
	})
	if kind := s4t.KindOf(err); kind == s4t.Forbidden || kind == s4t.Conflict {
		i.recordRefusal(ctx, rec, kind, string(caller.Project)+"/"+caller.User)
	}
	return err
}

// recordRefusal writes an audit record of something that was not done, as long
// as each of those on whose account it goes has some left.
func (i *Identity) recordRefusal(ctx context.Context, rec s4t.AuditRecord, kind s4t.Kind, accounts ...string) {
	rec.Outcome = string(kind)
	for _, account := range accounts {
		if _, ok := i.refusals.Take(account, i.cfg.Now()); !ok {
			return
		}
	}
	if err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.InsertAudit(rec) }); err != nil {
		i.cfg.Log.Warn("a refusal is missing in the audit", "action", rec.Action, "err", err)
	}
}
