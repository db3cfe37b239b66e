package wampagent

import (
	"testing"
	"time"

	"github.com/stack4things/s4t/wamp/router"
)

func TestWhoCameBackToADrainedAgentIsToldAtOnce(t *testing.T) {
	now := time.Now()
	of := func(numbers ...uint64) (all []session) {
		for _, n := range numbers {
			all = append(all, session{Session: router.Session{ID: n, Board: "kitchen"}})
		}
		return all
	}
	told := sessionsTold{1: now, 2: now.Add(-moveAgain)}
	due, kept := told.due(of(1, 2, 3), now.Add(time.Second))
	if len(due) != 2 || due[0].ID != 2 || due[1].ID != 3 { // late; and a session that is new
		t.Errorf("due are %v", due)
	}
	if due, kept = kept.due(of(4), now.Add(time.Second)); len(due) != 1 || len(kept) != 0 {
		t.Errorf("a board that came back: due %v, kept %v", due, kept)
	}
}
