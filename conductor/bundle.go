package conductor

import (
	"context"
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Bundles are put in parts and given out in parts, so that none holds a connection,
// a worker or the database for long. They are in the database: every process has
// them.

const (
	// bundleWorkers is how many parts are put and given at a time.
	bundleWorkers = 16
	// maxBundleReads is how many bundles of a project are read to their end at a time.
	maxBundleReads = 2
	// bundleIdle is how long a bundle stays that no version is made of.
	bundleIdle = time.Hour
)

// validDigest checks the SHA-256 of a bundle, in hex.
func validDigest(op, digest string) error {
	b, err := hex.DecodeString(digest)
	if err != nil || len(b) != sha256.Size || hex.EncodeToString(b) != digest {
		return s4t.Errorf(s4t.Invalid, op, "give the SHA-256 of the bundle, 64 digits of lower-case hex", "%q is no digest", s4t.Line(digest, 2*sha256.Size))
	}
	return nil
}

// bundlePut takes a part of a bundle. One that is there already, or does not follow
// what is there, is not taken: the answer says how much is there. The last part is
// taken only if all of them have the digest; else all is forgotten.
func (c *Conductor) bundlePut(ctx context.Context, req wire.BundlePut) (wire.BundleHas, error) {
	op := fmt.Sprintf("put bundle %.12s", s4t.Line(req.Digest, 2*sha256.Size))
	needs := s4t.RoleMember
	if len(req.Data) == 0 {
		needs = s4t.RoleReader
	}
	if err := allow(req.Caller, op, needs); err != nil {
		return wire.BundleHas{}, err
	}
	if err := validDigest(op, req.Digest); err != nil {
		return wire.BundleHas{}, err
	}
	n := int64(len(req.Data))
	last := req.Offset+n == req.Size
	switch {
	case req.Size < 1 || req.Size > s4t.MaxBundle:
		return wire.BundleHas{}, s4t.Errorf(s4t.Invalid, op, "make it smaller", "it has %d bytes, 1 to %d are possible", req.Size, s4t.MaxBundle)
	case req.Offset < 0 || req.Offset%wire.MaxBundlePart != 0 || req.Offset > req.Size || n > req.Size-req.Offset || n > wire.MaxBundlePart || n > 0 && n < wire.MaxBundlePart && !last:
		return wire.BundleHas{}, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("send parts of %d bytes, in order; the last may have fewer", wire.MaxBundlePart), "%d bytes at %d of %d are no part", n, req.Offset, req.Size)
	}
	project := req.Caller.Project
	if n == 0 {
		return view(ctx, c, func(tx *store.Tx) (wire.BundleHas, error) {
			b, err := tx.BundleOf(project, req.Digest)
			if s4t.KindOf(err) == s4t.NotFound {
				return wire.BundleHas{}, nil
			}
			return wire.BundleHas{Has: b.Has, Complete: b.Complete()}, err
		})
	}
	var has wire.BundleHas
	var wrong error
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		has, wrong = wire.BundleHas{}, nil
		b, err := tx.BundleOf(project, req.Digest)
		if s4t.KindOf(err) == s4t.NotFound {
			if req.Offset > 0 {
				return nil // it was forgotten meanwhile
			}
			if err := tx.Claim(op, project, s4t.QuotaBundleBytes, int(req.Size)); err != nil {
				return err
			}
			b = store.Bundle{ID: s4t.NewID(), Project: project, Digest: req.Digest, Size: req.Size, Hash: hashState(sha256.New())}
			err = tx.InsertBundle(b)
		}
		if err != nil {
			return err
		}
		if b.Size != req.Size {
			return s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("give its size; one that was begun with a wrong one is forgotten after %v", bundleIdle), "it has %d bytes, not %d", b.Size, req.Size)
		}
		has = wire.BundleHas{Has: b.Has, Complete: b.Complete()}
		if b.Has != req.Offset || has.Complete {
			return nil
		}
		h, err := resumeHash(b.Hash)
		if err != nil {
			return s4t.Errorf(s4t.Internal, op, "", "the state of its SHA-256 is damaged: %w", err)
		}
		h.Write(req.Data)
		b.Has += n
		b.Hash = hashState(h)
		if last {
			if sum := hex.EncodeToString(h.Sum(nil)); sum != b.Digest {
				has = wire.BundleHas{}
				wrong = s4t.Errorf(s4t.Invalid, op, "send it again", "what came has the SHA-256 %s", sum)
				return tx.DeleteBundle(b.ID)
			}
			b.Hash = ""
		}
		has = wire.BundleHas{Has: b.Has, Complete: last}
		return tx.PutBundlePart(b, req.Offset, req.Data)
	})
	if store.IsUnique(err, "bundles.digest") { // somebody else began it at this moment
		return wire.BundleHas{}, s4t.Errorf(s4t.Unavailable, op, "try again", "it is being put by somebody else").After(time.Second)
	}
	if err == nil {
		err = wrong
	}
	return has, err
}

// hashState is how far a SHA-256 is, as text.
func hashState(h hash.Hash) string {
	state, err := h.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		panic("conductor: the state of SHA-256: " + err.Error()) // it has no errors
	}
	return base64.StdEncoding.EncodeToString(state)
}

// resumeHash goes on with one.
func resumeHash(text string) (hash.Hash, error) {
	h := sha256.New()
	state, err := base64.StdEncoding.DecodeString(text)
	if err == nil {
		err = h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state)
	}
	return h, err
}

// bundleGet gives a part of a bundle to a tunnel agent, which has seen the ticket of
// a board for it.
func (c *Conductor) bundleGet(ctx context.Context, req wire.BundleGet) (wire.BundlePart, error) {
	op := fmt.Sprintf("read bundle %.12s", s4t.Line(req.Digest, 2*sha256.Size))
	if err := validDigest(op, req.Digest); err != nil {
		return wire.BundlePart{}, err
	}
	if req.Offset < 0 || req.Offset%wire.MaxBundlePart != 0 {
		return wire.BundlePart{}, s4t.Errorf(s4t.Invalid, op, "", "no part begins at %d", req.Offset)
	}
	return view(ctx, c, func(tx *store.Tx) (wire.BundlePart, error) {
		b, err := tx.WholeBundle(req.Digest)
		if err != nil || req.Offset >= b.Size {
			return wire.BundlePart{Size: b.Size}, err
		}
		data, err := tx.BundlePart(b.ID, req.Offset)
		return wire.BundlePart{Size: b.Size, Data: data}, err
	})
}

// bundleReader reads a whole bundle out of the database, part by part.
type bundleReader struct {
	ctx    context.Context
	c      *Conductor
	bundle store.Bundle
	next   int64
	part   []byte
}

// Read reads on.
func (r *bundleReader) Read(p []byte) (int, error) {
	if len(r.part) == 0 {
		if r.next >= r.bundle.Size {
			return 0, io.EOF
		}
		part, err := view(r.ctx, r.c, func(tx *store.Tx) ([]byte, error) { return tx.BundlePart(r.bundle.ID, r.next) })
		if err != nil {
			return 0, err
		}
		r.part, r.next = part, r.next+int64(len(part))
	}
	n := copy(p, r.part)
	r.part = r.part[n:]
	return n, nil
}

// forgetBundles forgets what was put and nobody made a version of.
func (c *Conductor) forgetBundles(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.ForgetBundles(bundleIdle, batch) })
}
