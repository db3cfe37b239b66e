package hal

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
)

// Driver finds and works the pins of one kind of hardware. A new driver is one
// file that meets this.
type Driver interface {
	// Name is the first part of its pins' names: "gpio".
	Name() string
	// Scan lists the pins that are there now. It changes none of them: above all it
	// asks for no line. It is called at start, when the kernel says that a device
	// came or went, and seldom otherwise.
	Scan(ctx context.Context) ([]Found, error)
}

// Found is a pin that a driver found. Name, Kind, Direction, Unit, Keys and Guarantee of
// Pin are set, and Settings as the hardware has them now; Writable where it is an output.
type Found struct {
	Pin    s4t.Pin
	Open   func() (Line, error) // opens it for use; called again after the line was closed
	Period time.Duration        // optional: of sampling, where nobody says otherwise
	Eager  bool                 // it is opened at once: that changes nothing and takes it from nobody
}

// Line is an open pin. Its methods are called one at a time, and may block for as
// long as the hardware does: who calls them does not wait for it. A device that
// is gone is ENODEV, a line that somebody else has EBUSY.
type Line interface {
	// Read reads the value now.
	Read() (float64, error)
	// Write makes v the output. It acts before it returns. EINVAL: a value that
	// cannot be; EPERM: an input.
	Write(v float64) error
	// Set changes settings that the hardware knows (direction, edge, bias,
	// debounce): keys of Pin.Keys, checked. What it does not know, HAL does itself: period,
	// threshold, deadband, scale, label, fallback.
	Set(settings map[string]string) error
	// Events delivers edges or samples that the hardware tells by itself, until
	// the line is closed; nil: it tells none, and is read. It is called once after
	// Open, and after a Set.
	Events() <-chan Event
	Close() error
}

// Event is a value that the hardware told of.
type Event struct {
	At    time.Time // the kernel's, where it has one
	Value float64
	Lost  uint64 // events before this one that the kernel dropped
	Err   error  // ENODEV: the device is gone; the last event
}
