package terminal

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stack4things/s4t"
)

const (
	maxUnsent = 1 << 20          // bytes of a recording that wait for the cloud
	waitRoom  = 30 * time.Second // for it to take some, where so many wait
	sendEvery = time.Second
	sendAfter = time.Minute // of the end of the shell, at most
)

// Keep gives more of a recording to who keeps it: whole lines of asciicast v2, at most
// [s4t.MaxRecordingPart] bytes, which begin at an offset. ended: no more follow. It returns nil when
// they are kept, and an error where they never will be: the shell is ended then.
type Keep func(ctx context.Context, offset int64, lines string, ended bool) error

// recorder is what a shell writes, on its way to who keeps it. What is typed is not in it, but for
// what the shell shows of it. A nil recorder is that of a shell that is not recorded.
type recorder struct {
	keep   Keep
	began  time.Time
	failed chan struct{} // closed where it cannot go on, with err
	room   chan struct{} // cap 1: some was kept
	more   chan struct{} // cap 1: there is something to send
	now    chan struct{} // cap 1: at once
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.Mutex // guards what follows
	lines  []byte     // that wait
	begun  []byte     // of a character, whose rest the shell has yet to write
	size   int64      // of all lines
	ended  bool
	over   bool // nothing is sent any more
	err    error
	screen [2]uint16
}

func newRecorder(keep Keep) *recorder {
	if keep == nil {
		return nil
	}
	r := &recorder{keep: keep, began: time.Now(), failed: make(chan struct{}), room: make(chan struct{}, 1), more: make(chan struct{}, 1), now: make(chan struct{}, 1)}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

// begin writes the head of the recording.
func (r *recorder) begin(open Frame) {
	head := fmt.Sprintf(`{"version":2,"width":%d,"height":%d,"timestamp":%d,"env":{"TERM":%q}}`+"\n", open.Columns, open.Rows, r.began.Unix(), open.Term)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.screen = [2]uint16{open.Columns, open.Rows}
	r.put([]byte(head))
}

// put queues a line. Caller holds mu.
func (r *recorder) put(line []byte) {
	r.lines = append(r.lines, line...)
	r.size += int64(len(line))
	wake(r.more)
	if len(r.lines) >= s4t.MaxRecordingPart {
		wake(r.now)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// event is one line: what happened, and when.
func (r *recorder) event(kind, text string) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	fmt.Fprintf(&b, `[%s,"%s",`, strconv.FormatFloat(time.Since(r.began).Seconds(), 'f', 6, 64), kind)
	e.Encode(text) // of a string it has no errors
	b.Truncate(b.Len() - 1)
	b.WriteString("]\n")
	return b.Bytes()
}

// output records what the shell writes. It waits while too much waits, until the shell has gone;
// its error is why the shell must end.
func (r *recorder) output(p []byte, gone <-chan struct{}) error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	text := r.whole(p)
	if text == "" {
		return r.err
	}
	line := r.event("o", text)
	if r.size+int64(len(line)) > s4t.MaxRecording {
		r.fail(fmt.Errorf("its recording has %d bytes, which is the most; open another", r.size))
	}
	late := time.NewTimer(waitRoom)
	defer late.Stop()
	for r.err == nil && !r.ended && len(r.lines)+len(line) > maxUnsent {
		r.mu.Unlock()
		tooLate, left := false, false
		select {
		case <-r.room:
		case <-r.failed:
		case <-gone:
			left = true
		case <-late.C:
			tooLate = true
		}
		r.mu.Lock()
		if left {
			return r.err
		}
		if tooLate {
			r.fail(fmt.Errorf("the cloud has not taken its recording for %v", waitRoom))
		}
	}
	if r.err == nil && !r.ended {
		r.put(line)
	}
	return r.err
}

// whole is what was written, without the begin of a character at its end, which comes with the
// rest. Caller holds mu.
func (r *recorder) whole(p []byte) string {
	text := append(r.begun, p...)
	cut := len(text)
	for i := 1; i < utf8.UTFMax && i <= len(text); i++ {
		if c := text[len(text)-i]; utf8.RuneStart(c) {
			if !utf8.FullRune(text[len(text)-i:]) {
				cut = len(text) - i
			}
			break
		}
	}
	r.begun = append([]byte(nil), text[cut:]...)
	return string(text[:cut])
}

// resize records another size of the terminal, unless too much waits.
func (r *recorder) resize(columns, rows uint16) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	size := [2]uint16{columns, rows}
	line := r.event("r", fmt.Sprintf("%dx%d", columns, rows))
	if r.screen == size || r.ended || r.err != nil || len(r.lines)+len(line) > maxUnsent || r.size+int64(len(line)) > s4t.MaxRecording {
		return
	}
	r.screen = size
	r.put(line)
}

// end ends the recording. What waits is sent, for a while.
func (r *recorder) end() {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	wake(r.more)
	wake(r.now)
	if !r.over {
		giveUp := time.AfterFunc(sendAfter, r.cancel)
		context.AfterFunc(r.ctx, func() { giveUp.Stop() })
	}
}

// fail says that it cannot go on. Caller holds mu.
func (r *recorder) fail(err error) {
	if r.err == nil {
		r.err = err
		close(r.failed)
	}
}

// failure is why it cannot go on; nil: it can.
func (r *recorder) failure() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// send gives to who keeps it what comes, until all is kept or it cannot go on.
func (r *recorder) send() {
	defer r.cancel()
	for offset, last := int64(0), false; !last; {
		var part string
		if part, last = r.take(); part == "" && !last {
			continue
		}
		err := r.keep(r.ctx, offset, part, last)
		offset += int64(len(part))
		r.mu.Lock()
		if err != nil {
			r.fail(fmt.Errorf("it could not be recorded: %w", err))
		}
		last = last || err != nil
		r.over = last
		r.mu.Unlock()
		wake(r.room)
	}
}

// take waits for lines, and a moment for more of them. last is set with the last of all.
func (r *recorder) take() (part string, last bool) {
	<-r.more
	r.mu.Lock()
	few := len(r.lines) < s4t.MaxRecordingPart && !r.ended
	r.mu.Unlock()
	if few {
		soon := time.NewTimer(sendEvery)
		defer soon.Stop()
		select {
		case <-soon.C:
		case <-r.now:
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n := len(r.lines)
	if n > s4t.MaxRecordingPart {
		n = bytes.LastIndexByte(r.lines[:s4t.MaxRecordingPart], '\n') + 1
		wake(r.more)
	}
	part = string(r.lines[:n])
	r.lines = append(r.lines[:0], r.lines[n:]...)
	return part, r.ended && len(r.lines) == 0
}
