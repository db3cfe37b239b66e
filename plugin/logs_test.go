package plugin

import (
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// yes writes a line without end.
type yes struct {
	line string
	at   int
}

func (y *yes) Read(b []byte) (int, error) {
	n := copy(b, y.line[y.at:])
	for n < len(b) {
		n += copy(b[n:], y.line)
	}
	y.at = (y.at + n) % len(y.line)
	return n, nil
}

// TestAFloodIsReadSlowly counts what is taken in ten seconds of a clock that only waiting moves.
func TestAFloodIsReadSlowly(t *testing.T) {
	for _, line := range []string{"y\n", strings.Repeat("x", 99) + "\n", strings.Repeat("x", 100_000) + "\n"} {
		const seconds = 10
		clock := time.Now()
		begun := clock
		flood := &yes{line: line}
		f := &paced{left: readBurst, at: clock, now: func() time.Time { return clock }, sleep: func(d time.Duration) { clock = clock.Add(d) }}
		f.r = readerFunc(func(b []byte) (int, error) {
			if clock.Sub(begun) >= seconds*time.Second {
				return 0, io.EOF
			}
			return flood.Read(b)
		})
		lines := 0
		capture(f, maxLine, func([]byte, bool) { lines++ })
		cost := lines * (len(line) + lineCost)
		const may = readBurst + seconds*readRate
		if most := may + len(line) + readPage*(1+lineCost/2); cost > most || cost < may/2 {
			t.Errorf("lines of %d bytes: %d taken, which count for %d bytes; %d may be", len(line), lines, cost, may)
		}
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// TestComplaintsAreBounded has a plugin talk nonsense, which lightning-rod says in its log.
func TestComplaintsAreBounded(t *testing.T) {
	r := openRing(filepath.Join(t.TempDir(), "log"))
	defer r.close()
	talk := newTalk(nil, 1, r)
	r.spare = -1e9 // it has said too much already
	for range 1000 {
		talk.heard([]byte("nonsense"), false)
	}
	r.agent("ended")
	lines, _ := r.last(0, time.Time{}, 10_000)
	if n := len(lines); n != 2 || lines[n-1].Text != "ended" || lines[n-2].Text != "lost 2000 lines: they came too fast" {
		t.Errorf("%d lines, the last %+v", n, lines[max(0, n-2):])
	}
}
