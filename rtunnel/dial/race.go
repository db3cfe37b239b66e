package dial

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// raceDelay is the time between the starts of two connection attempts
// (RFC 8305 section 5 recommends 250 ms).
const raceDelay = 250 * time.Millisecond

// race dials the addresses, the next one when raceDelay passed or an attempt
// failed, and returns the first connection. The others are closed. It returns
// when every attempt has ended or been told to. An address that comes from
// more joins the race; nil is never read.
func race(ctx context.Context, addrs []netip.Addr, more <-chan netip.Addr, dial func(context.Context, netip.Addr) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		c   net.Conn
		err error
	}
	results := make(chan result)
	started, ended := 0, 0
	start := func() {
		a := addrs[started]
		started++
		go func() {
			c, err := dial(ctx, a)
			results <- result{c, err}
		}()
	}
	start()
	next := time.NewTimer(raceDelay)
	defer next.Stop()
	var won net.Conn
	var first error
	for won == nil && ended < len(addrs) {
		select {
		case <-next.C:
			if started < len(addrs) {
				start()
				next.Reset(raceDelay)
			}
		case a := <-more:
			addrs = append(addrs, a)
			if started == len(addrs)-1 {
				start()
			}
		case r := <-results:
			ended++
			if won = r.c; won != nil {
				break
			}
			if first == nil || errors.Is(first, context.Canceled) {
				first = r.err
			}
			if started < len(addrs) && ctx.Err() == nil {
				start()
				next.Reset(raceDelay)
			} else if started == ended {
				return nil, first
			}
		}
	}
	cancel()
	for ; ended < started; ended++ { // a cancelled dial ends at once
		if r := <-results; r.c != nil {
			r.c.Close()
		}
	}
	if won == nil {
		return nil, first
	}
	return won, nil
}

// dialError says why TCP did not connect to addr, for people.
func dialError(ctx context.Context, op, addr string, err error) error {
	id, kind, why, hint := wire.TCPSilent, s4t.Unavailable, "cannot connect to "+addr, "check the network"
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		id, why, hint = wire.TCPRefused, addr+" refuses connections", "check that it runs, and the TCP port"
	case errors.Is(err, syscall.ENETUNREACH), errors.Is(err, syscall.EADDRNOTAVAIL):
		id, why, hint = wire.NoRoute, "there is no route to "+addr, "check this machine's network connection"
	case errors.Is(err, syscall.EHOSTUNREACH):
		id, why, hint = wire.NoRoute, addr+" is unreachable", "check this machine's network connection"
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EPERM):
		id, why, hint = wire.LocalFirewall, "a local firewall forbids connecting to "+addr, "allow it"
	case errors.Is(err, context.Canceled):
		return &s4t.Error{Op: op, Kind: s4t.Unavailable, Msg: "cancelled", Err: err}
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT), ctx.Err() != nil:
		kind, why, hint = s4t.Timeout, addr+" does not answer", "check the address, and firewalls in between"
	}
	return diagnose(id, &s4t.Error{Op: op, Kind: kind, Msg: why, Hint: hint, Err: err})
}
