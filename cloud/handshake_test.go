package cloud

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

func TestTheHandshakesOfOneSourceAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHandshakes(newGate())
		source := func(addr string) netip.Prefix { return netip.MustParsePrefix(addr + "/32") }
		begin := func(addr string) time.Duration {
			start := time.Now()
			if err := h.wait(t.Context(), source(addr)); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		for range handshakeRush {
			if took := begin("192.0.2.1"); took != 0 {
				t.Fatalf("one of a rush waits for %v", took)
			}
		}
		if took := begin("192.0.2.1"); took == 0 || took > time.Second/handshakeRate+time.Millisecond {
			t.Errorf("the next waits for %v", took)
		}
		if took := begin("192.0.2.2"); took != 0 {
			t.Errorf("another source waits for %v", took)
		}
		h.of(source("192.0.2.3")).ReserveN(time.Now(), handshakeRush)
		for range 9 * handshakeRate {
			h.of(source("192.0.2.3")).ReserveN(time.Now(), 1)
		}
		if err := h.wait(t.Context(), source("192.0.2.3")); s4t.KindOf(err) != s4t.TooMany {
			t.Errorf("one that would wait for too long: %v", err)
		}
	})
}

func TestSourcesAreForgotten(t *testing.T) {
	h := newHandshakes(newGate())
	for i := range 3 * maxRemembered {
		h.of(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)).Allow()
	}
	if len(h.sources) > maxRemembered {
		t.Errorf("%d are remembered", len(h.sources))
	}
}
