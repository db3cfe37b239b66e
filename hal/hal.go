package hal

import (
	"context"
	"log/slog"
	"os/exec"
	"time"

	"github.com/stack4things/s4t"
)

// Config of a HAL.
type Config struct {
	File    string           // the io-config; "": there is none
	State   string           // directory of the journal; "": nothing is kept
	Drivers []Driver         // nil: Kernel(Sys, Dev) and sim
	Sys     string           // root of sysfs; "": /sys
	Dev     string           // root of the devices; "": /dev
	Guard   func() *exec.Cmd // `lightning-rod pin-guard`, made anew for each start; nil: no fallback at death
	Log     *slog.Logger     // nil: none
}

// HAL is the I/O of a board. All its methods may be called from several goroutines.
type HAL struct{}

// New reads the configuration: a mistake in it is an error that says where. It finds
// the pins that are there now, and drives nothing yet.
func New(c Config) (*HAL, error) { return &HAL{}, nil }

// Run works the pins until ctx ends. Then the outputs fall back as they are set to.
func (h *HAL) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Pins are all pins, by name.
func (h *HAL) Pins() []s4t.Pin { return nil }

// Revision counts the changes of the pins' names and metadata, not of their
// values and leases.
func (h *HAL) Revision() uint64 { return 0 }

// Changed is closed when Revision is another; ask anew for the next change.
func (h *HAL) Changed() <-chan struct{} { return nil }

// Pin finds a pin by its name or its label.
func (h *HAL) Pin(name string) (*Pin, error) { return nil, noPin(name) }

// Access is what the owner's configuration says of the files of a pin; all 0:
// nothing.
func (h *HAL) Access(name string) (mode, uid, gid uint32) { return 0, 0, 0 }

// What the cloud may do with a pin.
const (
	CloudNone  = "none"  // it does not know that it is there
	CloudRead  = "read"  // read, history, watch
	CloudWrite = "write" // all
)

// Cloud is what the owner's configuration lets the cloud do with a pin:
// CloudNone, CloudRead, CloudWrite.
func (h *HAL) Cloud(name string) string { return CloudWrite }

// Problems are what is wrong with the board's I/O as a whole, for people.
func (h *HAL) Problems() []string { return nil }

// Order is a value to be written.
type Order struct {
	Value              float64
	For                time.Duration // then the pin goes back to the value before; 0: it stays
	Priority           int
	Fence              int64 // not 0: under this claim only
	Holder, HolderName string
	Tag                string // of a write For a time: told in Ended; the operation
}

// Write writes one value to each of the pins. All are checked before one is acted
// on: where one is refused none is. It returns when all have acted.
//
//	Invalid    a value that cannot be
//	Forbidden  an input
//	Conflict   somebody else has the pin
//	Stale      the claim that the order names is not the present one
//	NotFound   the pin went away
//	Timeout    the device did not answer before ctx ended
func (h *HAL) Write(ctx context.Context, pins []*Pin, orders []Order) error { return nil }

// Ended is an actuation or a claim that is over.
type Ended struct {
	Pin     string
	Tag     string // of the Order
	Fence   int64  // of the claim
	Outcome string // Over, Reaped, Released, Failed
	Holder  string // whose it was, for people
	By      string // of Reaped: who took the pin, for people
	Detail  string // of Failed
}

// Outcomes of an Ended.
const (
	Over     = "over"     // its time was over
	Reaped   = "reaped"   // a higher priority took the pin
	Released = "released" // by its holder, or by a newer write of the same holder
	Failed   = "failed"   // the pin went away, or could not be written
)

// Ended are the actuations and claims that are over and were not heard yet, the
// oldest first.
func (h *HAL) Ended() []Ended { return nil }

// EndedChanged is closed when there is one more; ask anew for the next.
func (h *HAL) EndedChanged() <-chan struct{} { return nil }

// Heard forgets the first n of Ended.
func (h *HAL) Heard(n int) {}

// Pin is a pin of a HAL, for as long as it is there: one that went and came
// again is another.
type Pin struct{}

// Info is the pin as it is now.
func (p *Pin) Info() s4t.Pin { return s4t.Pin{} }

// Newest is the newest sample, from memory and without a lock. ok is false where
// there is none that is current: Read it.
func (p *Pin) Newest() (s s4t.Sample, ok bool) { return s4t.Sample{}, false }

// Read reads the value: from memory where that is current, else from the device,
// for as long as ctx lasts. What is read so is no sample of its own: it has the Seq
// of the newest.
func (p *Pin) Read(ctx context.Context) (s4t.Sample, error) { return s4t.Sample{}, nil }

// Write writes a value, as HAL.Write does.
func (p *Pin) Write(ctx context.Context, o Order) error { return nil }

// Set changes settings, by key. All are checked before one is changed. What is
// set here wins over the io-config, also after a restart.
func (p *Pin) Set(ctx context.Context, settings map[string]string) error { return nil }

// Claim of a pin.
type Claim struct {
	For                time.Duration // 0: DefaultClaim
	Priority           int
	Fence              int64 // grows with each claim of the pin; 0, of the board itself: keeps it
	Holder, HolderName string
}

// DefaultClaim is the term of a claim that names none.
const DefaultClaim = 10 * time.Minute

// Claim takes the pin for a term, or renews the claim of the same holder.
func (p *Pin) Claim(ctx context.Context, c Claim) error { return nil }

// Release ends the claim, and the pending actuation, of the holder. Somebody else's is ended by
// a higher priority only.
func (p *Pin) Release(ctx context.Context, holder string, priority int) error { return nil }

// Lease is who has the pin; nil: nobody.
func (p *Pin) Lease() *s4t.PinLease { return nil }

// Watch has fn called with each sample from now on, in the order of Seq, until
// cancel. fn must not wait, and must not call the pin.
func (p *Pin) Watch(fn func(s4t.Sample)) (cancel func()) { return func() {} }

// History returns up to limit samples with a Seq greater than after, and not
// older than since, the oldest first; more where there are more. An after that the pin
// has not reached is from before lightning-rod started: it counts as 0.
func (p *Pin) History(after uint64, since time.Time, limit int) (list []s4t.Sample, more bool) {
	return nil, false
}

// noPin is the error of a pin that is not there.
func noPin(name string) error {
	return s4t.Errorf(s4t.NotFound, "find the pin "+s4t.Line(name, 3*s4t.MaxName), "list the pins", "there is none of that name or label")
}
