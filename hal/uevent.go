package hal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// How the pins are looked for: scanSettle after the kernel said that a device came or went, so that
// what comes together is found together; each scanBlind where it cannot tell (a container
// has no uevents), each scanSeldom where it does.
const (
	scanSettle = 200 * time.Millisecond
	scanBlind  = time.Minute
	scanSeldom = 10 * time.Minute
)

// subsystems are those that have pins.
var subsystems = [][]byte{[]byte("gpio"), []byte("iio"), []byte("hwmon"), []byte("thermal"), []byte("leds"), []byte("w1"), []byte("pwm")}

// tellsOfPins reports whether a uevent of the kernel says that a device with pins came or
// went: ACTION@PATH, then KEY=VALUE, each ended by a zero (lib/kobject_uevent.c).
func tellsOfPins(message []byte) bool {
	var moved, ours bool
	for _, field := range bytes.Split(message, []byte{0}) {
		key, value, _ := bytes.Cut(field, []byte("="))
		switch string(key) {
		case "ACTION":
			moved = string(value) != "change"
		case "SUBSYSTEM":
			for _, s := range subsystems {
				ours = ours || bytes.Equal(value, s)
			}
		}
	}
	return moved && ours
}

// openUevents follows the kernel's uevents (netlink(7), NETLINK_KOBJECT_UEVENT).
func openUevents() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_KOBJECT_UEVENT)
	if err != nil {
		return nil, err
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: 1}); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "uevents"), nil
}

// follow scans again when that is worth it, until ctx ends.
func (h *HAL) follow(ctx context.Context) {
	every := scanBlind
	if events, err := h.uevents(); err == nil {
		every = scanSeldom
		h.rescan() // what came between the scan of New and here was told to nobody
		h.work.Add(1)
		go func() {
			defer h.work.Done()
			defer events.Close()
			defer context.AfterFunc(ctx, func() { events.Close() })() // not at follow's end: that may come before it has closed them
			message := make([]byte, 16<<10)                           // UEVENT_BUFFER_SIZE is 2 KB
			for ctx.Err() == nil {
				n, err := events.Read(message)
				lost := errors.Is(err, unix.ENOBUFS)
				if err != nil && !lost {
					return
				}
				if lost || tellsOfPins(message[:n]) {
					h.rescan()
				}
			}
		}()
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-h.scanNow:
			select {
			case <-ctx.Done():
				return
			case <-time.After(scanSettle):
			}
			select { // what came meanwhile is found by this scan
			case <-h.scanNow:
			default:
			}
		}
		h.scan(ctx)
	}
}

// rescan has the pins looked for again, soon.
func (h *HAL) rescan() {
	select {
	case h.scanNow <- struct{}{}:
	default:
	}
}
