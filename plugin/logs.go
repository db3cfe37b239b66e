package plugin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

// Streams of a log.
const (
	streamOut   = "stdout"
	streamErr   = "stderr"
	streamAgent = "agent" // lightning-rod speaks of the plugin
)

const (
	logFile   = 512 << 10    // bytes of each of the two files of a log
	maxLine   = 2048         // bytes of a line of it
	maxSeq    = 1 << 53      // of what counts lines: no plugin writes so many
	logBurst  = 2000         // lines that are kept of a plugin at once,
	logRate   = 100          // and in a second after that: a log is kept on flash
	readRate  = 2 << 20      // bytes a second that are read of a stream of a plugin: more would be lightning-rod's time
	readBurst = 2 * readRate // and at once
	lineCost  = 64           // bytes that a line counts for besides its own
	readPage  = 8 << 10      // bytes that are read at a time
	logPage   = 64 << 10     // bytes of a log that are read at a time
)

// ring is the log of a plugin: its newest lines, in two files of logFile bytes. When
// the first is full it becomes the second. A line is one of JSON, an s4t.LogLine. It
// is not synced: after a power cut the newest lines may be missing, or damaged, and
// those are left out.
type ring struct {
	path string // of the newer file; the older one is path + ".1"

	mu    sync.Mutex // guards the fields below
	f     *os.File   // nil: it could not be opened, or is closed
	size  int64      // of f
	gen   int        // of f: grows with each file
	seq   uint64     // of the newest line
	more  chan struct{}
	shut  bool
	spare float64   // lines that may be kept now
	at    time.Time // when spare was counted
	lost  uint64    // lines since the last that was kept
}

// cursor is a place in a ring.
type cursor struct {
	gen int
	off int64
}

// openRing opens a log, or makes it. One that cannot be written is counted, and
// not kept.
func openRing(path string) *ring {
	r := &ring{path: path, more: make(chan struct{}), spare: logBurst, at: time.Now(), gen: 1}
	for _, name := range []string{path + ".1", path} {
		text, err := readUpTo(name, 2*logFile)
		if err != nil {
			continue
		}
		for _, l := range parseLog(text) {
			r.seq = max(r.seq, l.Seq)
		}
	}
	r.open()
	return r
}

// open opens the newer file to add to it. A line that a power cut left in half is ended.
func (r *ring) open() {
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return
	}
	r.f, r.size = f, info.Size()
	if last := make([]byte, 1); r.size > 0 {
		if _, err := f.ReadAt(last, r.size-1); err == nil && last[0] != '\n' {
			n, _ := f.Write([]byte("\n"))
			r.size += int64(n)
		}
	}
}

// add keeps a line, or counts it as lost where there have been too many.
func (r *ring) add(stream string, text []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	r.spare = min(logBurst, r.spare+now.Sub(r.at).Seconds()*logRate)
	r.at = now
	if r.spare < 1 {
		r.lost++
		r.seq++
		return
	}
	r.keep(now, stream, printable(text))
}

// keep keeps a line, after one that says what was lost before it. The caller has mu.
func (r *ring) keep(now time.Time, stream, text string) {
	if r.lost > 0 {
		r.spare--
		r.put(s4t.LogLine{Seq: r.seq, At: now, Stream: streamAgent, Text: fmt.Sprintf("lost %d lines: they came too fast", r.lost)})
		r.lost = 0
	}
	r.spare--
	r.seq++
	r.put(s4t.LogLine{Seq: r.seq, At: now, Stream: stream, Text: text})
}

// put writes a line. The caller has mu.
func (r *ring) put(l s4t.LogLine) {
	text, err := json.Marshal(l)
	if err != nil || r.shut {
		return
	}
	text = append(text, '\n')
	if r.f != nil && r.size+int64(len(text)) > logFile {
		r.f.Close()
		r.f = nil
		os.Rename(r.path, r.path+".1") // fails: the new file is the old one, and is cut
		os.Remove(r.path)
		r.gen++
	}
	if r.f == nil {
		if r.open(); r.f == nil {
			return
		}
	}
	n, _ := r.f.Write(text) // a full disk: the line is missing
	r.size += int64(n)
	close(r.more)
	r.more = make(chan struct{})
}

// agent adds a line of lightning-rod, which is always kept. What a plugin can make it say
// without end is added as the plugin's own lines are.
func (r *ring) agent(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(time.Now(), streamAgent, printable(fmt.Appendf(nil, format, args...)))
}

// read returns lines from a place on, and the place after them; the zero cursor is
// the oldest line. None: more is closed when there are some, and nil when there
// never will be.
func (r *ring) read(c cursor) (lines []s4t.LogLine, next cursor, more <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		name := r.path
		switch {
		case c.gen == r.gen:
		case c.gen == r.gen-1:
			name += ".1"
		default:
			c = cursor{gen: r.gen - 1}
			name += ".1"
		}
		text := readFrom(name, c.off)
		if end := bytes.LastIndexByte(text, '\n') + 1; end > 0 {
			c.off += int64(end)
			if lines = parseLog(text[:end]); len(lines) > 0 {
				return lines, c, r.more
			}
			continue
		}
		if len(text) == logPage { // what lightning-rod did not write
			c.off += logPage
			continue
		}
		if c.gen < r.gen {
			c = cursor{gen: c.gen + 1}
			continue
		}
		if r.shut {
			return nil, c, nil
		}
		return nil, c, r.more
	}
}

// last returns what the log has after a line and since a time, at most limit lines,
// and whether there are more.
func (r *ring) last(after uint64, since time.Time, limit int) (lines []s4t.LogLine, more bool) {
	var c cursor
	for {
		page, next, _ := r.read(c)
		if len(page) == 0 {
			return lines, false
		}
		for _, l := range page {
			if l.Seq <= after || l.At.Before(since) {
				continue
			}
			if len(lines) == limit {
				return lines, true
			}
			lines = append(lines, l)
		}
		c = next
	}
}

// follow gives each line after one to fn, in order, until stop is closed or the log
// is. It waits for fn; what the ring has dropped meanwhile is a gap in Seq.
func (r *ring) follow(after uint64, stop <-chan struct{}, fn func([]s4t.LogLine)) {
	var c cursor
	for {
		page, next, more := r.read(c)
		c = next
		for len(page) > 0 && page[0].Seq <= after {
			page = page[1:]
		}
		if len(page) > 0 {
			fn(page)
			after = page[len(page)-1].Seq
		}
		if more == nil {
			return
		}
		if len(page) == 0 {
			select {
			case <-stop:
				return
			case <-more:
			}
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}

// close ends the log: who follows it is told.
func (r *ring) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.shut {
		return
	}
	r.shut = true
	if r.f != nil {
		r.f.Close()
		r.f = nil
	}
	close(r.more)
}

// capture reads what a plugin writes to f, line by line, until it ends; a line that
// is longer than limit is cut.
func capture(f *paced, limit int, line func(text []byte, cut bool)) {
	in := bufio.NewReaderSize(f, readPage)
	var text []byte
	cut := false
	for {
		part, err := in.ReadSlice('\n')
		if room := limit - len(text); len(part) > room && !(len(part) == room+1 && part[room] == '\n') {
			cut = true
			text = append(text, part[:room]...)
		} else {
			text = append(text, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err == nil || len(text) > 0 {
			f.left -= lineCost
			line(bytes.TrimRight(text, "\r\n"), cut)
		}
		if err != nil {
			return
		}
		if cap(text) > maxLine*2 {
			text = nil // one long line is no reason to keep its room
		}
		text, cut = text[:0], false
	}
}

// paced reads at most readRate bytes a second, after readBurst: a plugin that writes faster
// waits, and nobody else. Who makes lines of them takes from left what these cost.
type paced struct {
	r     io.Reader
	left  float64 // bytes that may be read now; below 0: that were read too soon
	at    time.Time
	now   func() time.Time // of tests
	sleep func(time.Duration)
}

func newPaced(r io.Reader) *paced {
	return &paced{r: r, left: readBurst, at: time.Now(), now: time.Now, sleep: time.Sleep}
}

func (p *paced) Read(b []byte) (int, error) {
	now := p.now()
	p.left = min(readBurst, p.left+now.Sub(p.at).Seconds()*readRate)
	p.at = now
	if p.left < 0 {
		p.sleep(time.Duration(-p.left / readRate * float64(time.Second)))
	}
	n, err := p.r.Read(b)
	p.left -= float64(n)
	return n, err
}

// printable makes what a plugin wrote fit for a line of a log: what does not print is
// a space, what is no UTF-8 is escaped.
func printable(text []byte) string {
	if len(text) > maxLine {
		text = text[:maxLine]
	}
	s := strings.ReplaceAll(string(text), "\t", "    ")
	var out strings.Builder
	for i, r := range s {
		if r == 0xFFFD && !strings.HasPrefix(s[i:], "\uFFFD") {
			fmt.Fprintf(&out, `\x%02x`, s[i])
			continue
		}
		out.WriteRune(r)
	}
	line := out.String()
	indent := len(line) - len(strings.TrimLeft(line, " "))
	return line[:min(indent, maxLine/2)] + s4t.Line(line, maxLine-min(indent, maxLine/2))
}

// parseLog reads a file of a log; a damaged line is left out.
func parseLog(text []byte) (lines []s4t.LogLine) {
	for line := range bytes.SplitSeq(text, []byte("\n")) {
		var l s4t.LogLine
		if json.Unmarshal(line, &l) == nil && l.Seq > 0 && l.Seq < maxSeq {
			lines = append(lines, l)
		}
	}
	return lines
}

// readFrom reads a page of a file from a place on; what cannot be read is nothing.
func readFrom(name string, off int64) []byte {
	f, err := os.Open(name)
	if err != nil {
		return nil
	}
	defer f.Close()
	text := make([]byte, logPage)
	n, err := f.ReadAt(text, off)
	if err != nil && err != io.EOF {
		return nil
	}
	return text[:n]
}

// readUpTo reads a file of at most limit bytes.
func readUpTo(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, fmt.Errorf("%s is longer than %d bytes", name, limit)
	}
	return text, err
}
