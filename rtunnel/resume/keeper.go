package resume

import (
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/stream"
)

const (
	maxStreams = 128 // of one board
	maxRoomy   = 4   // of them, those with a Window; others have a SmallWindow
	maxOfUser  = 64
)

// ID is a stream as its tickets name it: the user's own, of one target.
type ID struct {
	Name   string // 1 to 64 bytes that the user's end has chosen
	User   string
	Target string
	By     string // what it is open by, see [Keeper.DropBy]; empty: nothing that ends
}

// Keeper holds the streams of a board while they have no connection.
type Keeper struct {
	hold time.Duration

	mu      sync.Mutex // guards the fields below
	streams map[ID]*kept
	closed  bool
	running sync.WaitGroup // connections
}

// kept is a stream of a Keeper.
type kept struct {
	*Stream
	roomy  bool
	conns  int         // that carry it, or will not any more in a moment
	since  time.Time   // it has none since then
	forget *time.Timer // while it has none
}

// NewKeeper returns a Keeper without streams, that keeps each for hold after its
// last connection has ended.
func NewKeeper(hold time.Duration) *Keeper {
	return &Keeper{hold: hold, streams: map[ID]*kept{}}
}

// Open returns the local end of a connection to a stream: of the one that has that
// id where again is set, else of a new one to what dial connects to.
func (k *Keeper) Open(id ID, again bool, dial func() (stream.HalfCloser, error)) (stream.HalfCloser, error) {
	if again {
		return k.resume(id)
	}
	if err := k.room(id); err != nil {
		return nil, err
	}
	local, err := dial()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.taken(id); err != nil {
		local.Close()
		return nil, err
	}
	n := 0
	for _, s := range k.streams {
		if s.roomy {
			n++
		}
	}
	s := &kept{roomy: n < maxRoomy}
	window := SmallWindow
	if s.roomy {
		window = Window
	}
	s.Stream = New(local, window, false)
	k.streams[id] = s
	return k.carry(id, s), nil
}

const op = "open a stream on the board"

// room makes room for one more stream of a user, or refuses it.
func (k *Keeper) room(id ID) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.taken(id); err != nil {
		return err
	}
	of := 0
	var idle []ID // those that nobody has come back to
	for other, s := range k.streams {
		if other.User == id.User {
			of++
		}
		if s.conns == 0 {
			idle = append(idle, other)
		}
	}
	mine := func(other ID) bool { return other.User == id.User }
	if of >= maxOfUser {
		idle = slices.DeleteFunc(idle, func(other ID) bool { return !mine(other) })
	} else if len(k.streams) < maxStreams {
		return nil
	}
	if len(idle) == 0 {
		return s4t.Errorf(s4t.TooMany, op, "close some, or try again in a moment", "the board has %d streams that can be resumed, %d of this user", len(k.streams), of)
	}
	oldest := slices.MinFunc(idle, func(a, b ID) int { return k.streams[a].since.Compare(k.streams[b].since) })
	k.drop(oldest, errGivenUp)
	return nil
}

var errGivenUp = s4t.Errorf(s4t.Timeout, "carry a stream", "", "nobody came back for it")

// taken refuses an id that has a stream, or any when the Keeper is closed. k.mu is held.
func (k *Keeper) taken(id ID) error {
	switch {
	case k.closed:
		return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "lightning-rod is stopping")
	case k.streams[id] != nil:
		return s4t.Errorf(s4t.Conflict, op, "choose another name", "there is a stream of that name")
	}
	return nil
}

// resume is Open for a stream that is there.
func (k *Keeper) resume(id ID) (stream.HalfCloser, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.streams[id]
	if s == nil || k.closed {
		return nil, s4t.Errorf(s4t.NotFound, "resume a stream on the board", "connect again",
			"the board does not have it any more: lightning-rod was started anew, or nobody came back for %s", k.hold)
	}
	return k.carry(id, s), nil
}

// carry returns a connection of a stream. k.mu is held.
func (k *Keeper) carry(id ID, s *kept) stream.HalfCloser {
	if s.forget != nil {
		s.forget.Stop()
		s.forget = nil
	}
	s.conns++
	c := s.Attach()
	k.running.Go(func() {
		<-c.gone
		k.mu.Lock()
		defer k.mu.Unlock()
		if s.conns--; s.conns > 0 || k.streams[id] != s {
			return
		}
		over := k.closed
		select {
		case <-s.Done():
			over = over || c.over == errOver // and the other end knows
		default:
		}
		if over {
			k.drop(id, errGivenUp)
			return
		}
		s.since = time.Now()
		s.forget = time.AfterFunc(k.hold, func() {
			k.mu.Lock()
			defer k.mu.Unlock()
			if k.streams[id] == s && s.conns == 0 {
				k.drop(id, errGivenUp)
			}
		})
	})
	return c
}

// drop ends a stream and forgets it. k.mu is held.
func (k *Keeper) drop(id ID, why error) {
	s := k.streams[id]
	if s.forget != nil {
		s.forget.Stop()
	}
	delete(k.streams, id)
	s.Abort(why)
}

// Drop breaks all streams: those who come back are told that they are gone.
func (k *Keeper) Drop(why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.streams {
		k.drop(id, why)
	}
}

// DropBy does it with those that are open by something that is over.
func (k *Keeper) DropBy(over func(by string) bool, why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id := range k.streams {
		if id.By != "" && over(id.By) {
			k.drop(id, why)
		}
	}
}

// Close breaks all streams, and waits for their connections, which it does not
// end: who asked for them does.
func (k *Keeper) Close() {
	k.mu.Lock()
	k.closed = true
	for id := range k.streams {
		k.drop(id, errGivenUp)
	}
	k.mu.Unlock()
	k.running.Wait()
}
