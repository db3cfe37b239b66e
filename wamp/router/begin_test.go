package router

import (
	"testing"
	"time"

	"github.com/stack4things/s4t/wamp"
)

// TestTwoSessionsABoard: one key took all places, 16,383 of them. A board has two:
// the newest, and the one before.
func TestTwoSessionsABoard(t *testing.T) {
	w := newWorld(t)
	var ends []chan error
	for range 5 {
		_, ended := w.open(w.addr, 0)
		ends = append(ends, ended)
	}
	for i, ended := range ends[:3] {
		if err := wait(t, "the end of an old session", ended, time.Minute); wamp.ReasonOf(err) != wamp.ReasonReplaced {
			t.Errorf("session %d ended with %v", i, err)
		}
	}
	for range 3 {
		wait(t, "the router's own end of it", w.left, time.Minute)
	}
	other, _ := w.open(w.addr, 1)
	if _, err := other.Call(t.Context(), wamp.BoardURI(w.boards[1], wamp.Connected), "{}"); err != nil {
		t.Errorf("another board: %v", err)
	}
	for i, ended := range ends[3:] {
		select {
		case err := <-ended:
			t.Errorf("session %d of the two that stay ended: %v", i, err)
		default:
		}
	}
}

// TestABegunSessionKeepsItsPlace: a copy of a board that ran doctor as well, two
// sessions, threw the board itself out and was taken for it.
func TestABegunSessionKeepsItsPlace(t *testing.T) {
	w := newWorld(t)
	_, board := w.open(w.addr, 0)
	w.r.Begun(<-w.joined)
	_, doctor := w.open(w.addr, 0)
	<-w.joined
	_, copied := w.open(w.addr, 0)
	w.r.Begun(<-w.joined)
	if err := wait(t, "the end of the session that has not begun", doctor, time.Minute); wamp.ReasonOf(err) != wamp.ReasonReplaced {
		t.Errorf("it ended with %v", err)
	}
	w.open(w.addr, 0)
	if err := wait(t, "the end of the older of two that have begun", board, time.Minute); wamp.ReasonOf(err) != wamp.ReasonReplaced {
		t.Errorf("it ended with %v", err)
	}
	select {
	case err := <-copied:
		t.Errorf("the newer of the two that have begun ended: %v", err)
	default:
	}
}

// TestASessionThatDoesNotBeginEnds: it holds a place.
func TestASessionThatDoesNotBeginEnds(t *testing.T) {
	w := newWorld(t)
	within := func(d time.Duration) {
		w.r.mu.Lock()
		w.r.sayWithin = d
		w.r.mu.Unlock()
	}
	within(time.Hour)
	busy, begun := w.open(w.addr, 1)
	if a := w.r.Arrivals(); a.Beginning != 1 {
		t.Errorf("%d are on their way", a.Beginning)
	}
	if _, err := busy.Call(t.Context(), wamp.BoardURI(w.boards[1], wamp.Connected), "{}"); err != nil {
		t.Fatal(err)
	}
	joined := <-w.joined
	w.r.Begun(joined)
	w.r.Begun(joined) // a board may ask twice
	if a := w.r.Arrivals(); a.Beginning != 0 || a.Pace == 0 || a.Begun != 1 {
		t.Errorf("one began: %+v", a)
	}
	within(time.Millisecond)
	idle, _, err := wamp.Join(t.Context(), w.dial(w.addr), wamp.JoinConfig{Board: w.boards[0], Key: w.keys[0]})
	if err == nil { // else it has ended already
		err = idle.Run(t.Context())
	}
	if wamp.ReasonOf(err) != wamp.ReasonStale {
		t.Errorf("the idle session ended with %v", err)
	}
	wait(t, "the router's own end of it", w.left, time.Minute)
	if a := w.r.Arrivals(); a.Beginning != 0 || a.Begun != 1 || a.Unfinished != 1 {
		t.Errorf("one began, and one did not: %+v", a)
	}
	select {
	case err := <-begun:
		t.Errorf("the session that began ended: %v", err)
	default:
	}
}

// TestWhoIsNotFinishedCounts: where no board gets to its session, more and more were
// let in, as those that had got there before had been quick.
func TestWhoIsNotFinishedCounts(t *testing.T) {
	var a arrivals
	one, other := a.sets(), a.sets()
	a.pace.Store(int64(time.Millisecond))
	was := time.Now().Add(-3 * time.Second)
	a.last.Store(&was)
	if l := a.look(); l.Beginning != 2 || l.Pace < 3*time.Second {
		t.Errorf("none got there: %+v", l)
	}
	one.begun(time.Millisecond)
	one.ends() // its session, later
	if l := a.look(); l.Beginning != 1 || l.Pace > time.Second || l.Begun != 1 || l.Unfinished != 0 {
		t.Errorf("one got there: %+v", l)
	}
	other.ends()
	other.begun(time.Hour) // too late
	a.last.Store(&was)
	if l := a.look(); l != (Arrivals{Pace: time.Millisecond, Begun: 1, Unfinished: 1}) {
		t.Errorf("one got there, and one did not: %+v", l)
	}
}
