package plugin

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// guests are programs that the test binary is when it is called with "guest".
var guests = map[string]func() int{
	"connect": func() int {
		conn, err := net.Dial("tcp", os.Args[3])
		if err != nil {
			fmt.Println(err)
			return 1
		}
		conn.Close()
		return 0
	},
	"hold": func() int { // so many bytes, until it is ended
		n, _ := strconv.Atoi(os.Args[3])
		held := make([]byte, n)
		for i := 0; i < n; i += 4096 {
			held[i] = 1
		}
		fmt.Println("held")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return int(held[0])
	},
	"board": func() int { // a lightning-rod of that name, with a guest, until it is killed
		self, _ := os.Executable()
		s, err := NewSandbox(SandboxConfig{Name: os.Args[3], Stub: []string{self, stubName}})
		if err == nil {
			spec := shell("setsid sleep 1000 & echo $! $$; exec sleep 1000")
			spec.Name, spec.Dir, spec.Stdout = "guest", "/", os.Stdout
			_, err = s.Start(spec)
		}
		if err != nil {
			fmt.Println(err)
			return 1
		}
		select {}
	},
}

// guest is a guest that is the test binary.
func guest(t *testing.T, args ...string) Spec {
	self := executable(t)
	return Spec{Argv: append([]string{self, "guest"}, args...), Read: []string{self}}
}

func shell(script string) Spec { return Spec{Argv: []string{"/bin/sh", "-c", script}} }

func executable(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return self
}

func nameOf(t *testing.T) string {
	return strings.ReplaceAll(fmt.Sprintf("s4t-test-%d-%s", os.Getpid(), t.Name()), "/", "-")
}

// makeSandbox makes a sandbox for a test and closes it at its end.
func makeSandbox(t *testing.T) *Sandbox { return makeSandboxIn(t, findHierarchies()) }

func makeSandboxIn(t *testing.T, h *hierarchies) *Sandbox {
	t.Helper()
	s, err := newSandbox(SandboxConfig{Name: nameOf(t), Stub: []string{executable(t), stubName}}, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// need skips a test where this machine cannot enforce what it is about.
func need(t *testing.T, s *Sandbox, what, by string) {
	t.Helper()
	if got := s.Enforces()[what]; !strings.HasPrefix(got, by) {
		t.Skipf("this machine does not enforce %s by %s: %s", what, by, got)
	}
}

// start starts a guest and returns what it writes.
func start(t *testing.T, s *Sandbox, spec Spec) (*Process, *bufio.Reader) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	spec.Stdout, spec.Stderr = w, w
	if spec.Dir == "" {
		spec.Dir = "/"
	}
	if spec.Name == "" {
		spec.Name = "guest"
	}
	p, err := s.Start(spec)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	return p, bufio.NewReader(r)
}

// run runs a guest to its end and returns what it wrote.
func run(t *testing.T, s *Sandbox, spec Spec) (string, Exit) {
	t.Helper()
	p, out := start(t, s, spec)
	text, err := io.ReadAll(out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text)), await(t, p)
}

// await waits for the end of a guest.
func await(t *testing.T, p *Process) Exit {
	t.Helper()
	select {
	case <-p.Done():
	case <-time.After(time.Minute):
		t.Fatal("it does not end")
	}
	return p.Exit()
}

// line reads the next line of a guest.
func line(t *testing.T, out *bufio.Reader) string {
	t.Helper()
	text, err := out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v after %q", err, text)
	}
	return strings.TrimSpace(text)
}

// numbers are the numbers in a line.
func numbers(t *testing.T, text string) []int {
	t.Helper()
	var list []int
	for _, f := range strings.Fields(text) {
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, n)
	}
	return list
}

// lives says whether there is such a process that is no zombie.
func lives(pid int) bool { return statOf(pid).session != 0 }

// ownFolder makes a folder that belongs to a user, and can be reached by all.
func ownFolder(t *testing.T, uid int) string {
	t.Helper()
	dir := t.TempDir()
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(dir), 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// ownUser is the user of guests where lightning-rod may choose one.
func ownUser() int {
	if os.Geteuid() == 0 {
		return 60_000_123
	}
	return 0
}

func TestExit(t *testing.T) {
	s := makeSandbox(t)
	for _, tt := range []struct {
		name, script string
		want         Exit
		text         string
	}{
		{"done", "exit 0", Exit{}, "exit status 0"},
		{"fails", "exit 3", Exit{Code: 3}, "exit status 3"},
		{"killed", "kill -9 $$", Exit{Code: -1, Signal: "SIGKILL"}, "killed by SIGKILL"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, exit := run(t, s, shell(tt.script))
			if exit != tt.want || exit.String() != tt.text {
				t.Fatalf("%+v: %s", exit, exit)
			}
		})
	}
}

func TestErrorsOfTheExecAreErrorsOfStart(t *testing.T) {
	s := makeSandbox(t)
	dir := ownFolder(t, ownUser())
	if err := os.WriteFile(dir+"/noise", []byte("\x00\x01"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		spec Spec
		want string
	}{
		{"no such file", Spec{Argv: []string{"/bin/there-is-none"}, Dir: "/"}, "no such file or directory"},
		{"no program", Spec{Argv: []string{dir + "/noise"}, Dir: "/", Read: []string{dir}}, "exec format error"},
		{"no such folder", Spec{Argv: []string{"/bin/sh"}, Dir: "/there-is-none"}, "no such file or directory"},
		{"no such path", Spec{Argv: []string{"/bin/sh"}, Dir: "/", Write: []string{"/there-is-none"}}, "allow /there-is-none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if strings.HasPrefix(tt.want, "allow") {
				need(t, s, enforceFiles, "Landlock")
			}
			tt.spec.Name = "guest"
			if _, err := s.Start(tt.spec); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestItGetsWhatItIsGiven(t *testing.T) {
	s := makeSandbox(t)
	leak, err := unix.Open("/dev/zero", unix.O_RDONLY, 0) // without O_CLOEXEC
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	spec := Spec{Argv: []string{"/usr/bin/env"}, Env: []string{"A=1", "B=two words"}}
	if text, _ := run(t, s, spec); text != "A=1\nB=two words" {
		t.Errorf("environment %q", text)
	}
	if text, _ := run(t, s, shell("cd /proc/$$/fd && echo *")); strings.Contains(text, " "+strconv.Itoa(leak)) {
		t.Errorf("files %q, and lightning-rod's %d is among them", text, leak)
	}
	spec = shell("umask; ulimit -c; ulimit -f; cat /proc/self/oom_score_adj; pwd")
	spec.Limits.Disk, spec.Dir = 1<<20, "/usr"
	if text, _ := run(t, s, spec); text != "0077\n0\n2048\n500\n/usr" {
		t.Errorf("bounds %q", text)
	}
	text, _ := run(t, s, Spec{Argv: []string{"/bin/cat", "/proc/self/status"}})
	for _, want := range []string{"CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "CapAmb:\t0000000000000000", "NoNewPrivs:\t1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestUserIsItsOwn(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceUser, "own user")
	spec := shell("id -u; id -G; ls -d /proc/1 2>&1; kill -0 1 2>&1")
	spec.UID, spec.GID = 60_000_123, 60_000_124
	text, _ := run(t, s, spec)
	if lines := strings.Split(text, "\n"); lines[0] != "60000123" || lines[1] != "60000124" {
		t.Fatal(text)
	}
	if !strings.Contains(text, "No such process") && !strings.Contains(text, "not permitted") {
		t.Fatalf("it can signal others: %s", text)
	}
}

func TestFilesThatItWasNotGiven(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceFiles, "Landlock")
	uid := ownUser()
	data, shown, other := ownFolder(t, uid), ownFolder(t, uid), ownFolder(t, uid)
	for _, dir := range []string{shown, other} {
		if err := os.WriteFile(dir+"/file", []byte("text\n"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	spec := shell(fmt.Sprintf(`
try() { if sh -c "$2" 2>/dev/null >&2; then echo "$1 yes"; else echo "$1 no"; fi; }
try data "echo 1 >%[1]s/a && mkdir %[1]s/d && mv %[1]s/a %[1]s/d/b && cat %[1]s/d/b && ln -s /etc %[1]s/l"
try shown "cat %[2]s/file"
try change-shown "echo 1 >%[2]s/file"
try truncate-shown ": >%[2]s/file"
try other "cat %[3]s/file"
try list-other "ls %[3]s"
try change-other "echo 1 >%[3]s/file"
try make-other "echo 1 >%[3]s/new"
try tmp "echo 1 >/tmp/s4t-sandbox-test"
try null "echo 1 >/dev/null"`, data, shown, other))
	spec.UID, spec.GID, spec.Read, spec.Write = uid, uid, []string{shown}, []string{data}
	const want = `data yes
shown yes
change-shown no
truncate-shown no
other no
list-other no
change-other no
make-other no
tmp no
null yes`
	if text, _ := run(t, s, spec); text != want {
		t.Fatalf("got\n%s\nwant\n%s", text, want)
	}
}

func TestNetwork(t *testing.T) {
	s := makeSandbox(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	spec := guest(t, "connect", listener.Addr().String())
	spec.Network = true
	if text, exit := run(t, s, spec); exit.Code != 0 {
		t.Fatalf("it was given the network: %s: %s", exit, text)
	}
	if strings.HasPrefix(s.Enforces()[enforceNetwork], "no: ") {
		t.Skipf("this machine does not keep it from the network: %s", s.Enforces()[enforceNetwork])
	}
	spec.Network = false
	if text, exit := run(t, s, spec); exit.Code != 1 {
		t.Fatalf("it was not given the network: %s: %s", exit, text)
	}
}

func TestForkBomb(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceProcesses, "cgroup")
	spec := shell("b() { b | b & }; b; exec sleep 1000")
	spec.Limits.Processes = 20
	p, out := start(t, s, spec)
	for !strings.Contains(line(t, out), "fork") { // "Cannot fork": it has come to its limit
	}
	if n := p.Used().Processes; n > 20 {
		t.Errorf("%d processes", n)
	}
	if text, exit := run(t, s, shell("echo others run")); text != "others run" {
		t.Errorf("%s: %s", exit, text)
	}
	p.Kill()
	if n := p.Used().Processes; n != 0 {
		t.Errorf("%d processes are left", n)
	}
}

func TestMemoryHog(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceMemory, "cgroup")
	other, out := start(t, s, shell("echo ready; exec sleep 1000"))
	line(t, out)
	spec := Spec{Argv: []string{"/usr/bin/tail", "/dev/zero"}} // it keeps the last line, which does not end
	spec.Limits.Memory = 16 << 20
	_, exit := run(t, s, spec)
	if !exit.OOM || exit.Signal != "SIGKILL" {
		t.Fatalf("%+v", exit)
	}
	if other.ended() {
		t.Fatal("another guest has ended")
	}
}

func TestMemoryHogWithoutCgroups(t *testing.T) {
	s := makeSandboxIn(t, parseHierarchies(""))
	spec := Spec{Argv: []string{"/usr/bin/tail", "/dev/zero"}}
	spec.Limits.Memory = 16 << 20
	if text, exit := run(t, s, spec); exit.Code != 1 {
		t.Fatalf("%s: %s", exit, text)
	}
}

func TestTerminate(t *testing.T) {
	s := makeSandbox(t)
	for _, tt := range []struct {
		name, script string
		grace        time.Duration
		want         Exit
	}{
		{"it does", "trap 'exit 7' TERM; echo ready; sleep 1000 & wait", time.Minute, Exit{Code: 7}},
		{"it does not care", "trap '' TERM; echo ready; while :; do sleep 1000; done", 50 * time.Millisecond, Exit{Code: -1, Signal: "SIGKILL"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p, out := start(t, s, shell(tt.script))
			line(t, out)
			p.Terminate(tt.grace)
			if !p.ended() || p.Exit() != tt.want {
				t.Fatalf("%+v", p.Exit())
			}
		})
	}
}

// TestNothingOutlivesIt has children that do what daemons do to get away.
func TestNothingOutlivesIt(t *testing.T) {
	for _, where := range []struct {
		name   string
		h      *hierarchies
		setsid string
	}{
		{"in cgroups", findHierarchies(), "setsid"},
		{"without", parseHierarchies(""), ""}, // a session of its own cannot be found there
	} {
		for _, tt := range []struct {
			name, after string
			end         func(p *Process)
		}{
			{"when it ends", "exit 0", func(*Process) {}},
			{"when it is killed", "exec sleep 1000", (*Process).Kill},
			{"when it is told to end", "exec sleep 1000", func(p *Process) { p.Terminate(time.Minute) }},
			{"when the sandbox is closed", "exec sleep 1000", func(p *Process) { p.s.Close() }},
		} {
			t.Run(where.name+"/"+tt.name, func(t *testing.T) {
				s := makeSandboxIn(t, where.h)
				if where.setsid != "" {
					need(t, s, enforceProcesses, "cgroup")
				}
				p, out := start(t, s, shell(fmt.Sprintf(`(%s sh -c 'trap "" HUP; echo $$; exec sleep 1000' &) | (read -r n; echo "$n"); sleep 1000 & echo $!; %s`, where.setsid, tt.after)))
				left := append(numbers(t, line(t, out)), numbers(t, line(t, out))...)
				tt.end(p)
				await(t, p)
				for _, pid := range left {
					if lives(pid) {
						t.Errorf("process %d lives", pid)
					}
				}
			})
		}
	}
}

// TestLightningRodIsKilled kills what runs a sandbox, and looks what is left.
func TestLightningRodIsKilled(t *testing.T) {
	name := nameOf(t)
	cmd := exec.Command(executable(t), "guest", "board", name)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	out := bufio.NewReader(pipe)
	left := numbers(t, line(t, out)) // a child that got away, and the guest
	ends, err := unix.PidfdOpen(left[1], 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ends)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if n, err := unix.Poll([]unix.PollFd{{Fd: int32(ends), Events: unix.POLLIN}}, 60_000); n != 1 {
		t.Fatalf("the guest outlives it: %d, %v", n, err)
	}
	s, err := NewSandbox(SandboxConfig{Name: name, Stub: []string{executable(t), stubName}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if strings.HasPrefix(s.Enforces()[enforceProcesses], "cgroup") && lives(left[0]) {
		t.Error("what the guest had started outlives the next lightning-rod's start")
	} else if lives(left[0]) {
		_ = syscall.Kill(left[0], syscall.SIGKILL)
	}
}

func TestLimitsOfAll(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceMemory, "cgroup")
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	defer w.Close()
	small, out := start(t, s, shell("echo ready; exec sleep 1000"))
	line(t, out)
	spec := guest(t, "hold", strconv.Itoa(64<<20))
	spec.Stdin = in
	large, out := start(t, s, spec)
	line(t, out)
	if m := large.Used().Memory; m < 64<<20 || s.Used().Memory < m {
		t.Errorf("it holds %d bytes, all %d", m, s.Used().Memory)
	}
	if err := s.SetLimits(Limits{CPU: 0.5, Memory: 24 << 20, Processes: 50}); err != nil {
		t.Fatal(err)
	}
	if exit := await(t, large); !exit.OOM {
		t.Errorf("it holds more than all may have: %+v", exit)
	}
	if small.ended() {
		t.Error("one that holds little has ended")
	}
	spec = Spec{Argv: []string{"/usr/bin/tail", "/dev/zero"}, Limits: Limits{CPU: 1}} // more than all may have
	if _, exit := run(t, s, spec); !exit.OOM {
		t.Errorf("%+v", exit)
	}
	if err := s.SetLimits(Limits{}); err != nil {
		t.Fatal(err)
	}
	in2, w2, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in2.Close()
	spec = guest(t, "hold", strconv.Itoa(64<<20))
	spec.Stdin = in2
	p, out := start(t, s, spec)
	line(t, out)
	w2.Close()
	if exit := await(t, p); exit.OOM {
		t.Errorf("no limit is left: %+v", exit)
	}
}

func TestUsed(t *testing.T) {
	for _, where := range []struct {
		name string
		h    *hierarchies
	}{{"in cgroups", findHierarchies()}, {"without", parseHierarchies("")}} {
		t.Run(where.name, func(t *testing.T) {
			s := makeSandboxIn(t, where.h)
			p, out := start(t, s, shell("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo; read -r x; exit 0"))
			line(t, out)
			await(t, p)
			if u := p.Used(); u.CPU < time.Millisecond || u.Memory != 0 || u.Processes != 0 || s.Used() != u {
				t.Errorf("it used %+v, all %+v", u, s.Used())
			}
		})
	}
}

// TestAsNobody runs the tests of this file that need no privileges without any.
func TestAsNobody(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("it is so already: needs root to become nobody")
	}
	dir := ownFolder(t, 0)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "plugin.test")
	if err := os.WriteFile(copied, program, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.v", "-test.run", "^(TestExit|TestErrorsOfTheExecAreErrorsOfStart|TestItGetsWhatItIsGiven|TestFilesThatItWasNotGiven|"+
		"TestNetwork|TestMemoryHogWithoutCgroups|TestTerminate|TestNothingOutlivesIt|TestUsed)$")
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + ownFolder(t, probeUID)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: probeUID, Gid: probeUID}}
	text, err := cmd.CombinedOutput()
	if err != nil || !slices.Contains(strings.Fields(string(text)), "PASS") {
		t.Fatalf("%v\n%s", err, text)
	}
}
