package pinfs

import (
	"context"
	"time"

	"github.com/stack4things/s4t"
)

// Source is where the pins of a tree are: the board's own HAL, or the cloud.
type Source interface {
	// Tree returns what there is now, from memory, at little cost: it is made
	// when something changes, not for each call. Its revision grows with each
	// change of names, settings, access, or of who is online. With a local source
	// it is one board with an empty name, whose drivers are at the root of the
	// tree.
	Tree() Tree
	// Changed is closed when Tree has another revision; ask anew for the next.
	Changed() <-chan struct{}
	// Open opens a pin, for values. It does not wait. Of a pin that is not there,
	// or is no more, each call says NotFound.
	Open(board, pin string, by Holder) Pin
	// Set changes a setting of a pin. It may wait, for as long as ctx lasts; when
	// it returns nil, Tree has it.
	Set(ctx context.Context, board, pin, key, value string, by Holder) error
}

// Holder is who uses a pin through a file.
type Holder struct{ UID uint32 }

// Tree is the boards and their pins. It is never changed once it is returned.
type Tree struct {
	Revision uint64
	Boards   []Board // by name
}

// Board of a tree.
type Board struct {
	Name       string
	Pins       []Node    // by name; where they are as before, best the same slice
	Online     bool      // remote: it has a session with the cloud now
	ReportedAt time.Time // remote: when it told the cloud of these pins; zero: never
}

// Node is a pin of a tree. Of Value, At and Lease it says nothing current.
type Node struct {
	s4t.Pin
	Mode     uint32 // permissions of value, where the owner set them; 0: 0444, or 0644 where the pin can be written
	UID, GID uint32
}

// Pin is a pin in use by one open file.
type Pin interface {
	// Newest returns the newest sample where it is at hand; false where it has
	// to be read. It is never an older one than Read returned.
	Newest() (s4t.Sample, bool)
	// Last returns the newest sample that is known of, whether it is still what a
	// read would give or not; false where there is none. Its Seq grows with each
	// sample that Watch tells of.
	Last() (s4t.Sample, bool)
	// Read reads the value. It may wait, for as long as ctx lasts.
	Read(ctx context.Context) (s4t.Sample, error)
	// Write writes a value. It may wait, as Read may. fence is that of the claim
	// under which this file wrote before, 0 if there was none: where it is not
	// the present claim, the error is Stale. held is the fence of the claim that
	// the holder has on the pin now, 0 if it has none.
	Write(ctx context.Context, value float64, fence int64) (held int64, err error)
	// Watch has wake called after each new sample, until the pin is closed; of a
	// remote pin also after the newest that there was, when the watch begins. It
	// is called once at most, and does not wait. wake does not either.
	Watch(wake func())
	// Lease is who has the pin now, as far as it is known without waiting.
	Lease() *s4t.PinLease
	Close()
}

// AtHand says whether the newest sample of a remote pin, that came so long ago, is what a
// read gives. It is not where the board itself would ask the device, as of an output: that
// a newer value was written may not be known here yet. Nor when it has been quiet for
// longer: then a reader finds out by asking, within [s4t.PinAnswerTime] in all, that
// the board is away. Nor where it is older than what the board answered last to this
// reader; nil: it has not asked.
func AtHand(p *s4t.Pin, newest s4t.Sample, age time.Duration, answered *s4t.Sample) bool {
	if answered != nil && !newest.Newer(*answered) && !newest.At.Equal(answered.At) {
		return false
	}
	told := p.PeriodMS > 0 || p.Settings[s4t.PinKeyEdge] == "both"
	return told && !p.Writable && age < s4t.PinAnswerTime-RemoteTimeout
}

// RemoteTimeout is when an answer of a board that is far away is given up, with
// EHOSTUNREACH.
const RemoteTimeout = s4t.PinAnswerTime - 200*time.Millisecond
