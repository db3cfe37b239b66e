package pinfs

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/fuse"
)

// mounted serves a source at a folder. Only other processes may use it.
func mounted(t *testing.T, src Source) (dir string, s *Server) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "io")
	s, err := Mount(Config{Dir: dir, Source: src, Name: "pinfs-test"})
	if s4t.KindOf(err) == s4t.Unavailable {
		skip(t, "no tree of files can be mounted here: "+err.Error())
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("served: %v", err)
			}
		case <-time.After(limit):
			_ = syscall.Unmount(dir, syscall.MNT_DETACH)
			t.Fatal("the tree is still served")
		}
	})
	return dir, s
}

// skip skips a test that lacks something, where that is allowed.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("S4T_NO_SKIPS") != "" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func TestPrograms(t *testing.T) {
	gate := labelled(output("gpio/chip0/1", s4t.PinKeyDirection, s4t.PinKeyThreshold), "gate")
	src := local(gate, input("sensor/cpu/temp1"))
	dir, _ := mounted(t, src)
	value := src.pin("", "gpio/chip0/1")
	src.pin("", "sensor/cpu/temp1").do(func() { src.pins[":sensor/cpu/temp1"].sample.Value = 48.25 })
	for _, c := range []struct{ command, want string }{
		{"cat $D/sensor/cpu/temp1/value $D/sensor/cpu/temp1/at", "48.25\n2023-11-14T22:13:20.123456789Z\n"},
		{"cd $D && ls . by-name gpio && ls -l by-name | grep -o 'gate -.*'", ".:\nby-name\ngpio\nsensor\n\nby-name:\ngate\n\ngpio:\nchip0\ngate -> ../gpio/chip0/1\n"},
		{"echo 0 > $D/by-name/gate/value; echo on >> $D/by-name/gate/value; printf 0.5 > $D/by-name/gate/value; echo 1 | tee $D/by-name/gate/value", "1\n"},
		{"for i in 0 1 2; do echo $i; done > $D/by-name/gate/value", ""},
		{"read v < $D/by-name/gate/value; while read w; do echo $v $w; done < $D/by-name/gate/value", "1 1\n"},
		{"echo in > $D/by-name/gate/direction; cat $D/by-name/gate/direction; stat -c %a $D/gpio/chip0/1/value; echo out > $D/by-name/gate/direction; cat $D/by-name/gate/direction", "in\n444\nout\n"},
		{"echo > $D/by-name/gate/threshold; cat $D/by-name/gate/threshold $D/by-name/gate/kind $D/by-name/gate/unit", "\ndigital\n\n"},
		{"cat $D/by-name/gate/lease; find $D -name value | sort | sed s,$D,,; grep -c . $D/sensor/cpu/temp1/kind; wc -c < $D/sensor/cpu/temp1/value; cp $D/sensor/cpu/temp1/value /dev/stdout; head -c 2 $D/sensor/cpu/temp1/value; dd if=$D/sensor/cpu/temp1/value bs=1 status=none", "/gpio/chip0/1/value\n/sensor/cpu/temp1/value\n1\n6\n48.25\n4848.25\n"},
	} {
		if got, err := sh(t, dir, c.command); got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.command, got, err, c.want)
		}
	}
	if got := value.written; len(got) != 7 || got[1] != 1 || got[2] != 0.5 || got[6] != 2 {
		t.Errorf("written: %v", got)
	}
	value.do(func() {
		value.lease = &s4t.PinLease{Holder: "user alice", Priority: 5, Fence: 7, Until: time.Unix(1700000000, 0)}
	})
	if got, _ := sh(t, dir, "cat $D/gpio/chip0/1/lease"); got != "priority=5 fence=7 until=2023-11-14T22:13:20Z holder=user alice\n" {
		t.Errorf("lease: %q", got)
	}
	if _, err := exec.LookPath("busybox"); err != nil {
		skip(t, "busybox is not installed")
	}
	for _, c := range []struct{ command, want string }{
		{"busybox cat $D/sensor/cpu/temp1/value; busybox head -n 1 $D/sensor/cpu/temp1/value; busybox find $D/by-name/ | busybox wc -l", "48.25\n48.25\n2\n"},
		{"busybox sh -c 'echo 1 > $D/by-name/gate/value && read v < $D/sensor/cpu/temp1/value && echo $v'; echo 1 | busybox tee $D/by-name/gate/value; busybox ls -l $D/gpio/chip0/1/value | busybox cut -c 1-10", "48.25\n1\n-rw-r--r--\n"},
	} {
		if got, err := sh(t, dir, c.command); got != c.want || err != nil {
			t.Errorf("%s: %q, %v; want %q", c.command, got, err, c.want)
		}
	}
}

// Each error is an errno that a program can act on.
func TestErrnos(t *testing.T) {
	src := local(output("gpio/c/out", s4t.PinKeyDirection), input("gpio/c/in"))
	dir, _ := mounted(t, src)
	a := newAgent(t)
	out := dir + "/gpio/c/out/"
	a.does("ok", "open", "v", out+"value", "O_RDWR")
	a.does("EINVAL", "write", "v", "garbage")
	a.does("EINVAL", "write", "v", "inf")
	a.does("EINVAL", "write", "v", strings.Repeat("1", 65))
	a.does("EACCES", "open", "x", dir+"/gpio/c/in/value", "O_WRONLY")
	a.does("EACCES", "open", "x", dir+"/gpio/c/in/value", "O_RDWR")
	a.does("EACCES", "open", "x", out+"unit", "O_WRONLY")
	a.does("EACCES", "open", "x", dir+"/gpio/c/in/direction", "O_WRONLY")
	a.does("EISDIR", "open", "x", dir+"/gpio", "O_WRONLY")
	a.does("ENOENT", "open", "x", dir+"/gpio/c/in/edge", "O_RDONLY")
	a.begin("create", dir+"/gpio/new")
	if got := a.result(); got == "ok" {
		t.Error("a file was made in the tree")
	}
	a.begin("remove", out+"value")
	if got := a.result(); got == "ok" {
		t.Error("a file of the tree was removed")
	}
	p := src.pin("", "gpio/c/out")
	for kind, want := range map[s4t.Kind]string{
		s4t.Invalid: "EINVAL", s4t.Forbidden: "EACCES", s4t.Conflict: "EBUSY", s4t.Stale: "ESTALE", s4t.Offline: "EHOSTUNREACH", s4t.Unavailable: "EHOSTUNREACH",
		s4t.NotFound: "ENODEV", s4t.Timeout: "ETIMEDOUT", s4t.TooMany: "ENOBUFS", s4t.Internal: "EIO",
	} {
		p.do(func() { p.err = s4t.Errorf(kind, "", "", "a test") })
		a.does(want, "write", "v", "1")
		a.does(want, "read", "v")
	}
	p.do(func() { p.err = errors.New("no kind") })
	a.does("EIO", "read", "v")
	p.do(func() { p.err = nil })
	a.does("1", "read", "v")

	a.does("ok", "open", "d", out+"direction", "O_RDWR")
	src.mu.Lock()
	src.set = func(_ context.Context, board, pin, key, value string, by Holder) error {
		return s4t.Errorf(s4t.Invalid, "", "", "%s%s %s is %s of %d", board, pin, key, value, by.UID)
	}
	src.mu.Unlock()
	a.does("EINVAL", "write", "d", "sideways")
	a.does("EINVAL", "write", "d", strings.Repeat("x", 300))
}

// A file that wrote under a claim writes under that one only.
func TestClaimThatEnded(t *testing.T) {
	src := local(output("gpio/c/1"))
	dir, _ := mounted(t, src)
	p := src.pin("", "gpio/c/1")
	p.do(func() { p.fence = 7 })
	a := newAgent(t)
	a.does("ok", "open", "v", dir+"/gpio/c/1/value", "O_RDWR")
	a.does("1", "write", "v", "1")
	p.do(func() { p.fence = 8 }) // it ended, and there is another one
	a.does("ESTALE", "write", "v", "0")
	a.does("ESTALE", "write", "v", "0")
	a.does("ok", "open", "w", dir+"/gpio/c/1/value", "O_RDWR")
	a.does("1", "write", "w", "0")
}

// Who reads a sample in pieces gets pieces of one sample.
func TestReadInPieces(t *testing.T) {
	src := local(input("adc/c/1"))
	dir, _ := mounted(t, src)
	p := src.pin("", "adc/c/1")
	p.edge(12345)
	a := newAgent(t)
	a.does("ok", "open", "v", dir+"/adc/c/1/value", "O_RDONLY")
	a.does("12345", "read", "v")
	p.edge(9)
	a.does("345", "rest", "v", "2")
	a.does("", "rest", "v", "6")
	a.does("9", "read", "v")
	a.does("", "rest", "v", "2")
}

// A pin that goes: its files say so, whoever polls them wakes, and a pin of that
// name that comes later is another one.
func TestPinThatGoes(t *testing.T) {
	src := local(input("adc/usb/0", s4t.PinKeyDirection), input("gpio/c/1"))
	dir, s := mounted(t, src)
	a := newAgent(t)
	a.does("adc by-name gpio", "list", dir)
	for _, file := range []string{"value", "lease", "unit"} {
		a.does("ok", "open", file, dir+"/adc/usb/0/"+file, "O_RDONLY")
	}
	a.does("1", "read", "value")
	a.begin("poll", "value", "30000")
	polled(t, s, 1)
	src.show(Board{Pins: []Node{input("gpio/c/1")}})
	if got := a.result(); got != "IN+PRI+ERR+HUP" {
		t.Errorf("poll of a pin that went: %q", got)
	}
	for _, file := range []string{"value", "lease", "unit"} {
		a.does("ENODEV", "read", file)
	}
	eventually(t, "the kernel forgets the name", func() bool {
		a.begin("list", dir)
		list := a.result()
		a.begin("mode", dir+"/adc/usb/0/value")
		return list == "by-name gpio" && a.result() == "ENOENT"
	})
	src.show(Board{Pins: []Node{input("adc/usb/0"), input("gpio/c/1")}})
	eventually(t, "it is back", func() bool {
		a.begin("open", "again", dir+"/adc/usb/0/value", "O_RDONLY")
		return a.result() == "ok"
	})
	a.does("1", "read", "again")
	a.does("ENODEV", "read", "value")
}

// A device that is pulled while somebody waits for it.
func TestPinThatGoesInTheMiddle(t *testing.T) {
	src := local(output("adc/usb/0"))
	dir, s := mounted(t, src)
	p := src.pin("", "adc/usb/0")
	p.do(func() { p.slow, p.hang = true, true })
	a, b := newAgent(t), newAgent(t)
	for i, line := range [][]string{{"read", "v"}, {"write", "v", "1"}} {
		agent := []*agent{a, b}[i]
		agent.does("ok", "open", "v", dir+"/adc/usb/0/value", "O_RDWR")
		agent.begin(line...)
		p.begins(t)
	}
	src.show(Board{})
	eventually(t, "the files are of a pin that has gone", func() bool {
		s.fs.mu.Lock()
		defer s.fs.mu.Unlock()
		return len(s.fs.files) == 0
	})
	for _, agent := range []*agent{a, b} {
		if got := agent.result(); got != "ENODEV" {
			t.Errorf("%q, want ENODEV", got)
		}
	}
}

func TestReadAllocatesNothing(t *testing.T) {
	src := local(input("gpio/c/1"))
	f := newFS(src)
	_, inos := walk(t, f)
	var inline context.Context // nil: from memory
	buf := make([]byte, 64)
	for _, file := range []string{"value", "at"} {
		opened, err := f.Open(inos["gpio/c/1/"+file], 0, fuse.Caller{})
		if err != 0 {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(100, func() {
			if n, err := opened.Read(inline, buf, 0); n == 0 || err != 0 {
				t.Fatal(n, err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", file, n)
		}
		opened.Release()
	}
}

// A user sees what the owner of the board gave him, and no more.
func TestModes(t *testing.T) {
	if os.Getuid() != 0 {
		skip(t, "needs root, to become somebody else")
	}
	given, kept := output("gpio/c/given", s4t.PinKeyFallback), output("gpio/c/kept", s4t.PinKeyFallback)
	given.Mode, given.UID, given.GID = 0o600, 12345, 12345
	kept.Mode = 0o600
	src := local(given, kept)
	dir, _ := mounted(t, src)
	open(t, dir)
	a := newAgent(t)
	a.does("600 12345 12345", "mode", dir+"/gpio/c/given/value")
	a.does("ok", "uid", "12345")
	a.does("given kept", "list", dir+"/gpio/c")
	a.does("ok", "open", "v", dir+"/gpio/c/given/value", "O_RDWR")
	a.does("1", "write", "v", "1")
	a.does("1", "read", "v")
	a.does("EACCES", "open", "x", dir+"/gpio/c/kept/value", "O_RDONLY")
	a.does("EACCES", "open", "x", dir+"/gpio/c/kept/at", "O_RDONLY")
	a.does("EACCES", "open", "x", dir+"/gpio/c/kept/fallback", "O_RDONLY")
	a.does("ok", "open", "l", dir+"/gpio/c/kept/lease", "O_RDONLY")
	if by := src.pin("", "gpio/c/given").by; len(by) != 1 || by[0].UID != 12345 {
		t.Errorf("opened by %v", by)
	}
}

// open lets everybody pass to a mount in a test's folder.
func open(t *testing.T, dir string) {
	t.Helper()
	for d := filepath.Dir(dir); d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTenThousandOpenFiles(t *testing.T) {
	src := local(input("gpio/c/1"))
	dir, _ := mounted(t, src)
	p := src.pin("", "gpio/c/1")
	a := newAgent(t)
	path := dir + "/gpio/c/1/value"
	a.begin("open-many", path, "10000")
	switch got := a.result(); got {
	case "ok":
	case "EPERM":
		skip(t, "10,000 files cannot be opened here")
	default:
		t.Fatal(got)
	}
	a.does("1", "read-many", path)
	a.does("0", "poll-many", path)
	a.begin("wait-many", path)
	p.edge(2)
	if got := a.result(); got != "ok" {
		t.Fatalf("not all woke: %q", got)
	}
	a.does("2", "read-many", path)
	a.does("ok", "close-many", path)
	eventually(t, "all are closed", func() bool { return src.open() == 0 })
}
