package descriptors

import "sync/atomic"

// Pool is the share of those who may be refused. A nil Pool refuses nobody.
type Pool struct {
	share int64 // descriptors that its holders may have
	mark  int   // descriptors of the process, above which nobody gets one

	used   atomic.Int64
	lowest func() int // the number that the next descriptor would get
}

// New makes a pool of share descriptors. It gives none while the process has
// mark open, whoever opened them. 0 is no limit.
func New(share, mark int) *Pool {
	return &Pool{share: int64(share), mark: mark, lowest: lowest}
}

// Acquire takes n descriptors. It is asked before they are opened, or at once
// after it: where it is not ok, they are closed, and who wanted them is told to
// come again later. release gives them back, once they are closed; calling it
// again does nothing.
func (p *Pool) Acquire(n int) (release func(), ok bool) {
	if p == nil {
		return func() {}, true
	}
	used := p.used.Add(int64(n))
	// Numbers are given from the lowest on: where the next one is mark, all
	// under it are open. What is above it is left to others, always.
	if p.share > 0 && used > p.share || p.mark > 0 && p.lowest() > p.mark-n {
		p.used.Add(-int64(n))
		return func() {}, false
	}
	var done atomic.Bool
	return func() {
		if done.CompareAndSwap(false, true) {
			p.used.Add(-int64(n))
		}
	}, true
}

// Used is how many are held.
func (p *Pool) Used() int {
	if p == nil {
		return 0
	}
	return int(p.used.Load())
}
