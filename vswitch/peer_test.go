package vswitch

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// span is a network at several switches, which are peers of each other. What waits
// for a peer is handed over by carry.
type span struct {
	t    *testing.T
	labs []*lab
	hops int // frames that went from switch to switch
}

// newSpan makes one of n switches. Lower ones cut loops.
func newSpan(t *testing.T, layer, n int) *span {
	s := &span{t: t}
	for range n {
		s.labs = append(s.labs, newLab(t, layer))
	}
	for i, l := range s.labs {
		for j := range s.labs {
			if i == j {
				continue
			}
			p, err := l.sw.Add(PortConfig{ID: peerID(j), Out: nowhere{}, Peer: &PeerConfig{CutsLoops: i < j, Layout: func(dst []byte, from Origin, pkt []byte) int {
				n := header(dst, len(pkt)+1)
				dst[n] = byte(from)
				return n + 1 + copy(dst[n+1:], pkt)
			}}})
			if err != nil {
				t.Fatal(err)
			}
			l.ports[p.id] = p
		}
	}
	return s
}

func peerID(n int) string { return "peer-" + string('A'+rune(n)) }

// carry hands over what waits for peers until nothing does.
func (s *span) carry() {
	s.t.Helper()
	for again, rounds := true, 0; again; rounds++ {
		if rounds > 10 {
			s.t.Fatal("frames go round between the switches")
		}
		again = false
		for i, l := range s.labs {
			for j, other := range s.labs {
				if i == j {
					continue
				}
				for _, m := range l.messages(l.ports[peerID(j)]) {
					again = true
					s.hops++
					at := other.ports[peerID(i)]
					at.InputFrom(Origin(m[0]), m[1:])
					clear(at.wakes)
					at.wakes = at.wakes[:0]
				}
			}
		}
	}
}

// messages takes what waits for a peer.
func (l *lab) messages(p *Port) (all [][]byte) {
	for {
		r, ok := p.out.q.take(chunkSize)
		if !ok {
			return all
		}
		var run []byte
		if r.sparse != nil {
			run = append(run, r.sparse.b[:r.sparse.end()]...)
		}
		run = append(run, r.piece...)
		p.out.q.done(r)
		for len(run) > 0 {
			n := 4 + int(run[2])<<8 + int(run[3])
			all, run = append(all, run[4:n]), run[n:]
		}
	}
}

// add adds a host to one of the switches.
func (s *span) add(at int, n byte, g s4t.PortGuards) *Port {
	s.t.Helper()
	p, err := s.labs[at].sw.Add(PortConfig{
		ID: string('0' + n), MAC: mac(n), Guards: g, Out: nowhere{},
		Addresses: []netip.Prefix{netip.PrefixFrom(ip4(n), 24), netip.PrefixFrom(ip6(n), 64)},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.labs[at].ports[p.id] = p
	s.settle()
	return p
}

// settle has all that waits arrive, and forgets what hosts were told.
func (s *span) settle() {
	s.carry()
	s.heard()
}

// heard returns who got something, and forgets it. Names of hosts at the second
// switch are behind a comma, and so on.
func (s *span) heard() string {
	var all []string
	for _, l := range s.labs {
		got := ""
		for n := byte(1); n < 10; n++ {
			if d := l.ports[string('0'+n)]; d != nil {
				d.attached.Store(-int64(newcomerTime))
				got += strings.Repeat(d.id, len(l.drain(d)))
			}
		}
		all = append(all, got)
	}
	return strings.Join(all, ",")
}

// reached sends a frame and returns who got it.
func (s *span) reached(p *Port, frame []byte) string {
	s.t.Helper()
	s.hops = 0
	for _, l := range s.labs {
		if slices.Contains(*l.sw.ports.Load(), p) {
			l.send(p, frame)
		}
	}
	s.carry()
	return s.heard()
}

func TestANetworkSpansSwitches(t *testing.T) {
	s := newSpan(t, 2, 3)
	one, two := s.add(0, 1, s4t.PortGuards{}), s.add(0, 2, s4t.PortGuards{})
	s.add(1, 3, s4t.PortGuards{})
	four := s.add(1, 4, s4t.PortGuards{})
	s.add(2, 5, s4t.PortGuards{})
	hello := ether(all, mac(1), 0x1234, []byte("hello"))
	for _, c := range []struct {
		what  string
		from  *Port
		frame []byte
		want  string
		hops  int
	}{
		{"to a host of the same switch", one, unicast(1, 2, 100), "2,,", 0},
		{"to a host that was announced", one, unicast(1, 3, 100), ",3,", 1},
		{"and back", four, unicast(4, 1, 100), "1,,", 1},
		{"to everybody, once to each switch", one, hello, "2,34,5", 2},
		{"with another's MAC", two, unicast(1, 3, 100), ",,", 0},
		{"to nobody", one, unicast(1, 9, 100), ",,", 2},
	} {
		if got := s.reached(c.from, c.frame); got != c.want || s.hops != c.hops {
			t.Errorf("%s: %q heard it after %d hops, not %q after %d", c.what, got, s.hops, c.want, c.hops)
		}
	}
	// What a host of another switch is, that switch answers.
	if got := s.reached(one, ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(5)))); got != "12,34," && got != "1,," {
		t.Errorf("%q heard the question for a host of the third switch", got)
	}
}

func TestAHostBehindAnotherSwitchIsNobodyElse(t *testing.T) {
	s := newSpan(t, 2, 2)
	one := s.add(0, 1, s4t.PortGuards{AllowDHCP: true})
	s.add(1, 2, s4t.PortGuards{})
	if got := s.reached(one, ether(all, mac(1), typeIPv4, ipv4(ip4(2), ip4(255), protoUDP, udp(1, 2, nil)))); got != "," {
		t.Errorf("%q heard who used the address of a host of another switch", got)
	}
	if got := s.reached(one, ether(all, mac(1), typeIPv4, ipv4(ip4(8), ip4(255), protoUDP, udp(1, 2, nil)))); got != ",2" {
		t.Errorf("%q heard who used an address that is nobody's", got)
	}
}

func TestAHostThatMovesIsFoundAtOnceAndGetsAFrameOnce(t *testing.T) {
	s := newSpan(t, 2, 3)
	one, two := s.add(0, 1, s4t.PortGuards{}), s.add(1, 2, s4t.PortGuards{})
	if got := s.reached(one, unicast(1, 2, 100)); got != ",2," {
		t.Fatalf("%q heard it", got)
	}
	// It is at the third switch, too, before it leaves the second.
	cfg := PortConfig{ID: "2", MAC: mac(2), Addresses: []netip.Prefix{netip.PrefixFrom(ip4(2), 24)}, Out: nowhere{}}
	leaving, coming := cfg, cfg
	leaving.Leaving, coming.Twin = true, peerID(1)
	if err := two.Update(leaving); err != nil {
		t.Fatal(err)
	}
	now, err := s.labs[2].sw.Add(coming)
	if err != nil {
		t.Fatal(err)
	}
	s.labs[2].ports["2"] = now
	s.settle()
	if got := s.reached(one, unicast(1, 2, 100)); got != ",,2" {
		t.Errorf("%q heard it, not the host where it is now", got)
	}
	hello := ether(all, mac(1), 0x1234, []byte("hello"))
	if got := s.reached(one, hello); got != ",,2" {
		t.Errorf("%q heard what is for everybody, not the host once", got)
	}
	// It still sends through the switch that it leaves: that is not told to itself.
	if got := s.reached(two, ether(all, mac(2), 0x1234, []byte("hello"))); got != "1,," {
		t.Errorf("%q heard what it sent through the switch that it leaves", got)
	}
	if got := s.reached(two, unicast(2, 1, 100)); got != "1,," {
		t.Errorf("%q heard what it sent through the switch that it leaves", got)
	}
	// The switch that it was at is lost.
	two.Close()
	s.labs[0].ports[peerID(1)].Close()
	if got := s.reached(now, unicast(2, 1, 100)); got != "1,," {
		t.Errorf("%q heard it", got)
	}
	if got := s.reached(one, unicast(1, 2, 100)); got != ",,2" {
		t.Errorf("%q heard it", got)
	}
}

func TestALayer3NetworkSpansSwitches(t *testing.T) {
	s := newSpan(t, 3, 2)
	one := s.add(0, 1, s4t.PortGuards{})
	s.add(1, 2, s4t.PortGuards{})
	s.add(1, 3, s4t.PortGuards{})
	packet := func(src, dst netip.Addr) []byte { return ipv4(src, dst, protoUDP, udp(1, 2, []byte("hello"))) }
	for _, c := range []struct {
		what     string
		src, dst netip.Addr
		want     string
	}{
		{"to a host of another switch", ip4(1), ip4(2), ",2"},
		{"to a group", ip4(1), netip.MustParseAddr("224.0.0.251"), ",23"},
		{"to all of the subnet", ip4(1), ip4(255), ",23"},
		{"from another's address", ip4(2), ip4(3), ","},
	} {
		if got := s.reached(one, packet(c.src, c.dst)); got != c.want {
			t.Errorf("%s: %q heard it, not %q", c.what, got, c.want)
		}
	}
}

func TestWhatLeavesAtAnotherSwitchIsGuarded(t *testing.T) {
	s := newSpan(t, 2, 2)
	open := s4t.PortGuards{AllowAnySource: true, AllowDHCP: true}
	one, lifted := s.add(0, 1, s4t.PortGuards{}), s.add(0, 2, open)
	out := s.labs[1].uplink(s4t.PortGuards{AllowAnySource: true})
	for _, l := range s.labs {
		l.sw.SetOutward(true)
	}
	s.settle()
	leaves := func(p *Port, frame []byte) bool {
		t.Helper()
		return strings.Contains(s.reached(p, frame), "9")
	}
	s.labs[1].drain(out)
	if !leaves(one, ether(all, mac(1), typeIPv4, ipv4(ip4(1), ip4(255), protoUDP, udp(1, 2, nil)))) {
		t.Error("what is a host's own does not leave the network")
	}
	if leaves(lifted, ether(all, mac(7), typeIPv4, ipv4(ip4(7), ip4(255), protoUDP, udp(1, 2, nil)))) {
		t.Error("a port with any source speaks for others outside")
	}
	if leaves(lifted, ether(all, mac(2), typeIPv4, ipv4(ip4(2), ip4(255), protoUDP, udp(67, 68, dhcp(2, 5, ip4(9), 9))))) {
		t.Error("a DHCP server of the network is heard outside")
	}
	// The data centre is answered by the switch of the host.
	s.labs[1].send(out, ether(all, mac(8), typeARP, arpPacket(1, mac(8), ip4(8), ip4(1))))
	s.carry()
	if n := strings.Count(s.heard(), "9"); n != 1 {
		t.Errorf("%d answers to a question of the data centre for a host of another switch", n)
	}
}

func TestALoopThroughTwoSwitchesIsCutOnce(t *testing.T) {
	s := newSpan(t, 2, 2)
	open := s4t.PortGuards{AllowAnySource: true}
	one, two := s.add(0, 1, open), s.add(1, 2, open)
	// Both are on one LAN: what leaves by one comes back by the other.
	from := ether(all, mac(7), 0x1234, []byte("a host on the LAN"))
	for _, l := range s.labs {
		l.now(int64(probeEvery) + l.sw.now())
	}
	s.labs[0].send(one, from)
	s.labs[1].send(two, from)
	for range 20 {
		s.carry()
		for i, p := range []*Port{one, two} {
			for _, f := range s.labs[i].drain(p) {
				s.labs[1-i].send([]*Port{one, two}[1-i], f)
			}
		}
	}
	if !one.cut.Load() || two.cut.Load() {
		t.Errorf("cut are %v at the first switch and %v at the second, not the first alone", one.cut.Load(), two.cut.Load())
	}
}

func TestAPeerIsNoHost(t *testing.T) {
	l := newLab(t, 2)
	layout := func([]byte, Origin, []byte) int { return 0 }
	for what, cfg := range map[string]PortConfig{
		"a MAC":     {ID: "p", Out: nowhere{}, MAC: mac(1), Peer: &PeerConfig{Layout: layout}},
		"no layout": {ID: "p", Out: nowhere{}, Peer: &PeerConfig{}},
		"outward":   {ID: "p", Out: nowhere{}, Outward: true, Peer: &PeerConfig{Layout: layout}},
	} {
		if _, err := l.sw.Add(cfg); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("a peer with %s: %v", what, err)
		}
	}
}
