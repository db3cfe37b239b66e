package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// stubTime is how long the stub may take from its fork to its exec.
const stubTime = time.Minute

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
