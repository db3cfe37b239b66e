package terminal

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// host is a Host of a user of its own passwd: who runs the test, with a home and a shell.
func host(t *testing.T, shell string) *Host {
	t.Helper()
	if _, err := os.Stat("/dev/ptmx"); err != nil {
		t.Skip("no pseudo-terminals here")
	}
	etc := t.TempDir()
	home := t.TempDir()
	text := fmt.Sprintf("# comment\nother:x:1:1::/:/bin/sh\nmona:x:%d:%d:Mona,,,:%s:%s\n", os.Geteuid(), os.Getegid(), home, shell)
	if err := os.WriteFile(filepath.Join(etc, "passwd"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := NewHost("root", nil)
	if err != nil { // not root: as who this is
		h = &Host{log: slog.New(slog.DiscardHandler)}
	}
	h.user, h.etc = "mona", etc
	t.Cleanup(h.Wait)
	return h
}

// patience is how long a shell may take for what must happen.
var patience = time.Minute

// user is the user's end of a shell.
type user struct {
	t     *testing.T
	shell *Shell
	text  strings.Builder
	last  chan Frame // Exit or Problem; closed at the end
	seen  chan string
}

func open(t *testing.T, h *Host) *user {
	t.Helper()
	return openKept(t, h, nil)
}

// openKept opens a shell that is recorded.
func openKept(t *testing.T, h *Host, keep Keep) *user {
	t.Helper()
	s, err := h.Open("maria", keep)
	if err != nil {
		t.Fatal(err)
	}
	u := &user{t: t, shell: s, last: make(chan Frame, 1), seen: make(chan string, 1<<16)}
	t.Cleanup(func() { s.Close() })
	go func() {
		defer close(u.last)
		defer close(u.seen)
		var d Decoder
		buf := make([]byte, 7) // smaller than a frame
		for {
			n, err := s.Read(buf)
			if err != nil {
				return
			}
			d.Take(buf[:n], func(f Frame) error {
				if f.Kind == Data {
					u.seen <- string(f.Data)
				} else {
					u.last <- f
				}
				return nil
			})
		}
	}()
	u.send(Frame{Kind: Open, Columns: 101, Rows: 31, Term: "xterm-256color"})
	return u
}

func (u *user) send(f Frame) {
	u.t.Helper()
	if _, err := u.shell.Write(f.Append(nil)); err != nil {
		u.t.Fatal(err)
	}
}

func (u *user) types(text string) { u.send(Frame{Kind: Data, Data: []byte(text)}) }

// until reads what the shell writes until a text is in it.
func (u *user) until(text string) {
	u.t.Helper()
	for late := time.After(patience); !strings.Contains(u.text.String(), text); {
		select {
		case more, ok := <-u.seen:
			if !ok {
				u.t.Fatalf("the shell ended without %q: %q", text, u.text.String())
			}
			u.text.WriteString(more)
		case <-late:
			u.t.Fatalf("the shell did not write %q: %q", text, u.text.String())
		}
	}
}

// end is the last frame.
func (u *user) end() Frame {
	u.t.Helper()
	for {
		select {
		case more := <-u.seen:
			u.text.WriteString(more)
		case f := <-u.last:
			return f
		case <-time.After(patience):
			u.t.Fatal("the shell did not end")
		}
	}
}

func TestAShellIsALoginShellOnATerminalOfItsSize(t *testing.T) {
	u := open(t, host(t, "/bin/sh"))
	u.types("PS1=; echo \"arg=$0 user=$USER term=$TERM home=$(pwd)=$HOME size=$(stty size) tty=$(tty) sid=$(ps -o sid= -p $$ | tr -d ' ')=$$ end\"\n")
	u.until("size=31 101")
	u.until(" end\r\n")
	for _, want := range []string{"arg=-sh", "user=mona", "term=xterm-256color", "tty=/dev/pts/"} {
		if !strings.Contains(u.text.String(), want) {
			t.Errorf("no %s in %q", want, u.text.String())
		}
	}
	u.send(Frame{Kind: Size, Columns: 66, Rows: 22})
	u.types("stty size; exit 7\n")
	if f := u.end(); f.Kind != Exit || f.Status != 7 || !strings.Contains(u.text.String(), "22 66") {
		t.Errorf("it ended with %+v after %q", f, u.text.String())
	}
	if n, err := u.shell.Read(make([]byte, 10)); n != 0 || err != io.EOF {
		t.Errorf("after its end there is %d, %v", n, err)
	}
}

// What a shell wrote is there before its end. It waits until all is seen: what the kernel still
// has on its way when a session's leader ends, it throws away.
func TestAShellsLastWordsArrive(t *testing.T) {
	u := open(t, host(t, "/bin/sh"))
	u.types("i=0; while [ $i -lt 2000 ]; do echo line-$i; i=$((i+1)); done; echo all-'said'; read go; kill -KILL $$\n")
	u.until("all-said\r\n")
	u.types("\n")
	if f := u.end(); f.Kind != Exit || f.Status != 128+9 {
		t.Errorf("it ended with %+v after %d bytes", f, u.text.Len())
	}
}

func TestAShellWhoseUserHasGoneIsHungUp(t *testing.T) {
	h := host(t, "/bin/sh")
	u := open(t, h)
	u.types("echo rea''dy; cat\n")
	u.until("ready\r\n")
	u.shell.Close()
	h.Wait() // and reaped
	if u.shell.status != 128+1 {
		t.Errorf("it ended with the status %d, not by SIGHUP", u.shell.status)
	}
}

func TestAShellThatIgnoresItIsKilled(t *testing.T) {
	deaf := filepath.Join(t.TempDir(), "deaf")
	if err := os.WriteFile(deaf, []byte("#!/bin/sh\ntrap '' HUP\necho ready\nexec sleep 600\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	h := host(t, deaf)
	u := open(t, h)
	u.until("ready\r\n")
	u.shell.CloseWrite()
	h.Wait()
	if u.shell.status != 128+9 {
		t.Errorf("it ended with the status %d, not by SIGKILL", u.shell.status)
	}
}

func TestOnlySoManyShells(t *testing.T) {
	h := host(t, "/bin/sh")
	var all []*Shell
	for range MaxShells {
		s, err := h.Open("maria", nil)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if _, err := h.Open("maria", nil); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one more: %v", err)
	}
	all[0].Close()
	all[0].Close()
	s, err := h.Open("maria", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range append(all, s) {
		s.Close()
	}
	if h.open != 0 {
		t.Errorf("%d are counted", h.open)
	}
}

func TestWhoIsNotInOrderIsCutOff(t *testing.T) {
	h := host(t, "/bin/sh")
	for _, frames := range [][]Frame{
		{{Kind: Data, Data: []byte("ls\n")}},
		{{Kind: Size, Columns: 1, Rows: 1}},
		{{Kind: Exit}},
		{{Kind: Open, Term: "vt100"}, {Kind: Open, Term: "vt100"}},
	} {
		s, err := h.Open("maria", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range frames {
			_, err = s.Write(f.Append(nil))
		}
		if s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%v: %v", frames, err)
		}
		s.Close()
	}
}

func TestAShellThatCannotBeginSaysWhy(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad")
	if err := os.WriteFile(bad, []byte("\x7fELF nothing"), 0o755); err != nil {
		t.Fatal(err)
	}
	u := open(t, host(t, bad))
	if f := u.end(); f.Kind != Problem || !strings.Contains(f.Problem, "could not begin a shell") {
		t.Errorf("it said %+v", f)
	}
}

func TestUsersWithoutAShellAreRefused(t *testing.T) {
	etc := t.TempDir()
	uid := strconv.Itoa(os.Geteuid())
	text := "no:x:" + uid + ":0::/:/usr/sbin/nologin\ngone:x:" + uid + ":0::/:/bin/gone\nbad:x:a:0::/:/bin/sh\nplain:x:" + uid + ":0:::\nother:x:4242:4242::/:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(etc, "passwd"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "group"), []byte("a:x:7:x,plain\nb:x:8:plain\nc:x:9:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, kind := range map[string]s4t.Kind{"no": s4t.Invalid, "gone": s4t.Invalid, "bad": s4t.NotFound, "nobody": s4t.NotFound, "a:b": s4t.Invalid, "": s4t.Invalid} {
		if _, err := lookup(etc, name); s4t.KindOf(err) != kind {
			t.Errorf("%q: %v", name, err)
		}
	}
	a, err := lookup(etc, "plain")
	if err != nil || a.shell != "/bin/sh" || a.home != "/" || len(a.groups) != 2 {
		t.Errorf("plain is %+v, %v", a, err)
	}
	if os.Geteuid() != 0 {
		if other, err := lookup(etc, "other"); err != nil || s4t.KindOf(mayBecome(other)) != s4t.Forbidden {
			t.Errorf("another user may be become: %v", err)
		}
	}
}

func TestAShellOfAnotherUserHasNothingOfRoots(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("root only")
	}
	h := host(t, "/bin/sh")
	text := "mona:x:4242:4243::/nowhere:/bin/sh\n"
	if err := os.WriteFile(filepath.Join(h.etc, "passwd"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.etc, "group"), []byte("x:x:4244:mona\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := exec.LookPath("id"); err != nil {
		t.Skip(err)
	}
	t.Setenv("SECRET", "of-root")
	u := open(t, h)
	u.types("echo \"$(id -u) $(id -g) $(id -G) secret=$SECRET $(grep CapEff /proc/self/status) $(stat -c %u $(tty)) $(pwd) done\"\n")
	u.until("done\r\n")
	for _, want := range []string{"4242 4243 4243 4244 secret= CapEff:\t0000000000000000 4242 / done"} {
		if !strings.Contains(u.text.String(), want) {
			t.Errorf("no %q in %q", want, u.text.String())
		}
	}
	u.types("exit\n")
	u.end()
}
