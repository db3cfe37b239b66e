//go:build !linux

package rtunnel

import (
	"sync"
	"syscall"
)

const canRest = false

// lot exists on Linux only; elsewhere nobody rests.
type lot struct{ running sync.WaitGroup }

func (*sleeper) park(_ syscall.RawConn, wake func()) { go wake() }

func (*sleeper) leave() {}
