package main

import (
	"context"
	"errors"
	"html"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// browsers open a file in the browser of who sits here, by system.
var browsers = map[string][]string{"darwin": {"open"}, "windows": {"rundll32", "url.dll,FileProtocolHandler"}}

// Of the file that leads a browser to a link: the beginning of its directory's name, and its
// own.
const (
	leadDir  = "s4t-dashboard-"
	leadFile = "open.html"
)

// browse opens a link in a browser. Arguments of a process can be read by everybody on this
// machine: the link is in a file that only this user reads, and which leads there. The browser
// reads it in its own time, so it stays; the next call removes it, or forget, which is called
// where s4t runs until the link leads nowhere.
func browse(ctx context.Context, link string) (forget func(), err error) {
	const op = "open a browser"
	line := browsers[runtime.GOOS]
	if line == nil {
		line = []string{"xdg-open"}
	}
	if _, err := exec.LookPath(line[0]); err != nil {
		return nil, s4t.Errorf(s4t.NotFound, op, "", "%w", err)
	}
	forgetLeads(os.TempDir(), time.Now())
	dir, err := os.MkdirTemp("", leadDir) // mode 0700
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	forget = func() { os.RemoveAll(dir) }
	page := filepath.Join(dir, leadFile)
	text := `<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url=` + html.EscapeString(link) + `"><title>Stack4Things</title>`
	if err := os.WriteFile(page, []byte(text), 0o600); err != nil {
		forget()
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, s4t.LoginCodeLifetime)
	defer cancel()
	out, err := exec.CommandContext(ctx, line[0], append(line[1:], page)...).CombinedOutput()
	if err != nil {
		forget()
		return nil, s4t.Errorf(s4t.Internal, op, "", "%s: %w: %s", line[0], err, s4t.Line(strings.TrimSpace(string(out)), 200))
	}
	return forget, nil
}

// forgetLeads removes from a directory, which others may write to as well, what earlier calls
// left there and whose codes are worth nothing any more: each file by its name, and its
// directory when that is empty. Through a link of somebody else nothing outside is reached
// ([os.Root]); what is not this user's cannot be removed, and stays.
func forgetLeads(in string, now time.Time) {
	root, err := os.OpenRoot(in)
	if err != nil {
		return
	}
	defer root.Close()
	names, err := fs.Glob(root.FS(), leadDir+"*")
	if err != nil {
		return
	}
	for _, name := range names {
		i, err := root.Lstat(name)
		if err != nil || !i.IsDir() || now.Sub(i.ModTime()) < s4t.LoginCodeLifetime {
			continue
		}
		if err := root.Remove(filepath.Join(name, leadFile)); err == nil || errors.Is(err, fs.ErrNotExist) {
			_ = root.Remove(name) // another's, or there is more in it: it stays
		}
	}
}
