package lightningrod

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// Other programs may change a port's device: a network manager that takes it
// for one of its own, a script, a hand. What they did is undone; who does it
// again and again is named, and undone less often.

const (
	undoAfter   = 100 * time.Millisecond // a change comes with others
	contestedBy = 3                      // so many changes by others
	contestTime = time.Minute            // within that: somebody fights over the device
)

// contest counts what was undone on one device.
type contest struct {
	when  []time.Time // of the last ones, at most contestedBy
	retry backoff
}

// undone notes that it had to be. wait is how long the next time should wait at
// least; contested, that somebody fights over the device.
func (c *contest) undone(now time.Time) (wait time.Duration, contested bool) {
	c.when = append(c.when, now)
	c.when = c.when[max(0, len(c.when)-contestedBy):]
	if len(c.when) < contestedBy || now.Sub(c.when[0]) > contestTime+c.retry.next {
		c.retry = backoff{min: time.Second, max: 30 * time.Second}
		return 0, false
	}
	return c.retry.wait(), true
}

// contestProblem names who fights over a device, as far as can be told, and
// over what.
func contestProblem(device string, changed []vnet.Op) problem {
	var what []string
	for _, op := range changed {
		if w := setting(op); !slices.Contains(what, w) {
			what = append(what, w)
		}
	}
	who := "another program"
	if running := managers("/proc"); len(running) > 0 {
		who = "another program, perhaps " + strings.Join(running, " or ") + " which runs here,"
	}
	return problem{wire.DeviceContested, who + " keeps changing " + strings.Join(what, ", ") + " of " + device + "; tell it to leave " + vnet.DevicePrefix + "* alone"}
}

// setting names what an op sets.
func setting(op vnet.Op) string {
	switch op := op.(type) {
	case vnet.Address:
		return "the MAC address"
	case vnet.MTU:
		return "the MTU"
	case vnet.QueueLen, vnet.MaxGSO:
		return "the queue"
	case vnet.Sysctl:
		return filepath.Base(op.Path)
	case vnet.NoForward:
		return "forwarding"
	case vnet.Addresses:
		return "the addresses"
	case vnet.Bridge, vnet.Master:
		return "the kernel bridge"
	case vnet.Up:
		return "the state (down)"
	}
	return "the device"
}

// managers returns which of the programs that manage networks run. proc is
// where the kernel lists processes.
func managers(proc string) (running []string) {
	known := []string{"NetworkManager", "systemd-networkd", "connmand", "dhcpcd", "netifd", "wicked"}
	files, _ := filepath.Glob(filepath.Join(proc, "[0-9]*", "comm"))
	for _, file := range files {
		b, _ := os.ReadFile(file)
		comm := strings.TrimSpace(string(b))
		for _, name := range known {
			if comm == name[:min(len(name), 15)] && !slices.Contains(running, name) { // TASK_COMM_LEN
				running = append(running, name)
			}
		}
	}
	return running
}

// lack is what a device that is up does without.
func lack(out link.Outcome) problem {
	for _, err := range out.Lacking {
		if errors.Is(err, link.ErrNoIPv6) {
			return problem{wire.IPv6Unavailable, err.Error()}
		}
	}
	for _, err := range out.Lacking {
		return problem{wire.SettingRefused, err.Error()}
	}
	return problem{}
}
