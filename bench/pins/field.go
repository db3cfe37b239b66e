package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/stack4things/s4t/apiclient"
)

// field is a cloud and boards, each a process.
type field struct {
	bin, dir  string
	processes []*process
	cloud     *process
	api       *apiclient.Client
}

// process runs until the field is closed.
type process struct {
	cmd   *exec.Cmd
	lines chan string
	done  chan struct{}
}

// newField starts a cloud.
func newField(bin string) (f *field, err error) {
	f = &field{bin: bin}
	if f.dir, err = os.MkdirTemp("", "pins"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.close()
		}
	}()
	data := filepath.Join(f.dir, "cloud")
	if f.cloud, err = f.start("ready ", "iotronic", "serve", "--data", data, "--listen", "127.0.0.1:8812"); err != nil {
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
	f.api, err = apiclient.New(apiclient.Config{URL: c.URL, Token: c.Token, CA: c.CA})
	return f, err
}

// start starts a program and waits for a line that begins so.
func (f *field) start(ready, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(filepath.Join(f.bin, program), args...), lines: make(chan string, 1024), done: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p.cmd.Env = append(os.Environ(), "S4T_CONTEXT_FILE="+filepath.Join(f.dir, "cloud", "admin.toml"), "NO_COLOR=1")
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

// board joins a board with these pins and a tree, and returns its process and
// the folder of the tree.
func (f *field) board(ctx context.Context, name, pins string) (*process, string, error) {
	b, err := f.api.CreateBoard(ctx, apiclient.BoardCreate{Name: name})
	if err != nil {
		return nil, "", err
	}
	tree, config := filepath.Join(f.dir, name, "io"), filepath.Join(f.dir, name+".toml")
	if err := os.WriteFile(config, []byte(pins), 0o600); err != nil {
		return nil, "", err
	}
	p, err := f.start("ready ", "lightning-rod", "join", b.Join, "--state", f.state(name), "--io", tree, "--io-config", config)
	return p, tree, err
}

// state is a board's state directory.
func (f *field) state(board string) string { return filepath.Join(f.dir, board, "state") }

// close ends everything, the newest first.
func (f *field) close() {
	for _, p := range slices.Backward(f.processes) {
		p.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			p.cmd.Process.Kill()
			<-p.done
		}
	}
	os.RemoveAll(f.dir)
}

// figures runs this program with a flag and returns the numbers it prints.
func figures(ctx context.Context, args ...string) ([]float64, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var text, errs bytes.Buffer
	cmd := exec.CommandContext(ctx, self, args...)
	cmd.Stdout, cmd.Stderr = &text, &errs
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%v: %w: %s", args, err, errs.String())
	}
	var list []float64
	for word := range strings.FieldsSeq(text.String()) {
		v, err := strconv.ParseFloat(word, 64)
		if err != nil {
			return nil, err
		}
		list = append(list, v)
	}
	return list, nil
}

// quantile of a list, which it sorts; 0 of none.
func quantile(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

// cpu is the processor time that a process has used, in seconds (proc(5), stat).
func (p *process) cpu() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0
	}
	u, _ := strconv.ParseFloat(fields[11], 64)
	s, _ := strconv.ParseFloat(fields[12], 64)
	return (u + s) / 100
}

// rss is the resident memory of a process, in MiB.
func (p *process) rss() float64 {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	_, rest, _ := strings.Cut(string(b), "VmRSS:")
	if fields := strings.Fields(rest); len(fields) > 0 {
		v, _ := strconv.ParseFloat(fields[0], 64)
		return v / 1024
	}
	return 0
}
