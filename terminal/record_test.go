package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
)

// keeper keeps a recording in memory.
type keeper struct {
	t       *testing.T
	refuse  error         // of every part
	waiting chan struct{} // closed: parts are taken

	mu    sync.Mutex
	text  string
	ended bool
}

func (k *keeper) keep(ctx context.Context, offset int64, lines string, ended bool) error {
	if k.waiting != nil {
		select {
		case <-k.waiting:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.refuse != nil {
		return k.refuse
	}
	if offset != int64(len(k.text)) || k.ended || len(lines) > s4t.MaxRecordingPart || lines != "" && !strings.HasSuffix(lines, "\n") {
		k.t.Errorf("a part of %d bytes at %d, where %d are there", len(lines), offset, len(k.text))
	}
	k.text += lines
	k.ended = ended
	return nil
}

// cast reads asciicast v2: its head, what was shown, and the sizes.
func (k *keeper) cast() (head map[string]any, shown string, sizes []string) {
	k.t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	last := 0.0
	for i, line := range strings.Split(strings.TrimSuffix(k.text, "\n"), "\n") {
		if i == 0 {
			if err := json.Unmarshal([]byte(line), &head); err != nil {
				k.t.Fatal(err)
			}
			continue
		}
		var event []any
		if err := json.Unmarshal([]byte(line), &event); err != nil || len(event) != 3 {
			k.t.Fatalf("%q is no event: %v", line, err)
		}
		if at := event[0].(float64); at < last {
			k.t.Errorf("%q is before %v", line, last)
		} else {
			last = at
		}
		switch event[1] {
		case "o":
			shown += event[2].(string)
		case "r":
			sizes = append(sizes, event[2].(string))
		default:
			k.t.Errorf("an event %q", line)
		}
	}
	return head, shown, sizes
}

// TestARecordingHasWhatTheShellShows: not what was typed while it showed nothing.
func TestARecordingHasWhatTheShellShows(t *testing.T) {
	h := host(t, "/bin/sh")
	k := &keeper{t: t}
	u := openKept(t, h, k.keep)
	u.types("PS1=; stty -echo; echo re'ady'\n")
	u.until("ready\r\n")
	u.types("IFS= read -r secret\n")
	u.types("hunter2\n")
	u.send(Frame{Kind: Size, Columns: 80, Rows: 24})
	u.send(Frame{Kind: Size, Columns: 80, Rows: 24})
	u.types("printf 'gr\\303\\274\\303\\237e <%s> \\033[0m\\n' ${#secret}; seq 1 20000; exit 3\n")
	if f := u.end(); f.Kind != Exit || f.Status != 3 {
		t.Errorf("it ended with %+v", f)
	}
	u.shell.Close()
	h.Wait()
	head, shown, sizes := k.cast()
	if head["version"] != 2.0 || head["width"] != 101.0 || head["height"] != 31.0 {
		t.Errorf("the head is %v", head)
	}
	for _, want := range []string{"ready\r\n", "grüße <7> \x1b[0m\r\n", "\n20000\r\n"} {
		if !strings.Contains(shown, want) {
			t.Errorf("no %q is in what was shown", want)
		}
	}
	if strings.Contains(k.text, "hunter2") {
		t.Error("what was typed is recorded")
	}
	if len(sizes) != 1 || sizes[0] != "80x24" || !k.ended {
		t.Errorf("the sizes are %q, ended %v", sizes, k.ended)
	}
}

// TestAShellThatCannotBeRecordedEnds: and who has it hears why.
func TestAShellThatCannotBeRecordedEnds(t *testing.T) {
	h := host(t, "/bin/sh")
	u := openKept(t, h, (&keeper{t: t, refuse: errors.New("it was deleted")}).keep)
	if f := u.end(); f.Kind != Problem || !strings.Contains(f.Problem, "it was deleted") {
		t.Errorf("it ended with %+v", f)
	}
	h.Wait()
}

// TestARecordingHasABound: a shell that writes more ends there.
func TestARecordingHasABound(t *testing.T) {
	h := host(t, "/bin/sh")
	k := &keeper{t: t}
	u := openKept(t, h, k.keep)
	u.types("yes 0123456789012345678901234567890123456789\n")
	if f := u.end(); f.Kind != Problem || !strings.Contains(f.Problem, "which is the most") {
		t.Errorf("it ended with %+v", f)
	}
	h.Wait()
	if n := len(k.text); n > s4t.MaxRecording || n < s4t.MaxRecording-s4t.MaxRecordingPart || !k.ended {
		t.Errorf("%d bytes are kept, ended %v", n, k.ended)
	}
}

// TestAShellWaitsForItsRecording: what waits is bounded, and a shell that is closed waits no more.
func TestAShellWaitsForItsRecording(t *testing.T) {
	h := host(t, "/bin/sh")
	k := &keeper{t: t, waiting: make(chan struct{})}
	u := openKept(t, h, k.keep)
	u.types("seq 1 400000; echo en'd'\n")
	u.until("\n50000\r\n") // some 300 KB
	close(k.waiting)
	u.until("end\r\n")
	u.shell.Close()
	h.Wait()
	if _, shown, _ := k.cast(); !strings.Contains(shown, "\n400000\r\n") {
		t.Error("some is lost")
	}
}

// TestCharactersAreWhole however they come.
func TestCharactersAreWhole(t *testing.T) {
	text := "aß€😀\xff z"
	for piece := 1; piece < 5; piece++ {
		r, got := newRecorder((&keeper{t: t}).keep), ""
		for at := 0; at < len(text); at += piece {
			got += r.whole([]byte(text[at:min(at+piece, len(text))]))
		}
		if got != text {
			t.Errorf("in pieces of %d: %q", piece, got)
		}
		r.cancel()
	}
}
