package plugin

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// FuzzKept checks that what was kept of a plugin never names a folder that is none of
// its versions, nor a user that is none of plugins.
func FuzzKept(f *testing.F) {
	digest := strings.Repeat("ab", 32)
	f.Add([]byte(`{"uid":60000001,"current":{"version":"1","digest":"` + digest + `","folder":"1-abababab"},"begun":true,"started":3}`))
	f.Add([]byte(`{"current":{"version":"..","digest":"` + digest + `","folder":"../x"}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := parseKept(text)
		if err != nil {
			return
		}
		for _, in := range []*installed{k.Current, k.Before} {
			if in != nil && (filepath.Base(in.Folder) != in.Folder || !strings.Contains(in.Folder, "-")) {
				t.Errorf("folder %q", in.Folder)
			}
		}
		if k.UID != 0 && k.UID < firstUser {
			t.Errorf("user %d", k.UID)
		}
	})
}

// FuzzAnswer checks that what is taken of a plugin ends a call, or is output, and
// not both.
func FuzzAnswer(f *testing.F) {
	for _, line := range []string{`{"id":"1","result":{"a":1}}`, `{"id":"1","error":"no"}`, `{"id":"1","output":null}`, `{"id":"1"}`, "x"} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		a, err := parseAnswer(line)
		if err != nil {
			return
		}
		if a.ID == "" || (a.Output != nil) == (a.Result != nil || a.Error != nil) {
			t.Errorf("%q: %+v", line, a)
		}
		for _, text := range []json.RawMessage{a.Output, a.Result} {
			if text != nil && !json.Valid(text) {
				t.Errorf("%q: %q", line, text)
			}
		}
	})
}

// FuzzLog checks that whatever a plugin writes becomes lines that print, and whatever
// is in the files of a log is read to its end.
func FuzzLog(f *testing.F) {
	f.Add([]byte("hello\n\x1b[31mred\n\xff\n"))
	f.Add([]byte(`{"seq":1,"at":"2026-01-01T00:00:00Z","stream":"stdout","text":"x"}` + "\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		r := openRing(path)
		defer r.close()
		before := r.seq
		n := 0
		capture(newPaced(bytes.NewReader(text)), maxLine, func(line []byte, _ bool) {
			n++
			r.add(streamOut, line)
		})
		lines, more := r.last(before, time.Time{}, 1<<20)
		if more || len(lines) != min(n, logBurst) && r.lost == 0 && r.gen == 1 {
			t.Errorf("%d lines of %d, more %v", len(lines), n, more)
		}
		for _, l := range lines {
			if len(l.Text) > maxLine || l.Text != strings.Map(func(c rune) rune {
				if s4t.Prints(c) {
					return c
				}
				return -1
			}, l.Text) {
				t.Errorf("%q", l.Text)
			}
		}
	})
}
