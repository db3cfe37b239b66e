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

// asGuest is a guest that is the test binary.
func asGuest(t *testing.T, args ...string) Spec {
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

// program is where a program of this machine is.
func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// makeSandbox makes a sandbox for a test and closes it at its end.
func makeSandbox(t *testing.T) *Sandbox { return makeSandboxIn(t, findHierarchies()) }

func makeSandboxIn(t *testing.T, h *hierarchies) *Sandbox {
	t.Helper()
	s, err := newSandbox(SandboxConfig{Name: nameOf(t), Stub: []string{executable(t), stubName}}, h)
	if err != nil {
		t.Fatal(err)
	}
	s.exposed = true // the test binary can be reached by its own user only
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
	case <-time.After(5 * time.Minute):
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
	spec := asGuest(t, "hold", strconv.Itoa(64<<20))
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
	spec = Spec{Argv: []string{program(t, "tail"), "/dev/zero"}, Limits: Limits{CPU: 1}} // more than all may have
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
	spec = asGuest(t, "hold", strconv.Itoa(64<<20))
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
			p, out := start(t, s, shell("i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; echo; read -r x; exit 0"))
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
		t.Skip("the others are run without privileges already: needs root to become nobody")
	}
	dir := ownFolder(t, 0)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(executable(t))
	if err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "plugin.test")
	if err := os.WriteFile(copied, text, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(copied, "-test.v", "-test.run", "^(TestExit|TestErrorsOfTheExecAreErrorsOfStart|TestItGetsWhatItIsGiven|TestFilesThatItWasNotGiven|"+
		"TestNetwork|TestMemoryHogWithoutCgroups|TestTerminate|TestNothingOutlivesIt|TestUsed)$")
	cmd.Dir, cmd.Env = "/", []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + ownFolder(t, probeUID)}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: probeUID, Gid: probeUID}}
	text, err = cmd.CombinedOutput()
	if err != nil || !slices.Contains(strings.Fields(string(text)), "PASS") {
		t.Fatalf("%v\n%s", err, text)
	}
}

// TestKernelEnforces is for a machine of which it is known by what it enforces.
func TestKernelEnforces(t *testing.T) {
	want := os.Getenv("S4T_CGROUP")
	if want == "" {
		t.Skip("runs in a virtual machine whose cgroups are known: make test-vm")
	}
	e := makeSandbox(t).Enforces()
	for _, what := range []string{enforceCPU, enforceMemory, enforceProcesses} {
		if e[what] != want {
			t.Errorf("%s by %s", what, e[what])
		}
	}
	if e[enforceNetwork] != "namespace"+beyond() || e[enforceUser] != "own user" || !strings.HasPrefix(e[enforceFiles], "Landlock") {
		t.Errorf("%v", e)
	}
}
