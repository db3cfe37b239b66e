package cloud

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t/rtunnel/sockopt"
	"github.com/stack4things/s4t/wamp/router"
)

// crowded has a gate that has no room for another board.
func crowded(g *gate, now time.Time) {
	g.arrivals = func() router.Arrivals { return router.Arrivals{Beginning: 2 * maxBeginning} }
	g.now = func() time.Time { return now } // nobody's time is over
	for i := range maxWaiting {
		source := netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 32)
		g.waiting = append(g.waiting, &waiter{conn: &atGate{}, source: source, since: now, enter: make(chan bool, 1)})
		g.waits[source] = 1
	}
}

// helloOffering is the first message of a client of TLS.
func helloOffering(protocols ...string) []byte {
	c := &kept{}
	tls.Client(c, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}).Handshake()
	return c.written.Bytes()
}

type kept struct {
	net.Conn
	written bytes.Buffer
}

func (k *kept) Write(p []byte) (int, error) { return k.written.Write(p) }
func (k *kept) Read([]byte) (int, error)    { return 0, io.EOF }

// TestACrowdIsSentAwayAsItIsAccepted: boards for which there is no room are told their
// turn before anything is made for them; who is something else, or has not said yet what
// he is, is accepted with all that he said.
func TestACrowdIsSentAwayAsItIsAccepted(t *testing.T) {
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	g := newGate()
	crowded(g, time.Now())
	l := newCrowdListener(tcp, g)
	connect := func(say []byte) net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", tcp.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		if _, err := c.Write(say); err != nil {
			t.Fatal(err)
		}
		for said := false; !said; runtime.Gosched() { // it is at the other end
			said, _ = sockopt.Acknowledged(c)
		}
		return c
	}
	board := connect(helloOffering("http/1.1"))
	for what, says := range map[string][]byte{
		"a user": helloOffering("h2", "http/1.1"), "an rtunnel": helloOffering(), "half a board": helloOffering("http/1.1")[:50],
		"nobody": nil, "noise": []byte("GET / HTTP/1.1\r\n\r\n"),
	} {
		client := connect(says)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if c.RemoteAddr().String() != client.LocalAddr().String() {
			t.Fatalf("%s is not accepted", what)
		}
		got := make([]byte, len(says))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, says) {
			t.Errorf("%s: what was said is not there to be read: %v", what, err)
		}
		g.unread.read(c)
	}
	told, err := io.ReadAll(board)
	if err != nil || !strings.HasPrefix(string(told), "HTTP/1.1 503") || !strings.Contains(string(told), "Retry-After: 1\r\n") {
		t.Errorf("a board is told %q: %v", told, err)
	}
	if g.unread.count() != 0 || g.sentAway() != 1 {
		t.Errorf("%d are unread, %v were sent away", g.unread.count(), g.sentAway())
	}
	g.waiting = g.waiting[1:] // there is room again
	connect(helloOffering("http/1.1"))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	g.unread.read(c)
}
