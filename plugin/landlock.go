package plugin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a guest may read and execute besides what it was given: what programs need to start.
var systemPaths = []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/usr", "/etc", "/proc",
	"/sys/devices/system/cpu", "/sys/fs/cgroup", "/sys/kernel/mm/transparent_hugepage"}

// systemDevices are the devices that it may read and write.
var systemDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}

// Rights of Landlock (linux/landlock.h).
const (
	accessRead  = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	accessFirst = 1<<13 - 1 // of the first ABI
	// accessFile are the rights that a rule on a file, rather than a folder, may have.
	accessFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
)

// rules are what Landlock will hold the guest to.
type rules struct {
	fd   int    // -1: this kernel has no Landlock
	said string // for [Sandbox.Enforces]
	tcp  bool   // they keep it from TCP
}

// newRules makes the rules: read and execute the system and read, anything with
// write; and no TCP, where it is asked and this kernel can.
func newRules(read, write []string, noTCP bool) (rules, error) {
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return rules{fd: -1, said: "no: this kernel has no Landlock; file permissions only"}, nil
	}
	r := rules{said: fmt.Sprintf("Landlock ABI %d", abi)}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: accessFirst}
	if abi >= 2 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_REFER
	}
	if abi >= 3 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 4 && noTCP {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		r.tcp = true
	}
	if abi >= 5 {
		attr.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	if abi >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	// An older kernel takes the longer structure as long as the rest is zero.
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return rules{}, fmt.Errorf("make a ruleset of Landlock: %w", errno)
	}
	r.fd = int(fd)
	unix.CloseOnExec(r.fd)
	for _, path := range systemPaths {
		if err := r.allow(path, accessRead); err != nil && !errors.Is(err, os.ErrNotExist) {
			return rules{}, err
		}
	}
	// Where the names are resolved may be told elsewhere, in /run or /tmp.
	if path, err := filepath.EvalSymlinks("/etc/resolv.conf"); err == nil {
		read = append(read[:len(read):len(read)], path)
	}
	for _, path := range systemDevices {
		if err := r.allow(path, unix.LANDLOCK_ACCESS_FS_READ_FILE|unix.LANDLOCK_ACCESS_FS_WRITE_FILE); err != nil && !errors.Is(err, os.ErrNotExist) {
			return rules{}, err
		}
	}
	for _, path := range read {
		if err := r.allow(path, accessRead); err != nil {
			return rules{}, err
		}
	}
	for _, path := range write {
		if err := r.allow(path, attr.Handled_access_fs); err != nil {
			return rules{}, err
		}
	}
	return r, nil
}

// allow adds a rule on a file, or on a folder with all that is in it.
func (r rules) allow(path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "allow", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "allow", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= accessFile
	}
	attr := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(fd)}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(r.fd), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&attr)), 0, 0, 0); errno != 0 {
		return &os.PathError{Op: "allow", Path: path, Err: errno}
	}
	return nil
}

// restrict puts the rules into force for this thread, which has no_new_privs, and all that it becomes.
func (r rules) restrict() error {
	if r.fd < 0 {
		return nil
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(r.fd), 0, 0); errno != 0 {
		return errno
	}
	return unix.Close(r.fd)
}
