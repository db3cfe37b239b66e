package wire

import (
	"crypto/ed25519"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// FuzzVerifyTicket: only what the key signed is a ticket, and none is without
// an end but a service's. The input is tried as a ticket, and as the content
// of one that is signed well.
func FuzzVerifyTicket(f *testing.F) {
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	pub := key.Public().(ed25519.PublicKey)
	now := time.Unix(1_800_000_000, 0)
	f.Add(Ticket{ID: "1", Purpose: PurposePort, Agent: "a", Board: "b", Port: "p", Expires: now.Unix() + 60}.Sign(key))
	f.Add(`{"id":"1","p":"stream","e":1800000001,"t":"127.0.0.1:22"}`)
	f.Add(`{"p":"service"}`)
	f.Add(`{"e":-1}`)
	f.Add(".")
	f.Fuzz(func(t *testing.T, s string) {
		body := base64.RawURLEncoding.EncodeToString([]byte(s))
		sig := ed25519.Sign(key, append([]byte(ticketContext), s...))
		for _, text := range []string{s, body + "." + base64.RawURLEncoding.EncodeToString(sig)} {
			tk, err := VerifyTicket(pub, text, now)
			if err != nil {
				if s4t.KindOf(err) != s4t.Unauthenticated {
					t.Errorf("%q: %v", text, err)
				}
				continue
			}
			if len(text) > MaxTicket || tk.Expires == 0 && tk.Purpose != PurposeService || tk.Expires != 0 && tk.Expires < now.Unix() {
				t.Errorf("%q is the ticket %+v", text, tk)
			}
			for i := range []byte(text) { // no changed bit is accepted as something else
				if i%17 != 0 {
					continue
				}
				b := []byte(text)
				b[i] ^= 1
				if other, err := VerifyTicket(pub, string(b), now); err == nil && other != tk {
					t.Errorf("%q is a ticket too", b)
				}
			}
		}
	})
}
