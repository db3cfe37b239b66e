package plugin

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
	spec := Spec{Argv: []string{program(t, "tail"), "/dev/zero"}} // it keeps the last line, which does not end
	spec.Limits.Memory = 16 << 20
	_, exit := run(t, s, spec)
	if !exit.OOM || exit.Signal != "SIGKILL" {
		t.Fatalf("%+v", exit)
	}
	if other.ended() {
		t.Fatal("another guest has ended")
	}
}

// TestMemoryHogEndsWhole has one process of several want too much: not the first, and one that would
// be started again.
func TestMemoryHogEndsWhole(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceMemory, "cgroup")
	spec := shell("while :; do tail /dev/zero; done & sleep 1000 & echo $!; exec sleep 1000")
	spec.Limits.Memory = 16 << 20
	p, out := start(t, s, spec)
	other := numbers(t, line(t, out))[0]
	if exit := await(t, p); !exit.OOM || exit.Signal != "SIGKILL" || exit.String() != "killed: out of memory, it may have 16 MB" {
		t.Errorf("%+v: %s", exit, exit)
	}
	if lives(other) {
		t.Error("a part of it lives")
	}
}

// TestItCouldReadTheKey starts one as lightning-rod's own user on a kernel without Landlock.
func TestItCouldReadTheKey(t *testing.T) {
	s := makeSandbox(t)
	s.exposed, s.enforces[enforceFiles] = false, "no: this kernel has no Landlock; file permissions only"
	spec := shell("exit 0")
	spec.Name, spec.Dir = "guest", "/"
	if _, err := s.Start(spec); err == nil || !strings.Contains(err.Error(), "it could read this board's key") {
		t.Fatal(err)
	}
}

func TestMemoryHogWithoutCgroups(t *testing.T) {
	s := makeSandboxIn(t, parseHierarchies(""))
	spec := Spec{Argv: []string{program(t, "tail"), "/dev/zero"}}
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

// TestLightningRodIsKilled kills what runs a sandbox: nothing of its guests is to be left.
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
	var ends []int
	for _, pid := range left {
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		ends = append(ends, fd)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if len(findHierarchies().roots()) == 0 {
		ends = ends[1:] // nobody finds it
		_ = syscall.Kill(left[0], syscall.SIGKILL)
	}
	for _, fd := range ends {
		for {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 300_000)
			if n == 1 {
				break
			}
			if err != unix.EINTR {
				t.Fatalf("a part of the guest outlives it: %d, %v", n, err)
			}
		}
	}
	if err := Clear(name); err != nil {
		t.Fatal(err)
	}
}

// TestAWatcherKnowsItsGroups has groups of the same name made while it is about to kill.
func TestAWatcherKnowsItsGroups(t *testing.T) {
	s := makeSandbox(t)
	need(t, s, enforceProcesses, "cgroup")
	var outer []*os.File
	for _, folder := range s.group.folders() {
		f, err := os.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		outer = append(outer, f)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	next := makeSandbox(t)
	p, out := start(t, next, shell("echo; exec sleep 1000"))
	line(t, out)
	for _, f := range outer {
		killWithin(f, false)
	}
	if p.ended() {
		t.Error("a guest of the next lightning-rod is killed")
	}
	for _, folder := range next.group.folders() {
		f, err := os.Open(folder)
		if err != nil {
			t.Fatal(err)
		}
		killWithin(f, folder == next.group.v2)
		f.Close()
	}
	if exit := await(t, p); exit.Signal != "SIGKILL" {
		t.Errorf("its own lives: %+v", exit)
	}
}
