package plugin

import (
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// guests are programs that the test binary is when it is called with "guest".
var guests = map[string]func() int{}

// newSandbox makes a sandbox for a test and closes it at its end.
func newSandbox(t *testing.T) *Sandbox {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := strings.ReplaceAll(fmt.Sprintf("s4t-test-%d-%s", os.Getpid(), t.Name()), "/", "-")
	s, err := NewSandbox(SandboxConfig{Name: name, Stub: []string{self, stubName}})
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

// run runs a guest to its end and returns what it wrote.
func run(t *testing.T, s *Sandbox, spec Spec) (string, Exit) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
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
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), await(t, p)
}

func shell(script string) Spec { return Spec{Argv: []string{"/bin/sh", "-c", script}} }

func TestRuns(t *testing.T) {
	s := newSandbox(t)
	t.Log(s.Enforces())
	text, exit := run(t, s, shell("echo hello; cat /proc/self/cgroup; cat /proc/self/status; ls /proc; ls /; ls -l /proc/self/fd; exit 3"))
	if exit != (Exit{Code: 3}) {
		t.Fatal(exit)
	}
	t.Log(text)
}
