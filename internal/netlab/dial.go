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
	type result struct {
		c   net.Conn
		err error
	}
	ch := make(chan result, 1)
	go func() {
		// The thread is never unlocked: should the way back fail, it dies with
		// this goroutine rather than serve others in the wrong namespace.
		runtime.LockOSThread()
		c, err := h.dialHere(ctx, network, addr)
		ch <- result{c, err}
	}()
	r := <-ch
	return r.c, r.err
}

// dialHere enters the namespace on the calling thread, which is the caller's
// to throw away, and dials.
func (h *Host) dialHere(ctx context.Context, network, addr string) (net.Conn, error) {
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
