package conductor

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// noUpkeep keeps the conductor from upkeep until the test ends: what that writes is not the
// boards', and no agent is taken for silent on a machine that is busy with other things.
func (l *lab) noUpkeep() {
	l.c.upkept.mu.Lock()
	l.t.Cleanup(l.c.upkept.mu.Unlock)
	call[wire.AgentLease](l, wire.MethodAgentBeat, wire.AgentBeat{ID: wampID, Incarnation: "w1"}) // it may have been
}

// TestABoardAtRestIsHardlyWritten: of boards that say again and again that they are as
// before, as earlier ones do, a day writes two rows each, and what is seen of them is as of
// the last minute, without gaps.
func TestABoardAtRestIsHardlyWritten(t *testing.T) {
	l := newLab(t)
	const boards, every = 8, 20 * time.Minute
	l.noUpkeep()
	ids := map[s4t.BoardID]int64{}
	for i := range boards {
		f := l.online("board-" + string(rune('a'+i)))
		ids[f.id] = f.epoch
	}
	began := l.c.now()
	say := func(load float64) {
		t.Helper()
		var reqs []wire.HealthReport
		up := int64(l.c.now().Sub(began) / time.Second)
		for id, epoch := range ids {
			reqs = append(reqs, wire.HealthReport{Board: id, Epoch: epoch, Health: s4t.Health{Load1: load, Uptime: 100 + up, ReceivedBytes: 100 * up}})
		}
		for _, o := range l.c.hearHealths(t.Context(), reqs) {
			if o.err != nil || o.reply.Hold != heldFor {
				t.Fatalf("answered %+v, %v", o.reply, o.err)
			}
		}
	}
	say(0.5)
	_, before := l.db.Written()
	for range 24 * time.Hour / every {
		l.skew.Add(int64(every))
		say(0.6)
	}
	_, after := l.db.Written()
	if each := float64(after-before) / boards / 24; each > 0.1 {
		t.Errorf("a board at rest has %.2f rows written an hour", each)
	}
	l.skew.Add(int64(s4t.HealthStep)) // nothing is said
	h := call[s4t.BoardHealth](l, wire.MethodHealthGet, wire.RefRequest{Caller: l.reader, Ref: "board-a"})
	if at := l.c.now().Sub(*h.At); at > s4t.HealthInterval+time.Minute || h.Health.Uptime < 100+24*60*60+int64(s4t.HealthStep/time.Second) {
		t.Errorf("it is of %v ago, and up for %d s", at, h.Health.Uptime)
	}
	for i, v := range h.History.Load1[1:] { // the first is of before it said something, or not
		if v == nil || *v != 0.5 && *v != 0.6 {
			t.Fatalf("point %d of its history is %v", i+1, v)
		}
	}
	m := call[wire.HealthMetrics](l, wire.MethodHealthAll, wire.HealthAsk{Caller: l.reader, Page: wire.Page{Limit: 1}})
	if one := m.Boards[0]; l.c.now().Sub(one.At) > s4t.HealthInterval+time.Minute || one.Health.Uptime < 100+24*60*60 {
		t.Errorf("its figures are %+v", one)
	}
}

// TestTheHistoryOfABoardThatWasAwayHasAGap where it was, though it was as before ever after.
func TestTheHistoryOfABoardThatWasAwayHasAGap(t *testing.T) {
	l := newLab(t)
	l.noUpkeep()
	f := l.online("gate")
	say := func(load float64) {
		t.Helper()
		if o := l.c.hearHealths(t.Context(), []wire.HealthReport{{Board: f.id, Epoch: f.epoch, Health: s4t.Health{Load1: load}}})[0]; o.err != nil {
			t.Fatal(o.err)
		}
	}
	loads := func() (last []float64) {
		t.Helper()
		h := call[s4t.BoardHealth](l, wire.MethodHealthGet, wire.RefRequest{Caller: l.reader, Ref: "gate"})
		for _, v := range h.History.Load1[s4t.HealthPoints-10:] {
			if v == nil {
				last = append(last, -1)
			} else {
				last = append(last, *v)
			}
		}
		return last
	}
	check := func(when string, want ...float64) {
		t.Helper()
		got := loads()
		for i, w := range want {
			if g := got[len(got)-len(want)+i]; g != w {
				t.Errorf("%s: the last points are %v, want %v", when, got, want)
				return
			}
		}
	}
	// In the middle of a point, so that a machine that is slow meets no other.
	const step = s4t.HealthStep
	l.skew.Add(int64(step - time.Duration(l.c.now().UnixNano())%step + step/2))
	say(1)
	l.skew.Add(int64(2 * step))
	l.disconnect(f)
	check("as it goes", 1, 1, 1)
	l.skew.Add(int64(3 * step))
	check("while it is away", 1, 1, 1, -1, -1, -1)
	l.connect(f, "i1")
	say(1)
	check("when it is back", 1, 1, 1, -1, -1, 1)
	l.skew.Add(int64(2 * step))
	say(2)
	check("when it says something else", 1, 1, 1, -1, -1, 1, 1, 2)
}
