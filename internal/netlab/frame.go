package netlab

import (
	"encoding/binary"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// SendFrame sends an Ethernet frame out of an interface of the host as it is,
// which may say anything (packet(7)).
func (h *Host) SendFrame(iface string, frame []byte) error {
	return h.inside(func() error {
		i, err := net.InterfaceByName(iface)
		if err != nil {
			return fmt.Errorf("send a frame from %s: %w", h.Name, err)
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("send a frame from %s: %w", h.Name, err)
		}
		defer unix.Close(fd)
		to := &unix.SockaddrLinklayer{Ifindex: i.Index, Protocol: binary.NativeEndian.Uint16(frame[12:])}
		if err := unix.Sendto(fd, frame, 0, to); err != nil {
			return fmt.Errorf("send a frame from %s on %s: %w", h.Name, iface, err)
		}
		return nil
	})
}
