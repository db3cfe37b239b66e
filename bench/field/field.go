// Package field starts the real programs on this machine for a benchmark: a cloud and
// boards, each a process, and says what they use.
package field

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/bench/proc"
)

// Field is a cloud and boards, each a process.
type Field struct {
	Dir   string            // of all that they keep; gone with the field
	Cloud *Process          // iotronic
	API   *apiclient.Client // as the cloud's administrator
	Rod   string            // the program of boards that come from now on, in bin: "lightning-rod"

	bin       string
	processes []*Process
}

// Process runs until the field is closed.
type Process struct {
	cmd   *exec.Cmd
	lines chan string
	done  chan struct{}
}

// New starts a cloud with the programs in bin, on port 8812 of the loopback interface:
// the caller is in a network namespace of its own.
func New(bin string) (f *Field, err error) {
	f = &Field{bin: bin, Rod: "lightning-rod"}
	if f.Dir, err = os.MkdirTemp("", "bench"); err != nil {
		return nil, err
	}
	if err := os.Chmod(f.Dir, 0o711); err != nil { // guests of boards have users of their own
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	data := filepath.Join(f.Dir, "cloud")
	if f.Cloud, err = f.Start("ready ", "iotronic", "serve", "--data", data, "--listen", "127.0.0.1:8812"); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(data, "admin.toml"))
	if err != nil {
		return nil, err
	}
	var file struct {
		Contexts map[string]struct{ URL, Token, CA string }
	}
	if err := toml.Unmarshal(text, &file); err != nil {
		return nil, err
	}
	c := file.Contexts["default"]
	f.API, err = apiclient.New(apiclient.Config{URL: c.URL, Token: c.Token, CA: c.CA})
	return f, err
}

// Start starts a program of bin and waits for a line that begins so.
func (f *Field) Start(ready, program string, args ...string) (*Process, error) {
	p := &Process{cmd: exec.Command(filepath.Join(f.bin, program), args...), lines: make(chan string, 1024), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Env = f.env()
	r, w := io.Pipe()
	p.cmd.Stdout, p.cmd.Stderr = w, w
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	f.processes = append(f.processes, p)
	go func() {
		p.cmd.Wait()
		w.Close()
		close(p.done)
	}()
	go func() {
		defer close(p.lines)
		for s := bufio.NewScanner(r); s.Scan(); {
			select {
			case p.lines <- s.Text():
			default: // nobody reads any more
			}
		}
	}()
	var said []string
	for due := time.After(30 * time.Second); ; {
		select {
		case line, ok := <-p.lines:
			if said = append(said, line); strings.HasPrefix(line, ready) {
				return p, nil
			}
			if !ok {
				return nil, fmt.Errorf("%s ended: %s", program, strings.Join(said, "\n"))
			}
		case <-due:
			return nil, fmt.Errorf("%s does not say %q: %s", program, ready, strings.Join(said, "\n"))
		}
	}
}

// Run runs a program of bin to its end, as the cloud's administrator.
func (f *Field) Run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(f.bin, program), args...)
	cmd.Env = f.env()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, out)
	}
	return nil
}

// env is the environment of programs: what a user keeps is in Dir.
func (f *Field) env() []string {
	return append(os.Environ(), "S4T_CONTEXT_FILE="+filepath.Join(f.Dir, "cloud", "admin.toml"), "XDG_CONFIG_HOME="+f.Dir, "NO_COLOR=1")
}

// Board joins a board; args go to lightning-rod.
func (f *Field) Board(ctx context.Context, name string, args ...string) (*Process, error) {
	b, err := f.API.CreateBoard(ctx, apiclient.BoardCreate{Name: name})
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(f.Dir, name), 0o711); err != nil {
		return nil, err
	}
	return f.Start("ready ", f.Rod, append([]string{"join", b.Join, "--state", f.State(name)}, args...)...)
}

// State is a board's state directory.
func (f *Field) State(board string) string { return filepath.Join(f.Dir, board, "state") }

// Close ends everything, the newest first.
func (f *Field) Close() {
	for _, p := range slices.Backward(f.processes) {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			p.cmd.Process.Kill()
			<-p.done
		}
	}
	os.RemoveAll(f.Dir)
}

// Quantile of a list, which it sorts; 0 of none.
func Quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

// CPU is the processor time that a process has used, in seconds.
func (p *Process) CPU() float64 { return proc.CPU(p.PID()) }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// RSS is the resident memory of a process, in MiB.
func (p *Process) RSS() float64 { return proc.RSS(p.PID()) }
