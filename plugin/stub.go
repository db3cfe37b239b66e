package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// stubName is the argument that makes a program the stub.
const stubName = "plugin-exec"

// stubFD is the stub's end of the connection to the sandbox: the spec comes, a report goes,
// one byte says "go on", and then either the exec closes it or an error is reported.
const stubFD = 3

// stubSpec is what the stub is told, as JSON.
type stubSpec struct {
	Parent      int      // the process that it belongs to
	Argv        []string // none: a probe, which runs nothing
	Env         []string
	Dir         string
	UID, GID    int // 0: as they are
	Groups      []int
	Trusted     bool // only the user changes
	Network     bool
	Read, Write []string
	Disk        int64 // bytes of one file
	Data        int64 // bytes of memory of one process
	Processes   int   // of the user
	Nice        int
	Watch       string // the name of a sandbox: it becomes its watcher, and nothing else is told
}

// stubReport is what the stub says.
type stubReport struct {
	Enforced map[string]string // network, files, user: by what, or "no: " and why not
	Err      string
}

// IsStub says whether a program was called to be the stub.
func IsStub(args []string) bool { return len(args) == 2 && args[1] == stubName }

// StubMain is the program of the stub. It does not return.
func StubMain() {
	if err := Stub(os.NewFile(stubFD, "sandbox")); err != nil {
		fmt.Fprintln(os.Stderr, "plugin-exec:", err)
	}
	os.Exit(127)
}

// Stub becomes the guest that conn tells of: it gives up what the guest
// may not have, and execs. It returns only where that failed, and an error only where conn
// could not be told.
//
// All that it gives up belongs to a thread in Linux; an exec keeps what the calling thread has, and
// ends the others.
func Stub(conn *os.File) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	var spec stubSpec
	if err := json.NewDecoder(conn).Decode(&spec); err != nil {
		return fmt.Errorf("read what to run: %w", err)
	}
	if spec.Watch != "" {
		return watch(spec.Watch, conn)
	}
	if err := become(spec, conn); err != nil {
		return json.NewEncoder(conn).Encode(stubReport{Err: err.Error()})
	}
	return nil
}

// become does what Stub does.
func become(spec stubSpec, conn *os.File) error {
	enforced := map[string]string{}
	if err := closeOnExec(); err != nil {
		return fmt.Errorf("close files: %w", err)
	}
	if err := bound(spec); err != nil {
		return err
	}
	enforced[enforceUser] = "own user"
	if spec.UID == 0 {
		enforced[enforceUser] = "no: it is lightning-rod's own"
	}
	give := confine
	if spec.Trusted {
		give = trust
	}
	if err := give(spec, enforced); err != nil {
		return err
	}
	// Only now: a change of user takes it back.
	if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0); err != nil {
		return fmt.Errorf("ask to end with lightning-rod: %w", err)
	}
	if os.Getppid() != spec.Parent {
		return errors.New("lightning-rod has ended")
	}
	if err := os.Chdir(spec.Dir); err != nil {
		return err
	}
	if err := json.NewEncoder(conn).Encode(stubReport{Enforced: enforced}); err != nil {
		return err
	}
	if len(spec.Argv) == 0 {
		return nil
	}
	var proceed [1]byte
	if n, err := unix.Read(int(conn.Fd()), proceed[:]); n != 1 {
		return fmt.Errorf("lightning-rod has changed its mind: %w", err)
	}
	// From here on it is in its cgroup: nothing may be allocated to speak of.
	return execError(spec.Argv[0], syscall.Exec(spec.Argv[0], spec.Argv, spec.Env))
}

// execError says why a program was not executed, where the kernel's word for it means something else
// to most.
func execError(program string, err error) error {
	why := ""
	_, missing := os.Lstat(program)
	switch {
	case errors.Is(err, syscall.ENOEXEC):
		why = "; it is for another processor, or a script without a first line such as #!/bin/sh"
	case errors.Is(err, syscall.ENOENT) && missing == nil:
		why = "; the program itself is there: what its first line #! names, or the loader that it is linked for, is not"
	}
	return fmt.Errorf("exec %s: %w%s", program, err, why)
}

// trust takes away the network, where it was not given, and nothing else.
func trust(spec stubSpec, _ map[string]string) error {
	if !spec.Network {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("leave the network: %w", err)
		}
	}
	return becomeUser(spec.UID, spec.GID, spec.Groups)
}

// confine takes away what the guest was not given, for good.
func confine(spec stubSpec, enforced map[string]string) error {
	setApart()
	apart := errors.New("it sees the board's")
	if !spec.Network {
		if apart = unix.Unshare(unix.CLONE_NEWNET); apart == nil {
			enforced[enforceNetwork] = "namespace" + beyond()
		}
	}
	// What Landlock allows is named by files, which root finds wherever they are.
	rules, err := newRules(spec.Read, spec.Write, !spec.Network && apart != nil)
	if err != nil {
		return err
	}
	enforced[enforceFiles] = rules.said
	if !spec.Network && apart != nil {
		enforced[enforceNetwork] = "no: " + apart.Error()
		if rules.tcp {
			enforced[enforceNetwork] = "Landlock: TCP only"
		}
	}
	if err := dropPrivileges(spec); err != nil {
		return err
	}
	if err := rules.restrict(); err != nil {
		return fmt.Errorf("restrict files: %w", err)
	}
	return nil
}

// localCID is IOCTL_VM_SOCKETS_GET_LOCAL_CID of linux/vm_sockets.h.
const localCID = 0x7b9

// beyond says what a network namespace does not hold back on this machine: sockets of AF_VSOCK
// belong to none.
func beyond() string {
	fd, err := unix.Open("/dev/vsock", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "" // no virtual machine
	}
	defer unix.Close(fd)
	if cid, err := unix.IoctlGetUint32(fd, localCID); err != nil || cid == unix.VMADDR_CID_ANY {
		return ""
	}
	return "; not AF_VSOCK, to the host of this virtual machine"
}

// closeOnExec lets the guest have its three files and no other.
func closeOnExec() error {
	if unix.CloseRange(stubFD, ^uint(0), unix.CLOSE_RANGE_CLOEXEC) == nil {
		return nil
	}
	entries, err := os.ReadDir("/proc/self/fd") // before Linux 5.11
	if err != nil {
		return err
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= stubFD {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// files is how many files a guest may have open: as is usual.
const files = 1024

// bound sets what bounds the process by itself.
func bound(spec stubSpec) error {
	unix.Umask(0o077)
	// If memory runs out, guests go first.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("500"), 0)
	if spec.Nice != 0 {
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, spec.Nice)
	}
	limits := []struct{ resource, value int64 }{
		{unix.RLIMIT_CORE, 0},
		{unix.RLIMIT_NOFILE, files},
	}
	if spec.Disk > 0 {
		limits = append(limits, struct{ resource, value int64 }{unix.RLIMIT_FSIZE, spec.Disk})
	}
	if spec.Data > 0 {
		// Not RLIMIT_AS: many programs, those of Go first, reserve far more than they use.
		limits = append(limits, struct{ resource, value int64 }{unix.RLIMIT_DATA, spec.Data})
	}
	if spec.Processes > 0 {
		limits = append(limits, struct{ resource, value int64 }{unix.RLIMIT_NPROC, int64(spec.Processes)})
	}
	for _, l := range limits {
		value := uint64(l.value)
		var old unix.Rlimit
		if unix.Getrlimit(int(l.resource), &old) == nil {
			value = min(value, old.Max) // it cannot be raised without privileges
		}
		if err := unix.Setrlimit(int(l.resource), &unix.Rlimit{Cur: value, Max: value}); err != nil {
			return fmt.Errorf("set rlimit %d: %w", l.resource, err)
		}
	}
	return nil
}

// setApart gives the process, where it may, a session keyring and its own view of System V's IPC and of mounts, in
// which it sees no processes but those of its user. What is mounted or unmounted on the board
// later is so for it, too.
func setApart() {
	_, _ = unix.KeyctlJoinSessionKeyring("") // lightning-rod's may hold keys; or the kernel has none
	if unix.Unshare(unix.CLONE_NEWNS|unix.CLONE_NEWIPC) != nil || unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, "") != nil {
		return
	}
	// Before Linux 5.8 this option would be for all mounts of proc, so it is not
	// there: then it sees that others run.
	_ = unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "hidepid=invisible")
}

// lastCap is more than the kernel's last capability.
const lastCap = 63

// dropPrivileges becomes the user, and gives up every privilege for good.
func dropPrivileges(spec stubSpec) error {
	for c := range uintptr(lastCap) {
		_ = unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0) // one that there is not; or it has no privileges
	}
	if err := becomeUser(spec.UID, spec.GID, spec.Groups); err != nil {
		return err
	}
	_ = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) // before 4.3 there are none
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, (*unix.CapUserData)(unsafe.Pointer(&none[0]))); err != nil {
		return fmt.Errorf("drop capabilities: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set no_new_privs: %w", err)
	}
	return nil
}

// becomeUser becomes a user with a group, and those groups only.
func becomeUser(uid, gid int, groups []int) error {
	if err := syscall.Setgroups(groups); err != nil && uid != 0 {
		return fmt.Errorf("leave groups: %w", err)
	}
	if gid != 0 {
		if err := syscall.Setresgid(gid, gid, gid); err != nil {
			return fmt.Errorf("become group %d: %w", gid, err)
		}
	}
	if uid != 0 {
		if err := syscall.Setresuid(uid, uid, uid); err != nil {
			return fmt.Errorf("become user %d: %w", uid, err)
		}
	}
	return nil
}
