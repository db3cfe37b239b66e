package seal

import (
	"crypto/ed25519"
	"encoding/json"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// testKey is a cloud's.
var testKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// testPage is a page with one block of two records, of which the caller sees the first.
func testPage() (s4t.AuditChain, s4t.AuditRecord) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC)
	r := s4t.AuditRecord{ID: 7, At: at, User: "ann", Project: "p", Action: "board.create", Name: "kitchen", Outcome: "ok"}
	e := EntryOf(r)
	link, other := e.Link(), EntryOf(s4t.AuditRecord{ID: 8, At: at, Project: "q", Outcome: "ok"}).Link()
	b := s4t.AuditBlock{First: 1, Last: 2, At: at, Links: append(link[:], other[:]...), Own: e.Append([]byte{0, 0})}
	b.Chain = Hash{}.Next(link).Next(other).String()
	b.Signature = SignBlock(testKey, b)
	return s4t.AuditChain{Head: HeadOf(testKey.Public().(ed25519.PublicKey), b), Blocks: []s4t.AuditBlock{b}, LastID: 8}, r
}

func TestAPageIsVerified(t *testing.T) {
	p, r := testPage()
	v := NewVerifier(&p.Head)
	v.Page(p)
	v.Chained()
	v.Record(r)
	if got := v.Report(s4t.AuditChain{Head: p.Head, LastID: 8}); !got.OK() || got.Records != 1 || got.Others != 1 || got.Head.Count != 2 {
		t.Errorf("%+v", got)
	}
}

func FuzzParseHead(f *testing.F) {
	p, _ := testPage()
	text, _ := json.Marshal(p.Head)
	f.Add(text)
	f.Add([]byte(`{"count":-1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if h, err := ParseHead(b); err == nil && (!VerifyHead(h) || h.Count < 0) {
			t.Errorf("%+v is none", h)
		}
	})
}

func FuzzPage(f *testing.F) {
	p, r := testPage()
	page, _ := json.Marshal(p)
	record, _ := json.Marshal(r)
	f.Add(page, record)
	f.Add([]byte(`{"blocks":[{"first":1,"last":9223372036854775807}]}`), []byte(`{}`))
	f.Fuzz(func(t *testing.T, page, record []byte) {
		var p s4t.AuditChain
		var r s4t.AuditRecord
		if json.Unmarshal(page, &p) != nil || json.Unmarshal(record, &r) != nil {
			return
		}
		v := NewVerifier(nil)
		v.Page(p)
		v.Chained()
		v.Record(r)
		v.Report(p)
	})
}
