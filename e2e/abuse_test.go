package e2e

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/netlab"
	"github.com/stack4things/s4t/rtunnel/dial"
	"github.com/stack4things/s4t/wamp"
)

// abuses are what a stranger may do to the one port of the cloud, each by a
// process that prints "begun" when it is in full swing and goes on until it is
// killed.
var abuses = []struct {
	name, what string
	do         func(begun func())
}{
	{"half", "10,000 TLS handshakes left half open", halfOpen},
	{"slow", "1,500 requests sent one byte a second", slowRequests},
	{"idle", "6,000 connections kept after one request", keptIdle},
	{"joins", "a flood of joins with wrong codes", joinFlood},
	{"mute", "1,500 WebSockets for WAMP that say nothing", muteSockets},
	{"huge", "bodies and messages of 64 MB", hugeMessages},
}

// TestFaultAbuse: while a stranger abuses the port, memory stays bounded, a
// bridge and a public port work as before, requests are answered, and a board
// comes back as quickly as ever.
func TestFaultAbuse(t *testing.T) {
	if os.Getenv("S4T_RELIABILITY") == "" {
		t.Skip("it takes a minute: make test-faults")
	}
	w := newWorld(t)
	to := addressOf(t, w.bridge, "board2", false)
	site, err := w.Lab.AddBoard()
	must(t, err)
	stranger := site.NAT // a host of its own on the internet side
	for _, abuse := range abuses {
		name := abuse.name
		t.Run(name, func(t *testing.T) {
			before := resident(t, w.Process.Pid(), "VmRSS")
			must(t, os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", w.Process.Pid()), []byte("5"), 0)) // VmHWM begins anew: proc(5)
			calm := latencies(t, w.Boards[0].Host, to, func() { time.Sleep(2 * time.Second) })
			// As if it had a machine of its own, it takes the time that the others leave.
			p, err := stranger.Start("abuse-"+name, []string{"S4T_E2E_ABUSE=" + name}, "nice", "-n", "19", os.Args[0], "-test.run", "^TestHelperAbuse$")
			must(t, err)
			var request, back time.Duration
			storm := latencies(t, w.Boards[0].Host, to, func() {
				_, err := p.WaitLine("begun", 0, 40*time.Second)
				must(t, err)
				request = within(t, healLimit, "a request is answered", func() error { return status(t, w.Cloud, "board2", s4t.BoardOnline) })
				within(t, healLimit, "the public port answers", func() error { return w.works(t) })
				time.Sleep(2 * time.Second)
			})
			w.Boards[1].Process.Kill()
			must(t, w.Boards[1].Run())
			back = within(t, healLimit, "a board comes back", func() error { return w.works(t) })
			p.Kill()
			peak := resident(t, w.Process.Pid(), "VmHWM")
			figure(abuse.what, fmt.Sprintf("iotronic at most %d MiB (%d before); a live tunnel's p99 %s (calm: %s), %d of %d pings lost; a request takes %.2f s; a board is back after %.2f s",
				peak, before, storm.at(99), calm.at(99), storm.lost, storm.sent, request.Seconds(), back.Seconds()))
			if peak > before+256 || storm.lost > 0 {
				t.Errorf("%d MiB (%d before), %d pings lost", peak, before, storm.lost)
			}
			within(t, healLimit, "nothing is left over", func() error { return w.tidy(t) })
		})
	}
}

// resident is a line of /proc/PID/status, in MiB.
func resident(t *testing.T, pid int, field string) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	m := regexp.MustCompile(field + `:\s+(\d+) kB`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("no %s of process %d", field, pid)
	}
	kb, err := strconv.Atoi(string(m[1]))
	must(t, err)
	return kb >> 10
}

// TestHelperAbuse runs one abuse.
func TestHelperAbuse(t *testing.T) {
	name := os.Getenv("S4T_E2E_ABUSE")
	if name == "" {
		t.Skip("a helper process of other tests")
	}
	for _, a := range abuses {
		if a.name == name {
			a.do(func() { fmt.Println("begun") })
		}
	}
}

const abused = netlab.CloudAddr + ":8812"

func strange() *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}}
}

// keepDoing runs n loops of do at once, and calls begun when each has got as
// far as calling its function. It never returns.
func keepDoing(n int, begun func(), do func(started func())) {
	var started atomic.Int64
	var running sync.WaitGroup
	for range n {
		running.Go(func() {
			var once sync.Once
			for {
				do(func() {
					once.Do(func() {
						if started.Add(1) == int64(n) {
							begun()
						}
					})
				})
			}
		})
	}
	running.Wait()
}

// halfOpen sends the beginning of a TLS record; who is turned away waits a
// moment and comes again.
func halfOpen(begun func()) {
	keepDoing(10_000, begun, func(started func()) {
		c, err := net.DialTimeout("tcp", abused, 30*time.Second)
		if err != nil {
			time.Sleep(time.Second)
			return
		}
		defer c.Close()
		c.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01})
		started()
		io.Copy(io.Discard, c)
		time.Sleep(2 * time.Second)
	})
}

// dialTLS connects as a client that is given time.
func dialTLS() (net.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: 30 * time.Second}, "tcp", abused, strange())
}

func slowRequests(begun func()) {
	keepDoing(1500, begun, func(started func()) {
		c, err := dialTLS()
		if err != nil {
			time.Sleep(time.Second)
			return
		}
		defer c.Close()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: ")
		started()
		for {
			if _, err := c.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(time.Second)
		}
	})
}

func keptIdle(begun func()) {
	keepDoing(6000, begun, func(started func()) {
		c, err := dialTLS()
		if err != nil {
			started() // the bound holds this one off
			time.Sleep(5 * time.Second)
			return
		}
		defer c.Close()
		io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
		http.ReadResponse(bufio.NewReader(c), nil)
		started()
		io.Copy(io.Discard, c)
		time.Sleep(5 * time.Second)
	})
}

// strangeDialer trusts whatever certificate comes.
func strangeDialer() (*dial.Dialer, error) {
	c, err := dialTLS()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	chain := c.(*tls.Conn).ConnectionState().PeerCertificates
	return dial.New(dial.Config{CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: chain[len(chain)-1].Raw})})
}

func joinFlood(begun func()) {
	d, err := strangeDialer()
	if err != nil {
		panic(err)
	}
	_, key, _ := ed25519.GenerateKey(nil)
	keepDoing(64, begun, func(started func()) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		c, err := d.Dial(ctx, "https://"+abused, wamp.Path, wamp.Subprotocol, "")
		if err != nil {
			time.Sleep(100 * time.Millisecond)
			return
		}
		wamp.Join(ctx, wamp.Over(c), wamp.JoinConfig{Key: key, Code: "wrong-" + s4t.NewID()})
		c.Close()
		started()
	})
}

func muteSockets(begun func()) {
	d, err := strangeDialer()
	if err != nil {
		panic(err)
	}
	keepDoing(1500, begun, func(started func()) {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		c, err := d.Dial(ctx, "https://"+abused, wamp.Path, wamp.Subprotocol, "")
		started() // with the bound, not all come in
		if err != nil {
			time.Sleep(time.Second)
			return
		}
		defer c.Close()
		c.ReadMessage()
	})
}

func hugeMessages(begun func()) {
	body := strings.NewReader(strings.Repeat("x", 64<<20))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: strange()}}
	keepDoing(16, begun, func(started func()) {
		started()
		b := *body
		if res, err := client.Post("https://"+abused+"/v1/login", "application/json", &b); err == nil {
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
		c, err := dialTLS()
		if err != nil {
			return
		}
		defer c.Close()
		// A WebSocket message of 2^40 bytes (RFC 6455 section 5.2).
		io.WriteString(c, "GET /wamp HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: wamp.2.msgpack\r\n\r\n")
		c.Write([]byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4})
		io.Copy(c, &b)
	})
}
