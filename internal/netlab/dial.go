package netlab

import (
	"context"
	"fmt"
	"net"
	"runtime"

	"github.com/vishvananda/netns"
)

// DialContext connects from inside the host; the connection may then be used
// from anywhere in this process. addr holds an IP address, no name.
func (h *Host) DialContext(ctx context.Context, network, addr string) (c net.Conn, err error) {
	err = h.inside(func() error {
		c, err = new(net.Dialer).DialContext(ctx, network, addr)
		return err
	})
	return c, err
}

// Listen listens inside the host, for this process.
func (h *Host) Listen(addr string) (l net.Listener, err error) {
	err = h.inside(func() error {
		l, err = net.Listen("tcp", addr)
		return err
	})
	return l, err
}

// ListenPacket is Listen for UDP.
func (h *Host) ListenPacket(addr string) (c net.PacketConn, err error) {
	err = h.inside(func() error {
		c, err = net.ListenPacket("udp", addr)
		return err
	})
	return c, err
}

// inside calls f on a thread that is in the host's namespace: a socket stays
// where it was made.
func (h *Host) inside(f func() error) error {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("enter %s: %w", h.Name, err)
	}
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread() // otherwise the thread serves nobody else again
		}
		home.Close()
	}()
	ns, err := netns.GetFromName(h.NS)
	if err != nil {
		return fmt.Errorf("enter %s: %w", h.Name, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return fmt.Errorf("enter %s: %w", h.Name, err)
	}
	return f()
}
