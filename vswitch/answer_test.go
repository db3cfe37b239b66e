package vswitch

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/stack4things/s4t"
)

func TestARPIsAnsweredForKnownPorts(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, s4t.PortGuards{})
	l.add(2, s4t.PortGuards{})
	l.add(3, open)
	l.send(p, ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(2))))
	got := l.drain(p)
	want := ether(mac(1), mac(2), typeARP, arpPacket(2, mac(2), ip4(2), ip4(1)))
	copy(want[32:], mac(1))
	if len(got) != 1 || !bytes.Equal(got[0], want) {
		t.Errorf("got %x, want %x", got, want)
	}
	if n := len(l.drain(l.ports["2"])) + len(l.drain(l.ports["3"])); n != 0 {
		t.Errorf("%d others heard it", n)
	}
	if got := l.reached(p, ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(3)))); got != "23" {
		t.Errorf("a request for an address of a port with any source reached %q, want all", got)
	}
	l.ports["2"].Close()
	delete(l.ports, "2")
	if got := l.reached(p, ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(2)))); got != "3" {
		t.Errorf("a request for a port that left reached %q", got)
	}
}

func TestNDIsAnsweredForKnownPorts(t *testing.T) {
	tests := []struct {
		name   string
		src    netip.Addr
		target netip.Addr
		dst    netip.Addr
		flags  byte
	}{
		{"resolving an address", ip6(1), ip6(2), ip6(1), 0x60},
		{"resolving a link-local address", ll6(1), ll6(2), ll6(1), 0x60},
		{"asking whether an address is free", anyIP6, ip6(2), netip.MustParseAddr("ff02::1"), 0x20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2)
			p := l.add(1, s4t.PortGuards{})
			l.add(2, s4t.PortGuards{})
			option := byte(optionSourceMAC)
			if tt.src == anyIP6 {
				option = 0
			}
			l.send(p, ether(groupMAC6(solicited(tt.target)), mac(1), typeIPv6, ipv6(tt.src, solicited(tt.target), protoICMPv6, nd(neighbourSolicit, tt.target, option, mac(1)))))
			if n := len(l.drain(l.ports["2"])); n != 0 {
				t.Error("the others heard it")
			}
			got := l.drain(p)
			if len(got) != 1 {
				t.Fatalf("%d answers", len(got))
			}
			f := got[0]
			ip := f[14:]
			src, dst := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
			if src != tt.target || dst != tt.dst || ip[7] != 255 {
				t.Errorf("from %v to %v, hop limit %d", src, dst, ip[7])
			}
			if !bytes.Equal(f[6:12], mac(2)) {
				t.Errorf("from MAC %x", f[6:12])
			}
			icmp := ip[40 : 40+binary.BigEndian.Uint16(ip[4:])]
			if icmp[0] != neighbourAdvert || icmp[4] != tt.flags || !bytes.Equal(icmp[26:32], mac(2)) {
				t.Errorf("advertisement %x", icmp)
			}
			if fold(sum(ip[8:40])+sum(icmp)+uint64(len(icmp))+protoICMPv6) != 0xffff {
				t.Error("its checksum is wrong")
			}
		})
	}
}

// igmp2 and mld1 are reports of the old versions, igmp3 and mld2 of the new.
func igmp2(typ byte, g netip.Addr) []byte {
	a := g.As4()
	return append([]byte{typ, 0, 0, 0}, a[:]...)
}

func igmp3(record byte, g netip.Addr) []byte {
	a := g.As4()
	return append([]byte{igmpReport3, 0, 0, 0, 0, 0, 0, 1, record, 0, 0, 0}, a[:]...)
}

func mld2(record byte, g netip.Addr) []byte {
	a := g.As16()
	return append([]byte{mldReport2, 0, 0, 0, 0, 0, 0, 1, record, 0, 0, 0}, a[:]...)
}

func TestGroupsGoToTheirMembers(t *testing.T) {
	g4, g6 := netip.MustParseAddr("239.1.2.3"), netip.MustParseAddr("ff05::1:3")
	routers4, routers6 := netip.MustParseAddr("224.0.0.22"), netip.MustParseAddr("ff02::16")
	report4 := func(n byte, body []byte) []byte {
		return ether(groupMAC4(routers4), mac(n), typeIPv4, ipv4(ip4(n), routers4, protoIGMP, body))
	}
	report6 := func(n byte, body []byte) []byte {
		return ether(groupMAC6(routers6), mac(n), typeIPv6, chain(ll6(n), routers6, protoICMPv6, body, 0))
	}
	data4 := ether(groupMAC4(g4), mac(1), typeIPv4, ipv4(ip4(1), g4, protoUDP, udp(1, 2, nil)))
	data6 := ether(groupMAC6(g6), mac(1), typeIPv6, ipv6(ip6(1), g6, protoUDP, udp(1, 2, nil)))
	tests := []struct {
		name        string
		data        []byte
		join, leave []byte // of port 2
	}{
		{"IGMPv2", data4, report4(2, igmp2(igmpReport2, g4)), report4(2, igmp2(igmpLeave, g4))},
		{"IGMPv3", data4, report4(2, igmp3(4, g4)), report4(2, igmp3(3, g4))},
		{"MLDv2", data6, report6(2, mld2(4, g6)), report6(2, mld2(3, g6))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2)
			p := l.add(1, s4t.PortGuards{StormLimit: 1000})
			for n := byte(2); n <= 4; n++ {
				l.add(n, s4t.PortGuards{})
			}
			l.add(5, open)
			l.sw.groups.asked = 1
			l.now(int64(queryInterval) / 2)
			if got := l.reached(p, tt.data); got != "2345" {
				t.Errorf("a group that nobody joined reached %q, want all others", got)
			}
			if got := l.reached(l.ports["2"], tt.join); got != "5" {
				t.Errorf("the report reached %q, want the port with any source only", got)
			}
			if got := l.reached(p, tt.data); got != "25" {
				t.Errorf("the group reached %q, want its member and the port with any source", got)
			}
			before := p.Counters().Dropped.Storm
			for range 5000 {
				l.send(p, tt.data)
			}
			if p.Counters().Dropped.Storm != before {
				t.Error("the storm limit counted a joined group")
			}
			l.settle()
			l.reached(l.ports["2"], tt.leave)
			if got := l.reached(p, tt.data); got != "2345" {
				t.Errorf("after the member left the group reached %q", got)
			}
		})
	}
}

func TestAMemberThatNoLongerAnswersIsForgotten(t *testing.T) {
	l := newLab(t, 2)
	g := netip.MustParseAddr("239.1.2.3")
	p := l.add(1, s4t.PortGuards{})
	a, b := l.add(2, s4t.PortGuards{}), l.add(3, s4t.PortGuards{})
	data := ether(groupMAC4(g), mac(1), typeIPv4, ipv4(ip4(1), g, protoUDP, udp(1, 2, nil)))
	join := func(d *Port, n byte) {
		l.reached(d, ether(groupMAC4(g), mac(n), typeIPv4, ipv4(ip4(n), g, protoIGMP, igmp2(igmpReport2, g))))
	}
	const second = int64(1e9)
	l.now(second)
	join(a, 2)
	join(b, 3)
	for i := int64(1); i <= 3; i++ {
		l.now(i * 200 * second)
		l.reached(p, data) // the use of the group makes the switch ask
		l.now(i*200*second + second)
		join(b, 3) // only port 3 answers
		l.now(i*200*second + 20*second)
	}
	if got := l.reached(p, data); got != "3" {
		t.Errorf("after three questions the group reached %q, want the member that answers", got)
	}
}

func TestANewPortIsAskedForItsGroups(t *testing.T) {
	sw, err := New(Config{Layer: 2, Validate: anything, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	p, err := sw.Add(PortConfig{ID: "1", MAC: mac(1), Out: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{t: t}
	got := l.drain(p)
	if len(got) != 2 {
		t.Fatalf("it got %d frames, want the queries of IGMP and MLD", len(got))
	}
	var f frame
	for i, proto := range []byte{protoIGMP, protoICMPv6} {
		if !f.parse(append(make([]byte, offloadLen), got[i]...), 2) || f.proto != proto {
			t.Fatalf("query %d is not understood: %x", i, got[i])
		}
		check := sum(f.l4)
		if proto == protoICMPv6 {
			check += sum(f.l3[8:40]) + uint64(len(f.l4)) + protoICMPv6
		} else if fold(sum(f.l3[:24])) != 0xffff {
			t.Error("the IPv4 checksum is wrong")
		}
		if fold(check) != 0xffff {
			t.Errorf("the checksum of query %d is wrong", i)
		}
	}
}

func TestGroupsOfAPortAreBounded(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, s4t.PortGuards{StormLimit: 1e6})
	for i := range 1000 {
		g := netip.AddrFrom4([4]byte{239, 0, byte(i >> 8), byte(i)})
		l.send(p, ether(groupMAC4(g), mac(1), typeIPv4, ipv4(ip4(1), g, protoIGMP, igmp2(igmpReport2, g))))
	}
	if n := len(l.sw.groups.m); n != maxGroups {
		t.Errorf("%d groups are kept, want %d", n, maxGroups)
	}
	if !p.snoop.all {
		t.Error("a port with more groups does not get all")
	}
	p.Close()
	if n := len(l.sw.groups.m); n != 0 {
		t.Errorf("%d groups are left of a closed port", n)
	}
}
