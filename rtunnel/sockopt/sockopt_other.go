//go:build !linux

package sockopt

import (
	"errors"
	"net"
	"syscall"
	"time"
)

// SetSegmentSize does nothing on this system.
func SetSegmentSize(syscall.RawConn, int) error { return nil }

// SetUserTimeout does nothing on this system.
func SetUserTimeout(net.Conn, time.Duration) error { return nil }

// Watch is not to be had on this system.
func Watch(net.Conn) error { return errors.ErrUnsupported }

// Acknowledged knows nothing on this system.
func Acknowledged(net.Conn) (all, lost bool) { return true, false }

// SetNotSentLowAt does nothing on this system.
func SetNotSentLowAt(net.Conn, int) error { return nil }

// SetCongestion does nothing on this system.
func SetCongestion(net.Conn, string) error { return nil }

// RoundTrip knows nothing on this system.
func RoundTrip(net.Conn) time.Duration { return 0 }

// SetBacklog does nothing on this system.
func SetBacklog(syscall.Conn, int) error { return nil }

// Left knows nothing on this system.
func Left(net.Conn) bool { return false }

// Peek sees nothing on this system.
func Peek(net.Conn, []byte) int { return 0 }

// Unheard knows nothing on this system.
func Unheard(net.Conn) bool { return false }
