package pinfs

import (
	"bufio"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// agent is a process that uses files as it is told.
type agent struct {
	t    *testing.T
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  chan string
	gone chan struct{}
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		skip(t, "python3 is not installed")
	}
	a := &agent{t: t, cmd: exec.Command(python, "testdata/agent.py"), out: make(chan string, 100), gone: make(chan struct{})}
	a.cmd.Stderr = os.Stderr
	a.in, err = a.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(a.gone)
		for r := bufio.NewScanner(out); r.Scan(); {
			a.out <- r.Text()
		}
		_ = a.cmd.Wait()
	}()
	t.Cleanup(a.kill)
	return a
}

func (a *agent) kill() {
	_ = a.in.Close()
	_ = a.cmd.Process.Kill()
	select {
	case <-a.gone:
	case <-time.After(limit):
		a.t.Error("the process does not die")
	}
}

// begin tells it to do something, result waits for what came of it.
func (a *agent) begin(line ...string) {
	if _, err := io.WriteString(a.in, strings.Join(line, " ")+"\n"); err != nil {
		a.t.Fatal(err)
	}
}

func (a *agent) result() string {
	a.t.Helper()
	select {
	case s := <-a.out:
		return s
	case <-time.After(limit):
		a.t.Fatal("no answer of the process")
		return ""
	}
}

// does checks what comes of doing something.
func (a *agent) does(want string, line ...string) {
	a.t.Helper()
	a.begin(line...)
	if got := a.result(); got != want {
		a.t.Errorf("%s: %q, want %q", strings.Join(line, " "), got, want)
	}
}

// sh runs a shell command in the tree.
func sh(t *testing.T, dir, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", command)
	cmd.Env = append(os.Environ(), "D="+dir, "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	return string(out), err
}
