package conductor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// gpio is a kind that no cloud has: a pin of a board, and a meter of it at the
// tunnel agent. It proves that the next kind needs what is in this file and a
// line in the registry, and nothing in the middle.
const gpio wire.Kind = "gpio"

type desiredPin struct {
	Level int `json:"level"`
}

type tunnelPin struct {
	Board s4t.BoardID `json:"board"`
}

const pinShort = "pin-short"

var pinKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		ch.event(s4t.Event{Kind: "pin." + string(now), Project: projectID, Object: id, Detail: problemOf(halves)})
		return nil
	},
	late: func(a store.Await) string {
		if a.OnBoard {
			return "board " + a.HolderName + " has not set its pin"
		}
		return "nobody meters the pin"
	},
	fails: func(a store.Await) (s4t.Kind, string) {
		if a.ProblemID == pinShort {
			return s4t.Conflict, fmt.Sprintf("pin %s of board %s: %s", a.Object, a.HolderName, a.Problem)
		}
		return "", ""
	},
	withdraw: func(ch *change, op store.Operation, id string) error {
		ch.unwantPin(s4t.BoardID(op.Object), id)
		return nil
	},
}

func init() { kinds[gpio] = pinKind }

func (ch *change) wantPin(b s4t.BoardID, id string, level int) {
	ch.want(boardOf(b), gpio, id, desiredPin{level}).whileOnline = b
	ch.want(agentOf(tunnelID), gpio, id, tunnelPin{b}).whileOnline = b
}

func (ch *change) unwantPin(b s4t.BoardID, id string) {
	ch.unwant(boardOf(b), gpio, id)
	ch.unwant(agentOf(tunnelID), gpio, id)
}

// pin is a request for a pin; with a level below 0, that it goes.
func (l *lab) pin(f *fakeBoard, id string, level int) s4t.Operation {
	l.t.Helper()
	op, err := l.c.operate(l.t.Context(), l.member, "pin.set", id, func(ch *change, _ *s4t.AuditRecord) (*s4t.Operation, error) {
		if _, err := ch.LockBoard(f.id); err != nil {
			return nil, err
		}
		if level < 0 {
			ch.unwantPin(f.id, id)
			return ch.begin("pin.clear", projectID, string(f.id), id, ch.now), nil
		}
		ch.wantPin(f.id, id, level)
		return ch.begin("pin.set", projectID, string(f.id), id, ch.now, wire.ResourceKey{Kind: gpio, ID: id}), nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return op
}

// pinsOf are the pins that a board and the tunnel agent were last told to have.
func (l *lab) pinsOf(f *fakeBoard) (board []desiredPin, agent []tunnelPin) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return wire.Specs[desiredPin](gpio, f.desired.Resources), wire.Specs[tunnelPin](gpio, l.tunnel.desired)
}

func TestTheNextKindNeedsNothingInTheMiddle(t *testing.T) {
	l := newLab(t)
	f := l.online("one")

	// Both have it: the operation ends and who watches is told.
	l.done(l.pin(f, "p1", 1))
	l.await("pin.up", "p1")
	if board, agent := l.pinsOf(f); !slices.Equal(board, []desiredPin{{1}}) || !slices.Equal(agent, []tunnelPin{{f.id}}) {
		t.Errorf("the board has %+v, the agent %+v", board, agent)
	}

	// It changes.
	l.done(l.pin(f, "p1", 0))
	if board, _ := l.pinsOf(f); !slices.Equal(board, []desiredPin{{0}}) {
		t.Errorf("the board has %+v", board)
	}

	// One that fails, with a problem id, is withdrawn. The other stays.
	l.mu.Lock()
	f.fails = map[string]wire.ResourceState{"p2": {ProblemID: pinShort, Problem: "it is shorted"}}
	l.mu.Unlock()
	op := l.ended(l.pin(f, "p2", 1))
	if op.Status != s4t.OperationFailed || op.ErrorKind != s4t.Conflict || op.Error != "pin p2 of board one: it is shorted" {
		t.Errorf("%+v", op)
	}
	var held []string
	err := l.db.View(t.Context(), func(tx *store.Tx) error {
		for _, holder := range []string{string(f.id), string(tunnelID)} {
			rows, err := tx.RealizationsOfHolder(holder)
			if err != nil {
				return err
			}
			for _, r := range rows {
				if r.Kind == gpio {
					held = append(held, r.Object)
				}
			}
		}
		return nil
	})
	if err != nil || !slices.Equal(held, []string{"p1", "p1"}) {
		t.Errorf("after it was withdrawn the pins %v are wanted, %v", held, err)
	}

	// One that its agent does not have yet is waited for, and is late.
	l.mu.Lock()
	l.tunnel.problems["p3"] = "its meter warms up"
	l.mu.Unlock()
	op = l.pin(f, "p3", 1)
	l.watch(op.ID, func(op s4t.Operation) bool { return len(op.Steps) > 0 && op.Steps[len(op.Steps)-1].Number >= stepBoard })
	l.tunnelApply() // it has reported when this returns
	err = l.c.change(t.Context(), func(ch *change) error { return ch.assessOne(op.ID, true) })
	if op = l.ended(op); err != nil || op.ErrorKind != s4t.Timeout || !strings.Contains(op.Error, "nobody meters the pin: its meter warms up") || strings.Contains(op.Error, "board one") {
		t.Errorf("%+v, %v", op, err)
	}

	// A pin goes, and a board that goes takes the rest down.
	l.done(l.pin(f, "p3", -1))
	if board, agent := l.pinsOf(f); !slices.Equal(board, []desiredPin{{0}}) || len(agent) != 1 {
		t.Errorf("the board has %+v, the agent %+v", board, agent)
	}
	l.disconnect(f)
	l.await("pin.down", "p1")
}
