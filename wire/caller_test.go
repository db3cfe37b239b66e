package wire

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

func TestACallerIsWhoTheConductorSigned(t *testing.T) {
	key, another := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)), ed25519.NewKeyFromSeed([]byte("another seed of thirty-two bytes"))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	signed := Caller{User: "mia", UserID: "u1", Project: "p1", Role: s4t.RoleMember, Token: "t1"}.Signed(key, now)
	if err := signed.Check(key, now.Add(CallerLifetime)); err != nil {
		t.Error(err)
	}
	forged := map[string]func(c *Caller){
		"another user":    func(c *Caller) { c.User, c.UserID = "ann", "u2" },
		"another project": func(c *Caller) { c.Project = "p2" },
		"another role":    func(c *Caller) { c.Role = s4t.RoleAdmin },
		"another token":   func(c *Caller) { c.Token = "t2" },
		"for longer":      func(c *Caller) { c.Until++ },
		"no proof":        func(c *Caller) { c.Proof = "" },
		"another key":     func(c *Caller) { *c = c.Signed(another, now) },
	}
	for name, forge := range forged {
		c := signed
		forge(&c)
		if err := c.Check(key, now); s4t.KindOf(err) != s4t.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := signed.Check(key, now.Add(CallerLifetime+time.Second)); s4t.KindOf(err) != s4t.Unauthenticated {
		t.Errorf("too late: %v", err)
	}
}
