package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/stack4things/s4t"
)

// Book is what a board is told of who holds it: its owner, and the leases of it that are not over. The
// conductor signs it as it signs tickets, so that the board can decide by it when the cloud is away, and
// nobody on the way can give what was not lent.
type Book struct {
	Board  s4t.BoardID   `json:"b"`
	Number int64         `json:"n"` // only grows: a board takes no lower one than it has
	Time   int64         `json:"t"` // the cloud's clock when it was signed, in microseconds since 1970
	Owner  s4t.ProjectID `json:"o"`
	Held   []BookEntry   `json:"h,omitempty"` // by the time they begin, at most MaxBookEntries
}

// BookEntry is a lease of a board.
type BookEntry struct {
	Lease   s4t.LeaseID   `json:"l"`
	Parent  s4t.LeaseID   `json:"p,omitempty"` // the lease that it is a share of
	Name    string        `json:"m,omitempty"` // for people
	Project s4t.ProjectID `json:"j"`
	From    int64         `json:"f"` // microseconds since 1970
	Until   int64         `json:"u"` // without that instant
	Allow   []string      `json:"a"` // of lease.Actions; a board does not heed those that it does not know
}

// Bounds of a book. Of a board with more leases the next ones are in it: it is written anew with each
// that ends.
const (
	MaxBookEntries = 256
	MaxBook        = 256 << 10 // bytes, signed
)

// bookContext separates these signatures from any other use of the key.
const bookContext = "s4t-book-1\x00"

// Sign returns "base64url(JSON).base64url(signature)".
func (b Book) Sign(key ed25519.PrivateKey) string {
	text := Encode(b)
	sig := ed25519.Sign(key, append([]byte(bookContext), text...))
	return base64.RawURLEncoding.EncodeToString(text) + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// VerifyBook checks that the conductor signed a book for a board, and returns what is in it. It does not
// know whether the board has a newer one.
func VerifyBook(key ed25519.PublicKey, board s4t.BoardID, text string) (Book, error) {
	bad := func(format string, args ...any) (Book, error) {
		return Book{}, s4t.Errorf(s4t.Unauthenticated, "check who holds the board", "", format, args...)
	}
	if len(text) > MaxBook {
		return bad("the book is longer than %d bytes", MaxBook)
	}
	body, sig64, ok := strings.Cut(text, ".")
	if !ok {
		return bad("the book is cut short")
	}
	content, err := base64.RawURLEncoding.DecodeString(body)
	if err != nil {
		return bad("the book is not base64")
	}
	sig, err := base64.RawURLEncoding.DecodeString(sig64)
	if err != nil || len(sig) != ed25519.SignatureSize {
		return bad("the signature of the book is malformed")
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, append([]byte(bookContext), content...), sig) {
		return bad("the signature of the book is not the conductor's")
	}
	var b Book
	if err := json.Unmarshal(content, &b); err != nil {
		return bad("the book is not understood")
	}
	switch {
	case b.Board != board:
		return bad("the book is for another board")
	case b.Number < 1 || b.Time < 1 || b.Owner == "":
		return bad("the book is not complete")
	case len(b.Held) > MaxBookEntries:
		return bad("the book has %d leases, at most %d are possible", len(b.Held), MaxBookEntries)
	}
	return b, nil
}
