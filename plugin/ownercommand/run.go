package ownercommand

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/wire"
)

// maxComplaint bounds the last line of the standard error, in bytes.
const maxComplaint = 4096

// drain is how long what a process printed is read after its end.
const drain = 5 * time.Second

// searchPath is where a command finds the programs that it starts.
const searchPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

var errTooLong = s4t.Errorf(s4t.Invalid, "", "", "what it printed is longer than %d bytes", s4t.MaxCommandResult)

// Call runs a command to its end: output gets each line that it prints, where it
// streams. When ctx ends the command is told to end (TERM), and killed where it does not.
func (c *Commands) Call(ctx context.Context, name string, params json.RawMessage, output func(json.RawMessage)) (json.RawMessage, error) {
	c.mu.Lock()
	cmd := c.byName[name]
	c.mu.Unlock()
	if cmd == nil {
		return nil, s4t.Errorf(s4t.NotFound, "", "", "the owner of the board has no such command any more")
	}
	argv, err := cmd.arguments(params)
	if err != nil {
		return nil, err
	}
	return cmd.run(ctx, c.cfg.Start, argv, params, output)
}

// run starts the program and waits for its end.
func (c *command) run(ctx context.Context, start func(plugin.Spec) (*plugin.Process, error), argv []string, params json.RawMessage, output func(json.RawMessage)) (json.RawMessage, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	spec := plugin.Spec{
		Name: "owner-" + c.Name, Argv: argv, Dir: c.dir, UID: c.uid, GID: c.gid, Groups: c.groups, Trusted: true, Network: c.network,
		Env: []string{searchPath, "LANG=C.UTF-8", "S4T_COMMAND=" + c.Name},
	}
	var pipes pipes
	defer pipes.close()
	var in *os.File
	if c.stdin {
		spec.Stdin, in = pipes.in()
	}
	var out, complaint *os.File
	out, spec.Stdout = pipes.out()
	complaint, spec.Stderr = pipes.out()
	if pipes.err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, "", "", "%w", pipes.err)
	}
	p, err := start(spec)
	if err != nil {
		return nil, err
	}
	pipes.started()
	var talk sync.WaitGroup
	if in != nil {
		talk.Go(func() {
			in.Write(append(params, '\n')) // who does not read it does not want it
			in.Close()
		})
	}
	var last string
	talk.Go(func() { last = lastLine(complaint) })
	tooLong := make(chan struct{})
	var result []byte
	var rerr error
	talk.Go(func() {
		if result, rerr = c.read(out, output); rerr != nil {
			close(tooLong)
			io.Copy(io.Discard, out)
		}
	})
	select {
	case <-p.Done():
	case <-tooLong:
		p.Terminate(s4t.CommandGrace)
	case <-ctx.Done():
		p.Terminate(s4t.CommandGrace)
		err = ctx.Err()
	}
	// Whoever held the other ends is gone, but where there are no cgroups.
	for _, f := range []*os.File{out, complaint} {
		f.SetReadDeadline(time.Now().Add(drain))
	}
	talk.Wait()
	exit := p.Exit()
	switch {
	case err != nil:
		return nil, err
	case rerr != nil:
		return nil, rerr
	case exit != plugin.Exit{}:
		text := exit.String()
		if last != "" {
			text += ": " + last
		}
		return nil, errors.New(text)
	case c.json:
		return result, nil // whoever asked checks that it is JSON
	}
	return wire.Encode(strings.ToValidUTF8(strings.TrimSuffix(string(result), "\n"), "\ufffd")), nil
}

// read reads what a command prints: all of it, or, where it streams, line by line, and
// the last line is the result.
func (c *command) read(from io.Reader, output func(json.RawMessage)) ([]byte, error) {
	if !c.Stream {
		all, err := io.ReadAll(io.LimitReader(from, s4t.MaxCommandResult+1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = nil
		}
		if err == nil && len(all) > s4t.MaxCommandResult {
			err = errTooLong
		}
		return all, err
	}
	var last []byte
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, s4t.MaxCommandResult)
	for lines.Scan() {
		last = append(last[:0], lines.Bytes()...)
		if c.json && json.Valid(last) {
			output(bytes.Clone(last))
		} else {
			output(wire.Encode(strings.ToValidUTF8(string(last), "\ufffd")))
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, errTooLong
	case errors.Is(err, os.ErrDeadlineExceeded):
		return last, nil
	default:
		return last, err
	}
}

// lastLine reads all, and returns the last line that says something.
func lastLine(from io.Reader) string {
	in := bufio.NewReaderSize(from, maxComplaint)
	last, begins := "", true
	for {
		line, err := in.ReadSlice('\n')
		if text := s4t.Line(string(line), maxComplaint); text != "" && begins {
			last = text
		}
		begins = !errors.Is(err, bufio.ErrBufferFull)
		if err != nil && begins {
			return last
		}
	}
}

// pipes are those of one process.
type pipes struct {
	near, far []*os.File
	err       error
}

// in makes a pipe to the process, out one from it: the process's end is far.
func (p *pipes) in() (far, near *os.File) { far, near = p.pipe(); p.keep(near, far); return far, near }

func (p *pipes) out() (near, far *os.File) { near, far = p.pipe(); p.keep(near, far); return near, far }

func (p *pipes) pipe() (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil && p.err == nil {
		p.err = err
	}
	return r, w
}

func (p *pipes) keep(near, far *os.File) { p.near, p.far = append(p.near, near), append(p.far, far) }

// started closes the ends that the process has.
func (p *pipes) started() {
	for _, f := range p.far {
		f.Close() // nil is no matter
	}
}

// close ends reading and writing: what is in the pipes can be read no more.
func (p *pipes) close() {
	p.started()
	for _, f := range p.near {
		f.Close()
	}
}
