package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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

// stubTime is how long the stub may take from its fork to its exec.
const stubTime = time.Minute

// Process is a guest that was started. When its first process ends, so do all that it
// has started, whatever they did to get away.
type Process struct {
	s       *Sandbox
	spec    Spec
	group   *group
	starved atomic.Bool   // it was killed to give back memory
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
	op := fmt.Sprintf("start %q", spec.Name)
	if spec.Name == "" || strings.ContainsAny(spec.Name, "/\n") || len(spec.Argv) == 0 || spec.UID < 0 || spec.GID < 0 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "Name and Argv are required")
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

// probe has the stub try what it can do on this machine.
func (s *Sandbox) probe() (map[string]string, error) {
	if os.Geteuid() != 0 {
		report, err := s.try(0)
		if err == nil {
			report[enforceUser] = "no: lightning-rod is not root"
		}
		return report, err
	}
	report, err := s.try(probeUID)
	if err == nil {
		return report, nil
	}
	report, again := s.try(0) // a root that may not do all, as in a container
	if again != nil {
		return nil, again
	}
	report[enforceUser] = "no: " + err.Error()
	return report, nil
}

// try starts a stub that runs nothing, as that user, and returns what it could do.
func (s *Sandbox) try(user int) (map[string]string, error) {
	told := stubSpec{Dir: "/", UID: user, GID: user}
	cmd, conn, report, err := s.forkStub(told, nil, nil, nil)
	if cmd != nil && cmd.Process != nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	if err != nil {
		return nil, err
	}
	return report, conn.Close()
}

// forkStub starts the stub and returns its side of the connection and what it
// could do when it is ready to become the guest. With an error there may be a command that has
// still to be waited for.
func (s *Sandbox) forkStub(told stubSpec, stdin, stdout, stderr *os.File) (*exec.Cmd, *os.File, map[string]string, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("socketpair: %w", err)
	}
	_ = unix.SetNonblock(pair[0], true) // so that it takes deadlines
	conn, far := os.NewFile(uintptr(pair[0]), "stub"), os.NewFile(uintptr(pair[1]), "stub")
	told.Parent = os.Getpid()
	cmd := &exec.Cmd{
		Path: s.cfg.Stub[0], Args: s.cfg.Stub, Dir: "/",
		Env:         []string{"GOMAXPROCS=1", "GOGC=off"}, // of the stub: few threads, no collector
		ExtraFiles:  []*os.File{far},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if stdin != nil { // a nil *os.File is not a nil io.Reader
		cmd.Stdin = stdin
	}
	if stdout != nil {
		cmd.Stdout = stdout
	}
	if stderr != nil {
		cmd.Stderr = stderr
	}
	forked := make(chan error, 1)
	s.forks <- func() { forked <- cmd.Start() }
	err = <-forked
	far.Close()
	if err != nil {
		conn.Close()
		return nil, nil, nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(stubTime))
	err = json.NewEncoder(conn).Encode(told)
	var report stubReport
	if err == nil {
		err = json.NewDecoder(conn).Decode(&report)
	}
	if err == nil && report.Err != "" {
		err = errors.New(report.Err)
	} else if err != nil {
		err = fmt.Errorf("the stub did not answer: %w", err)
	}
	if err != nil {
		conn.Close()
		return cmd, nil, nil, err
	}
	return cmd, conn, report.Enforced, nil
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
		p.s.cfg.Log.Error("a guest cannot be killed", "plugin", p.spec.Name, "err", err)
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
		if _, counted := p.group.cpu(); !counted {
			used.CPU = state.UserTime() + state.SystemTime()
		}
	}
	p.mu.Lock()
	p.over, p.exit, p.last = true, exit, used
	p.mu.Unlock()
	if err := p.group.remove(); err != nil {
		p.s.cfg.Log.Warn("a cgroup is left", "plugin", p.spec.Name, "err", err)
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
	deadline := time.Now().Add(emptied)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		list := p.all()
		if len(list) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v hang in the kernel and cannot be killed", list)
		}
		for _, pid := range list {
			_ = syscall.Kill(pid, killSignal)
		}
		time.Sleep(wait)
	}
}

// stat is what the kernel says of one process.
type stat struct {
	session int
	cpu     time.Duration
	memory  int64
}

// userHZ is the unit of times in /proc (proc(5)): 100 on all that Go runs on.
const userHZ = 100

// statOf reads /proc/PID/stat (proc(5)); zero for one that is gone or a zombie.
func statOf(pid int) stat {
	_, rest, ok := strings.Cut(readText(filepath.Join("/proc", strconv.Itoa(pid), "stat")), ") ")
	fields := strings.Fields(rest)
	if !ok || len(fields) < 22 || fields[0] == "Z" || fields[0] == "X" {
		return stat{}
	}
	number := func(i int) int64 { n, _ := strconv.ParseInt(fields[i], 10, 64); return n }
	return stat{
		session: int(number(3)),
		cpu:     time.Duration(number(11)+number(12)+number(13)+number(14)) * time.Second / userHZ,
		memory:  number(21) * int64(os.Getpagesize()),
	}
}
