package vswitch

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

var open = s4t.PortGuards{AllowAnySource: true}

func TestGuardedSwitchForwards(t *testing.T) {
	tests := []struct {
		name  string
		frame []byte
		want  string // ports that get it
		drop  reason
	}{
		{"unicast goes to its port only", unicast(1, 2, 100), "2", pass},
		{"a super-frame goes as it is", unicast(1, 2, 60000), "2", pass},
		{"broadcast goes to all others", ether(all, mac(1), 0x88cc), "234", pass},
		{"an unknown EtherType passes", ether(mac(3), mac(1), 0x1234), "3", pass},
		{"multicast of no IP goes to all others", ether([]byte{1, 0x1b, 0x19, 0, 0, 0}, mac(1), 0x88f7), "234", pass},
		{"mDNS goes to all others", ether(groupMAC4(netip.MustParseAddr("224.0.0.251")), mac(1), typeIPv4, ipv4(ip4(1), netip.MustParseAddr("224.0.0.251"), protoUDP, udp(5353, 5353, nil))), "234", pass},
		{"mDNS over IPv6 goes to all others", ether(groupMAC6(netip.MustParseAddr("ff02::fb")), mac(1), typeIPv6, ipv6(ip6(1), netip.MustParseAddr("ff02::fb"), protoUDP, udp(5353, 5353, nil))), "234", pass},
		{"a MAC that nobody can have goes nowhere", ether(mac(9), mac(1), 0x1234), "", noDestination},
		{"a frame to its own sender goes nowhere", ether(mac(1), mac(1), 0x1234), "", pass},
		{"a BPDU is dropped", ether([]byte{1, 0x80, 0xc2, 0, 0, 0}, mac(1), 0x26), "", bpdu},
		{"LLDP's reserved address is not forwarded", ether([]byte{1, 0x80, 0xc2, 0, 0, 0x0e}, mac(1), 0x88cc), "", bpdu},
		{"a multicast source is no source", ether(mac(2), []byte{1, 0, 0, 0, 0, 1}, 0x1234), "", invalid},
		{"a frame shorter than its header is dropped", []byte{1, 2, 3}, "", invalid},
		{"an IPv4 length beyond the frame is dropped", ether(mac(2), mac(1), typeIPv4, []byte{0x45, 0, 0xff, 0xff}), "", invalid},
		{"VLAN tags are looked through", ether(mac(2), mac(1), typeVLAN, []byte{0, 5, 8, 0}, ipv4(ip4(1), ip4(2), protoUDP, udp(1, 2, nil))), "2", pass},
		{"a spoofed address behind a VLAN tag is seen", ether(mac(2), mac(1), typeVLAN, []byte{0, 5, 8, 0}, ipv4(ip4(3), ip4(2), protoUDP, udp(1, 2, nil))), "", spoofedIP},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 2)
			for n := byte(1); n <= 4; n++ {
				l.add(n, s4t.PortGuards{})
			}
			p := l.ports["1"]
			if got := l.reached(p, tt.frame); got != tt.want {
				t.Errorf("it reached ports %q, want %q", got, tt.want)
			}
			for why := range reasons {
				want := uint64(0)
				if why == tt.drop && why != pass {
					want = 1
				}
				if got := p.counts.dropped[why].Load(); got != want {
					t.Errorf("dropped for reason %d: %d, want %d", why, got, want)
				}
			}
			if c := p.Counters(); c.RxFrames != 1 || c.RxBytes != uint64(len(tt.frame)) {
				t.Errorf("counted %d frames of %d bytes", c.RxFrames, c.RxBytes)
			}
		})
	}
}

func TestTheFrameArrivesUnchanged(t *testing.T) {
	l := newLab(t, 2)
	l.add(1, s4t.PortGuards{})
	l.add(2, s4t.PortGuards{})
	for _, n := range []int{0, 1, 1460, 60000, 65400} {
		frame := unicast(1, 2, n)
		for i := 54; i < len(frame); i++ {
			frame[i] = byte(i)
		}
		l.send(l.ports["1"], frame)
		got := l.drain(l.ports["2"])
		if len(got) != 1 || !bytes.Equal(got[0], frame) {
			t.Errorf("a segment of %d bytes did not arrive as it was", n)
		}
	}
}

func TestOpenPortsBehaveLikeALearningSwitch(t *testing.T) {
	l := newLab(t, 2)
	for n := byte(1); n <= 3; n++ {
		l.add(n, open)
	}
	steps := []struct {
		name     string
		from     string
		dst, src byte
		want     string
	}{
		{"a host behind port 1 is learned, an unknown destination is flooded", "1", 22, 11, "23"},
		{"the answer from behind port 2 goes to port 1 only", "2", 11, 22, "1"},
		{"now both are known", "1", 22, 11, "2"},
		{"the host moves to port 3", "3", 22, 11, "2"},
		{"and is found there", "2", 11, 22, "3"},
	}
	for i, s := range steps {
		l.now(int64(i+1) * int64(2*time.Second))
		got := ""
		for _, c := range l.reached(l.ports[s.from], ether(mac(s.dst), mac(s.src), 0x1234)) {
			got += string(c)
		}
		if s.name == "the host moves to port 3" { // probes go out, too, as it might be a loop
			if !bytes.Contains([]byte(got), []byte("2")) {
				t.Errorf("%s: it reached %q", s.name, got)
			}
			continue
		}
		if got != s.want {
			t.Errorf("%s: it reached %q, want %q", s.name, got, s.want)
		}
	}
	l.now(int64(ageing) + int64(time.Minute))
	if got := l.reached(l.ports["1"], ether(mac(22), mac(12), 0x1234)); got != "23" {
		t.Errorf("after %v of silence it reached %q, want all others", ageing, got)
	}
}

func TestAnOpenPortCannotTakeAGuardedMAC(t *testing.T) {
	l := newLab(t, 2)
	l.add(1, s4t.PortGuards{})
	l.add(2, open)
	l.add(3, s4t.PortGuards{})
	if got := l.reached(l.ports["2"], ether(mac(3), mac(1), 0x1234)); got != "" {
		t.Errorf("it reached %q", got)
	}
	if n := l.ports["2"].Counters().Dropped.SpoofedMAC; n != 1 {
		t.Errorf("spoofed_mac is %d", n)
	}
	if got := l.reached(l.ports["3"], unicast(3, 1, 10)); got != "1" {
		t.Errorf("the owner's frames go to %q", got)
	}
}

func TestTheTableIsBoundedPerPort(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, open)
	l.add(2, s4t.PortGuards{})
	flood := func(from, to int) {
		for i := from; i < to; i++ {
			l.send(p, ether(mac(2), []byte{2, 1, 0, 0, byte(i >> 8), byte(i)}, 0x1234))
		}
		l.drain(l.ports["2"])
	}
	flood(0, 3000)
	if n := p.Counters().Dropped.MACLimit; n != 3000-macLimit+1 { // its own is one
		t.Errorf("mac_limit is %d of 3000", n)
	}
	l.now(int64(2 * ageing))
	before := p.Counters().Dropped.MACLimit
	flood(3000, 3100)
	if n := p.Counters().Dropped.MACLimit - before; n != 0 {
		t.Errorf("%d were refused after the old ones aged", n)
	}
}

func TestLayer3ForwardsByAddress(t *testing.T) {
	group := netip.MustParseAddr("224.0.0.251")
	tests := []struct {
		name   string
		from   string
		packet []byte
		want   string
		drop   reason
	}{
		{"IPv4", "1", ipv4(ip4(1), ip4(2), protoTCP, tcp(1, 2, 5000)), "2", pass},
		{"IPv6", "1", ipv6(ip6(1), ip6(3), protoTCP, tcp(1, 2, 50)), "3", pass},
		{"link-local IPv6 is claimed, then known", "1", ipv6(ll6(1), ip6(2), protoTCP, tcp(1, 2, 50)), "2", pass},
		{"multicast goes to all others", "1", ipv4(ip4(1), group, protoUDP, udp(5353, 5353, nil)), "234", pass},
		{"broadcast goes to all others", "1", ipv4(ip4(1), netip.MustParseAddr("255.255.255.255"), protoUDP, udp(1, 2, nil)), "234", pass},
		{"the subnet's broadcast goes to all others", "1", ipv4(ip4(1), netip.MustParseAddr("10.77.0.255"), protoUDP, udp(1, 2, nil)), "234", pass},
		{"an unknown address goes to the port that may route", "1", ipv4(ip4(1), netip.MustParseAddr("192.168.1.1"), protoUDP, udp(1, 2, nil)), "4", pass},
		{"a foreign source is dropped", "1", ipv4(ip4(2), ip4(3), protoUDP, udp(1, 2, nil)), "", spoofedIP},
		{"a router may send from any source", "4", ipv4(netip.MustParseAddr("192.168.1.1"), ip4(3), protoUDP, udp(1, 2, nil)), "3", pass},
		{"but not from another port's", "4", ipv4(ip4(1), ip4(3), protoUDP, udp(1, 2, nil)), "", spoofedIP},
		{"what is no IP is dropped", "1", make([]byte, 60), "", invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 3)
			for n := byte(1); n <= 3; n++ {
				l.add(n, s4t.PortGuards{})
			}
			l.add(4, open)
			if got := l.reached(l.ports[tt.from], tt.packet); got != tt.want {
				t.Errorf("it reached ports %q, want %q", got, tt.want)
			}
			if tt.drop != pass && l.ports[tt.from].counts.dropped[tt.drop].Load() != 1 {
				t.Errorf("it was not counted for reason %d", tt.drop)
			}
		})
	}
	t.Run("an answer finds a claimed link-local address", func(t *testing.T) {
		l := newLab(t, 3)
		l.add(1, s4t.PortGuards{})
		l.add(2, s4t.PortGuards{})
		l.reached(l.ports["1"], ipv6(ll6(1), ip6(2), protoTCP, tcp(1, 2, 50)))
		if got := l.reached(l.ports["2"], ipv6(ip6(2), ll6(1), protoTCP, tcp(1, 2, 50))); got != "1" {
			t.Errorf("it reached %q", got)
		}
	})
}

func TestAddRefusesWhatAnotherPortHas(t *testing.T) {
	l := newLab(t, 2)
	l.add(1, s4t.PortGuards{})
	prefix := func(n byte) []netip.Prefix { return []netip.Prefix{netip.PrefixFrom(ip4(n), 24)} }
	tests := []struct {
		name string
		cfg  PortConfig
		kind s4t.Kind
	}{
		{"the ID", PortConfig{ID: "1", MAC: mac(2), Out: nowhere{}}, s4t.Conflict},
		{"the MAC", PortConfig{ID: "2", MAC: mac(1), Out: nowhere{}}, s4t.Conflict},
		{"an address", PortConfig{ID: "2", MAC: mac(2), Addresses: prefix(1), Out: nowhere{}}, s4t.Conflict},
		{"no writer", PortConfig{ID: "2", MAC: mac(2)}, s4t.Invalid},
		{"no MAC", PortConfig{ID: "2", Out: nowhere{}}, s4t.Invalid},
		{"a multicast MAC", PortConfig{ID: "2", MAC: all, Out: nowhere{}}, s4t.Invalid},
		{"a negative limit", PortConfig{ID: "2", MAC: mac(2), Out: nowhere{}, Guards: s4t.PortGuards{StormLimit: -1}}, s4t.Invalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := l.sw.Add(tt.cfg); s4t.KindOf(err) != tt.kind {
				t.Errorf("got %v, want kind %s", err, tt.kind)
			}
		})
	}
	t.Run("what was refused left nothing behind, and a closed port's are free", func(t *testing.T) {
		l.ports["1"].Close()
		l.ports["1"].Close()
		if _, err := l.sw.Add(PortConfig{ID: "1", MAC: mac(2), Addresses: prefix(1), Out: nowhere{}}); err != nil {
			t.Error(err)
		}
		if n := len(l.sw.table.m); n != 1 {
			t.Errorf("the table has %d entries, want 1", n)
		}
	})
}

func TestUpdateChangesGuardsAndAddresses(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, s4t.PortGuards{})
	l.add(2, s4t.PortGuards{})
	foreign := ether(mac(2), mac(1), typeIPv4, ipv4(ip4(9), ip4(2), protoTCP, tcp(1, 2, 9)))
	if got := l.reached(p, foreign); got != "" {
		t.Fatalf("it reached %q", got)
	}
	err := p.Update(PortConfig{ID: "1", MAC: mac(1), Addresses: []netip.Prefix{netip.PrefixFrom(ip4(9), 24)}})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.reached(p, foreign); got != "2" {
		t.Errorf("with the address as its own it reached %q", got)
	}
	if err := p.Update(PortConfig{ID: "1", MAC: mac(1), Addresses: []netip.Prefix{netip.PrefixFrom(ip4(2), 24)}}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("another port's address gave %v", err)
	}
	if got := l.reached(p, foreign); got != "2" {
		t.Errorf("after the refused update it reached %q", got)
	}
}

// collector is a Writer that counts frames and can be stopped.
type collector struct {
	mu     sync.Mutex
	frames int
	got    chan struct{}
	stop   chan struct{} // nil: never stops
}

func (c *collector) WriteFrames(p []byte) error {
	if c.stop != nil {
		<-c.stop
		return errors.New("stopped")
	}
	n := 0
	for len(p) > 0 {
		size := int(p[0])<<24 | int(p[1])<<16 | int(p[2])<<8 | int(p[3])
		p = p[4+size:]
		n++
	}
	c.mu.Lock()
	c.frames += n
	c.mu.Unlock()
	select {
	case c.got <- struct{}{}:
	default:
	}
	return nil
}

func (c *collector) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frames
}

func TestAStoppedPortCostsTheOthersNothing(t *testing.T) {
	sw, err := New(Config{Layer: 2, Validate: anything, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	stopped := &collector{stop: make(chan struct{})}
	alive := &collector{got: make(chan struct{}, 1)}
	var ports []*Port
	for n, out := range []Writer{nowhere{}, stopped, alive} {
		p, err := sw.Add(PortConfig{ID: string(rune('1' + n)), MAC: mac(byte(n + 1)), Addresses: []netip.Prefix{netip.PrefixFrom(ip4(byte(n+1)), 24)}, Out: out})
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, p := range ports {
		wg.Go(func() { p.Run(ctx) })
	}
	toStopped, toAlive := append(make([]byte, 10), unicast(1, 2, 1400)...), append(make([]byte, 10), unicast(1, 3, 1400)...)
	const rounds, perRound = 200, 100
	for range rounds {
		want := alive.count() + perRound
		for range perRound {
			ports[0].Input(toStopped)
			ports[0].Input(toAlive)
		}
		ports[0].Flush()
		for deadline := time.After(time.Minute); alive.count() < want; {
			select {
			case <-alive.got:
			case <-deadline:
				t.Fatalf("the port that reads has %d frames, want %d", alive.count(), want)
			}
		}
	}
	if d := ports[2].Counters().Dropped.QueueFull; d != 0 {
		t.Errorf("%d frames to the port that reads were dropped", d)
	}
	c := ports[1].Counters()
	if held := rounds*perRound - int(c.Dropped.QueueFull); held > (burstLimit+2*chunkSize)/1400 || held < queueLimit/2000 {
		t.Errorf("the stopped port holds %d frames, dropped %d", held, c.Dropped.QueueFull)
	}
	cancel()
	close(stopped.stop)
	wg.Wait()
	for _, p := range ports {
		p.Close()
	}
}

func TestRunEndsWithItsPort(t *testing.T) {
	l := newLab(t, 2)
	p := l.add(1, s4t.PortGuards{})
	done := make(chan error)
	go func() { done <- p.Run(t.Context()) }()
	p.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

type failing struct{ err error }

func (f failing) WriteFrame([]byte) error { return f.err }
func (f failing) Flush() error            { return nil }

func TestRunReturnsTheWritersError(t *testing.T) {
	l := newLab(t, 2)
	want := errors.New("gone")
	p, err := l.sw.Add(PortConfig{ID: "1", MAC: mac(1), Device: failing{want}})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Run(t.Context()); err != want { // the greeting cannot be written
		t.Errorf("got %v", err)
	}
}

func TestInputDoesNotAllocate(t *testing.T) {
	for _, g := range []s4t.PortGuards{{}, open} {
		l := newLab(t, 2)
		p := l.add(1, g)
		d := l.add(2, g)
		l.add(3, g)
		multi := netip.MustParseAddr("239.1.1.1")
		frames := [][]byte{
			unicast(1, 2, 1000), unicast(1, 2, 0), unicast(1, 2, 60000),
			ether(mac(2), mac(1), typeIPv6, ipv6(ip6(1), ip6(2), protoTCP, tcp(1, 2, 10))),
			ether(mac(2), mac(1), typeIPv6, ipv6(ll6(1), ip6(2), protoTCP, tcp(1, 2, 10))),
			ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(2))),
			ether(groupMAC4(multi), mac(1), typeIPv4, ipv4(ip4(1), multi, protoUDP, udp(1, 2, nil))),
		}
		for i, f := range frames {
			frames[i] = append(make([]byte, offloadLen), f...)
		}
		step := func() {
			for _, f := range frames {
				p.Input(f)
			}
			p.Flush()
			for _, q := range []*Port{p, d, l.ports["3"]} {
				for {
					r, ok := q.out.q.take(chunkSize)
					if !ok {
						break
					}
					q.out.q.done(r)
				}
			}
		}
		step()
		if n := testing.AllocsPerRun(100, step); n > 0.5 && !raceEnabled {
			t.Errorf("%v allocations a round, want 0 (any source: %v)", n, g.AllowAnySource)
		}
	}
}
