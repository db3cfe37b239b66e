package identity

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

func TestPasswordHashes(t *testing.T) {
	h := newHasher(memory)
	hash, err := h.make(t.Context(), "test", asker{}, "correct horse")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", hash)
	}
	other, err := parse("$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b27JHB8VOVb8QPE")
	if err != nil || other.memory != 65536 || other.passes != 3 || other.lanes != 4 || string(other.salt) != "somesalt" {
		t.Errorf("other parameters: %+v, %v", other, err)
	}
	tests := []struct {
		name, hash, password string
		want                 bool
	}{
		{"right", hash, "correct horse", true},
		{"wrong", hash, "correct horsE", false},
		{"empty", hash, "", false},
		{"no hash", "", "correct horse", false},
		{"too long", hash, strings.Repeat("x", maxPassword+1), false},
	}
	for _, tt := range tests {
		if ok, err := h.check(t.Context(), "test", asker{}, tt.hash, tt.password); ok != tt.want || err != nil {
			t.Errorf("%s: %v, %v", tt.name, ok, err)
		}
	}
	if _, err := h.check(t.Context(), "test", asker{}, "damaged", "x"); s4t.KindOf(err) != s4t.Internal {
		t.Errorf("damaged: %v", err)
	}
	for _, password := range []string{"", strings.Repeat("x", s4t.MinPassword-1), strings.Repeat("x", maxPassword+1)} {
		if _, err := h.make(t.Context(), "test", asker{}, password); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("a password of %d bytes: %v", len(password), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$RdescudvJCsgt3ub+b27JHB8VOVb8QPE")
	f.Add("$argon2id$v=19$m=4294967295,t=1,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b27JHB8VOVb8QPE")
	f.Add("$argon2id$v=19$m=1,t=0,p=0$$")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parse(s)
		if err != nil {
			return
		}
		if format(p) != s {
			t.Errorf("%q reads as %q", s, format(p))
		}
		if p.memory > 256*1024 || p.passes > 16 || p.passes == 0 || p.lanes == 0 {
			t.Errorf("%q would cost too much or panic", s)
		}
	})
}
