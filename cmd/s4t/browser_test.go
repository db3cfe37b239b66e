package main

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// opensWith has links opened by a line of sh, whose $0 is the file that leads there.
func opensWith(t *testing.T, line string) {
	t.Helper()
	was, had := browsers[runtime.GOOS]
	t.Cleanup(func() {
		if delete(browsers, runtime.GOOS); had {
			browsers[runtime.GOOS] = was
		}
	})
	browsers[runtime.GOOS] = []string{"sh", "-c", line}
}

// names of what is in a directory.
func namesIn(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestABrowserIsLedToTheLinkByAFileThatGoes(t *testing.T) {
	tmp, seen := t.TempDir(), filepath.Join(t.TempDir(), "seen")
	t.Setenv("TMPDIR", tmp)
	t.Setenv("SEEN", seen)
	opensWith(t, `cat "$0" >"$SEEN"`)
	const link = "https://cloud.test/#login=a&b"
	forget, err := browse(t.Context(), link)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(seen); err != nil || !strings.Contains(string(text), `url=https://cloud.test/#login=a&amp;b"`) {
		t.Errorf("the browser was given %s, %v", text, err)
	}
	left := namesIn(t, tmp)
	if len(left) != 1 {
		t.Fatalf("there are %q, want one directory for who reads late", left)
	}
	page := filepath.Join(tmp, left[0], leadFile)
	for path, want := range map[string]os.FileMode{filepath.Dir(page): 0o700, page: 0o600} {
		if i, err := os.Stat(path); err != nil || i.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, i, err)
		}
	}
	forget()
	if left := namesIn(t, tmp); len(left) != 0 {
		t.Errorf("s4t stayed until the end, and left %q", left)
	}

	// Where s4t ends at once, the next call removes what it left, once its code is worth nothing.
	for range 2 {
		if _, err := browse(t.Context(), link); err != nil {
			t.Fatal(err)
		}
	}
	left = namesIn(t, tmp)
	if len(left) != 2 {
		t.Fatalf("a moment later there are %q, want both", left)
	}
	old := time.Now().Add(-s4t.LoginCodeLifetime - time.Minute)
	if err := os.Chtimes(filepath.Join(tmp, left[0]), old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := browse(t.Context(), link); err != nil {
		t.Fatal(err)
	}
	if now := namesIn(t, tmp); len(now) != 2 || slices.Contains(now, left[0]) || !slices.Contains(now, left[1]) {
		t.Errorf("there were %q, the first an old one, and are %q", left, now)
	}
	opensWith(t, `echo no display >&2; exit 3`)
	if _, err := browse(t.Context(), link); err == nil || !strings.Contains(err.Error(), "no display") {
		t.Errorf("a browser that does not open: %v", err)
	}
	if now := namesIn(t, tmp); len(now) != 2 {
		t.Errorf("one that was not opened left something: %q", now)
	}
}

// TestOnlyWhatEarlierCallsLeftIsRemoved: everybody may write to the directory.
func TestOnlyWhatEarlierCallsLeftIsRemoved(t *testing.T) {
	tmp, home := t.TempDir(), t.TempDir()
	made := func(path string) string {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	mine := made(filepath.Join(home, leadFile))
	more := made(filepath.Join(tmp, leadDir+"more", "letter.txt"))
	other := made(filepath.Join(tmp, "other", leadFile))
	plain := made(filepath.Join(tmp, leadDir+"file"))
	led := filepath.Join(tmp, leadDir+"led")
	if err := os.Symlink(home, led); err != nil {
		t.Fatal(err)
	}
	within := filepath.Join(tmp, leadDir+"within") // its file is a link: it goes, and not what it leads to
	if err := os.Mkdir(within, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(mine, filepath.Join(within, leadFile)); err != nil {
		t.Fatal(err)
	}
	forgetLeads(tmp, time.Now().Add(s4t.LoginCodeLifetime+time.Hour))
	for _, path := range []string{mine, more, other, plain, led} {
		if _, err := os.Lstat(path); err != nil {
			t.Errorf("gone: %v", err)
		}
	}
	if _, err := os.Lstat(within); err == nil {
		t.Errorf("%s is there still", within)
	}
	forgetLeads(filepath.Join(tmp, "none"), time.Now()) // nothing to do
}
