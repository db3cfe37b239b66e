package cloud

import (
	"crypto/tls"
	"net"
	"net/http"
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
	now := time.Now()
	crowded(g, now)
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
	b.SetParallelism(64) // a crowd
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := d.Dial(b.Context(), url, "/wamp", "wamp.2.msgpack", ""); err == nil {
				b.Error("it was let in")
			}
		}
	})
	b.ReportMetric(float64(used()-before)/float64(b.N)/1e3, "cpu-µs/op")
}
