package tunnelagent

import (
	"net/netip"
	"testing"

	"github.com/stack4things/s4t"
)

func TestNoSourceTakesEveryPlaceOfAPublicPort(t *testing.T) {
	var v visitors
	source := func(text string) netip.Prefix { return s4t.SourceOf(netip.MustParseAddr(text)) }
	one, other, third := source("192.0.2.1"), source("2001:db8::1"), source("192.0.2.3")
	for range maxSource {
		if !v.enter(one, mayVisit) {
			t.Fatalf("stopped at %d", v.sources[one])
		}
	}
	if v.enter(one, mayVisit) {
		t.Error("one more of the first is let in")
	}
	for i := range maxVisitors - maxSource {
		if !v.enter(other, mayVisit) {
			t.Fatalf("another source is stopped at %d", i)
		}
	}
	if v.enter(third, mayVisit) {
		t.Error("one too many is let in")
	}
	v.leave(one)
	if !v.enter(third, mayVisit) {
		t.Error("where one has left, another is stopped")
	}
	v.leave(third)
	for range maxVisitors - maxSource {
		v.leave(source("2001:db8::ffff:1")) // another address of the same /64
	}
	for range maxSource - 1 {
		v.leave(one)
	}
	if v.all != 0 || len(v.sources) != 0 {
		t.Errorf("%d of %d sources are left", v.all, len(v.sources))
	}
}
