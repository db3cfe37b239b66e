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
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter %s: %w", h.Name, err)
	}
	defer func() {
		if netns.Set(home) == nil {
			runtime.UnlockOSThread() // otherwise the thread serves nobody else again
		}
		home.Close()
	}()
	ns, err := netns.GetFromName(h.NS)
	if err != nil {
		return nil, fmt.Errorf("enter %s: %w", h.Name, err)
	}
	defer ns.Close()
	if err := netns.Set(ns); err != nil {
		return nil, fmt.Errorf("enter %s: %w", h.Name, err)
	}
	return new(net.Dialer).DialContext(ctx, network, addr)
}
