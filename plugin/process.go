package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

const killSignal = syscall.SIGKILL

// Process is a guest that was started. When its first process ends, so do all that it
// has started, whatever they did to get away.
type Process struct {
	s       *Sandbox
	spec    Spec
	group   *group
	starved atomic.Bool   // it is killed for want of memory
	done    chan struct{} // closed when all of it is gone

	mu   sync.Mutex // guards the fields below
	cmd  *exec.Cmd  // not changed after Start
	over bool       // exit and last are set, the group is about to be removed
	exit Exit
	last Used
}

// Start starts a guest. When it returns, the guest runs in its cgroup and with
// all that it may not have taken from it; an error of the exec, too, is an error of Start.
func (s *Sandbox) Start(spec Spec) (*Process, error) {
	if spec.Title == "" {
		spec.Title = spec.Name
	}
	op := fmt.Sprintf("start %q", spec.Title)
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/\n") || len(spec.Argv) == 0 || spec.UID < 0 || spec.GID < 0 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "Name and Argv are required")
	}
	if !s.exposed && !spec.Trusted && (spec.UID == 0 || spec.UID == os.Geteuid()) && strings.HasPrefix(s.enforces[enforceFiles], "no: ") {
		return nil, s4t.Errorf(s4t.Unavailable, op, "run lightning-rod as root, so that it has a user of its own", "it could read this board's key: it would run as lightning-rod's own user, and this kernel has no Landlock")
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "plugins are being stopped")
	}
	s.starting.Add(1)
	defer s.starting.Done()
	s.started++
	name := fmt.Sprintf("%s.%d", spec.Name, s.started) // a group is never used twice: see group.kill
	s.mu.Unlock()

	s.watcher.Do(s.startWatcher)
	p := &Process{s: s, spec: spec, done: make(chan struct{})}
	limits, err := p.admit(name)
	if err != nil {
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	if err := p.launch(limits); err != nil {
		p.finish()
		return nil, s4t.Errorf(s4t.Unavailable, op, "", "%w", err)
	}
	go p.wait()
	return p, nil
}

// admit makes the group of p with its limits, and counts p among those that
// run.
func (p *Process) admit(name string) (Limits, error) {
	p.s.setting.Lock()
	defer p.s.setting.Unlock()
	p.s.mu.Lock()
	outer := p.s.limits
	p.s.mu.Unlock()
	g, err := p.s.group.newChild(name)
	if err != nil {
		return Limits{}, err
	}
	limits := p.spec.Limits.within(outer)
	if err := g.setLimits(limits, nil); err != nil {
		return Limits{}, errors.Join(err, g.remove())
	}
	g.killWhole()
	if p.s.oom != nil {
		_ = p.s.oom.of(g)
	}
	p.group = g
	p.s.mu.Lock()
	p.s.running[p] = true
	p.s.mu.Unlock()
	return limits, nil
}

// launch forks the stub, puts it into its group when it is ready, and lets it
// become the guest.
func (p *Process) launch(limits Limits) error {
	told := stubSpec{
		Argv: p.spec.Argv, Env: p.spec.Env, Dir: p.spec.Dir,
		UID: p.spec.UID, GID: p.spec.GID, Groups: p.spec.Groups, Trusted: p.spec.Trusted,
		Network: p.spec.Network, Read: p.spec.Read, Write: p.spec.Write,
		Disk: limits.Disk,
	}
	if p.group.version(controllerCPU) == "" {
		told.Nice = 10
	}
	if p.group.version(controllerMemory) == "" {
		told.Data = limits.Memory
	}
	if p.group.version(controllerPIDs) == "" && p.spec.UID != 0 {
		told.Processes = limits.Processes
	}
	cmd, conn, report, err := p.s.forkStub(told, p.spec.Stdin, p.spec.Stdout, p.spec.Stderr)
	p.mu.Lock()
	p.cmd = cmd
	p.mu.Unlock()
	if err != nil {
		return err
	}
	defer conn.Close()
	for what, by := range report {
		if strings.HasPrefix(by, "no: ") && !strings.HasPrefix(p.s.enforces[what], "no: ") && what != enforceUser {
			return fmt.Errorf("%s: %s", what, strings.TrimPrefix(by, "no: "))
		}
	}
	if err := p.group.add(cmd.Process.Pid); err != nil {
		return err
	}
	if _, err := conn.Write([]byte{'\n'}); err != nil {
		return fmt.Errorf("let the stub go on: %w", err)
	}
	var failed stubReport
	switch err := json.NewDecoder(conn).Decode(&failed); {
	case errors.Is(err, io.EOF): // closed by the exec
		return nil
	case err != nil:
		return fmt.Errorf("wait for the exec: %w", err)
	}
	return errors.New(failed.Err)
}

// wait waits for the end.
func (p *Process) wait() {
	_ = p.cmd.Wait() // how it ended is in ProcessState
	p.finish()
}

// finish ends all that is left of p, keeps what it has used, and removes its group.
func (p *Process) finish() {
	if p.cmd != nil && p.cmd.ProcessState == nil { // it was not started
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
	}
	if err := p.killAll(); err != nil {
		p.s.cfg.Log.Error("a guest cannot be killed", "plugin", p.spec.Title, "err", err)
	}
	used := p.Used()
	used.Memory, used.Processes = 0, 0
	var exit Exit
	if p.cmd != nil {
		state := p.cmd.ProcessState
		exit.Code = state.ExitCode()
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			exit.Signal = unix.SignalName(status.Signal())
		}
		exit.OOM = p.starved.Load() || (exit.Signal == "SIGKILL" || exit.Code == 128+int(killSignal)) && p.group.ooms() > 0
		if exit.OOM {
			p.s.mu.Lock()
			exit.Memory = least(p.spec.Limits.Memory, p.s.limits.Memory)
			p.s.mu.Unlock()
		}
		if _, counted := p.group.cpu(); !counted {
			used.CPU = state.UserTime() + state.SystemTime()
		}
	}
	p.mu.Lock()
	p.over, p.exit, p.last = true, exit, used
	p.mu.Unlock()
	if err := p.group.remove(); err != nil {
		p.s.cfg.Log.Warn("a cgroup is left", "plugin", p.spec.Title, "err", err)
	}
	p.s.mu.Lock()
	delete(p.s.running, p)
	p.s.past += used.CPU
	p.s.mu.Unlock()
	close(p.done)
}

// PID is the first process of the guest.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when the guest has ended, with all that it started.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is how it ended. It may be asked after Done.
func (p *Process) Exit() Exit {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit
}

// Used is what it uses, or has used in all after it ended.
func (p *Process) Used() Used {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return p.last
	}
	var u Used
	list := p.all()
	u.Processes = len(list)
	cpu, cpuCounted := p.group.cpu()
	memory, memoryCounted := p.group.memory()
	u.CPU, u.Memory = cpu, memory
	for _, pid := range list {
		if !cpuCounted {
			u.CPU += statOf(pid).cpu
		}
		if !memoryCounted {
			u.Memory += statOf(pid).memory
		}
	}
	return u
}

// Terminate asks all of the guest to end (SIGTERM), kills after grace what has
// not, and returns when it is gone.
func (p *Process) Terminate(grace time.Duration) {
	p.signalAll(syscall.SIGTERM)
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.Kill()
	}
}

// Kill kills all of the guest and returns when it is gone.
func (p *Process) Kill() {
	p.signalAll(killSignal)
	<-p.done
}

// ended says whether all of it is gone.
func (p *Process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// signalAll sends a signal to all of the guest.
func (p *Process) signalAll(signal syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over { // its numbers may be others' now
		return
	}
	for _, pid := range p.all() {
		_ = syscall.Kill(pid, signal)
	}
}

// all are the processes of the guest: those of its group; where there are no groups, of its
// session, which a process can leave.
func (p *Process) all() []int {
	if len(p.group.folders()) > 0 {
		return p.group.processes()
	}
	if p.cmd == nil || p.cmd.Process == nil {
		return nil
	}
	entries, _ := os.ReadDir("/proc")
	var list []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && statOf(pid).session == p.cmd.Process.Pid {
			list = append(list, pid)
		}
	}
	return list
}

// killAll kills what is left of the guest after its first process ended.
func (p *Process) killAll() error {
	if len(p.group.folders()) > 0 {
		return p.group.kill()
	}
	return killUntilGone(p.all)
}
