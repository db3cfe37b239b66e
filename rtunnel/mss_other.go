//go:build !linux

package rtunnel

import (
	"net"
	"syscall"
	"time"
)

func setSegmentSize(syscall.RawConn, int) error { return nil }

// SetUserTimeout does nothing on this system.
func SetUserTimeout(net.Conn, time.Duration) error { return nil }

// SetNotSentLowAt does nothing on this system.
func SetNotSentLowAt(net.Conn, int) error { return nil }

// SetCongestion does nothing on this system.
func SetCongestion(net.Conn, string) error { return nil }

func roundTrip(net.Conn) time.Duration { return 0 }

func unheard(net.Conn) bool { return false }
