package vswitch

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// temporary is a link-local address as a host makes one a day.
func temporary(n int) netip.Addr {
	return netip.AddrFrom16([16]byte{0xfe, 0x80, 8: byte(n >> 8), 9: byte(n), 15: 1})
}

// talk sends a segment from port n to port 9 over IPv6 and returns who got it.
func (l *lab) talk(n byte, src netip.Addr) string {
	l.t.Helper()
	packet := ipv6(src, ip6(9), protoTCP, tcp(1, 2, 0))
	if l.sw.layer == 2 {
		packet = ether(mac(9), mac(n), typeIPv6, packet)
	}
	return l.reached(l.ports[string('0'+n)], packet)
}

func TestAHostMayHaveAnotherAddressEveryDay(t *testing.T) {
	for _, layer := range []int{2, 3} {
		l := newLab(t, layer)
		p := l.add(1, s4t.PortGuards{})
		server := l.add(9, s4t.PortGuards{})
		for day := range 400 {
			for hour := range 24 {
				l.now(int64(day*24+hour+1) * int64(time.Hour))
				for n := max(0, day-2); n <= day; n++ { // the last three are in use
					if got := l.talk(1, temporary(n)); got != "9" {
						t.Fatalf("layer %d, day %d: with the address of day %d it reached %q", layer, day, n, got)
					}
				}
			}
			if n := len(p.owned.dynamic); n > maxClaims {
				t.Fatalf("the port has %d addresses", n)
			}
			if n := len(l.sw.table.m); n > macLimit+10 {
				t.Fatalf("the table has %d addresses", n)
			}
			if layer == 3 {
				if got := l.reached(server, ipv6(ip6(9), temporary(day), protoTCP, tcp(2, 1, 0))); got != "1" {
					t.Fatalf("day %d: the answer reached %q", day, got)
				}
			}
		}
	}
}

func TestOnLayer3AnAddressInUseStaysKnown(t *testing.T) {
	l := newLab(t, 3)
	l.add(1, s4t.PortGuards{})
	server := l.add(9, s4t.PortGuards{})
	for minute := range 20 {
		l.now(int64(minute+1) * int64(time.Minute))
		l.talk(1, temporary(1))
	}
	if got := l.reached(server, ipv6(ip6(9), temporary(1), protoTCP, tcp(2, 1, 0))); got != "1" {
		t.Errorf("after 20 minutes the answer reached %q", got)
	}
}

func TestTheAddressesOfAPortAreBounded(t *testing.T) {
	l := newLab(t, 2)
	l.add(1, s4t.PortGuards{})
	l.add(2, s4t.PortGuards{})
	l.add(9, s4t.PortGuards{})
	now := int64(time.Hour)
	for n := range maxClaims {
		now += int64(time.Second)
		l.now(now)
		if got := l.talk(1, temporary(n)); got != "9" {
			t.Fatalf("address %d reached %q", n, got)
		}
	}
	if got := l.talk(1, temporary(100)); got != "" {
		t.Errorf("one more than %d, all in use, reached %q", maxClaims, got)
	}
	l.talk(1, temporary(0))                                                // in use, so not the oldest any more
	l.now(int64(time.Hour) + int64(ageing) + int64(3500*time.Millisecond)) // numbers 1 and 2 are unused for long enough
	if a, b, c := l.talk(1, temporary(100)), l.talk(1, temporary(101)), l.talk(1, temporary(102)); a != "9" || b != "9" || c != "" {
		t.Errorf("where two are unused, three more reached %q, %q and %q", a, b, c)
	}
	if got := l.talk(2, temporary(0)); got != "" {
		t.Errorf("another port with an address that is in use reached %q", got)
	}
	if got := l.talk(2, temporary(1)); got != "9" {
		t.Errorf("another port with an address that is nobody's reached %q", got)
	}
	if got := l.talk(1, temporary(1)); got != "" {
		t.Errorf("whose it was reached %q", got)
	}
}

func TestALeaseOutlivesAnUpdate(t *testing.T) {
	l := newLab(t, 2)
	server := l.add(9, s4t.PortGuards{AllowDHCP: true})
	client := l.add(2, s4t.PortGuards{})
	leased := netip.MustParseAddr("192.168.5.20")
	l.reached(server, ether(mac(2), mac(9), typeIPv4, ipv4(ip4(9), leased, protoUDP, udp(67, 68, dhcp(2, dhcpACK, leased, 2)))))
	use := ether(mac(9), mac(2), typeIPv4, ipv4(leased, ip4(9), protoTCP, tcp(1, 2, 0)))
	if got := l.reached(client, use); got != "9" {
		t.Fatalf("with the lease it reached %q", got)
	}
	cfg := PortConfig{ID: "2", MAC: mac(2), Guards: s4t.PortGuards{RateLimit: 1 << 20}, Addresses: []netip.Prefix{netip.PrefixFrom(ip4(2), 24)}}
	if err := client.Update(cfg); err != nil {
		t.Fatal(err)
	}
	if got := l.reached(client, use); got != "9" {
		t.Errorf("after its rate limit changed it reached %q", got)
	}
	cfg.Addresses = append(cfg.Addresses, netip.PrefixFrom(ip4(3), 24), netip.PrefixFrom(ip4(9), 24))
	if err := client.Update(cfg); s4t.KindOf(err) != s4t.Conflict {
		t.Fatalf("an address of another port gave %v", err)
	}
	if l.sw.owners.owner(ipOf(ip4(3))) != nil {
		t.Error("a refused update left an address behind")
	}
}
