//go:build linux

package link

import (
	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// Capabilities says what this process may do to the kernel's network.
type Capabilities struct {
	Networks bool     // may create devices
	Reason   string   // what is missing, where Networks is false: one line
	Kind     s4t.Kind // of that: Unavailable without /dev/net/tun, Forbidden without the right
	Offloads Offloads // of a device made now
}

// Probe finds out by creating a TAP device and removing it at once: in a
// container or a user namespace neither the user id nor a capability tells.
func Probe() Capabilities {
	const op = "create network devices"
	fd, caps, err := openTun("s4t-probe%d", 2, false)
	if err != nil {
		reason := openError(op, err).(*s4t.Error)
		return Capabilities{Reason: reason.Error(), Kind: reason.Kind}
	}
	unix.Close(fd)
	return Capabilities{Networks: true, Offloads: caps}
}
