package lightningrod

import (
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
)

// Device is a TAP or TUN; [link.Device] says what each method promises.
type Device interface {
	ReadFrames(next func() []byte, done func(n int)) (int, error)
	Write(packet []byte) error
	Flush() error
	Close() error
}

// Devices is where a board's devices are made: the kernel, or what a
// simulation of many boards in one process has instead. All fields are
// required.
type Devices struct {
	Capabilities func() link.Capabilities // as [link.Probe]
	Open         func(link.Config) (Device, error)
	Apply        func([]vnet.Op) error                     // as [link.Apply]
	Sweep        func(keep func(bridge string) bool) error // as [link.Sweep]
}

// kernelDevices are those of the kernel.
func kernelDevices() *Devices {
	return &Devices{
		Capabilities: link.Probe,
		Open:         func(cfg link.Config) (Device, error) { return link.Open(cfg) },
		Apply:        link.Apply,
		Sweep:        link.Sweep,
	}
}
