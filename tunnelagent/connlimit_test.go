package tunnelagent

import (
	"net/netip"
	"testing"
)

func TestNoAddressTakesEveryPlaceOfAPublicPort(t *testing.T) {
	var l connLimit
	one, other, third := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.3")
	for range maxSource {
		if limit := l.enter(one); limit != 0 {
			t.Fatalf("stopped at %d", limit)
		}
	}
	if limit := l.enter(one); limit != maxSource {
		t.Errorf("one more of the first: limit %d", limit)
	}
	for range maxPeers - maxSource {
		if limit := l.enter(other); limit != 0 {
			t.Fatalf("another address is stopped at %d", limit)
		}
	}
	if limit := l.enter(third); limit != maxPeers {
		t.Errorf("one too many: limit %d", limit)
	}
	l.leave(one)
	if limit := l.enter(third); limit != 0 {
		t.Errorf("where one has left: limit %d", limit)
	}
	l.leave(third)
	for range maxPeers - maxSource {
		l.leave(other)
	}
	for range maxSource - 1 {
		l.leave(one)
	}
	if l.all != 0 || len(l.sources) != 0 {
		t.Errorf("%d of %d addresses are left", l.all, len(l.sources))
	}
}
