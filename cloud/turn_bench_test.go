package cloud

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/dial"
)

// BenchmarkSentAway is what a board costs that there is no room for: both ends,
// which share a machine.
func BenchmarkSentAway(b *testing.B) {
	dir := b.TempDir()
	certs := &certs{dir: dir, cas: caDir(dir), hosts: []string{"127.0.0.1"}, now: time.Now, log: discard}
	if err := certs.load(b.Context()); err != nil {
		b.Fatal(err)
	}
	g := newGate()
	g.beginning = func() (int, time.Duration) { return 2 * maxBeginning, 0 }
	now := time.Now()
	g.now = func() time.Time { return now } // nobody's time is over
	for i := range maxWaiting {
		source := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		g.waiting = append(g.waiting, &waiter{conn: &atGate{}, source: source, since: now, enter: make(chan bool, 1)})
		g.waits[source] = 1
	}
	conf := certs.tlsConfig()
	handshakes := newHandshakes(g)
	handshakes.now = func() time.Time { now = now.Add(time.Second); return now }
	conf.GetConfigForClient = handshakes.admit
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := newHTTPServer(http.NotFoundHandler(), newAdmission(g), discard)
	go srv.Serve(tls.NewListener(rtunnel.BatchListener(newCrowdListener(l, g)), conf))
	defer srv.Close()
	url := "https://" + l.Addr().String()
	ca := []byte(certs.trust().CAs[0])
	d, err := dial.New(dial.Config{CA: ca, OneTry: true, Classical: true})
	if err != nil {
		b.Fatal(err)
	}
	used := func() time.Duration {
		var u syscall.Rusage
		syscall.Getrusage(syscall.RUSAGE_SELF, &u)
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	before := used()
	for b.Loop() {
		if _, err := d.Dial(b.Context(), url, "/wamp", "wamp.2.msgpack", ""); err == nil {
			b.Fatal("it was let in")
		}
	}
	b.ReportMetric(float64(used()-before)/float64(b.N)/1e3, "cpu-µs/op")
}
