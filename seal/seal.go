package seal

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/stack4things/s4t"
)

// Hash is a SHA-256.
type Hash [sha256.Size]byte

// String is it in hex.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ParseHash reads it back; ok is false where it is none.
func ParseHash(text string) (h Hash, ok bool) {
	if len(text) != hex.EncodedLen(len(h)) {
		return h, false
	}
	_, err := hex.Decode(h[:], []byte(text))
	return h, err == nil
}

// Entry is what the chain keeps of a record, also after the record was trimmed: who does not see the
// record sees its link alone.
type Entry struct {
	ID   int64
	At   int64   // microseconds since 1970
	Part [8]byte // of the audit; see [PartOf]
	Leaf Hash    // of what the record says
}

// EntrySize is the length of an entry in bytes.
const EntrySize = 8 + 8 + 8 + sha256.Size

// EntryOf is the entry of a record.
func EntryOf(r s4t.AuditRecord) Entry {
	return Entry{r.ID, r.At.UnixMicro(), PartOf(r.Project, r.Outcome != "ok"), leaf(r)}
}

// PartOf names a part of the audit: what was done in a project, or what was refused there.
func PartOf(project s4t.ProjectID, refused bool) (part [8]byte) {
	kind := "done"
	if refused {
		kind = "refused"
	}
	sum := digest("s4t-audit-part-1", kind, string(project))
	copy(part[:], sum[:])
	return part
}

// leaf is the hash of what a record says; its id is not in it, so that records that changed places
// are told from records that were changed.
func leaf(r s4t.AuditRecord) Hash {
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(r.At.UnixMicro()))
	return digest("s4t-audit-record-1", string(at[:]), r.User, string(r.Project), r.Action, r.Object, r.Name, string(r.Board), r.Outcome, r.Detail)
}

// digest hashes texts, each behind its length: no two lists of texts are the same bytes.
func digest(texts ...string) (h Hash) {
	var b []byte
	for _, t := range texts {
		b = binary.BigEndian.AppendUint32(b, uint32(len(t)))
		b = append(b, t...)
	}
	return sha256.Sum256(b)
}

// Append adds the bytes of an entry.
func (e Entry) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(e.ID))
	b = binary.BigEndian.AppendUint64(b, uint64(e.At))
	b = append(b, e.Part[:]...)
	return append(b, e.Leaf[:]...)
}

// entryAt reads the entry that b, which is long enough, begins with.
func entryAt(b []byte) (e Entry) {
	e.ID = int64(binary.BigEndian.Uint64(b))
	e.At = int64(binary.BigEndian.Uint64(b[8:]))
	copy(e.Part[:], b[16:])
	copy(e.Leaf[:], b[24:])
	return e
}

// Entries reads the entries of a block; ok is false where b is none.
func Entries(b []byte) (all []Entry, ok bool) {
	if len(b)%EntrySize != 0 {
		return nil, false
	}
	for ; len(b) > 0; b = b[EntrySize:] {
		all = append(all, entryAt(b))
	}
	return all, true
}

// Link is what of an entry goes into the chain.
func (e Entry) Link() Hash { return digest("s4t-audit-link-1", string(e.Append(nil))) }

// Next is the chain's hash with one more link.
func (h Hash) Next(link Hash) Hash {
	var b [2 * sha256.Size]byte
	copy(b[:], h[:])
	copy(b[sha256.Size:], link[:])
	return sha256.Sum256(b[:])
}

// micros is a time as it is signed.
func micros(t time.Time) string {
	return string(binary.BigEndian.AppendUint64(nil, uint64(t.UnixMicro())))
}

// number is a number as it is signed.
func number(n int64) string { return string(binary.BigEndian.AppendUint64(nil, uint64(n))) }

// signedHead is what the signature of the head after a block signs. Whether the block was adopted is in
// it: so long as nobody has the key, no block becomes one that may hold old records.
func signedHead(b s4t.AuditBlock) []byte {
	adopted := "sealed"
	if b.Adopted {
		adopted = "adopted"
	}
	h := digest("s4t-audit-head-1", number(b.Last), b.Chain, micros(b.At), adopted)
	return h[:]
}

// SignBlock signs the head that a block makes.
func SignBlock(key ed25519.PrivateKey, b s4t.AuditBlock) []byte {
	return ed25519.Sign(key, signedHead(b))
}

// signedGap is what the signature of a gap signs.
func signedGap(b s4t.AuditBlock) []byte {
	h := digest("s4t-audit-gap-1", number(b.First), number(b.Last), b.Chain)
	return h[:]
}

// SignGap signs that all records of a block were trimmed.
func SignGap(key ed25519.PrivateKey, b s4t.AuditBlock) []byte {
	return ed25519.Sign(key, signedGap(b))
}

// signedMark is what the signature of a mark signs.
func signedMark(m s4t.AuditMark) []byte {
	part := PartOf(m.Project, m.Refused)
	h := digest("s4t-audit-mark-1", string(part[:]), micros(m.At), number(m.ID))
	return h[:]
}

// SignMark signs up to where a part was trimmed.
func SignMark(key ed25519.PrivateKey, m s4t.AuditMark) []byte {
	return ed25519.Sign(key, signedMark(m))
}

// signed reports whether text was signed with the private half of key.
func signed(key, text, signature []byte) bool {
	return len(key) == ed25519.PublicKeySize && len(signature) == ed25519.SignatureSize && ed25519.Verify(key, text, signature)
}

// HeadOf is the head that a block makes.
func HeadOf(key ed25519.PublicKey, b s4t.AuditBlock) s4t.AuditHead {
	return s4t.AuditHead{Count: b.Last, Chain: b.Chain, At: b.At, Key: key, Signature: b.Signature}
}

// VerifyHead reports whether a head was signed with its key.
func VerifyHead(h s4t.AuditHead) bool {
	b := s4t.AuditBlock{Last: h.Count, Chain: h.Chain, At: h.At}
	if signed(h.Key, signedHead(b), h.Signature) {
		return true
	}
	b.Adopted = true
	return signed(h.Key, signedHead(b), h.Signature)
}

// MaxHead bounds the text of a head that somebody kept.
const MaxHead = 4096

// ParseHead reads a head that somebody kept, as JSON. Its signature is good.
func ParseHead(text []byte) (h s4t.AuditHead, err error) {
	const op, hint = "read the head of the audit", "keep what `s4t audit head` prints"
	if len(text) > MaxHead {
		return h, s4t.Errorf(s4t.Invalid, op, hint, "it has more than %d bytes", MaxHead)
	}
	if err := json.Unmarshal(text, &h); err != nil {
		return h, s4t.Errorf(s4t.Invalid, op, hint, "it is none: %w", err)
	}
	if _, ok := ParseHash(h.Chain); !ok || h.Count < 0 || !VerifyHead(h) {
		return h, s4t.Errorf(s4t.Invalid, op, hint, "its signature does not fit")
	}
	return h, nil
}
