package terminal

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

const slaveFlags = unix.O_RDWR | unix.O_NOCTTY | unix.O_CLOEXEC

// openPTY makes a pseudo-terminal (pty(7)): its master, which can be waited for, and the slave,
// which programs have.
func openPTY() (master, slave *os.File, err error) {
	master, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	fd := -1
	number := 0
	err = control(master, func(m int) error {
		if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
			return os.NewSyscallError("unlock a pseudo-terminal", err)
		}
		var err error
		if number, err = unix.IoctlGetInt(m, unix.TIOCGPTN); err != nil {
			return os.NewSyscallError("number a pseudo-terminal", err)
		}
		// By the master, where the kernel can (Linux 4.13): /dev/pts may be another's.
		if n, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(m), unix.TIOCGPTPEER, slaveFlags); errno == 0 {
			fd = int(n)
		}
		return nil
	})
	path := "/dev/pts/" + strconv.Itoa(number)
	if err == nil && fd < 0 {
		fd, err = unix.Open(path, slaveFlags, 0)
	}
	if err != nil {
		master.Close()
		return nil, nil, err
	}
	return master, os.NewFile(uintptr(fd), path), nil
}

// resize tells a pseudo-terminal its size; who runs there hears SIGWINCH.
func resize(master *os.File, columns, rows uint16) error {
	return control(master, func(fd int) error {
		return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Col: columns, Row: rows})
	})
}

// control calls f with a file's descriptor, which stays one that can be waited for.
func control(f *os.File, do func(fd int) error) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = do(int(fd)) }); err != nil {
		return err
	}
	return failed
}

// readNow reads what is there, without waiting.
func readNow(f *os.File, p []byte) (n int, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	cerr := raw.Read(func(fd uintptr) bool {
		n, err = unix.Read(int(fd), p)
		return true
	})
	if cerr != nil {
		return 0, cerr
	}
	return max(n, 0), err
}
