//go:build linux

package fuse

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// roles is what the test binary does when it is started again, with the folder in S4T_FUSE_DIR.
var roles = map[string]func() int{
	"serve": func() int { // until it is killed
		s, err := Mount(Config{Dir: os.Getenv("S4T_FUSE_DIR"), FileSystem: newTree()})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println("ready")
		s.Serve(context.Background())
		return 0
	},
	"look": func() int { // mounts, has cat read, unmounts
		s, err := Mount(Config{Dir: os.Getenv("S4T_FUSE_DIR"), FileSystem: newTree()})
		if err != nil {
			fmt.Println(err)
			return 1
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- s.Serve(ctx) }()
		out, err := exec.Command("cat", s.dir+"/value").CombinedOutput()
		fmt.Printf("%q %v\n", out, err)
		cancel()
		fmt.Println(<-ended, mountedAt(s.dir).kind)
		return 0
	},
	"can": func() int {
		err := CanMount()
		fmt.Println(s4t.KindOf(err), err)
		return 0
	},
}

// again starts the test binary in a role, by a command that takes it as its last arguments.
func again(role, dir string, by ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	if len(by) > 0 {
		cmd = exec.Command(by[0], append(by[1:], os.Args[0])...)
	}
	cmd.Env = append(os.Environ(), "S4T_FUSE_TEST="+role, "S4T_FUSE_DIR="+dir)
	return cmd
}

// A server that is stopped answers nobody: who wants to mount there is told so, and
// does not wait for it.
func TestMountOverAStoppedServer(t *testing.T) {
	canMount(t)
	dir := t.TempDir() + "/io"
	cmd := again("serve", dir)
	k := talking(t, cmd)
	k.hear("ready")
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
		for mountedAt(dir).device != "" && syscall.Unmount(dir, syscall.MNT_DETACH) == nil {
		}
	}()
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// Its threads stop one by one, and one that still runs may answer: the parent is told after the last.
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("wait until it is stopped: %v, %v", status, err)
	}
	type result struct {
		s   *Server
		err error
	}
	done := make(chan result, 1)
	go func() {
		s, err := Mount(Config{Dir: dir, FileSystem: newTree()})
		done <- result{s, err}
	}()
	select {
	case r := <-done:
		if s4t.KindOf(r.err) != s4t.Conflict || !strings.Contains(r.err.Error(), "does not answer") {
			t.Errorf("%v, %v", r.s, r.err)
		}
	case <-time.After(limit):
		t.Error("it waits for a server that is stopped")
	}
}

// A server that is killed leaves a dead mount; the next one clears it.
func TestMountOverADeadMount(t *testing.T) {
	canMount(t)
	dir := t.TempDir() + "/io"
	t.Cleanup(func() {
		for mountedAt(dir).device != "" && syscall.Unmount(dir, syscall.MNT_DETACH) == nil {
		}
	})
	for range 2 {
		cmd := again("serve", dir)
		k := talking(t, cmd)
		k.hear("ready")
		// Somebody who has a file open learns it, too.
		reader := talking(t, exec.Command("python3", "-c", `
import errno, os, select, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
p = select.poll(); p.register(fd, select.POLLPRI | select.POLLIN)
print("open", flush=True)
try:
    while True: p.poll(), os.pread(fd, 10, 0) # the server may still be there for the first
except OSError as e: print("gone" if e.errno in (errno.ENOTCONN, errno.ECONNABORTED) else e, flush=True)
`, dir+"/value"))
		reader.hear("open")
		cmd.Process.Kill()
		reader.hear("gone")
		if got := run(t, exec.Command("ls", dir)); !strings.Contains(got, "Transport endpoint is not connected") {
			t.Errorf("ls says %q", got)
		}
	}
	out := run(t, again("look", dir))
	if want := "\"0\\n\" <nil>\n<nil> "; out != strings.TrimRight(want, "\n") {
		t.Errorf("it says %q, not %q", out, want)
	}
	if got := mountedAt(dir); got.device != "" {
		t.Errorf("a %s is left there", got.kind)
	}
}

func TestWhereNothingIsMounted(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	if _, err := Mount(Config{Dir: m.dir, FileSystem: tr}); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(fmt.Sprint(err), "fuse.s4t") {
		t.Errorf("where a server is alive: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/mine", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Mount(Config{Dir: dir, FileSystem: tr}); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(fmt.Sprint(err), "not empty") {
		t.Errorf("a folder with a file: %v", err)
	}
	if _, err := Mount(Config{Dir: dir + "/mine", FileSystem: tr}); s4t.KindOf(err) != s4t.Unavailable {
		t.Errorf("a file: %v", err)
	}
	if _, err := Mount(Config{Dir: dir, FileSystem: tr, Name: "a,allow_other"}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("a name with a comma: %v", err)
	}
}

// A folder with a space and a link in its path is found again in the kernel's table.
func TestFolderWithAStrangeName(t *testing.T) {
	canMount(t)
	base := t.TempDir()
	if err := os.Mkdir(base+"/a b\\c", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a b\\c", base+"/link"); err != nil {
		t.Fatal(err)
	}
	if out := run(t, again("look", base+"/link/io")); out != "\"0\\n\" <nil>\n<nil> " {
		t.Errorf("it says %q", out)
	}
}

// holder has value open, and reads it whenever it is told to.
const holder = `
fd = os.open("value", os.O_RDONLY)
os.chdir("/")
print("open", flush=True)
while sys.stdin.readline() == "read\n":
    try: print(os.pread(fd, 10, 0).decode().strip(), flush=True)
    except OSError as e: print(errno.errorcode[e.errno], flush=True)
try: os.close(fd)
except OSError: pass
print("closed", flush=True)
sys.stdin.readline()
`

func TestUnmountFromOutside(t *testing.T) {
	for _, test := range []struct{ how, after string }{
		{"-l", "0"}, // lazily: who has a file open goes on
		{"-f", "ENOTCONN"},
	} {
		t.Run(test.how, func(t *testing.T) {
			m := mountTree(t, newTree())
			k := talking(t, m.pythonCommand(t, holder))
			k.hear("open")
			run(t, exec.Command("umount", test.how, m.dir))
			k.say("read")
			k.hear(test.after)
			k.say("close")
			k.hear("closed")
			if err := m.wait(t); err != nil {
				t.Error(err)
			}
			if got := mountedAt(m.dir); got.device != "" {
				t.Errorf("a %s is left there", got.kind)
			}
		})
	}
}

func TestServeEndsWhileFilesAreOpen(t *testing.T) {
	for _, test := range []struct {
		name     string
		controls string // where connections are aborted
		lazily   bool   // nobody can reach the mount any more, and it still has to end
	}{
		{"aborts", controls, false},
		{"aborts, unmounted lazily", controls, true},
		{"polls", "/nowhere", false},
		{"polls, unmounted lazily", "/nowhere", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func(was string) { controls = was }(controls)
			controls = test.controls
			m := mountTree(t, newTree())
			if m.polls && test.controls != "/nowhere" {
				t.Skip("nothing can be aborted here")
			}
			k := talking(t, m.pythonCommand(t, holder))
			k.hear("open")
			if test.lazily {
				run(t, exec.Command("umount", "-l", m.dir))
			}
			m.end()
			if err := m.wait(t); err != nil {
				t.Error(err)
			}
			k.say("read")
			k.hear("ENOTCONN")
		})
	}
}

func TestServeOfAMountThatIsNotWantedAnyMore(t *testing.T) {
	m := mountTree(t, newTree())
	m.end()
	if err := m.wait(t); err != nil {
		t.Error(err)
	}
	if got := mountedAt(m.dir); got.device != "" {
		t.Errorf("a %s is left there", got.kind)
	}
	m.InvalidateInode(Root) // does nothing any more
	m.InvalidateEntry(Root, "value")
}

// What changed is seen at once, though the kernel may keep names for a minute.
func TestInvalidate(t *testing.T) {
	tr := newTree()
	m := mountTree(t, tr)
	const script = "ls | tr '\\n' ' '; test -e new && echo there || echo not there"
	if got := m.sh(t, script); got != "far link many value not there" {
		t.Errorf("before: %q", got)
	}
	tr.mu.Lock()
	tr.names = append(tr.names, "new")
	tr.mu.Unlock()
	if got := m.sh(t, script); got != "far link many value not there" {
		t.Errorf("kept: %q", got)
	}
	m.InvalidateEntry(Root, "new")
	if got := m.sh(t, script); got != "far link many new value there" {
		t.Errorf("added: %q", got)
	}
	tr.mu.Lock()
	tr.names = append(tr.names, "newer")
	tr.mtime = time.Unix(2, 0)
	tr.mu.Unlock()
	m.InvalidateInode(Root)
	if got := m.sh(t, "ls | tr '\\n' ' '"); got != "far link many new newer value " {
		t.Errorf("with another mtime: %q", got)
	}
	tr.mu.Lock()
	tr.names[0] = ""
	tr.mu.Unlock()
	m.InvalidateEntry(Root, "value")
	if got := m.sh(t, "ls; cat value"); !strings.HasPrefix(got, "far\nlink\nmany\nnew\nnewer\ncat: value: No such file") {
		t.Errorf("removed: %q", got)
	}
}

// Names change while programs look at them, and the mount ends in the middle of it.
func TestInvalidateBesideReaders(t *testing.T) {
	tr := newTree()
	tr.boards = 50
	m := mountTree(t, tr)
	var looking []*exec.Cmd
	for range 3 {
		cmd := exec.Command("sh", "-c", "while ls -lR . && cat value; do :; done >/dev/null 2>&1")
		cmd.Dir = "/"
		cmd.Args[2] = "cd " + m.dir + "; " + cmd.Args[2]
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		looking = append(looking, cmd)
	}
	for i := range 2000 {
		m.InvalidateEntry(manyBase+Ino(i%50+1)<<8, "3")
		m.InvalidateEntry(Root, "many")
		if i == 1000 {
			m.end()
		}
	}
	if err := m.wait(t); err != nil {
		t.Error(err)
	}
	for _, cmd := range looking {
		cmd.Wait()
	}
}

// CanMount says what is missing.
func TestCanMount(t *testing.T) {
	canMount(t)
	if out := run(t, again("can", "")); out != " <nil>" {
		t.Errorf("here: %q", out)
	}
	if os.Getuid() != 0 {
		t.Skip("the rest takes root")
	}
	script := "mount -t tmpfs none /dev && exec \"$0\""
	if out := run(t, again("can", "", "unshare", "-m", "sh", "-c", script)); !strings.HasPrefix(out, "unavailable open /dev/fuse: this system has no FUSE") {
		t.Errorf("without the device: %q", out)
	}
	if out := run(t, again("can", "", "setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin", "env", "PATH=/nowhere")); !strings.HasPrefix(out, "unavailable mount files: a plain user cannot mount") {
		t.Errorf("without the right: %q", out)
	}
}

// In a user namespace, root there mounts by itself.
func TestUserNamespace(t *testing.T) {
	canMount(t)
	cmd := exec.Command("unshare", "-Urm", "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Skipf("no user namespaces here: %v: %s", err, out)
	}
	if out := run(t, again("look", t.TempDir()+"/io", "unshare", "-Urm")); out != "\"0\\n\" <nil>\n<nil> " {
		t.Errorf("it says %q", out)
	}
}

// A plain user mounts by fusermount3. The device gets the mode that udev gives it,
// in a mount namespace of the test's own.
func TestPlainUser(t *testing.T) {
	canMount(t)
	if _, err := helper(); err != nil {
		t.Skip("fusermount3 is not installed")
	}
	if os.Getuid() != 0 {
		t.Skip("it takes root to become another user")
	}
	dir, err := os.MkdirTemp("/tmp", "s4t-fuse-") // t.TempDir is root's alone
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	binary, err := os.ReadFile(os.Args[0])
	if err == nil {
		err = os.WriteFile(dir+"/test", binary, 0o755)
	}
	if err == nil {
		err = os.Mkdir(dir+"/of-nobody", 0o755)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err == nil {
		err = os.Chown(dir+"/of-nobody", 65534, 65534)
	}
	if err != nil {
		t.Fatal(err)
	}
	script := `set -e
mount -t tmpfs none /mnt
mknod -m 666 /mnt/fuse c 10 229
mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid=65534 --regid=65534 --clear-groups ` + dir + "/test"
	out := run(t, again("look", dir+"/of-nobody/io", "unshare", "-m", "sh", "-c", script))
	if out != "\"0\\n\" <nil>\n<nil> " {
		t.Errorf("it says %q", out)
	}
}

// A reader of another user sees what the modes allow.
func TestOtherUsers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("it takes root to become another user")
	}
	canMount(t)
	dir, err := os.MkdirTemp("/tmp", "s4t-fuse-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := again("serve", dir)
	k := talking(t, cmd)
	k.hear("ready")
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	out := run(t, exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", dir+"/value"))
	if out != "0" {
		t.Errorf("it reads %q", out)
	}
}
