package lightningrod

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// The lock of a state directory and the socket on which its lightning-rod
// answers. Where the directory is read-only, both are in the runtime directory,
// under a name that stands for it; where that cannot be written either, the lock
// is the directory itself, and nothing answers.

// runtimeDir is for what need not survive a boot (hier(7), the unit's
// RuntimeDirectory).
const runtimeDir = "/run/lightning-rod"

// readOnly is what a lightning-rod tells whose state directory is read-only.
const readOnly = "the state directory is read-only: the board runs with what is there, and after a restart it waits for the cloud"

// readOnlyError reports whether an error means that a file system is read-only.
func readOnlyError(err error) bool { return errors.Is(err, unix.EROFS) }

// runtimePath is where a file of a read-only state directory is.
func (d stateDir) runtimePath(name string) string {
	path, err := filepath.Abs(string(d))
	if err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
	}
	sum := sha256.Sum256([]byte(path))
	return filepath.Join(runtimeDir, hex.EncodeToString(sum[:8])+"-"+name)
}

// lock takes the directory for this process. Two agents with one identity
// would fight for one session. The caller closes the file to release it.
func (d stateDir) lock() (*os.File, error) {
	if err := d.create(); err != nil && !readOnlyError(err) {
		return nil, err
	}
	f, err := os.OpenFile(d.path(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if readOnlyError(err) {
		if os.MkdirAll(runtimeDir, 0o755) == nil {
			f, err = os.OpenFile(d.runtimePath(lockFile), os.O_CREATE|os.O_RDWR, 0o600)
		}
		if err != nil {
			f, err = os.Open(string(d))
		}
	}
	if err != nil {
		return nil, d.failed("open", lockFile, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, s4t.Errorf(s4t.Conflict, "use state "+string(d), "stop the other one (`lightning-rod status` shows it), or name another directory with --state", "another lightning-rod runs on it")
		}
		return nil, d.failed("lock", lockFile, err)
	}
	d.removeHalves()
	return f, nil
}

// isReadOnly reports whether the directory is on a file system that is mounted
// read-only.
func (d stateDir) isReadOnly() bool {
	return readOnlyError(unix.Access(string(d), unix.W_OK))
}

// address returns a path for a socket that fits into a Unix address (108 bytes,
// unix(7)) however deep its directory is; release it afterwards.
func address(path string) (short string, release func(), err error) {
	if len(path) < 108 {
		return path, func() {}, nil
	}
	f, err := os.Open(filepath.Dir(path))
	if err != nil {
		return "", nil, err
	}
	return filepath.Join("/proc/self/fd", strconv.Itoa(int(f.Fd())), filepath.Base(path)), func() { f.Close() }, nil
}

// reach connects to the socket of the lightning-rod that runs.
func (d stateDir) reach(ctx context.Context) (conn net.Conn, err error) {
	for _, path := range []string{d.path(socketFile), d.runtimePath(socketFile)} {
		short, release, aerr := address(path)
		if aerr != nil {
			err = errors.Join(err, aerr)
			continue
		}
		conn, derr := new(net.Dialer).DialContext(ctx, "unix", short)
		release()
		if derr == nil {
			return conn, nil
		}
		err = errors.Join(err, derr)
	}
	return nil, err
}

// listen opens the socket: nil where a read-only directory leaves no place for
// it. A file left by a killed process is replaced: the lock is held.
func (d stateDir) listen(log *slog.Logger) (*socket, error) {
	s, err := d.listenAt(d.path(socketFile), log)
	if !readOnlyError(err) {
		return s, err
	}
	if s, err = d.listenAt(d.runtimePath(socketFile), log); err != nil {
		log.Warn("the state directory is read-only; `lightning-rod status` will read the files only", "err", err)
		return nil, nil
	}
	return s, nil
}

func (d stateDir) listenAt(path string, log *slog.Logger) (*socket, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, d.failed("replace", socketFile, err)
	}
	short, release, err := address(path)
	if err != nil {
		return nil, d.failed("open", socketFile, err)
	}
	l, err := net.Listen("unix", short)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err != nil {
		if l != nil {
			l.Close()
		}
		release()
		return nil, d.failed("listen on", socketFile, err)
	}
	return &socket{listener: l, release: release, slots: make(chan struct{}, 8), log: log}, nil
}
