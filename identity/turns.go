package identity

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
)

const (
	maxHashing = 2 // hashes at the same time: bounds memory and CPU that logins can take

	// Who may wait for one of those: askers that are known, and strangers, each
	// with a line of their own and a share of it for one source.
	maxKnown, maxKnownOfOne         = 64, 16
	maxStrangers, maxStrangersOfOne = 32, 8
)

// asker is on whose account a hash is computed.
type asker struct {
	source string // an address, a project; empty: not known, and without a share
	known  bool   // the user has logged in from there, or is
}

// turns are the places where hashes are computed. Those who wait come in their
// order; where both lines are not empty they take turns, so that a crowd of
// strangers costs those who are known half of the places at most, and none of
// their line.
type turns struct {
	mu        sync.Mutex // guards the fields below
	free      int
	waiting   [2][]*turn // strangers, known
	knownNext bool
}

// turn is one that waits.
type turn struct {
	source string
	come   chan struct{} // closed when it has a place
}

func newTurns() *turns { return &turns{free: maxHashing} }

// wait waits for a place and returns what gives it back.
func (t *turns) wait(ctx context.Context, op string, by asker) (done func(), err error) {
	line, most, ofOne := 0, maxStrangers, maxStrangersOfOne
	if by.known {
		line, most, ofOne = 1, maxKnown, maxKnownOfOne
	}
	t.mu.Lock()
	if t.free > 0 {
		t.free--
		t.mu.Unlock()
		return t.done, nil
	}
	same := 0
	for _, w := range t.waiting[line] {
		if by.source != "" && w.source == by.source {
			same++
		}
	}
	if len(t.waiting[line]) >= most || same >= ofOne {
		t.mu.Unlock()
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a few seconds", "too many logins at the same time").After(2 * time.Second)
	}
	me := &turn{by.source, make(chan struct{})}
	t.waiting[line] = append(t.waiting[line], me)
	t.mu.Unlock()
	select {
	case <-me.come:
		return t.done, nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := slices.Index(t.waiting[line], me); i >= 0 {
		t.waiting[line] = slices.Delete(t.waiting[line], i, i+1)
	} else {
		t.pass() // it came at the same time
	}
	return nil, s4t.Errorf(s4t.Timeout, op, "try again", "too many logins at the same time")
}

// done gives a place back.
func (t *turns) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pass()
}

// pass gives a place to the next; mu is held.
func (t *turns) pass() {
	line := 0
	if len(t.waiting[1]) > 0 && (t.knownNext || len(t.waiting[0]) == 0) {
		line = 1
	}
	if len(t.waiting[line]) == 0 {
		t.free++
		return
	}
	t.knownNext = line == 0
	next := t.waiting[line][0]
	t.waiting[line] = slices.Delete(t.waiting[line], 0, 1)
	close(next.come)
}
