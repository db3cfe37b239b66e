package s4t

import (
	"net/netip"
	"testing"
)

func TestLoopbackForTellsUsersApart(t *testing.T) {
	block := netip.MustParsePrefix("127.64.0.0/10")
	seen := map[netip.Addr]string{}
	for _, who := range []string{"maria", "mario", "", "192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"} {
		a := LoopbackFor(who)
		if !block.Contains(a) || LoopbackFor(who) != a {
			t.Errorf("%q: %v", who, a)
		}
		if other, twice := seen[a]; twice {
			t.Errorf("%q and %q have %v", who, other, a)
		}
		seen[a] = who
	}
	for one, same := range map[string]string{"2001:db8::1": "2001:db8::ffff:2", "::ffff:192.0.2.1": "192.0.2.1", "2001:db8::/64": "2001:db8::/64"} {
		if LoopbackFor(one) != LoopbackFor(same) {
			t.Errorf("%s and %s are told apart", one, same)
		}
	}
	// The audit of years ago is read with it.
	if got := LoopbackFor("maria"); got != netip.MustParseAddr("127.84.174.201") {
		t.Errorf("maria has become %v", got)
	}
}
