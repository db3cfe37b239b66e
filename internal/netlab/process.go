package netlab

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Process is a program that runs in a host until it is stopped.
type Process struct {
	Name string
	Log  string // file with everything it printed, standard output and error

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended

	mu    sync.Mutex // guards the fields below
	lines []string   // of standard output
	grown chan struct{}
	err   error
}

// Start runs argv in the host, with more environment variables "K=V". The lab
// ends it at the latest when it closes.
func (h *Host) Start(name string, env []string, argv ...string) (*Process, error) {
	p := &Process{Name: name, Log: filepath.Join(h.lab.Dir, name+".log"), done: make(chan struct{}), grown: make(chan struct{})}
	logFile, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	p.cmd = h.Command(context.Background(), argv...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = logFile
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		logFile.Close()
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		logFile.Close()
		return nil, fmt.Errorf("start %s in %s: %w", name, h.Name, err)
	}
	go func() {
		defer close(p.done)
		defer logFile.Close()
		s := bufio.NewScanner(stdout)
		for s.Scan() {
			fmt.Fprintln(logFile, s.Text())
			p.mu.Lock()
			p.lines = append(p.lines, s.Text())
			close(p.grown)
			p.grown = make(chan struct{})
			p.mu.Unlock()
		}
		err := p.cmd.Wait()
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
	}()
	h.lab.mu.Lock()
	h.lab.procs = append(h.lab.procs, p)
	h.lab.mu.Unlock()
	return p, nil
}

// Lines returns how many lines of standard output there are, for WaitLine.
func (p *Process) Lines() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.lines)
}

// WaitLine waits for a line of standard output that starts with head, after
// the first from lines, and returns it.
func (p *Process) WaitLine(head string, from int, timeout time.Duration) (string, error) {
	deadline := time.After(timeout)
	for {
		p.mu.Lock()
		for _, line := range p.lines[min(from, len(p.lines)):] {
			if strings.HasPrefix(line, head) {
				p.mu.Unlock()
				return line, nil
			}
		}
		from = len(p.lines)
		grown := p.grown
		p.mu.Unlock()
		select {
		case <-grown:
		case <-p.done:
			return "", fmt.Errorf("%s ended before it said %q:\n%s", p.Name, head, p.Tail(20))
		case <-deadline:
			return "", fmt.Errorf("%s did not say %q within %v:\n%s", p.Name, head, timeout, p.Tail(20))
		}
	}
}

// Pid of the program.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends it a signal.
func (p *Process) Signal(s syscall.Signal) error { return p.cmd.Process.Signal(s) }

// Kill ends it with SIGKILL and waits.
func (p *Process) Kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Stop ends it with SIGTERM, after half a minute with SIGKILL, and returns how it ended
// (nil for status 0).
func (p *Process) Stop() error {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.Kill()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// Tail returns the last n lines of its log.
func (p *Process) Tail(n int) string {
	b, _ := os.ReadFile(p.Log)
	lines := bytes.Split(bytes.TrimSpace(b), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-n):], []byte("\n")))
}
