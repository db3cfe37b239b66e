package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
)

// Late is how much later than it says a record is sealed at most: transactions and clocks are
// not further apart.
const Late = time.Hour

// Report is what came of looking through a chain.
type Report struct {
	Head    s4t.AuditHead `json:"head"`    // up to which it was verified
	Records int64         `json:"records"` // that were compared
	Others  int64         `json:"others"`  // that the caller does not see: their links fit
	Trimmed int64         `json:"trimmed"` // that are kept no longer, and fit
	Open    int64         `json:"open"`    // that are not sealed yet

	// What was found first; empty: the audit is as it was sealed.
	Problem string `json:"problem,omitempty"`
}

// OK reports whether nothing was found.
func (r Report) OK() bool { return r.Problem == "" }

// Verifier looks through a chain: give it all pages of blocks, say [Verifier.Chained], then all records that one sees, then what
// came on since, then ask it for the [Verifier.Report]. Between, nothing needs to stand still.
type Verifier struct {
	kept    *s4t.AuditHead
	key     []byte
	head    s4t.AuditHead // after the last block
	chain   Hash
	entries map[int64]numbered // by id
	leaves  map[Hash]int64     // which number has it
	records map[int64]bool     // that were there
	strange []s4t.AuditRecord  // that were in no block, so far
	before  int64              // how far the chain was when the records began to come
	keptMet bool

	report Report
	first  int64 // number of the record at which Problem is; 0: none
}

// numbered is an entry, and which of the chain it is.
type numbered struct {
	Entry
	number int64
}

// NewVerifier returns one. kept is a head from before that the chain has to go through; nil: none.
// Its key is the cloud's; without one it is that which the cloud says.
func NewVerifier(kept *s4t.AuditHead) *Verifier {
	var key []byte
	if kept != nil {
		key = kept.Key
	}
	return &Verifier{kept: kept, key: key, entries: map[int64]numbered{}, leaves: map[Hash]int64{}, records: map[int64]bool{}}
}

// found notes a problem, if it is of an earlier record than what was found before.
func (v *Verifier) found(number int64, format string, args ...any) {
	if v.first == 0 || number < v.first {
		v.first = number
		v.report.Problem = fmt.Sprintf(format, args...)
	}
}

// Count is how far in the chain it is.
func (v *Verifier) Count() int64 { return v.head.Count }

// Page takes a page of the chain: after Count.
func (v *Verifier) Page(p s4t.AuditChain) {
	if v.key == nil {
		v.key = p.Head.Key
	}
	if p.Head.Count > 0 && !bytes.Equal(v.key, p.Head.Key) {
		v.found(1, "the cloud signs with another key than the one that was kept")
		v.key = p.Head.Key
	}
	for _, b := range p.Blocks {
		v.block(b)
	}
}

// block takes a block.
func (v *Verifier) block(b s4t.AuditBlock) {
	next := v.head.Count + 1
	after, ok := ParseHash(b.Chain)
	switch {
	case !ok || b.Last < b.First || b.Last < next:
		v.found(next, "record %d of the chain: the block after it is damaged", next)
	case b.First > next:
		v.found(next, "records %d to %d of the chain were removed", next, b.First-1)
	case b.First < next && len(b.Gap) == 0:
		v.found(next, "record %d of the chain: its block begins before it", next)
	}
	if !signed(v.key, signedHead(b), b.Signature) {
		v.found(b.First, "record %d of the chain: the cloud did not sign its block", b.First)
	}
	if len(b.Gap) > 0 {
		if !signed(v.key, signedGap(b), b.Gap) {
			v.found(b.First, "records %d to %d of the chain were removed, and not by the cloud", b.First, b.Last)
		}
		if v.kept != nil && v.kept.Count >= next && v.kept.Count < b.Last {
			v.keptMet = true
			v.found(b.First, "the head that was kept is of record %d: those up to %d were trimmed, and nothing can be told from it; keep a newer one", v.kept.Count, b.Last)
		}
		v.report.Trimmed += b.Last - v.head.Count
	} else {
		v.links(b, next)
		if ok && v.chain != after {
			v.found(b.First, "records %d to %d of the chain are others than were sealed: one was changed, or they are in another order", b.First, b.Last)
		}
	}
	v.chain = after
	v.head = HeadOf(v.key, b)
	v.meet(b.Last)
}

// meet compares the chain with the head that was kept, where it is of that record.
func (v *Verifier) meet(number int64) {
	if v.kept == nil || v.kept.Count != number {
		return
	}
	if v.keptMet = true; v.chain.String() != v.kept.Chain {
		v.found(1, "up to record %d the chain is another than the head that was kept says: it was made anew", number)
	}
}

// links follows the links of a block, and keeps the entries of the records that one sees.
func (v *Verifier) links(b s4t.AuditBlock, next int64) {
	const own = 2 + EntrySize
	if int64(len(b.Links)) != (b.Last-b.First+1)*int64(len(Hash{})) || len(b.Own)%own != 0 {
		v.found(b.First, "records %d to %d of the chain: their block is damaged", b.First, b.Last)
		return
	}
	mine := b.Own
	for number := b.First; number <= b.Last; number++ {
		var link Hash
		at := (number - b.First) * int64(len(link))
		copy(link[:], b.Links[at:])
		if len(mine) > 0 && int64(binary.BigEndian.Uint16(mine)) == number-b.First {
			e := entryAt(mine[2:])
			mine = mine[own:]
			if e.Link() != link {
				v.found(number, "record %d of the chain (id %d) is another than was sealed", number, e.ID)
			}
			if sealed := b.At.UnixMicro(); !b.Adopted && e.At < sealed-Late.Microseconds() {
				v.found(number, "record %d of the chain (id %d) was inserted later: it says that it is of %s, and was sealed at %s", number, e.ID, time.UnixMicro(e.At).UTC().Format(time.RFC3339), b.At.UTC().Format(time.RFC3339))
			}
			if _, twice := v.entries[e.ID]; twice {
				v.found(number, "record %d of the chain (id %d) is in it twice", number, e.ID)
			}
			v.entries[e.ID] = numbered{e, number}
			v.leaves[e.Leaf] = number
		} else {
			v.report.Others++
		}
		if number >= next {
			v.chain = v.chain.Next(link)
			if number < b.Last {
				v.meet(number)
			}
		}
	}
	if len(mine) > 0 {
		v.found(b.First, "records %d to %d of the chain: their block is damaged", b.First, b.Last)
	}
}

// Chained says that all pages there were have been taken, and records follow.
func (v *Verifier) Chained() { v.before = v.head.Count }

// Record takes a record that one sees.
func (v *Verifier) Record(r s4t.AuditRecord) {
	if _, sealed := v.entries[r.ID]; !sealed {
		v.strange = append(v.strange, r)
		return
	}
	v.compare(r)
}

// compare compares a record with its entry.
func (v *Verifier) compare(r s4t.AuditRecord) {
	e := v.entries[r.ID]
	v.records[r.ID] = true
	v.report.Records++
	is := EntryOf(r)
	if is == e.Entry {
		return
	}
	if other, known := v.leaves[is.Leaf]; known && other != e.number {
		v.found(min(e.number, other), "record %d of the chain (id %d) stands where record %d was: they were reordered", other, r.ID, e.number)
		return
	}
	v.found(e.number, "record %d of the chain (id %d, %s by %s at %s) was changed after it was sealed", e.number, r.ID, s4t.Line(r.Action, s4t.MaxName), s4t.Line(r.User, s4t.MaxName), r.At.UTC().Format(time.RFC3339))
}

// Report says what was found. last is the page that was asked for when all records had been read:
// what is not sealed by it is not sealed yet. The blocks after it were taken, too.
func (v *Verifier) Report(last s4t.AuditChain) Report {
	for _, r := range v.strange {
		switch _, sealed := v.entries[r.ID]; {
		case sealed:
			v.compare(r)
		case open(last, r.ID):
			v.report.Open++
		default:
			v.found(v.head.Count+1, "record with id %d (%s by %s at %s) was inserted: it is not in the chain", r.ID, s4t.Line(r.Action, s4t.MaxName), s4t.Line(r.User, s4t.MaxName), r.At.UTC().Format(time.RFC3339))
		}
	}
	v.strange = nil
	marks := map[[8]byte]s4t.AuditMark{}
	for _, m := range last.Marks {
		if !signed(v.key, signedMark(m), m.Signature) {
			v.found(1, "the cloud did not sign up to where the audit of project %s was trimmed", s4t.Line(string(m.Project), s4t.MaxName))
			continue
		}
		marks[PartOf(m.Project, m.Refused)] = m
	}
	for id, e := range v.entries {
		if v.records[id] || e.number > v.before {
			continue
		}
		m, trimmed := marks[e.Part]
		if at := m.At.UnixMicro(); trimmed && (e.At < at || e.At == at && id <= m.ID) {
			v.report.Trimmed++
			continue
		}
		v.found(e.number, "record %d of the chain (id %d, of %s) was removed", e.number, id, time.UnixMicro(e.At).UTC().Format(time.RFC3339))
	}
	if v.kept != nil && !v.keptMet && v.kept.Count > 0 {
		v.found(v.head.Count+1, "the chain ends at record %d, and the head that was kept is of record %d: what came between was removed", v.head.Count, v.kept.Count)
	}
	v.report.Head = v.head
	return v.report
}

// open reports whether a record with this id may be not sealed yet.
func open(p s4t.AuditChain, id int64) bool {
	if id > p.LastID {
		return true
	}
	for _, h := range p.Holes {
		if h[0] <= id && id <= h[1] {
			return true
		}
	}
	return false
}
