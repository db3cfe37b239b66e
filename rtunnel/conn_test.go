package rtunnel

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/loopback"
)

// tcpPair is two ends of a TCP connection on loopback.
func tcpPair(t testing.TB) (a, b net.Conn) { return loopback.Pair(t) }

// pipePair is the same in memory.
func pipePair(t testing.TB) (a, b net.Conn) {
	a, b = net.Pipe()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// tlsPair is the same with TLS over BatchRecords.
func tlsPair(t testing.TB) (net.Conn, net.Conn) {
	t.Helper()
	a, b := tcpPair(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	server := tls.Server(BatchRecords(b), &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
	client := tls.Client(BatchRecords(a), &tls.Config{InsecureSkipVerify: true})
	var wg sync.WaitGroup
	wg.Go(func() { server.Handshake() })
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return client, server
}

var pairs = map[string]func(testing.TB) (net.Conn, net.Conn){"tcp": tcpPair, "pipe": pipePair, "tls": tlsPair}

func TestMessagesArriveAsTheyWereSent(t *testing.T) {
	for name, pair := range pairs {
		for _, fromClient := range []bool{true, false} {
			a, b := pair(t)
			from, to := NewConn(a, nil, fromClient), NewConn(b, nil, !fromClient)
			t.Run(name, func(t *testing.T) {
				sizes := []int{0, 1, 60, 64, 125, 126, 127, 4095, 4096, 65535, 65536, 65537, 320 << 10, s4t.MaxMessage, 64, 5, 128 << 10, 7}
				sent := make([][]byte, len(sizes))
				for i, n := range sizes {
					sent[i] = make([]byte, n)
					rand.Read(sent[i])
				}
				var wg sync.WaitGroup
				wg.Go(func() {
					for i, p := range sent {
						op := OpBinary
						if i%3 == 0 {
							op = OpText
						}
						before := bytes.Clone(p)
						if err := from.WriteMessage(op, p); err != nil {
							t.Error(err)
						}
						if !bytes.Equal(before, p) {
							t.Error("the sender's bytes were changed")
						}
					}
					from.CloseWithStatus(StatusNormal, "done")
				})
				for i, want := range sent {
					op, got, err := to.ReadMessage()
					if err != nil {
						t.Fatal(err)
					}
					if (op == OpText) != (i%3 == 0) || !bytes.Equal(got, want) {
						t.Fatalf("message %d of %d bytes came as %d bytes, op %d", i, len(want), len(got), op)
					}
				}
				if _, _, err := to.ReadMessage(); err != io.EOF {
					t.Errorf("after a normal close: %v, want EOF", err)
				}
				wg.Wait()
				to.Close()
			})
		}
	}
}

func TestARunIsReadAsFrames(t *testing.T) {
	sizes := []int{0, 1, 125, 126, 1500, 65535, 65536, s4t.MaxFrame + 10, 60, 66}
	for name, pair := range pairs {
		for _, fromClient := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				a, b := pair(t)
				from, to := NewConn(a, nil, fromClient), NewConn(b, nil, !fromClient)
				run := layFor(from, 512<<10)
				var wg sync.WaitGroup
				wg.Go(func() {
					for round := range 3 {
						for _, n := range sizes {
							p := make([]byte, n)
							for i := range p {
								p[i] = byte(n + i + round)
							}
							if !run.add(p) {
								t.Error("the run is full")
								return
							}
						}
						if err := run.send(from); err != nil {
							t.Error(err)
						}
					}
					from.CloseWithStatus(StatusGoingAway, "")
				})
				count, flushes := 0, 0
				err := to.ReadFrames(s4t.MaxFrame+10, func(p []byte) error {
					n, round := sizes[count%len(sizes)], count/len(sizes)
					if len(p) != n {
						t.Fatalf("frame %d has %d bytes, want %d", count, len(p), n)
					}
					for i := range p {
						if p[i] != byte(n+i+round) {
							t.Fatalf("frame %d differs at byte %d", count, i)
						}
						p[i] = 0xff // the receiver may change it
					}
					count++
					return nil
				}, func() error { flushes++; return nil })
				wg.Wait()
				if err != nil {
					t.Error(err)
				}
				if count != 3*len(sizes) || flushes == 0 {
					t.Errorf("%d frames and %d flushes, want %d frames", count, flushes, 3*len(sizes))
				}
				to.Close()
			})
		}
	}
}

func TestWhatThePeerMayNotDo(t *testing.T) {
	tests := []struct {
		name string
		in   string
		kind s4t.Kind
	}{
		{"a client that does not mask", "\x82\x01a", s4t.Invalid},
		{"a continuation of nothing", "\x80\x80\x00\x00\x00\x00", s4t.Invalid},
		{"a message inside another", "\x02\x80\x00\x00\x00\x00\x82\x80\x00\x00\x00\x00", s4t.Invalid},
		{"half a status", "\x88\x81\x00\x00\x00\x00\x03", s4t.Invalid},
		{"an announced message over the limit", "\x82\xff\x00\x00\x00\x00\x00\x20\x00\x00", s4t.TooMany},
		{"fragments that add up to more than the limit", strings.Repeat("\x02\xff\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00"+strings.Repeat("x", 0x90000), 1) + "\x80\xff\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00" + strings.Repeat("x", 0x90000), s4t.TooMany},
		{"a close for breaking a rule", "\x88\x82\x00\x00\x00\x00\x03\xea", s4t.Unavailable},
		{"a close by policy", "\x88\x82\x00\x00\x00\x00\x03\xf0", s4t.Forbidden},
		{"an end without a close frame", "\x82\x85\x00\x00\x00\x00ab", s4t.Unavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a, b := tcpPair(t)
			c := NewConn(b, nil, false)
			defer c.Close()
			var wg sync.WaitGroup
			wg.Go(func() {
				io.WriteString(a, tt.in)
				a.(*net.TCPConn).CloseWrite()
				io.Copy(io.Discard, a)
			})
			_, _, err := c.ReadMessage()
			if s4t.KindOf(err) != tt.kind {
				t.Errorf("error %v of kind %q, want %q", err, s4t.KindOf(err), tt.kind)
			}
			if _, _, again := c.ReadMessage(); again != err {
				t.Errorf("the next read gives %v, want the same error", again)
			}
			c.Close()
			wg.Wait()
		})
	}
}

func TestAMessageMayComeInPieces(t *testing.T) {
	a, b := tcpPair(t)
	// The first half was read with the handshake.
	c := NewConn(b, []byte("\x01\x83\x00\x00\x00\x00abc\x89\x81\x00\x00\x00\x00!\x00\x81"), false)
	defer c.Close()
	io.WriteString(a, "\x00\x00\x00\x00d\x80\x82\x00\x00\x00\x00ef")
	op, p, err := c.ReadMessage()
	if err != nil || op != OpText || string(p) != "abcdef" {
		t.Errorf("got %d %q %v, want the whole message", op, p, err)
	}
	pong := make([]byte, 3)
	if _, err := io.ReadFull(a, pong); err != nil || string(pong) != "\x8a\x01!" {
		t.Errorf("the ping inside it was answered %q %v", pong, err)
	}
}

func TestAPingIsAnsweredWhileAWriteIsStuck(t *testing.T) {
	a, b := tcpPair(t)
	client, server := NewConn(a, nil, true), NewConn(b, nil, false)
	stuck := make(chan error, 1)
	go func() {
		p := make([]byte, 1<<20)
		for {
			if err := server.WriteMessage(OpBinary, p); err != nil {
				stuck <- err
				return
			}
		}
	}()
	// The server's reader goes on while its writer is blocked: a ping is taken
	// note of, and a message behind it is read.
	client.wmu.Lock()
	client.writeControl(OpPing, []byte("x"))
	client.wmu.Unlock()
	if err := client.WriteMessage(OpText, []byte("go")); err != nil {
		t.Fatal(err)
	}
	if _, p, err := server.ReadMessage(); err != nil || string(p) != "go" {
		t.Fatal(p, err)
	}
	client.Close()
	if err := <-stuck; s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("the stuck write gave %v", err)
	}
	server.Close()
}

func TestKeepaliveFailsASilentPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := NewConn(a, nil, true)
		go io.Copy(io.Discard, b) // reads, says nothing
		readErr := make(chan error, 1)
		go func() {
			_, _, err := c.ReadMessage()
			readErr <- err
		}()
		start := time.Now()
		err := c.Keepalive(t.Context(), 3*time.Second, 6*time.Second)
		if s4t.KindOf(err) != s4t.Timeout {
			t.Errorf("Keepalive returned %v, want a timeout", err)
		}
		if took := time.Since(start); took > 6*time.Second+time.Millisecond {
			t.Errorf("it took %v, not the timeout", took)
		}
		if err := <-readErr; s4t.KindOf(err) != s4t.Timeout {
			t.Errorf("the reader got %v, want the same reason", err)
		}
		b.Close()
	})
}

func TestKeepaliveLetsALivePeerAndABusyReaderBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c, peer := NewConn(a, nil, true), NewConn(b, nil, false)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { // answers pings
			for {
				if _, _, err := peer.ReadMessage(); err != nil {
					return
				}
			}
		})
		got := make(chan struct{})
		wg.Go(func() {
			if _, _, err := c.ReadMessage(); err != nil {
				t.Error(err)
			}
			close(got)
			time.Sleep(time.Minute) // busy with the message, not waiting for the peer
			c.ReadMessage()
		})
		done := make(chan error, 1)
		go func() { done <- c.Keepalive(ctx, 3*time.Second, 6*time.Second) }()
		time.Sleep(time.Minute)
		go peer.WriteMessage(OpText, []byte("hello"))
		<-got
		time.Sleep(30 * time.Second)
		select {
		case err := <-done:
			t.Errorf("Keepalive ended: %v", err)
		default:
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		c.Close()
		peer.Close()
		wg.Wait()
	})
}

func TestNothingIsWrittenAfterACloseFrame(t *testing.T) {
	a, b := tcpPair(t)
	client, server := NewConn(a, nil, true), NewConn(b, nil, false)
	defer server.Close()
	client.CloseWithStatus(StatusNormal, "")
	if err := client.WriteMessage(OpText, nil); !errors.Is(err, errClosed) {
		t.Errorf("a write after CloseWithStatus gave %v", err)
	}
	if _, _, err := server.ReadMessage(); err != io.EOF {
		t.Errorf("the close frame was read as %v, want EOF", err)
	}
	if err := server.WriteMessage(OpText, nil); !errors.Is(err, errClosed) { // it has answered with one
		t.Errorf("a write after the answer to a close frame gave %v", err)
	}
}

func TestAnIdleConnHoldsNoBuffer(t *testing.T) {
	for name, pair := range pairs {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			client, server := NewConn(a, nil, true), NewConn(b, nil, false)
			defer client.Close()
			read := make(chan error)
			go func() {
				for {
					_, _, err := server.ReadMessage()
					read <- err
					if err != nil {
						return
					}
				}
			}()
			for range 3 {
				if err := client.WriteMessage(OpBinary, make([]byte, 100_000)); err != nil {
					t.Fatal(err)
				}
				if err := <-read; err != nil {
					t.Fatal(err)
				}
			}
			for server.waiting.Load() == 0 { // set after the buffer was given back
				runtime.Gosched()
			}
			if server.buf != nil {
				t.Errorf("a buffer of %d bytes is held", len(server.buf.b))
			}
			server.Close()
			<-read
		})
	}
}

func TestReadFramesDoesNotAllocate(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool forget")
	}
	a, b := tcpPair(t)
	client, server := NewConn(a, nil, true), NewConn(b, nil, false)
	defer client.Close()
	defer server.Close()
	run, frame := layFor(client, 256<<10), make([]byte, 1000)
	stop := errors.New("stop")
	step := func() {
		for range 100 {
			run.add(frame)
		}
		if err := run.send(client); err != nil {
			t.Fatal(err)
		}
		n := 0
		if err := server.ReadFrames(2000, func([]byte) error {
			if n++; n == 100 {
				return stop
			}
			return nil
		}, nil); err != stop {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(50, step); n > 4 { // closures of this test, a round of 100 frames
		t.Errorf("%v allocations a round of 100 frames", n)
	}
}

// FuzzReadMessage feeds arbitrary bytes, cut at an arbitrary place, to both
// ends.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x82\x01a\x88\x00"), 1, true)
	f.Add([]byte("\x02\x81\x00\x00\x00\x00a\x89\x80\x00\x00\x00\x00\x80\x81\x00\x00\x00\x00b"), 3, false)
	f.Add([]byte("\x82\xfe\x01\x00\x01\x02\x03\x04"+strings.Repeat("x", 256)), 100, false)
	f.Fuzz(func(t *testing.T, in []byte, cut int, client bool) {
		a, b := net.Pipe()
		c := NewConn(b, in[:min(len(in), max(0, cut))], client)
		var wg sync.WaitGroup
		wg.Go(func() { io.Copy(io.Discard, a) })
		wg.Go(func() {
			a.Write(in[min(len(in), max(0, cut)):])
			a.Close()
		})
		total := 0
		for {
			_, p, err := c.ReadMessage()
			if err != nil {
				break
			}
			total += len(p)
		}
		if total > len(in) {
			t.Errorf("%d bytes of messages from %d", total, len(in))
		}
		c.Close()
		wg.Wait()
	})
}
