package dial_test

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/dial"
)

func TestWhomADialerTrustsCanChange(t *testing.T) {
	first, next, other := newAuthority(t, "IoTronic CA 1"), newAuthority(t, "IoTronic CA 2"), newAuthority(t, "another")
	d := dialer(t, dial.Config{CA: first.pem})
	at := map[string]string{"first": serveHTTP(t, &first, greet), "next": serveHTTP(t, &next, greet), "other": serveHTTP(t, &other, greet)}
	see := func(when string, want ...string) {
		t.Helper()
		for name, url := range at {
			trusted := false
			for _, w := range want {
				trusted = trusted || w == name
			}
			if err := dialGreeting(t, d, url); (err == nil) != trusted {
				t.Errorf("%s: %s: %v", when, name, err)
			}
		}
	}
	see("at first", "first")
	if err := d.Trust(append(first.pem, next.pem...), false); err != nil {
		t.Fatal(err)
	}
	see("old and new side by side", "first", "next")
	if err := d.Trust([]byte("no PEM"), false); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("no PEM: %v", err)
	}
	see("after what was refused", "first", "next")
	if err := d.Trust(next.pem, true); err != nil {
		t.Fatal(err)
	}
	see("the new one", "next")
}

// The system's roots of these tests have the CA "system" (roots_test.go).
func TestTheSystemsRootsCountByTheClockOnly(t *testing.T) {
	ours, other := newAuthority(t, "IoTronic CA 1"), newAuthority(t, "another")
	sum := sha256.Sum256(ours.ca.Raw)
	long := func() time.Time { return time.Date(1970, 1, 1, 0, 0, 0, 0, time.UTC) }
	for _, tt := range []struct {
		name   string
		server authority
		cfg    dial.Config
		trusts bool
	}{
		{"beside a CA", systems, dial.Config{CA: ours.pem, SystemRoots: true}, true},
		{"beside a fingerprint", systems, dial.Config{Fingerprint: hex.EncodeToString(sum[:]), SystemRoots: true}, true},
		{"not where they do not count", systems, dial.Config{CA: ours.pem}, false},
		{"not while the clock says 1970", systems, dial.Config{CA: ours.pem, SystemRoots: true, Now: long}, false},
		{"the CA in 1970", ours, dial.Config{CA: ours.pem, SystemRoots: true, Now: long}, true},
		{"not somebody else", other, dial.Config{CA: ours.pem, SystemRoots: true}, false},
	} {
		if err := dialGreeting(t, dialer(t, tt.cfg), serveHTTP(t, &tt.server, greet)); (err == nil) != tt.trusts {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
