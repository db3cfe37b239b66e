package identity

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/seal"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	sealEvery  = time.Second
	sealBatch  = 512  // records that one transaction seals
	sealBlock  = 64   // records of a block, at most: what stays of it where one of them is kept
	maxHoles   = 4096 // ranges of ids that may come yet
	maxHole    = 1 << 20
	holeTime   = time.Hour // no transaction takes longer
	chainPage  = 64        // blocks of an answer
	chainWhole = 1024      // blocks that one transaction looks through for what was trimmed
)

// sealKey is the cloud's key that signs the audit, one for all processes.
func (i *Identity) sealKey(ctx context.Context) (ed25519.PrivateKey, error) {
	if key := i.signer.Load(); key != nil {
		return *key, nil
	}
	var seed []byte
	err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		seed, err = tx.Secret("audit-key", func() ([]byte, error) { return random(ed25519.SeedSize), nil })
		return err
	})
	if err == nil && len(seed) != ed25519.SeedSize {
		err = s4t.Errorf(s4t.Internal, "read the key of the audit", "", "it has %d bytes", len(seed))
	}
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	i.signer.Store(&key)
	return key, nil
}

// sealing seals what is new in the audit until ctx ends. What a process did not seal before it ended
// the next one does.
func (i *Identity) sealing(ctx context.Context) {
	tick := time.NewTicker(sealEvery)
	defer tick.Stop()
	for {
		if err := i.seal(ctx); err != nil && ctx.Err() == nil {
			i.cfg.Log.Warn("the audit is sealed later", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// seal appends to the chain what is not in it. Requests do not wait for it: they only insert, and the
// order of the chain is the one in which it finds what they inserted. Of several processes one
// does it at a time.
func (i *Identity) seal(ctx context.Context) error {
	for {
		var due bool
		if err := i.cfg.Store.View(ctx, func(tx *store.Tx) error {
			state, err := tx.AuditState()
			if err != nil {
				return err
			}
			all, err := unsealed(tx, state, 1)
			due = len(all) > 0
			return err
		}); err != nil || !due {
			return err
		}
		key, err := i.sealKey(ctx)
		if err != nil {
			return err
		}
		var sealed int
		if err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) (err error) {
			sealed, err = sealSome(tx, key)
			return err
		}); err != nil || sealed < sealBatch {
			return err
		}
	}
}

// unsealed returns records that are not in the chain, at most n: those that came late before those that
// are new.
func unsealed(tx *store.Tx, state store.AuditState, n int) ([]s4t.AuditRecord, error) {
	all, err := tx.AuditIn(state.Holes, n)
	if err != nil || len(all) == n {
		return all, err
	}
	fresh, err := tx.AuditSince(state.LastID, n-len(all))
	return append(all, fresh...), err
}

// sealSome seals a batch, and returns how many records those were.
func sealSome(tx *store.Tx, key ed25519.PrivateKey) (int, error) {
	state, err := tx.AuditState()
	if err != nil {
		return 0, err
	}
	all, err := unsealed(tx, state, sealBatch)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	now := tx.Now()
	chain, _ := seal.ParseHash(state.Chain) // there is none at the beginning
	var blocks []store.AuditBlock
	for part := range slices.Chunk(all, sealBlock) {
		b := store.AuditBlock{AuditBlock: s4t.AuditBlock{First: state.Count + 1, Last: state.Count + int64(len(part)), At: now, Adopted: state.Adopt}}
		for _, r := range part {
			e := seal.EntryOf(r)
			b.Entries = e.Append(b.Entries)
			chain = chain.Next(e.Link())
		}
		state.Count, state.Chain = b.Last, chain.String()
		b.Chain = state.Chain
		b.Signature = seal.SignBlock(key, b.AuditBlock)
		blocks = append(blocks, b)
	}
	for _, r := range all {
		state = passed(state, r.ID, now)
	}
	state.Holes = slices.DeleteFunc(state.Holes, func(h store.AuditHole) bool { return now.Sub(h.Since) > holeTime })
	state.Holes = state.Holes[max(0, len(state.Holes)-maxHoles):]
	state.Adopt = state.Adopt && len(all) == sealBatch
	if err := tx.InsertAuditBlocks(blocks); err != nil {
		return 0, err
	}
	return len(all), tx.SetAuditState(state)
}

// passed notes that a record is sealed: ids before it that were not seen may come yet.
func passed(state store.AuditState, id int64, now time.Time) store.AuditState {
	if id > state.LastID {
		if first := state.LastID + 1; state.LastID > 0 && first < id && id-first <= maxHole {
			state.Holes = append(state.Holes, store.AuditHole{First: first, Last: id - 1, Since: now})
		}
		state.LastID = id
		return state
	}
	var holes []store.AuditHole
	for _, h := range state.Holes {
		if id < h.First || id > h.Last {
			holes = append(holes, h)
			continue
		}
		if h.First < id {
			holes = append(holes, store.AuditHole{First: h.First, Last: id - 1, Since: h.Since})
		}
		if id < h.Last {
			holes = append(holes, store.AuditHole{First: id + 1, Last: h.Last, Since: h.Since})
		}
	}
	state.Holes = holes
	return state
}

// AuditChain answers with a page of the chain: an admin sees every entry, others those of their
// project, and of the rest only the links.
func (i *Identity) AuditChain(ctx context.Context, req wire.AuditChain) (page s4t.AuditChain, err error) {
	const op = "read the chain of the audit"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return page, err
	}
	key, err := i.sealKey(ctx)
	if err != nil {
		return page, err
	}
	public := key.Public().(ed25519.PublicKey)
	var project s4t.ProjectID
	if req.Caller.Role != s4t.RoleAdmin {
		project = req.Caller.Project
	}
	own := map[[8]byte]bool{seal.PartOf(project, false): true, seal.PartOf(project, true): true}
	err = i.cfg.Store.View(ctx, func(tx *store.Tx) error {
		page = s4t.AuditChain{Head: s4t.AuditHead{Key: public, Signature: []byte{}}, Blocks: []s4t.AuditBlock{}, Holes: [][2]int64{}}
		last, err := tx.LastAuditBlock()
		if err == nil {
			page.Head = seal.HeadOf(public, last.AuditBlock)
		} else if s4t.KindOf(err) != s4t.NotFound {
			return err
		}
		state, err := tx.AuditState()
		if err != nil {
			return err
		}
		page.LastID = state.LastID
		for _, h := range state.Holes {
			page.Holes = append(page.Holes, [2]int64{h.First, h.Last})
		}
		if page.Marks, err = tx.AuditMarks(project); err != nil {
			return err
		}
		blocks, err := tx.AuditBlocks(req.After, chainPage)
		for _, b := range blocks {
			page.Blocks = append(page.Blocks, shown(b, func(e seal.Entry) bool { return project == "" || own[e.Part] }))
		}
		return err
	})
	return page, err
}

// shown is a block as a caller sees it: with the entries that sees allows.
func shown(b store.AuditBlock, sees func(seal.Entry) bool) s4t.AuditBlock {
	entries, _ := seal.Entries(b.Entries) // none, where somebody damaged them: that is found
	for n, e := range entries {
		link := e.Link()
		b.Links = append(b.Links, link[:]...)
		if sees(e) {
			b.Own = e.Append(binary.BigEndian.AppendUint16(b.Own, uint16(n)))
		}
	}
	return b.AuditBlock
}

// leaveTrimmed drops the entries of blocks whose records were all trimmed: what stays is one gap with
// the hash behind it, which the cloud signed. So the chain does not grow for ever.
func (i *Identity) leaveTrimmed(ctx context.Context) error {
	key, err := i.sealKey(ctx)
	if err != nil {
		return err
	}
	var gap *store.AuditBlock // that ends where the next block begins
	for after, more := int64(0), true; more; {
		if err := i.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
			if _, err := tx.AuditState(); err != nil { // one at a time
				return err
			}
			all, err := tx.AuditMarks("")
			if err != nil {
				return err
			}
			marks := map[[8]byte]s4t.AuditMark{}
			for _, m := range all {
				marks[seal.PartOf(m.Project, m.Refused)] = m
			}
			blocks, err := tx.AuditBlocks(after, chainWhole)
			if err != nil {
				return err
			}
			more = len(blocks) == chainWhole
			run := gap
			if run != nil && len(blocks) > 0 && blocks[0].First != run.Last+1 {
				run = nil // another did the same
			}
			for _, b := range blocks {
				after = b.Last
				if !trimmed(b, marks) {
					run = nil
					continue
				}
				first := b.First
				if run != nil {
					first = run.First
				}
				if len(b.Gap) == 0 || first != b.First {
					b.First, b.Entries = first, nil
					b.Gap = seal.SignGap(key, b.AuditBlock)
					if err := tx.ReplaceAuditBlocks(b); err != nil {
						return err
					}
				}
				run = &b
			}
			gap = run
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// trimmed reports whether all records of a block were.
func trimmed(b store.AuditBlock, marks map[[8]byte]s4t.AuditMark) bool {
	if len(b.Gap) > 0 {
		return true
	}
	entries, ok := seal.Entries(b.Entries)
	return ok && len(entries) > 0 && !slices.ContainsFunc(entries, func(e seal.Entry) bool {
		m, there := marks[e.Part]
		at := m.At.UnixMicro()
		return !there || e.At > at || e.At == at && e.ID > m.ID
	})
}
