package queue

import (
	"sync/atomic"
	"time"
)

// Faults make [Mem] keep no more than the contract: tests of who uses a queue
// run over one that has them. Each field says "every n-th"; 0 is never.
type Faults struct {
	Duplicate  int // casts, and messages of fan-outs, that are handled twice, perhaps by another server and at the same time
	Late       int // casts, and messages of fan-outs, that others overtake
	Lose       int // messages of fan-outs that do not arrive
	Unanswered int // calls that are handled, and whose answer is lost
}

// WithFaults has the driver disturb messages.
func WithFaults(f Faults) Option { return func(m *Mem) { m.faults.Faults = f } }

// lateBy is how much later a late message comes.
const lateBy = 5 * time.Millisecond

// faults counts up to the next of each.
type faults struct {
	Faults
	duplicates, lates, losses, lostAnswers atomic.Int64
}

// hit counts, and reports whether this is an n-th.
func hit(count *atomic.Int64, n int) bool { return n > 0 && count.Add(1)%int64(n) == 0 }

// repeat sends the n-th message once more.
func (m *Mem) repeat(topic string, msg *letter) {
	if !hit(&m.faults.duplicates, m.faults.Duplicate) {
		return
	}
	if s, _, err := m.pick(topic, msg.method); err == nil {
		s.offer(msg)
	}
}

// delay sends the n-th message later, and reports whether it does.
func (m *Mem) delay(s *server, msg *letter) bool {
	if !hit(&m.faults.lates, m.faults.Late) {
		return false
	}
	time.AfterFunc(lateBy, func() { s.offer(msg) })
	return true
}

// drop reports whether a message of a fan-out is to be lost.
func (m *Mem) drop() bool { return hit(&m.faults.losses, m.faults.Lose) }

// unanswered reports whether the answer to a call is to be lost.
func (m *Mem) unanswered() bool { return hit(&m.faults.lostAnswers, m.faults.Unanswered) }

// Down plays a broker that went away: calls under way end with Unavailable,
// what waits is lost, and nothing can be sent until [Mem.Up]. What runs goes
// on; nobody hears its answer.
func (m *Mem) Down() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		return
	}
	m.down = true
	close(m.cut)
	for _, servers := range m.topics {
		for _, s := range servers {
			s.drain(func(*letter) {})
		}
	}
}

// Up ends what [Mem.Down] began.
func (m *Mem) Up() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.down {
		m.down, m.cut = false, make(chan struct{})
	}
}

// Restart plays a broker that restarts.
func (m *Mem) Restart() {
	m.Down()
	m.Up()
}
