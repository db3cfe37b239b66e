package vswitch

import "time"

// pacer chooses how much of the bulk lane goes to one write. Sparse flows can
// overtake between two writes only, so a write should not take long on a slow
// path; on a fast one large writes are what makes it fast. It also keeps the
// rate limit.
type pacer struct {
	limit int       // bytes of a piece
	owed  float64   // bytes written beyond the rate
	last  time.Time // when owed was right
}

const (
	minPiece  = 16 << 10
	slowWrite = 4 * time.Millisecond
	fastWrite = time.Millisecond
)

// piece returns the bytes to write next.
func (p *pacer) piece(rate int64) int {
	if rate > 0 {
		return int(min(int64(p.limit), max(rate/50, 1500))) // 20 ms
	}
	return p.limit
}

// took adapts to how long a write of n bytes took.
func (p *pacer) took(d time.Duration, n int) {
	switch {
	case d > slowWrite && n >= p.limit/2:
		p.limit = max(p.limit/2, minPiece)
	case d < fastWrite && n >= p.limit/2:
		p.limit = min(p.limit*2, chunkSize)
	}
}

// debt counts n bytes against the rate in bytes/s and returns how long to wait
// before the next ones.
func (p *pacer) debt(rate int64, n int) time.Duration {
	if rate <= 0 {
		p.owed = 0
		return 0
	}
	now := time.Now()
	if !p.last.IsZero() {
		p.owed = max(0, p.owed-now.Sub(p.last).Seconds()*float64(rate))
	}
	p.last = now
	p.owed += float64(n)
	return time.Duration(p.owed / float64(rate) * float64(time.Second))
}
