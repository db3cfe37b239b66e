package wampagent

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wire"
)

// TestABoardRecordsItsOwnTerminals: what the conductor hears is of the board whose session it
// is, whatever it says; what is no part, or too long, or of no session, it does not hear; and
// what it refuses the board is told.
func TestABoardRecordsItsOwnTerminals(t *testing.T) {
	w := newWorld(t)
	other := s4t.BoardID(s4t.NewID())
	part := wire.RecordingPart{Board: other, Epoch: 9, ID: "r1", Offset: 32, Data: strings.Repeat("x", s4t.MaxRecordingPart-1) + "\n"}

	early, _, _, err := w.open(wamp.JoinConfig{Board: w.board, Key: w.key})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.call(early, wamp.Recording, part, &wire.Empty{}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("before its session has begun: %v", err)
	}

	s, _, _ := w.start("i1")
	if err := w.call(s, wamp.Recording, part, &wire.Empty{}); err != nil {
		t.Fatal(err)
	}
	got := soon(t, "the part", w.c.recorded)
	if got.Board != w.board || got.Epoch != 1 {
		t.Errorf("the conductor heard of board %s in epoch %d, want %s in 1", got.Board, got.Epoch, w.board)
	}
	if got.ID != part.ID || got.Offset != part.Offset || got.Data != part.Data || got.Ended {
		t.Errorf("the conductor heard of recording %s, %d bytes at %d, ended %t", got.ID, len(got.Data), got.Offset, got.Ended)
	}
	if err := w.call(s, wamp.Recording, wire.RecordingPart{ID: "r1", Offset: 64, Ended: true}, &wire.Empty{}); err != nil {
		t.Errorf("its end: %v", err)
	}
	if got := soon(t, "the end", w.c.recorded); !got.Ended || got.Data != "" {
		t.Errorf("the conductor heard %+v", got)
	}

	if _, err := s.Call(t.Context(), wamp.BoardURI(other, wamp.Recording), string(wire.Encode(part))); err == nil {
		t.Error("it called a procedure of another board")
	}
	for what, arg := range map[string]string{
		"too long": string(wire.Encode(wire.RecordingPart{ID: "r1", Data: strings.Repeat("x", s4t.MaxRecordingPart) + "\n"})),
		"no part":  `{"data":7}`,
		"no JSON":  `{`,
		"nothing":  "",
	} {
		if _, err := s.Call(t.Context(), wamp.BoardURI(w.board, wamp.Recording), arg); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	w.c.refuseRecording(s4t.Errorf(s4t.NotFound, "add to a recording", "", "the board has no such recording"))
	if err := w.call(s, wamp.Recording, part, &wire.Empty{}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("one that is not its: %v", err)
	}
	if err := w.call(s, wamp.Desired, wire.Empty{}, &wire.BoardDesired{}); err != nil {
		t.Errorf("its session, afterwards: %v", err)
	}
	if n := len(w.c.recorded); n != 0 {
		t.Errorf("the conductor heard %d parts more", n)
	}
}

// refuseRecording has it refuse every part from now on.
func (c *conductor) refuseRecording(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.noRecording = err
}
