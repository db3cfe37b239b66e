//go:build linux

package link

import (
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t/vnet"
)

// inNamespace puts the rest of the test into a network namespace of its own,
// or skips it. The thread is never given back, so the namespace goes with it;
// goroutines that the test starts are outside, but devices opened here stay
// inside.
func inNamespace(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for a network namespace")
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		t.Skipf("needs a network namespace of its own: %v", err)
	}
}

// open returns a device of the namespace that is up.
func open(t testing.TB, cfg Config) *Device {
	t.Helper()
	d, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := up(cfg.Name); err != nil {
		t.Fatal(err)
	}
	return d
}

// up brings a device up, silently.
func up(name string) error {
	return Apply([]vnet.Op{
		vnet.Sysctl{Path: "net/ipv6/conf/" + name + "/disable_ipv6", Value: "1"},
		vnet.MTU{Name: name, MTU: 1500},
		vnet.Up{Name: name},
	})
}

// readOnly mounts a directory of the kernel's read-only, for the calling thread:
// it is in a mount namespace of its own from then on.
func readOnly(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_FS); err != nil {
		return err
	}
	if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
		return err
	}
	return unix.Mount("none", dir, "", unix.MS_BIND|unix.MS_REMOUNT|unix.MS_RDONLY, "")
}
