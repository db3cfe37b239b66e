package vswitch

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// lan is a LAN that boards bridge to their ports: what the switch sends to one
// of them comes back by the others.
type lan struct {
	l     *lab
	ports []*Port
	heard int // frames the switch put on the LAN
	limit int // of rounds, so that a loop that is not cut ends the test
}

// run carries frames round until there are none.
func (n *lan) run() {
	for round := 0; ; round++ {
		if round > n.limit {
			n.l.t.Fatalf("after %d rounds frames still go round", round)
		}
		n.l.tick()
		busy := false
		out := make([][][]byte, len(n.ports))
		for i, p := range n.ports {
			out[i] = n.l.drain(p)
		}
		for i, frames := range out {
			for _, f := range frames {
				n.heard++
				for j, p := range n.ports {
					if j != i {
						busy = true
						n.l.send(p, f)
					}
				}
			}
		}
		if !busy {
			return
		}
	}
}

// hosts says something on the LAN: every board on it hears it.
func (n *lan) hosts(frame []byte) {
	n.l.tick()
	for _, p := range n.ports {
		n.l.send(p, frame)
	}
	n.run()
}

// tick is one round trip of 5 ms.
func (l *lab) tick() {
	for _, p := range l.ports {
		p.now += 5e6
		p.inBatch = true
	}
}

func (l *lab) later(ns int64) {
	for _, p := range l.ports {
		p.now += ns
		p.inBatch = true
	}
}

func TestALoopIsCut(t *testing.T) {
	request := ether(all, mac(77), typeARP, arpPacket(1, mac(77), netip.MustParseAddr("192.168.1.77"), netip.MustParseAddr("192.168.1.78")))
	tests := []struct {
		name string
		say  func(l *lab, n *lan)
	}{
		{"a host of the LAN broadcasts", func(l *lab, n *lan) { n.hosts(request) }},
		{"a guarded port broadcasts", func(l *lab, n *lan) {
			l.send(l.ports["1"], ether(all, mac(1), typeARP, arpPacket(1, mac(1), ip4(1), ip4(9))))
			n.run()
		}},
		{"a hundred hosts broadcast", func(l *lab, n *lan) {
			for i := range byte(40) {
				n.hosts(ether(all, mac(100+i), 0x1234, []byte{i}))
			}
		}},
	}
	for _, boards := range []int{2, 3} {
		for _, tt := range tests {
			t.Run(fmt.Sprintf("%s, %d boards on the LAN", tt.name, boards), func(t *testing.T) {
				l := newLab(t, 2)
				l.add(1, s4t.PortGuards{})
				n := &lan{l: l, limit: 200}
				for i := range boards {
					n.ports = append(n.ports, l.add(byte(2+i), open))
				}
				l.later(10e9) // the probes of their joining are long gone
				said := 1
				if tt.name == tests[2].name {
					said = 40
				}
				start := l.ports["1"].now
				tt.say(l, n)
				if took := l.ports["1"].now - start; took > 1e9 {
					t.Errorf("it took %d ms", took/1e6)
				}
				if dup := n.heard - said; dup > 50 {
					t.Errorf("the LAN heard %d frames for %d that were said", n.heard, said)
				}
				if len(l.events) != boards-1 {
					t.Fatalf("events %v, want that all boards but one are cut", l.events)
				}
				cut := 0
				for _, p := range n.ports {
					if p.cut.Load() {
						cut++
					}
				}
				if cut != boards-1 || l.events[0].Kind != EventLoop {
					t.Errorf("%d ports are cut, events %v", cut, l.events)
				}
				// The LAN is still reached, once.
				n.heard = 0
				l.later(2e9)
				l.drain(l.ports["1"])
				l.send(l.ports["1"], ether(all, mac(1), 0x9999))
				n.run()
				if n.heard != 1 {
					t.Errorf("after the cut the LAN hears a broadcast %d times", n.heard)
				}
				n.hosts(ether(all, mac(77), 0x9999))
				if got := len(l.drain(l.ports["1"])); got != 1 {
					t.Errorf("after the cut the LAN's broadcast arrives %d times", got)
				}
			})
		}
	}
}

func TestALoopIsFoundWhenItsPortJoins(t *testing.T) {
	l := newLab(t, 2)
	n := &lan{l: l, limit: 50}
	n.ports = append(n.ports, l.add(1, open))
	l.now(int64(3e9))
	p, err := l.sw.Add(PortConfig{ID: "2", MAC: mac(2), Guards: open, Out: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	l.ports["2"] = p
	l.now(int64(3e9))
	p.sw.loops.probed = int64(3e9)
	n.ports = append(n.ports, p)
	n.run()
	if len(l.events) != 1 {
		t.Errorf("events %v before anybody said anything", l.events)
	}
}

func TestACutPortIsUsedAgainWhenTheLoopIsGone(t *testing.T) {
	l := newLab(t, 2)
	n := &lan{l: l, limit: 200}
	n.ports = append(n.ports, l.add(2, open), l.add(3, open))
	l.later(10e9)
	n.hosts(ether(all, mac(77), 0x1234))
	if len(l.events) != 1 {
		t.Fatalf("events %v", l.events)
	}
	say := func(i byte) { // a host behind port 2 and one behind port 3
		n.hosts(ether(all, mac(77), 0x1234, []byte{i}))
	}
	for i := range byte(6) { // the loop stays
		l.later(5e9)
		say(i)
	}
	if len(l.events) != 1 {
		t.Fatalf("while the loop stays: events %v", l.events)
	}
	two := n.ports
	n.ports = nil // the cable is pulled: each port has a LAN of its own
	for range 4 {
		for _, p := range two {
			l.send(p, ether(all, mac(78), 0x1234))
			l.drain(two[0])
			l.drain(two[1])
		}
		l.later(6e9)
	}
	if len(l.events) != 2 || l.events[1].Kind != EventLoopEnded || l.events[1].Port != l.events[0].Port {
		t.Errorf("events %v, want that the port is in use again", l.events)
	}
}

func TestALoopThatIsGoneIsNoticedByTheFramesOfAnyPort(t *testing.T) {
	l := newLab(t, 2)
	board := l.add(1, s4t.PortGuards{})
	n := &lan{l: l, limit: 200}
	n.ports = append(n.ports, l.add(2, open), l.add(3, open))
	l.later(10e9)
	n.hosts(ether(all, mac(77), 0x1234))
	if len(l.events) != 1 {
		t.Fatalf("events %v", l.events)
	}
	cut := l.ports[l.events[0].Port]
	for _, p := range n.ports { // what is behind the other port was learned around the loop
		if p != cut {
			l.send(p, ether(all, mac(77), 0x1234, []byte{1}))
		}
	}
	for range 4 { // the LAN is silent: the cable is pulled
		l.later(6e9)
		l.send(board, ether(all, mac(1), 0x1234))
	}
	if len(l.events) != 2 || l.events[1].Kind != EventLoopEnded {
		t.Fatalf("events %v, want that the port is in use again", l.events)
	}
	l.drain(cut)
	l.send(board, ether(mac(77), mac(1), 0x1234))
	if got := l.drain(cut); len(got) != 1 {
		t.Errorf("a host that is behind the port now gets %d frames, want 1", len(got))
	}
}

func TestACutPortCostsTheOthersNothing(t *testing.T) {
	l := newLab(t, 2)
	board := l.add(1, s4t.PortGuards{})
	l.add(4, s4t.PortGuards{})
	n := &lan{l: l, limit: 200}
	n.ports = append(n.ports, l.add(2, open), l.add(3, open))
	l.later(10e9)
	n.hosts(ether(all, mac(77), 0x1234))
	if len(l.events) != 1 {
		t.Fatalf("events %v", l.events)
	}
	l.settle()
	l.sw.loops.mu.Lock() // as another port that looks for loops, for long
	done := make(chan string)
	go func() { done <- l.reached(board, unicast(1, 4, 9)) }()
	select {
	case got := <-done:
		if got != "4" {
			t.Errorf("it reached %q", got)
		}
		l.sw.loops.mu.Unlock()
	case <-time.After(time.Minute):
		t.Error("it waits for the loop detection")
		l.sw.loops.mu.Unlock()
		<-done
	}
}

func TestWhatIsNoLoopIsNotCut(t *testing.T) {
	l := newLab(t, 2)
	a, b := l.add(2, open), l.add(3, open)
	l.later(10e9)
	same := ether(all, mac(50), 0x1234, []byte("again and again"))
	for range 100 { // a sensor that says the same 20 times a second
		l.later(50e6)
		l.send(a, same)
		l.drain(a)
		l.drain(b)
	}
	for i := range 20 { // a host that roams
		l.later(2e9)
		l.send([]*Port{a, b}[i%2], ether(all, mac(51), 0x1234, []byte{byte(i)}))
		l.drain(a)
		l.drain(b)
	}
	if len(l.events) != 0 || a.Counters().Dropped.Loop+b.Counters().Dropped.Loop != 0 {
		t.Errorf("events %v, dropped %+v", l.events, a.Counters().Dropped)
	}
}

func TestAPortThatIsOpenedLaterTakesPartInLoopDetection(t *testing.T) {
	l := newLab(t, 2)
	n := &lan{l: l, limit: 200}
	n.ports = append(n.ports, l.add(2, open), l.add(3, s4t.PortGuards{}))
	l.later(10e9)
	if err := n.ports[1].Update(PortConfig{ID: "3", MAC: mac(3), Guards: open}); err != nil {
		t.Fatal(err)
	}
	n.hosts(ether(all, mac(77), 0x1234))
	if len(l.events) != 1 {
		t.Fatalf("events %v", l.events)
	}
	cut := l.ports[l.events[0].Port]
	if err := cut.Update(PortConfig{ID: cut.id, MAC: cut.cfgMAC(), Guards: s4t.PortGuards{}}); err != nil {
		t.Fatal(err)
	}
	if cut.cut.Load() {
		t.Error("a port that is guarded again is still cut")
	}
}

// cfgMAC is the MAC of the port's configuration.
func (p *Port) cfgMAC() []byte {
	b := make([]byte, 6)
	p.rules.Load().mac.putMAC(b)
	return b
}
