package vswitch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// subnet is the /64 with number n, of which host n has an address.
func subnet(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0x20, 1, 0x0d, 0xb8, 6: byte(n >> 8), 7: byte(n)})
}

func hostIn(subnet netip.Addr, host byte) netip.Addr {
	b := subnet.As16()
	b[15] = host
	return netip.AddrFrom16(b)
}

// prefixLab has a router at ports 1 and 2, hosts at 3 to 5, and whom they talk
// to at 9.
func prefixLab(t *testing.T) *lab {
	l := newLab(t, 2)
	for n := byte(1); n <= 2; n++ {
		l.add(n, s4t.PortGuards{AllowRA: true})
	}
	for _, n := range []byte{3, 4, 5, 9} {
		l.add(n, s4t.PortGuards{})
	}
	l.now(int64(time.Hour))
	return l
}

// advertise makes the router at port n advertise a /64.
func (l *lab) advertise(n byte, prefix netip.Addr, valid time.Duration) {
	l.t.Helper()
	if got := l.reached(l.ports[string('0'+n)], advertisement(n, prefix, uint32(valid/time.Second))); got == "" {
		l.t.Fatalf("the advertisement of %v reached nobody", prefix)
	}
}

func TestAnotherPrefixEveryDay(t *testing.T) {
	for name, valid := range map[string]time.Duration{"valid for a day": 24 * time.Hour, "valid for a month": 30 * 24 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			l := prefixLab(t)
			for day := range 40 {
				l.now(int64(day+1) * int64(24*time.Hour))
				l.advertise(1, subnet(day), valid)
				if got := l.talk(3, hostIn(subnet(day), 3)); got != "9" {
					t.Errorf("day %d: an address in the new prefix reached %q", day, got)
				}
				if n := len(l.sw.owners.prefixes); n > maxPrefixes {
					t.Fatalf("day %d: %d prefixes are known", day, n)
				}
			}
		})
	}
}

func TestAPrefixEndsWithItsLifetime(t *testing.T) {
	tests := []struct {
		name string
		say  []time.Duration // lifetimes that are advertised, a minute apart
		good time.Duration   // this long after the last one it still is good; 0: it never was
		over time.Duration   // and this long after it is over; 0: never
	}{
		{"as advertised", []time.Duration{3 * time.Hour}, 3*time.Hour - time.Second, 3 * time.Hour},
		{"advertised again it lasts longer", []time.Duration{time.Hour, time.Hour}, time.Hour - time.Second, time.Hour},
		{"shortened, but not below what hosts believe", []time.Duration{30 * time.Hour, time.Minute}, 2*time.Hour - time.Second, 2 * time.Hour},
		{"withdrawn", []time.Duration{30 * time.Hour, 0}, 2*time.Hour - time.Second, 2 * time.Hour},
		{"withdrawn shortly before its end", []time.Duration{time.Hour, 0}, 59*time.Minute - time.Second, 59 * time.Minute},
		{"shortened to more than two hours", []time.Duration{30 * time.Hour, 5 * time.Hour}, 5*time.Hour - time.Second, 5 * time.Hour},
		{"without end", []time.Duration{forever * time.Second}, 100000 * time.Hour, 0},
		{"withdrawn and never advertised", []time.Duration{0}, 0, time.Nanosecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := prefixLab(t)
			start := int64(time.Hour)
			for _, valid := range tt.say {
				start += int64(time.Minute)
				l.now(start)
				l.advertise(1, subnet(1), valid)
			}
			if tt.good > 0 {
				l.now(start + int64(tt.good))
				if got := l.talk(3, hostIn(subnet(1), 3)); got != "9" {
					t.Errorf("%v after it was advertised an address in it reached %q", tt.good, got)
				}
			}
			if tt.over > 0 {
				l.now(start + int64(tt.over))
				if got := l.talk(4, hostIn(subnet(1), 4)); got != "" {
					t.Errorf("%v after it was advertised a new address in it reached %q", tt.over, got)
				}
			}
		})
	}
}

func TestAPrefixGoesWithItsRouter(t *testing.T) {
	router := func(l *lab, g s4t.PortGuards) error {
		return l.ports["1"].Update(PortConfig{ID: "1", MAC: mac(1), Guards: g, Addresses: []netip.Prefix{netip.PrefixFrom(ip6(1), 64)}})
	}
	tests := []struct {
		name string
		do   func(l *lab) error
		want string
	}{
		{"its port is closed", func(l *lab) error { l.ports["1"].Close(); return nil }, ""},
		{"it may be none any more", func(l *lab) error { return router(l, s4t.PortGuards{}) }, ""},
		{"another limit", func(l *lab) error { return router(l, s4t.PortGuards{AllowRA: true, StormLimit: 9}) }, "9"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := prefixLab(t)
			l.advertise(1, subnet(1), time.Hour)
			l.advertise(1, subnet(2), time.Hour)
			l.advertise(2, subnet(2), time.Hour)
			if err := tt.do(l); err != nil {
				t.Fatal(err)
			}
			if got := l.talk(3, hostIn(subnet(1), 3)); got != tt.want {
				t.Errorf("an address in its prefix reached %q, want %q", got, tt.want)
			}
			if got := l.talk(3, hostIn(subnet(2), 3)); got != "9" {
				t.Errorf("an address in a prefix that another router has too reached %q", got)
			}
		})
	}
}

func TestARouterDoesNotPushOutThePrefixesOfAnother(t *testing.T) {
	l := prefixLab(t)
	l.advertise(2, subnet(1000), 24*time.Hour)
	for n := range 100 {
		l.now(int64(time.Hour) + int64(n)*int64(time.Second))
		l.advertise(1, subnet(n), 24*time.Hour)
	}
	if n := len(l.sw.owners.prefixes); n != maxPrefixes {
		t.Errorf("%d prefixes are known, want %d", n, maxPrefixes)
	}
	if got := l.talk(3, hostIn(subnet(1000), 3)); got != "9" {
		t.Errorf("an address in the other router's prefix reached %q", got)
	}
	if got := l.talk(3, hostIn(subnet(99), 3)); got != "9" {
		t.Errorf("an address in the newest prefix reached %q", got)
	}
	if got := l.talk(4, hostIn(subnet(3), 4)); got != "" {
		t.Errorf("an address in a prefix that made room reached %q", got)
	}
}
