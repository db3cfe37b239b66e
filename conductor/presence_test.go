package conductor

import (
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestAServiceIsNotUpWithoutItsBoard: the tunnel agent holds rtunnels of a
// board whose link was cut, and does not know yet that they are dead.
func TestAServiceIsNotUpWithoutItsBoard(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
	is := func(want s4t.ServiceStatus, when string) {
		t.Helper()
		all := items[s4t.Service](l, wire.MethodServiceList, wire.ServiceList{Caller: l.member})
		if len(all) != 1 || all[0].Status != want {
			t.Errorf("%s: %+v, want %s", when, all, want)
		}
	}
	is(s4t.ServiceUp, "exposed")
	l.disconnect(f)
	is(s4t.ServicePending, "the board is offline")
	l.tunnelReport() // with its rtunnels
	is(s4t.ServicePending, "the tunnel agent holds rtunnels")
	l.connect(f, "i1")
	is(s4t.ServiceUp, "the board is back")
	l.await("service.down", "one")
}
