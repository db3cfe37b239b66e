package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/netlab"
)

// pinLab is a cloud and boards in one network namespace and one mount namespace
// that nobody else sees: what they mount goes with them, however the test ends.
type pinLab struct {
	t      *testing.T
	dir    string // of everything that they write
	holder *exec.Cmd
	cloud  *pinProcess
	listen string // ADDRESS:PORT of the cloud
	url    string
}

// pinProcess is a program that runs in the lab.
type pinProcess struct {
	cmd  *exec.Cmd
	log  *lockedLog
	done chan struct{} // closed when it has ended
}

// lockedLog is what a program printed.
type lockedLog struct {
	mu    sync.Mutex
	text  bytes.Buffer
	grown chan struct{} // closed at the next byte
}

// Write adds to it.
func (l *lockedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(p)
}

// String is all of it.
func (l *lockedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// patience is how long a test waits for what is to come at once: it only says
// that it does not come.
const patience = 30 * time.Second

// newPinLab makes the namespaces and a cloud.
func newPinLab(t *testing.T) *pinLab {
	t.Helper()
	if why := netlab.Missing(); why != "" {
		t.Skip(why)
	}
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("there is no /dev/fuse: ", err)
	}
	for _, program := range []string{"unshare", "nsenter", "python3"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	l := &pinLab{t: t, dir: t.TempDir(), listen: "127.0.0.1:8812"}
	l.holder = exec.Command("unshare", "--mount", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep infinity")
	l.holder.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := l.holder.StdoutPipe()
	if err == nil {
		err = l.holder.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.holder.Process.Kill()
		l.holder.Wait()
	})
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal("the namespaces are not there: ", err)
	}
	l.startCloud()
	return l
}

// command is a program in the lab.
func (l *pinLab) command(ctx context.Context, argv ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"-t", fmt.Sprint(l.holder.Process.Pid), "-m", "-n", "--"}, argv...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = time.Second
	cmd.Env = append(os.Environ(), "S4T_CONTEXT_FILE="+filepath.Join(l.dir, "cloud", "admin.toml"), "HOME="+l.dir, "NO_COLOR=1")
	return cmd
}

// start starts a program that runs until the test ends, or it is stopped.
func (l *pinLab) start(argv ...string) *pinProcess {
	l.t.Helper()
	p := &pinProcess{cmd: l.command(context.Background(), argv...), log: &lockedLog{grown: make(chan struct{})}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	if err := p.cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.done)
	}()
	l.t.Cleanup(func() {
		p.stop()
		if l.t.Failed() {
			lines := strings.Split(strings.TrimSpace(p.log.String()), "\n")
			l.t.Logf("--- %s\n%s", strings.Join(argv, " "), strings.Join(lines[max(0, len(lines)-40):], "\n"))
		}
	})
	return p
}

// stop ends it with SIGTERM, or else with SIGKILL.
func (p *pinProcess) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		p.kill()
	}
}

// kill ends it with SIGKILL.
func (p *pinProcess) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// waitFor waits until it has printed lines that hold a text times times. A line that
// has no end yet does not count: what follows the text is read afterwards.
func (l *pinLab) waitFor(p *pinProcess, text string, times int) {
	l.t.Helper()
	limit := time.After(patience)
	for {
		p.log.mu.Lock()
		said := p.log.text.String()
		n, grown := strings.Count(said[:strings.LastIndexByte(said, '\n')+1], text), p.log.grown
		p.log.mu.Unlock()
		if n >= times {
			return
		}
		select {
		case <-grown:
		case <-p.done:
			l.t.Fatalf("it ended before it said %q:\n%s", text, p.log)
		case <-limit:
			l.t.Fatalf("it did not say %q %d times within %v:\n%s", text, times, patience, p.log)
		}
	}
}

// startCloud starts the cloud, or starts it again.
func (l *pinLab) startCloud() {
	l.t.Helper()
	l.cloud = l.start(filepath.Join(bin, "iotronic"), "serve", "--data", filepath.Join(l.dir, "cloud"), "--listen", l.listen)
	l.waitFor(l.cloud, "ready https://", 1)
	l.url = "https://" + l.listen
}

// pinBoard is a board of the lab.
type pinBoard struct {
	*pinProcess
	lab             *pinLab
	name, state, io string
	args            []string
}

// board makes a board and waits until it is ready. Its pins are what config says,
// or those of a board without pins; its lightning-rod has these arguments, too.
func (l *pinLab) board(name, config string, args ...string) *pinBoard {
	l.t.Helper()
	b := &pinBoard{lab: l, name: name, state: filepath.Join(l.dir, name), io: filepath.Join(l.dir, name+"-io")}
	b.args = append([]string{"--state", b.state, "--io", b.io}, args...)
	if config != "" {
		file := filepath.Join(l.dir, name+".toml")
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			l.t.Fatal(err)
		}
		b.args = append(b.args, "--io-config", file)
	}
	var made s4t.Board
	l.json(&made, "board", "create", name)
	b.pinProcess = l.start(append([]string{filepath.Join(bin, "lightning-rod"), "join", made.Join}, b.args...)...)
	l.waitFor(b.pinProcess, "ready "+name+" ", 1)
	b.waitMounted()
	return b
}

// again starts the board's lightning-rod again.
func (b *pinBoard) again() {
	b.lab.t.Helper()
	b.pinProcess = b.lab.start(append([]string{filepath.Join(bin, "lightning-rod"), "run"}, b.args...)...)
	b.lab.waitFor(b.pinProcess, "ready "+b.name+" ", 1)
	b.waitMounted()
}

// waitMounted waits until the board's tree is there.
func (b *pinBoard) waitMounted() {
	b.lab.t.Helper()
	within(b.lab.t, patience, "the tree of "+b.name, func() error {
		_, err := b.lab.sh("test -e " + filepath.Join(b.io, "sim/demo/out/value"))
		return err
	})
}

// value is the path of the value of a pin in the board's own tree.
func (b *pinBoard) value(pin string) string { return filepath.Join(b.io, pin, "value") }

// mount mounts boards with `s4t mount`, or by another board, and waits for a board
// to be seen there.
func (l *pinLab) mount(dir, board string, argv ...string) *pinProcess {
	l.t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		l.t.Fatal(err)
	}
	p := l.start(append(argv, dir)...)
	within(l.t, patience, "a mount at "+dir, func() error {
		_, err := l.sh("test -e " + filepath.Join(dir, board, "sim/demo/out/value"))
		return err
	})
	return p
}

// userMount is `s4t mount`; args are more of its arguments.
func (l *pinLab) userMount(name, board string, args ...string) (string, *pinProcess) {
	l.t.Helper()
	dir := filepath.Join(l.dir, name)
	return dir, l.mount(dir, board, append([]string{filepath.Join(bin, "s4t"), "mount"}, args...)...)
}

// boardMount is `lightning-rod mount` at a board.
func (b *pinBoard) boardMount(board string) (string, *pinProcess) {
	b.lab.t.Helper()
	dir := filepath.Join(b.lab.dir, b.name+"-others")
	return dir, b.lab.mount(dir, board, filepath.Join(bin, "lightning-rod"), "mount", "--state", b.state)
}

// run runs a program of the lab to its end.
func (l *pinLab) run(argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := l.command(ctx, argv...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return strings.TrimSpace(string(out)), err
}

// sh runs a line of dash.
func (l *pinLab) sh(line string) (string, error) { return l.run("/bin/sh", "-c", line) }

// must runs a program that has to succeed.
func (l *pinLab) must(argv ...string) string {
	l.t.Helper()
	out, err := l.run(argv...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// s4t runs `s4t ARGS` to its end.
func (l *pinLab) s4t(args ...string) (string, error) {
	return l.run(append([]string{filepath.Join(bin, "s4t")}, args...)...)
}

// json runs `s4t ARGS -o json` and decodes what it prints.
func (l *pinLab) json(v any, args ...string) {
	l.t.Helper()
	out, err := l.s4t(append(args, "-o", "json")...)
	if err == nil {
		err = json.Unmarshal([]byte(out), v)
	}
	if err != nil {
		l.t.Fatal(err, out)
	}
}

// fails runs `s4t ARGS`, which has to end with a status, and returns its errors.
func (l *pinLab) fails(status int, args ...string) string {
	l.t.Helper()
	_, err := l.s4t(args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != status {
		l.t.Fatalf("s4t %s: want exit status %d, got %v", strings.Join(args, " "), status, err)
	}
	return err.Error()
}

// files does what a program of its own does with files; see testdata/files.py.
func (l *pinLab) files(args ...string) string {
	l.t.Helper()
	script, err := filepath.Abs("testdata/files.py")
	if err != nil {
		l.t.Fatal(err)
	}
	out, err := l.run(append([]string{"python3", script}, args...)...)
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// is waits until the value of a file is what it has to be.
func (l *pinLab) is(file, want string) {
	l.t.Helper()
	within(l.t, patience, file+" is "+want, func() error {
		if got := l.files("read", file); got != want {
			return fmt.Errorf("it is %s", got)
		}
		return nil
	})
}

// wants fails the test unless doing something with files says want.
func (l *pinLab) wants(want string, args ...string) {
	l.t.Helper()
	if got := l.files(args...); got != want {
		l.t.Errorf("%s: %s, want %s", strings.Join(args, " "), got, want)
	}
}

// watching starts `files.py watch FILE N` and waits until it waits.
func (l *pinLab) watching(file string, n int) *pinProcess {
	l.t.Helper()
	script, err := filepath.Abs("testdata/files.py")
	if err != nil {
		l.t.Fatal(err)
	}
	p := l.start("python3", "-u", script, "watch", file, fmt.Sprint(n))
	l.waitFor(p, "waits", 1)
	return p
}
