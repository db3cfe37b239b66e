package conductor

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestOfManyBoardsHowTheyAreIsWrittenTogether: the last report of each, some time
// later, and nothing of sessions that are over.
func TestOfManyBoardsHowTheyAreIsWrittenTogether(t *testing.T) {
	l := newLab(t)
	one, two := l.online("one"), l.online("two")
	l.c.fleet.mu.Lock()
	l.c.fleet.n, l.c.fleet.at = healthFleet, l.c.now()
	l.c.fleet.mu.Unlock()
	say := func(f *fakeBoard, epoch int64, load float64) {
		t.Helper()
		call[wire.Empty](l, wire.MethodBoardHealth, wire.HealthReport{Board: f.id, Epoch: epoch, Health: s4t.Health{Load1: load}})
	}
	say(one, one.epoch, 1)
	say(one, one.epoch, 2)
	say(one, one.epoch-1, 3)
	say(two, two.epoch-1, 4)
	waitFor(t, l.db, func(tx *store.Tx) (bool, error) {
		h, err := tx.BoardHealth(one.id)
		if err != nil || h.Health == nil {
			return false, err
		}
		said, err := healthOf("", h.Health)
		if err == nil && said.Load1 != 2 {
			t.Errorf("it is %+v", said)
		}
		if other, err := tx.BoardHealth(two.id); err != nil || other.Health != nil {
			t.Errorf("of a session that is over: %+v, %v", other, err)
		}
		return true, err
	})
}

func TestReportsThatWaitAreBounded(t *testing.T) {
	later := newLaterHealths()
	id := func(i int) s4t.BoardID { return s4t.BoardID(time.Duration(i).String()) }
	for i := range maxHealths {
		if !later.put(wire.HealthReport{Board: id(i)}) {
			t.Fatal("there is no room")
		}
	}
	if later.put(wire.HealthReport{Board: id(maxHealths)}) || !later.put(wire.HealthReport{Board: id(1), Epoch: 1}) {
		t.Error("one more has room, or a newer one of the same board has none")
	}
	if n := len(later.take(10)); n != 10 {
		t.Errorf("took %d", n)
	}
}
