package lightningrod

import (
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// The hours in which others may use the board. They are judged here, by the cloud's
// clock as far as the board has heard it, whether the cloud is there or not.

// windowState is whether others may use the board.
type windowState int

// The states of a window.
const (
	windowOpen    windowState = iota
	windowClosing             // notice is given: what others have goes on, and nothing new begins
	windowClosed
)

// window is the hours with what comes of them.
type window struct {
	state   windowState
	closes  time.Time // of windowClosing
	changes time.Time // when it opens or closes next; zero: never
}

// step returns the window as it is at a time, and when to look again; zero: when
// something else changes.
func (w window) step(hours s4t.Hours, notice time.Duration, now time.Time) (next window, again time.Time) {
	open, changes := hours.At(now)
	next = window{changes: changes}
	switch {
	case open && !changes.IsZero() && changes.Sub(now) <= notice:
		next.state, next.closes = windowClosing, changes
		return next, changes
	case open && changes.IsZero():
		return next, time.Time{}
	case open:
		return next, changes.Add(-notice)
	}
	// Others are told before it closes, also where the owner, or the clock, has just
	// changed the hours.
	switch w.state {
	case windowOpen:
		next.closes = now.Add(notice)
	case windowClosing:
		next.closes = w.closes
	}
	if w.state != windowClosed && next.closes.After(now) {
		next.state = windowClosing
		return next, next.closes
	}
	return window{state: windowClosed, changes: changes}, changes
}

// refused is the error of something new that others begin; nil: it may.
func (w window) refused(op string) error {
	if w.state == windowOpen {
		return nil
	}
	return s4t.Errorf(s4t.Forbidden, op, "ask the owner of the board", "%s", w.reason())
}

// reason says why others may not use the board.
func (w window) reason() string {
	if w.state == windowClosing {
		return "the board's owner gives it for certain hours only: it closes at " + w.closes.UTC().Format(time.RFC3339)
	}
	if w.changes.IsZero() {
		return "the board's owner gives it for certain hours only, and the board does not know the time"
	}
	return "the board's owner gives it for certain hours only: it opens at " + w.changes.UTC().Format(time.RFC3339)
}

// admitted is what is to be applied of what is wanted: plugins only while the window is
// closed, which keep what they have, and do not run. held are the states of what is not up.
func (w window) admitted(want []wire.Resource, held []wire.ResourceState) ([]wire.Resource, []wire.ResourceState) {
	if w.state != windowClosed {
		return want, held
	}
	var plugins []wire.Resource
	states := make([]wire.ResourceState, 0, len(want)+len(held))
	for _, r := range want {
		if r.Kind == wire.KindPlugin {
			plugins = append(plugins, r)
		}
		if !r.Gone {
			states = append(states, refuse(r, wire.OwnersHours, w.reason()))
		}
	}
	return plugins, append(states, held...)
}
