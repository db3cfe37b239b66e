package amqp_test

import (
	"context"
	"crypto/tls"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/queue/amqp"
)

// way is a TCP proxy before the broker, which can be cut, or carry nothing.
type way struct {
	url string // of the broker, through it

	to string
	l  net.Listener

	mu    sync.Mutex // guards the fields below
	conns map[net.Conn]bool
	holds chan struct{} // not nil: nothing is carried until it is closed
	done  sync.WaitGroup
}

// newWay returns one; with a configuration of TLS it speaks that.
func newWay(t testing.TB, broker string, conf *tls.Config) *way {
	u, err := url.Parse(broker)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if conf != nil {
		l = tls.NewListener(l, conf)
	}
	w := &way{to: u.Host, l: l, conns: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	w.url = u.String()
	w.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.done.Go(func() { w.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		w.cut()
		w.done.Wait()
	})
	return w
}

// carry carries a connection's bytes until either end closes it.
func (w *way) carry(c net.Conn) {
	defer c.Close()
	b, err := net.Dial("tcp", w.to)
	if err != nil {
		return
	}
	defer b.Close()
	w.mu.Lock()
	w.conns[c], w.conns[b] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	for _, p := range [][2]net.Conn{{c, b}, {b, c}} {
		both.Go(func() {
			defer p[0].Close()
			defer p[1].Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := p[0].Read(buf)
				if n > 0 {
					w.pass()
					_, err = p[1].Write(buf[:n])
				}
				if err != nil {
					return
				}
			}
		})
	}
	both.Wait()
	w.mu.Lock()
	delete(w.conns, c)
	delete(w.conns, b)
	w.mu.Unlock()
}

// pass waits while the way carries nothing.
func (w *way) pass() {
	w.mu.Lock()
	holds := w.holds
	w.mu.Unlock()
	if holds != nil {
		<-holds
	}
}

// cut closes every connection; others may be made at once.
func (w *way) cut() {
	w.carryAgain()
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		c.Close()
	}
}

// carryNothing has all bytes wait, as a partition does: nobody is told.
func (w *way) carryNothing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holds == nil {
		w.holds = make(chan struct{})
	}
}

func (w *way) carryAgain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.holds != nil {
		close(w.holds)
		w.holds = nil
	}
}

// pair is two processes: one asks, and the other serves.
type pair struct {
	asks   *amqp.Driver
	serves restarting
}

// Restart is of the one that serves.
func (p pair) Restart() { p.serves.Restart() }

func (p pair) Call(ctx context.Context, topic, method string, req, reply any) error {
	return p.asks.Call(ctx, topic, method, req, reply)
}

func (p pair) Cast(ctx context.Context, topic, method string, req any) error {
	return p.asks.Cast(ctx, topic, method, req)
}

func (p pair) Fanout(ctx context.Context, topic, method string, req any) error {
	return p.asks.Fanout(ctx, topic, method, req)
}

func (p pair) Serve(ctx context.Context, topic, server string, workers int, h queue.Handler) error {
	return p.serves.Serve(ctx, topic, server, workers, h)
}
