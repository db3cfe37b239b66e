package api_test

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
)

// cutLink dials connections that end in the middle of what is sent, as often as cuts
// says; sent counts the bytes of all of them.
type cutLink struct {
	after int64 // bytes that one carries until it is cut
	cuts  atomic.Int64
	sent  atomic.Int64
}

func (l *cutLink) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &cutConn{Conn: conn, link: l}, nil
}

type cutConn struct {
	net.Conn
	link *cutLink
	sent int64
}

func (c *cutConn) Write(p []byte) (int, error) {
	if c.sent+int64(len(p)) > c.link.after && c.link.cuts.Add(-1) >= 0 {
		c.Conn.Close()
		return 0, errors.New("the link is cut")
	}
	n, err := c.Conn.Write(p)
	c.sent += int64(n)
	c.link.sent.Add(int64(n))
	return n, err
}

// TestAnUploadGoesOnWhereItWasCut: by its user, or by the link, in the middle of a part;
// and what is there is not sent again.
func TestAnUploadGoesOnWhereItWasCut(t *testing.T) {
	r, admin := newCloud(t)
	text := make([]byte, 6<<20+7)
	rand.NewChaCha8([32]byte{3}).Read(text)
	file, size := bytes.NewReader(text), int64(len(text))
	link := &cutLink{after: 1300 << 10}
	c, err := apiclient.New(apiclient.Config{URL: r.url, Token: admin, CA: r.ca, Dial: link.dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()

	ctx, interrupt := context.WithCancel(t.Context())
	link.cuts.Store(1 << 30)
	_, err = c.PutBundle(ctx, file, size, func(has int64) {
		if has >= 2<<20 {
			interrupt()
		}
	})
	if s4t.KindOf(err) != s4t.Timeout || ctx.Err() == nil {
		t.Fatalf("an upload that its user interrupts: %v", err)
	}

	link.cuts.Store(3)
	var first, last int64 = -1, 0
	digest, err := c.PutBundle(t.Context(), file, size, func(has int64) {
		if first < 0 {
			first = has
		}
		if has < last {
			t.Errorf("it fell back from %d bytes to %d", last, has)
		}
		last = has
	})
	if err != nil || len(digest) != 64 || first < 2<<20 || last != size {
		t.Fatalf("%s: from %d to %d of %d bytes: %v", digest, first, last, size, err)
	}
	if left := link.cuts.Load(); left > 0 {
		t.Errorf("%d cuts are left", left)
	}
	if sent := link.sent.Load(); sent > size*3/2 {
		t.Errorf("%d bytes were sent of %d", sent, size)
	}
	link.sent.Store(0)
	if again, err := c.PutBundle(t.Context(), file, size, nil); err != nil || again != digest || link.sent.Load() > 100<<10 {
		t.Errorf("once more: %s, %d bytes: %v", again, link.sent.Load(), err)
	}
}
