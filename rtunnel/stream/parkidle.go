package stream

import (
	"net"

	"github.com/stack4things/s4t/rtunnel/park"
)

// run reads until the rtunnel ends, and tells the owner. While the rtunnel is
// parked there is no goroutine in it.
func (sc *streamConn) run() {
	err := sc.read()
	if err == park.ErrParked {
		sc.conn.Park(sc.run)
		return
	}
	sc.owner.over(sc, err)
}

// parkIdle parks who has waited on sc since the last call, and reports whether
// all who can be were parked before. Calls are at least park.After apart, and
// one at a time.
func (sc *streamConn) parkIdle() bool {
	if !sc.conn.CanPark() {
		return true
	}
	quiet := sc.conn.Parked()
	if sc.conn.Silence() >= park.After {
		sc.conn.Interrupt()
	}
	end := sc.current()
	if end == nil {
		return quiet
	}
	tcp, ok := end.local.(*net.TCPConn)
	if !ok {
		return quiet
	}
	quiet = quiet && end.waiter.Parked()
	moved := end.moved.Load()
	if moved != 0 && moved == end.seen {
		end.waiter.Interrupt(tcp)
	}
	end.seen = moved
	return quiet
}
