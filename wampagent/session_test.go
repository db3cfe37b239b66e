package wampagent

import (
	"maps"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp/router"
)

// TestLateEndsNeverHideANewerSession walks every order in which two sessions of
// a board can begin and end.
func TestLateEndsNeverHideANewerSession(t *testing.T) {
	const board = s4t.BoardID("b")
	one, two := router.Session{ID: 1, Board: board}, router.Session{ID: 2, Board: board}
	type step func(s sessions)
	begin := func(who router.Session, epoch int64) step { return func(s sessions) { s.begin(who, epoch) } }
	left := func(who router.Session) step { return func(s sessions) { s.left(who) } }
	tests := []struct {
		name  string
		steps []step
		live  uint64 // session of the board; 0: none
		tell  map[s4t.BoardID]int64
	}{
		{"one session begins and ends", []step{begin(one, 1), left(one)}, 0, map[s4t.BoardID]int64{board: 1}},
		{"it ends before it began", []step{left(one), begin(one, 1)}, 0, map[s4t.BoardID]int64{board: 1}},
		{"it ends without having begun", []step{left(one)}, 0, nil},
		{"the old one ends late", []step{begin(one, 1), begin(two, 2), left(one)}, 2, nil},
		{"the old one ends first", []step{begin(one, 1), left(one), begin(two, 2)}, 2, map[s4t.BoardID]int64{board: 1}},
		{"the old one begins late", []step{begin(two, 2), begin(one, 1), left(one)}, 2, nil},
		{"both end, the old one last", []step{begin(one, 1), begin(two, 2), left(two), left(one)}, 0, map[s4t.BoardID]int64{board: 2}},
		{"both end, the new one last", []step{begin(one, 1), begin(two, 2), left(one), left(two)}, 0, map[s4t.BoardID]int64{board: 2}},
		{"a session begins anew", []step{begin(one, 1), begin(one, 2), left(one)}, 0, map[s4t.BoardID]int64{board: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newSessions()
			s.joined(one)
			s.joined(two)
			for _, step := range tt.steps {
				step(s)
			}
			now, ok := s.of(board)
			if ok != (tt.live != 0) || now.ID != tt.live {
				t.Errorf("the board's session is %d, want %d", now.ID, tt.live)
			}
			if !maps.Equal(s.ended, tt.tell) {
				t.Errorf("the conductor is told %v, want %v", s.ended, tt.tell)
			}
		})
	}
}

func TestOneOfTwoSessionsGoes(t *testing.T) {
	one, two := router.Session{ID: 1, Board: "b"}, router.Session{ID: 2, Board: "b"}
	s := newSessions()
	s.joined(one)
	s.joined(two)
	if _, some, live := s.begin(two, 2); some || !live {
		t.Error("the first one to begin had a rival")
	}
	if goes, some, _ := s.begin(one, 1); !some || goes != one {
		t.Errorf("%v goes, want the one of the older epoch", goes)
	}
	if goes, some, _ := s.begin(one, 3); !some || goes != two {
		t.Errorf("%v goes, want the one of the older epoch", goes)
	}
}
