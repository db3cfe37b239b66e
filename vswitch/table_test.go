package vswitch

import (
	"sync"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

func TestWhatAFullPortBringsExcludesNobody(t *testing.T) {
	l := newLab(t, 2)
	p := fullPorts(t, l, 3)[0]
	l.send(p, ether(hostMAC(0, 0), []byte{2, 8, 0, 0, 0, 0}, 0x1234)) // now it is known to be full
	l.sw.table.mu.RLock()                                             // as another port that looks up an address, for long
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 2000 {
			l.send(p, ether(hostMAC(0, 0), []byte{2, 8, 0, 1, byte(i >> 8), byte(i)}, 0x1234)) // new
			l.send(p, ether(hostMAC(0, 0), hostMAC(0, i%macLimit), 0x1234))                    // known
		}
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it waits for the table")
	}
	l.sw.table.mu.RUnlock()
	<-done
	if c := p.Counters(); c.Dropped.MACLimit != 2001 || c.RxFrames != macLimit+1+4000 {
		t.Errorf("%d of 2001 new addresses were refused, %d frames came", c.Dropped.MACLimit, c.RxFrames)
	}
}

func TestAFullPortIsLookedAtOnceASecond(t *testing.T) {
	l := newLab(t, 2)
	p, err := l.sw.Add(PortConfig{ID: "1", Guards: open, Out: nowhere{}})
	if err != nil {
		t.Fatal(err)
	}
	l.ports["1"] = p
	say := func(src []byte) { l.send(p, ether(hostMAC(0, 0), src, 0x1234)) }
	const step = int64(10 * time.Millisecond)
	for host := range macLimit { // so that one ages every 10 ms
		l.now(1 + int64(host)*step)
		say(hostMAC(0, host))
	}
	other := l.add(2, open)
	looks, next := 0, int64(0)
	start := int64(ageing) - int64(10*time.Second)
	const span = int64(20 * time.Second)
	for now := start; now < start+span; now += step / 2 {
		l.now(now)
		for i := range byte(5) { // more than age, so that it is full again at once
			say([]byte{2, 8, byte(now >> 40), byte(now >> 32), byte(now >> 24), byte(now>>16)&0xf8 + i})
		}
		for host := range 10 { // some do not age
			say(hostMAC(0, host))
		}
		l.send(other, ether(mac(250), hostMAC(0, 20), 0x1234)) // a host that is behind both
		say(hostMAC(0, 20))
		for i := range byte(5) {
			say([]byte{2, 9, byte(now >> 40), byte(now >> 32), byte(now >> 24), byte(now>>16)&0xf8 + i})
		}
		if p.learned.nextLook != next {
			looks, next = looks+1, p.learned.nextLook
		}
		if n, m := len(p.learned.dynamic), len(other.learned.dynamic); n > macLimit || n+m != len(l.sw.table.m) {
			t.Fatalf("the ports have %d and %d addresses, the table %d", n, m, len(l.sw.table.m))
		}
	}
	if seconds := int(span / int64(time.Second)); looks < seconds/2 || looks > seconds {
		t.Errorf("in %d s what it has was searched %d times", seconds, looks)
	}
	for host := range 10 {
		if e := l.sw.table.find(macAt(hostMAC(0, host))); e == nil {
			t.Errorf("host %d, which never was silent, was forgotten", host)
		}
	}
}

func TestAFullPortLearnsAgainWhenAHostLeavesIt(t *testing.T) {
	l := newLab(t, 2)
	p := fullPorts(t, l, 1)[0]
	q := l.add(1, open)
	stranger := ether(hostMAC(0, 0), []byte{2, 8, 0, 0, 0, 0}, 0x1234)
	l.send(p, stranger)
	if n := p.Counters().Dropped.MACLimit; n != 1 {
		t.Fatalf("%d were refused, want 1", n)
	}
	l.send(q, ether(all, hostMAC(0, 7), 0x1234)) // it moves
	l.send(p, stranger)
	if n := p.Counters().Dropped.MACLimit; n != 1 {
		t.Errorf("with one host less the port still is full")
	}
	if e := l.sw.table.find(macAt(hostMAC(0, 7))); e == nil || e.port != q {
		t.Errorf("the host that moved is not at its new port")
	}
}

func TestPortsMayComeAndGoWhileOthersLearn(t *testing.T) {
	sw, err := New(Config{Layer: 2, Validate: anything, Header: header})
	if err != nil {
		t.Fatal(err)
	}
	add := func(n byte) *Port {
		p, err := sw.Add(PortConfig{ID: string('0' + n), MAC: mac(n), Guards: open, Out: nowhere{}})
		if err != nil {
			t.Error(err)
		}
		return p
	}
	var running sync.WaitGroup
	for n := range byte(4) {
		running.Go(func() { // each is the goroutine of one port at a time
			for round := range 20 {
				p := add(n)
				for i := range 300 {
					src := hostMAC(0, (i*7+round*31)%400) // the hosts of all ports are the same
					p.Input(append(make([]byte, offloadLen), ether(mac(n), src, 0x1234)...))
					p.Flush()
				}
				if err := p.Update(PortConfig{ID: p.id, MAC: mac(n), Guards: s4t.PortGuards{AllowRA: true}}); err != nil {
					t.Error(err)
				}
				for i := range 100 {
					p.Input(append(make([]byte, offloadLen), ether(mac(n+1), mac(n), typeIPv6, ipv6(temporary(i+round), ip6(2), protoTCP, tcp(1, 2, 0)))...))
					p.Input(append(make([]byte, offloadLen), advertisement(n, subnet(i), 3600)...))
					p.Flush()
				}
				p.Close()
			}
		})
	}
	running.Wait()
	if n, m, x := len(sw.table.m), len(sw.owners.m), len(sw.owners.prefixes); n+m+x != 0 {
		t.Errorf("without a port there are %d MACs, %d addresses and %d prefixes", n, m, x)
	}
}
