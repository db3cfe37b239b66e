package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

var timeOfBooks = time.Unix(1_800_000_000, 0)

// FuzzVerifyBook: only what the key signed for the board is a book, and it is within its bounds. The
// input is tried as a book, and as the content of one that is signed well.
func FuzzVerifyBook(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub := key.Public().(ed25519.PublicKey)
	f.Add(Book{Board: "b", Number: 1, Time: 1_800_000_000_000_000, Owner: "o"}.Sign(key))
	f.Add(`{"b":"b","n":2,"t":1,"o":"o","h":[{"l":"1","j":"p","f":1,"u":2,"a":["ssh"]}]}`)
	f.Add(`{"b":"c","n":2,"t":1,"o":"o"}`)
	f.Add(`{"b":"b","n":-1,"t":1,"o":"o"}`)
	f.Add(".")
	f.Fuzz(func(t *testing.T, s string) {
		body := base64.RawURLEncoding.EncodeToString([]byte(s))
		sig := ed25519.Sign(key, append([]byte(bookContext), s...))
		for _, text := range []string{s, body + "." + base64.RawURLEncoding.EncodeToString(sig)} {
			b, err := VerifyBook(pub, "b", text)
			if err != nil {
				if s4t.KindOf(err) != s4t.Unauthenticated {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if b.Board != "b" || b.Number < 1 || len(b.Held) > MaxBookEntries || len(text) > MaxBook {
				t.Errorf("%q is the book %+v", text, b)
			}
			if _, err := VerifyBook(pub, "c", text); err == nil {
				t.Error("it is a book of another board, too")
			}
		}
		if _, err := VerifyTicket(pub, body+"."+base64.RawURLEncoding.EncodeToString(sig), timeOfBooks); err == nil {
			t.Errorf("%q is a ticket", s)
		}
	})
}
