package cloud

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// TestOneConnectionHasFewRequestsAtATime is half of row 2: 480 unfinished logins
// came on 2 connections. It reads the server's SETTINGS (RFC 9113, section 6.5).
func TestOneConnectionHasFewRequestsAtATime(t *testing.T) {
	_, secure := serveTest(t, http.NotFoundHandler())
	c, err := tls.Dial("tcp", secure, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
	head := make([]byte, 9)
	if _, err := io.ReadFull(c, head); err != nil || head[3] != 4 {
		t.Fatalf("frame % x, %v", head, err)
	}
	settings := make([]byte, int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(c, settings); err != nil {
		t.Fatal(err)
	}
	got := map[uint16]uint32{}
	for ; len(settings) >= 6; settings = settings[6:] {
		got[binary.BigEndian.Uint16(settings)] = binary.BigEndian.Uint32(settings[2:])
	}
	const maxConcurrentStreams, initialWindowSize = 3, 4
	if got[maxConcurrentStreams] != maxStreams || got[initialWindowSize] != streamBuffer {
		t.Errorf("settings %v", got)
	}
}

// drip is a body of n bytes, each of which takes a time, on a connection with a
// read deadline.
type drip struct {
	http.ResponseWriter
	n        int
	each     time.Duration
	deadline time.Time
}

func (d *drip) SetReadDeadline(t time.Time) error { d.deadline = t; return nil }
func (d *drip) Close() error                      { return nil }
func (d *drip) Read(p []byte) (int, error) {
	if d.n == 0 {
		return 0, io.EOF
	}
	if at := time.Now().Add(d.each); at.After(d.deadline) {
		time.Sleep(time.Until(d.deadline))
		return 0, os.ErrDeadlineExceeded
	}
	time.Sleep(d.each)
	n := min(len(p), d.n, 8<<10)
	d.n -= n
	return n, nil
}

func TestABodyHasToComeAtSomePace(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
		each time.Duration // for 8 KB or the rest
		end  time.Duration // when it has come, or is too late
		ok   bool
	}{
		{"a login over a slow line", 200, 3 * time.Second, 3 * time.Second, true},
		{"a login that does not come", 200, time.Hour, bodyGrace, false},
		{"1 MB at 50 KB/s", 1 << 20, 160 * time.Millisecond, 128 * 160 * time.Millisecond, true},
		{"1 MB at 20 KB/s", 1 << 20, 400 * time.Millisecond, bodyTimeout, false},
		{"1 MB at 5 KB/s", 1 << 20, 1600 * time.Millisecond, bodyGrace + 3*time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &drip{n: tt.n, each: tt.each}
			b := &pacedBody{ReadCloser: d, rc: http.NewResponseController(d), began: time.Now()}
			_, err := io.Copy(io.Discard, b)
			took := time.Since(b.began)
			if tt.ok && (err != nil || !d.deadline.IsZero()) || !tt.ok && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %v after %v; the deadline is %v", tt.name, err, took, d.deadline)
			}
			if took > tt.end+time.Second || took < tt.end-time.Second {
				t.Errorf("%s: it ended after %v, not %v", tt.name, took, tt.end)
			}
		})
	}
}
