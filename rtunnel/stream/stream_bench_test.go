package stream_test

import (
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/stack4things/s4t/internal/loopback"
)

// BenchmarkIdleStreams reports what an idle stream costs both ends of its
// rtunnel together, over TLS, in heap and stacks. The two TCP connections
// outside of it, and who waits on them, are in this process and in the figure.
func BenchmarkIdleStreams(b *testing.B) {
	const n = 1000
	for b.Loop() {
		r := newTLSRig(b, 2)
		target := loopback.Serve(b, func(c *net.TCPConn) { io.CopyN(c, c, 1); c.Read(make([]byte, 1)) })
		before := inUse()
		var users []net.Conn
		for range n {
			user, _ := r.connect(target)
			user.Write([]byte("x"))
			io.ReadFull(user, make([]byte, 1))
			users = append(users, user)
		}
		b.ReportMetric(float64(inUse()-before)/n/1024, "KiB/stream")
		for _, u := range users {
			u.Close()
		}
	}
}

func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}

// BenchmarkConnect opens a stream, moves a byte each way, and ends it: what a
// connection through a public port costs.
func BenchmarkConnect(b *testing.B) {
	r := newTLSRig(b, 4)
	target := loopback.Serve(b, echo)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			user, result := r.connect(target)
			user.Write([]byte("x"))
			user.CloseWrite()
			if _, err := io.ReadAll(user); err != nil {
				b.Error(err)
			}
			if err := <-result; err != nil {
				b.Error(err)
			}
			user.Close()
		}
	})
	b.ReportMetric(float64(r.dialled.Load())/float64(b.N), "rtunnels/stream")
}

// BenchmarkStream moves bytes from the board's service to the user.
func BenchmarkStream(b *testing.B) {
	for _, tls := range []bool{false, true} {
		name := "plain"
		if tls {
			name = "TLS"
		}
		b.Run(name, func(b *testing.B) {
			r := newRig(b, 1)
			if tls {
				r = newTLSRig(b, 1)
			}
			target := loopback.Serve(b, func(c *net.TCPConn) {
				buf := make([]byte, 256<<10)
				for {
					if _, err := c.Write(buf); err != nil {
						return
					}
				}
			})
			user, _ := r.connect(target)
			buf := make([]byte, 1<<20)
			b.SetBytes(int64(len(buf)))
			for b.Loop() {
				if _, err := io.ReadFull(user, buf); err != nil {
					b.Fatal(err)
				}
			}
			user.Close()
		})
	}
}
