package tunnelagent

import (
	"net/netip"
	"testing"
)

func TestNoAddressTakesEveryPlaceOfAPublicPort(t *testing.T) {
	var c crowd
	one, other, third := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("192.0.2.3")
	for range maxSource {
		if limit := c.enter(one); limit != 0 {
			t.Fatalf("stopped at %d", limit)
		}
	}
	if limit := c.enter(one); limit != maxSource {
		t.Errorf("one more of the first: limit %d", limit)
	}
	for range maxPeers - maxSource {
		if limit := c.enter(other); limit != 0 {
			t.Fatalf("another address is stopped at %d", limit)
		}
	}
	if limit := c.enter(third); limit != maxPeers {
		t.Errorf("one too many: limit %d", limit)
	}
	c.leave(one)
	if limit := c.enter(third); limit != 0 {
		t.Errorf("where one has left: limit %d", limit)
	}
	c.leave(third)
	for range maxPeers - maxSource {
		c.leave(other)
	}
	for range maxSource - 1 {
		c.leave(one)
	}
	if c.all != 0 || len(c.sources) != 0 {
		t.Errorf("%d of %d addresses are left", c.all, len(c.sources))
	}
}
