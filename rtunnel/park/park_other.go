//go:build !linux

package park

import "syscall"

// Supported says whether this system can park.
const Supported = false

// Poller exists on Linux only; elsewhere nobody is parked.
type Poller struct{}

// Wait returns at once.
func (*Poller) Wait() {}

// Park calls wake at once, in a goroutine of its own.
func (*Waiter) Park(_ syscall.RawConn, wake func()) { go wake() }

// Wake does nothing: nobody is parked.
func (*Waiter) Wake() {}
