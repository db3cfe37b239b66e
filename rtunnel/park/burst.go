package park

import "runtime/debug"

// manyConns is how many connections, opened one after the other without a pause,
// leave memory behind that is worth the work of giving it back.
const manyConns = 64

// Burst gives the memory back that many handshakes took, and the stacks of who
// is parked now, when no more come. The zero value is ready to use.
type Burst struct{ before, last int }

// Note is told every second or so how many connections there are, and reports
// whether no more is to be done.
func (b *Burst) Note(conns int) bool {
	quiet := conns == b.last
	b.last = conns
	if abs(conns-b.before) < manyConns {
		return true
	}
	if quiet {
		b.before = conns
		debug.FreeOSMemory()
	}
	return quiet
}

func abs(n int) int { return max(n, -n) }
