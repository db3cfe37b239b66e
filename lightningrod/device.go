package lightningrod

import (
	"context"

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
// simulation of many boards in one process has instead. All fields but Survey
// and Watch are required.
type Devices struct {
	Capabilities func() link.Capabilities // as [link.Probe]
	Open         func(link.Config) (Device, error)
	Apply        func([]vnet.Op) (link.Outcome, error)                      // as [link.Restore]
	Sweep        func(keep func(name string) bool) error                    // as [link.Sweep]
	Survey       func() (link.Survey, error)                                // optional: as [link.TakeSurvey]; default: nothing is seen
	Watch        func(ctx context.Context, changed func(link.Change)) error // optional: as [link.Watch]; default: nothing changes
}

// kernelDevices are those of the kernel.
func kernelDevices() *Devices {
	return &Devices{
		Capabilities: link.Probe,
		Open:         func(cfg link.Config) (Device, error) { return link.Open(cfg) },
		Apply:        link.Restore,
		Sweep:        link.Sweep,
		Survey:       link.TakeSurvey,
		Watch:        link.Watch,
	}
}
