package vswitch_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
)

func newSwitch(b *testing.B) *vswitch.Switch {
	sw, err := vswitch.New(vswitch.Config{Layer: 2, Validate: link.Validate, Header: rtunnel.PutHeader})
	if err != nil {
		b.Fatal(err)
	}
	return sw
}

func portConfig(n byte, g s4t.PortGuards, out vswitch.Writer) vswitch.PortConfig {
	return vswitch.PortConfig{
		ID: string('0' + n), MAC: net.HardwareAddr{2, 0, 0, 0, 0, n}, Guards: g, Out: out,
		Addresses: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 77, 0, n}), 24)},
	}
}

// segment is an offload header and a TCP segment from port 1 to port 2 of n
// bytes in all; over 1514 bytes it is a super-frame.
func segment(n int) []byte {
	pkt := make([]byte, 10+n)
	eth := pkt[10:]
	copy(eth, []byte{2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0})
	ip := eth[14:]
	ip[0], ip[8], ip[9] = 0x45, 64, 6
	binary.BigEndian.PutUint16(ip[2:], uint16(n-14))
	copy(ip[12:], []byte{10, 77, 0, 1, 10, 77, 0, 2})
	tcp := ip[20:]
	binary.BigEndian.PutUint16(tcp, 1000)
	binary.BigEndian.PutUint16(tcp[2:], 2000)
	tcp[12] = 5 << 4
	if n > 1514 {
		pkt[0], pkt[1] = 1, 1 // NEEDS_CSUM, GSO_TCPV4
		binary.LittleEndian.PutUint16(pkt[2:], 54)
		binary.LittleEndian.PutUint16(pkt[4:], 1460)
		binary.LittleEndian.PutUint16(pkt[6:], 34)
		binary.LittleEndian.PutUint16(pkt[8:], 16)
	}
	return pkt
}

type discard struct{}

func (discard) WriteFrames([]byte) error { return nil }

// benchmarkSwitch measures Input and Flush alone, with a writer that keeps up.
func benchmarkSwitch(b *testing.B, size, batch int, g s4t.PortGuards) {
	sw := newSwitch(b)
	from, err := sw.Add(portConfig(1, g, discard{}))
	if err != nil {
		b.Fatal(err)
	}
	to, err := sw.Add(portConfig(2, g, discard{}))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { to.Run(ctx) })
	pkt := segment(size)
	if err := link.Validate(pkt, 2); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		from.Input(pkt)
		if n++; n%batch == 0 {
			from.Flush()
		}
	}
	b.StopTimer()
	if c := from.Counters(); c.Dropped != (s4t.PortDropped{}) {
		b.Errorf("dropped %+v", c.Dropped)
	}
	cancel()
	wg.Wait()
}

func BenchmarkSwitch64K(b *testing.B) {
	b.Run("guarded", func(b *testing.B) { benchmarkSwitch(b, 64000, 4, s4t.PortGuards{}) })
	b.Run("open", func(b *testing.B) { benchmarkSwitch(b, 64000, 4, s4t.PortGuards{AllowAnySource: true}) })
}

func BenchmarkSwitch64B(b *testing.B) {
	b.Run("guarded", func(b *testing.B) { benchmarkSwitch(b, 64, 500, s4t.PortGuards{}) })
	b.Run("open", func(b *testing.B) { benchmarkSwitch(b, 64, 500, s4t.PortGuards{AllowAnySource: true}) })
}

// connPair is a client's and a server's Conn over loopback.
func connPair(b *testing.B, secure bool) (client, server *rtunnel.Conn) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		c, _ := l.Accept()
		accepted <- c
	}()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	c := <-accepted
	if secure {
		a, c = secured(b, a, c)
	}
	client, server = rtunnel.NewConn(a, nil, true), rtunnel.NewConn(c, nil, false)
	b.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func secured(b *testing.B, a, c net.Conn) (net.Conn, net.Conn) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		b.Fatal(err)
	}
	server := tls.Server(rtunnel.BatchRecords(c), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, DynamicRecordSizingDisabled: true})
	client := tls.Client(rtunnel.BatchRecords(a), &tls.Config{InsecureSkipVerify: true, DynamicRecordSizingDisabled: true})
	var wg sync.WaitGroup
	wg.Go(func() { server.Handshake() })
	if err := client.Handshake(); err != nil {
		b.Fatal(err)
	}
	wg.Wait()
	return client, server
}

var errDone = errors.New("all frames are there")

// BenchmarkTunnel carries frames from board 1 through its rtunnel, the switch,
// and the rtunnel of board 2, all in this process; the time includes all three. With
// two switches board 2 is at the second, and they are peers.
func BenchmarkTunnel(b *testing.B) {
	for _, secure := range []bool{false, true} {
		name := "plain"
		if secure {
			name = "tls"
		}
		for _, size := range []int{64, 1514, 64000} {
			b.Run(name+"/"+map[int]string{64: "64B", 1514: "1514B", 64000: "64K"}[size], func(b *testing.B) {
				b.Run("one switch", func(b *testing.B) { benchmarkTunnel(b, secure, size, 1) })
				b.Run("two switches", func(b *testing.B) { benchmarkTunnel(b, secure, size, 2) })
			})
		}
	}
}

// peerBenchSwitches makes two switches peers over an rtunnel.
func peerBenchSwitches(b *testing.B, one, two *vswitch.Switch, secure bool, wg *sync.WaitGroup, ctx context.Context) (end func()) {
	client, server := connPair(b, secure)
	for _, at := range []struct {
		sw   *vswitch.Switch
		conn *rtunnel.Conn
	}{{one, client}, {two, server}} {
		layout := at.conn.NewLayout()
		p, err := at.sw.Add(vswitch.PortConfig{ID: "peer", Out: at.conn, Peer: &vswitch.PeerConfig{Layout: func(dst []byte, from vswitch.Origin, pkt []byte) int {
			p := layout.Begin(dst, 1+len(pkt))
			p[0] = byte(from)
			copy(p[1:], pkt)
			return layout.End()
		}}})
		if err != nil {
			b.Fatal(err)
		}
		wg.Go(func() { p.Run(ctx) })
		wg.Go(func() {
			at.conn.ReadFrames(s4t.MaxFrame+11, func(m []byte) error { p.InputFrom(vswitch.Origin(m[0]), m[1:]); return nil }, func() error { p.Flush(); return nil })
		})
	}
	return func() { client.Close(); server.Close() }
}

func benchmarkTunnel(b *testing.B, secure bool, size, switches int) {
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	sw := newSwitch(b)
	last, apart := sw, func() {}
	if switches == 2 {
		last = newSwitch(b)
		apart = peerBenchSwitches(b, sw, last, secure, &wg, ctx)
	}
	board1, far1 := connPair(b, secure)
	board2, far2 := connPair(b, secure)
	from, err := sw.Add(portConfig(1, s4t.PortGuards{}, far1))
	if err != nil {
		b.Fatal(err)
	}
	to, err := last.Add(portConfig(2, s4t.PortGuards{}, far2))
	if err != nil {
		b.Fatal(err)
	}
	wg.Go(func() { from.Run(ctx) })
	wg.Go(func() { to.Run(ctx) })
	wg.Go(func() {
		far1.ReadFrames(s4t.MaxFrame+10, func(p []byte) error { from.Input(p); return nil }, func() error { from.Flush(); return nil })
	})
	pkt := segment(size)
	// The sender may be this much ahead of the receiver, as a TCP window in the
	// tunnel would have it, so that nothing is dropped.
	ahead := max(8, (700<<10)/size)
	credit := make(chan struct{}, ahead)
	total := b.N
	b.SetBytes(int64(size))
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	start := time.Now()
	wg.Go(func() {
		lay, run := board1.NewLayout(), make([]byte, 320<<10)
		n := 0
		send := func() bool {
			err := board1.WriteFrames(run[:n])
			n = 0
			return err == nil
		}
		for range total {
			select {
			case credit <- struct{}{}:
			default:
				if !send() {
					return
				}
				credit <- struct{}{}
			}
			if len(run)-n < len(pkt)+rtunnel.MaxOverhead && !send() {
				return
			}
			n += lay.Put(run[n:], pkt)
		}
		send()
	})
	got := 0
	err = board2.ReadFrames(s4t.MaxFrame+10, func(p []byte) error {
		if len(p) != len(pkt) {
			return nil // the greeting
		}
		<-credit
		if got++; got == total {
			return errDone
		}
		return nil
	}, nil)
	took := time.Since(start)
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	if err != errDone {
		b.Errorf("%d of %d frames, then %v; dropped %+v", got, total, err, to.Counters().Dropped)
	}
	bytes := float64(total) * float64(size)
	b.ReportMetric(bytes*8/took.Seconds()/1e9, "Gbit/s")
	b.ReportMetric(float64(total)/took.Seconds()/1e3, "kpps")
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(cpu.Seconds()/(bytes/(1<<30)), "cpu-s/GiB")
	cancel()
	board1.Close()
	board2.Close()
	far1.Close()
	far2.Close()
	apart()
	wg.Wait()
}
