//go:build linux

package fuse

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func TestShell(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	for _, test := range []struct{ script, want string }{
		{"cat value", "0"},
		{"ls", "far\nlink\nmany\nvalue"},
		{"ls -a", ".\n..\nfar\nlink\nmany\nvalue"},
		{"echo 1 > value; cat value", "1"},
		{"echo 2 >> value; cat link", "2"},
		{"echo 3 | tee value; cat value", "3\n3"},
		{"readlink link", "value"},
		{"stat -c '%a %s %F %Y' value", "666 4096 regular file 1700000000"},
		{"head -c 1 value", "3"},
		{"dd if=value bs=1 2>/dev/null", "3"},
		{"dd if=value bs=256k 2>/dev/null", "3"},
		{"test -w value && echo yes", "yes"},
		{"stat -f -c %l .", "255"},
		{"truncate -s 0 value; cat value", "3"},
		{": > value; cat value", "3"},
		{"cat value > $T/copy; cat $T/copy", "3"},
		{"cp value $T/copy; cat $T/copy", "3"},
		{"wc -c < value; wc -l < value; tail -n 1 value; grep -c 3 value", "2\n1\n3\n1"},
	} {
		if got := m.sh(t, test.script); got != test.want {
			t.Errorf("%s: %q, not %q", test.script, got, test.want)
		}
	}
}

func TestBusybox(t *testing.T) {
	if _, err := exec.LookPath("busybox"); err != nil {
		t.Skip("busybox is not installed")
	}
	m := mountTree(t, newTree())
	for _, test := range []struct{ script, want string }{
		{"busybox cat value", "0"},
		{": > value; busybox cat value", "0"},
		{"echo 21.5 > value; busybox cat value", "21.5"},
		{"echo 0 > value; busybox cat value", "0"},
		{"echo 21.5 | busybox tee value; busybox cat value; busybox cat value | wc -c", "21.5\n21.5\n5"},
		{"busybox cp value $T/copy; cat $T/copy", "21.5"},
		{"echo 1 | busybox tee value >/dev/null; busybox cat value", "1"},
		{"busybox sh -c 'echo 0 > value; read v < value; echo $v'", "0"},
		{"busybox ls", "far\nlink\nmany\nvalue"},
		{"busybox find . -type f", "./value\n./far"},
	} {
		if got := m.sh(t, test.script); got != test.want {
			t.Errorf("%s: %q, not %q", test.script, got, test.want)
		}
	}
}

// Each errno reaches a program as it is.
func TestErrnos(t *testing.T) {
	tr := newTree()
	var want []string
	for _, e := range []syscall.Errno{syscall.EINVAL, syscall.EACCES, syscall.EBUSY, syscall.ESTALE, syscall.EHOSTUNREACH,
		syscall.ENODEV, syscall.ETIMEDOUT, syscall.ENOBUFS, syscall.EIO} {
		n := strconv.Itoa(int(e))
		tr.names = append(tr.names, "err"+n)
		want = append(want, "err"+n+" "+n+" "+n)
	}
	m := mountTree(t, tr)
	got := m.python(t, `
def errno(fn, *a):
    try: fn(*a)
    except OSError as e: return e.errno
for name in os.listdir("."):
    if name.startswith("err"):
        fd = os.open(name, os.O_RDWR | os.O_TRUNC)
        print(name, errno(os.read, fd, 10), errno(os.write, fd, b"1"))
`)
	if got != strings.Join(want, "\n") {
		t.Errorf("%s\nnot\n%s", got, strings.Join(want, "\n"))
	}
}

// What is not for pins is refused, and changes nothing.
func TestNothingIsMadeOrRemoved(t *testing.T) {
	m := mountTree(t, newTree())
	got := m.python(t, `
def errno(fn, *a):
    try: fn(*a); return "done"
    except OSError as e: return errno_name[e.errno]
errno_name = sys.modules["errno"].errorcode
print(errno(os.open, "new", os.O_CREAT | os.O_WRONLY))
print(errno(os.mkdir, "new"), errno(os.rmdir, "many"), errno(os.unlink, "value"), errno(os.symlink, "a", "new"))
print(errno(os.link, "value", "new"), errno(os.rename, "value", "new"), errno(os.mkfifo, "new"))
print(errno(os.chmod, "value", 0o600), errno(os.chown, "value", 1, 1), errno(os.utime, "value"), errno(os.truncate, "value", 0))
print(errno(os.utime, "value", (1, 2)), errno(os.utime, "many"), errno(os.chmod, "value", os.stat("value").st_mode & 0o777), errno(os.chown, "value", -1, 1), os.stat("value").st_mtime)
print(errno(os.getxattr, "value", "user.a"), errno(os.open, "nothing", os.O_RDONLY), errno(os.open, "a" * 256, os.O_RDONLY))
print(sorted(os.listdir(".")))
`)
	want := `EPERM
EPERM EPERM EPERM EPERM
EPERM EPERM EPERM
EPERM EPERM done done
done EPERM done EPERM 1700000000.0
ENOTSUP ENOENT ENAMETOOLONG
['far', 'link', 'many', 'value']`
	if got != want {
		t.Errorf("%s\nnot\n%s", got, want)
	}
}

// A tree of 1,000 boards with 8 pins of 6 files each, made as it is looked at.
func TestManyNodes(t *testing.T) {
	tr := newTree()
	tr.boards = 1000
	m := mountTree(t, tr)
	for range 2 { // the second time from what the kernel keeps
		if got := m.sh(t, "ls -lR many | grep -c '^[d-]'"); got != "57000" {
			t.Errorf("ls -lR shows %s files and folders", got)
		}
		if got := m.sh(t, "find many | wc -l"); got != "57001" {
			t.Errorf("find shows %s", got)
		}
	}
}

func TestTenThousandOpenFiles(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	k := talking(t, m.pythonCommand(t, `
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (10100, max(10100, resource.getrlimit(resource.RLIMIT_NOFILE)[1])))
p = select.epoll()
fds = [os.open("value", os.O_RDONLY) for i in range(10000)]
for fd in fds:
    os.pread(fd, 10, 0)
    p.register(fd, select.EPOLLPRI | select.EPOLLET)
print("open", len(p.poll(0, 20000)), flush=True)
sys.stdin.readline()
woken = set()
while len(woken) < 10000:
    for fd, _ in p.poll(-1, 20000): woken.add(fd)
print(len([fd for fd in fds if os.pread(fd, 10, 0) == b"5\n"]), flush=True)
for fd in fds: os.close(fd)
print("closed", flush=True)
sys.stdin.readline()
`))
	k.hear("open 0")
	if n := tr.opened(); n != 10000 {
		t.Errorf("%d files are open", n)
	}
	tr.set("5")
	k.say("poll")
	k.hear("10000")
	k.hear("closed")
	for range 10000 { // the kernel tells of each by itself
		<-tr.freed
	}
}
