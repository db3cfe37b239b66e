package dial

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

// FuzzReadHead checks that a server's head is parsed within its bounds, and
// that what is accepted holds no line break.
func FuzzReadHead(f *testing.F) {
	f.Add("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\nrest")
	f.Add("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 407 x\nProxy-Authenticate: Basic realm=\"x\"\n\n")
	f.Add("SSH-2.0-x\r\n")
	f.Add("HTTP/1.1 200 OK\r\n" + strings.Repeat("x: y\r\n", 200) + "\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		h, err := readHead(bufio.NewReaderSize(strings.NewReader(s), 16))
		if err != nil {
			if !errors.Is(err, errHead) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("readHead(%q) error %v", s, err)
			}
			return
		}
		if h.code > 999 || len(h.fields) > maxHeadLines {
			t.Errorf("readHead(%q) = %+v", s, h)
		}
		for _, field := range h.fields {
			if strings.Contains(field[0]+field[1], "\n") {
				t.Errorf("a field of %q holds a line break", s)
			}
		}
	})
}

// FuzzChallenges checks that what a proxy asks for is parsed within its
// bounds, and that an answer to it never breaks out of its line.
func FuzzChallenges(f *testing.F) {
	f.Add(`Basic realm="x"`)
	f.Add(`Digest realm="a\"b", nonce="n", qop="auth,auth-int", algorithm=SHA-256, stale=TRUE, opaque=o`)
	f.Add(`Negotiate, Basic realm=x, Digest nonce=1`)
	f.Add(`=,="`)
	p := &proxy{user: "user", password: "secret"}
	f.Fuzz(func(t *testing.T, s string) {
		if all := parseChallenges(s); len(all) > 8 {
			t.Errorf("%d challenges in %q", len(all), s)
		}
		a, err := chooseAuth(p, []string{s})
		if err != nil {
			return
		}
		if strings.ContainsAny(s, "\r\n") { // readHead lets none through
			return
		}
		if h := a.header(p, "cloud.test:443"); strings.ContainsAny(h, "\r\n") || strings.Contains(h, "secret") {
			t.Errorf("the answer to %q is %q", s, h)
		}
	})
}

func TestChallenges(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     proxyAuth
	}{
		{"basic", `Basic realm="a realm"`, proxyAuth{scheme: "basic", realm: "a realm"}},
		{"the stronger of two in one field", `Basic realm=x, Digest realm="d", nonce="n", qop="auth"`, proxyAuth{scheme: "digest", realm: "d", nonce: "n", qop: true}},
		{"sha-256 before md5", `Digest nonce=1, algorithm=MD5, Digest nonce=2, algorithm=SHA-256`, proxyAuth{scheme: "digest", nonce: "2", algorithm: "SHA-256"}},
		{"one that we know before one that we do not", `Digest nonce=1, algorithm=SHA-512-256, Basic realm=y`, proxyAuth{scheme: "basic", realm: "y"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := chooseAuth(&proxy{user: "u"}, []string{tt.in})
			if err != nil || *got != tt.want {
				t.Errorf("chooseAuth(%s) = %+v, %v; want %+v", tt.in, got, err, tt.want)
			}
		})
	}
}

// TestPathMemory: what is known of a path is used for an hour.
func TestPathMemory(t *testing.T) {
	now := time.Now()
	clock := now
	d, err := New(Config{Now: func() time.Time { return clock }})
	if err != nil {
		t.Fatal(err)
	}
	first := func() int { s, _ := d.pathTo("h:1"); return s[0] }
	if first() != 0 {
		t.Error("an unknown path does not start with the kernel's own size")
	}
	d.remember("h:1", 1060)
	if first() != 1060 {
		t.Errorf("the size that got through is not tried first")
	}
	clock = now.Add(pathTTL / 2)
	d.remember("h:1", 1060)
	clock = now.Add(pathTTL + 1)
	if first() != 0 {
		t.Error("a larger size is not tried again after an hour")
	}
	d.stalled("h:2")
	d.stalled("h:2")
	if sizes, patience := d.pathTo("h:2"); len(sizes) != len(segmentSizes) || patience != 4*d.cfg.Stall {
		t.Errorf("after two dials without any answer: sizes %v, patience %v", sizes, patience)
	}
}
