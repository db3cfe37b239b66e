package stream

import "slices"

// Idle rtunnels of one board that a tunnel agent keeps: those that the board
// keeps warm, and what a burst of streams left for the next one. A board that
// brings more costs the agent no more descriptors: the one that was not used
// for longest is closed.
const (
	maxIdle     = 32
	crowdedIdle = 4 // where descriptors are few; a board keeps 2 warm
)

// idleLimit is how many idle rtunnels a board may have now.
func (o *Opener) idleLimit() int {
	if o.Crowded != nil && o.Crowded() {
		return crowdedIdle
	}
	return maxIdle
}

// trim takes those out of the idle ones that are more than limit, which were
// not used for longest. Opener.mu is held.
func (b *boardConns) trim(limit int) (surplus []*openerConn) {
	n := len(b.idle) - limit
	if n <= 0 {
		return nil
	}
	surplus = slices.Clone(b.idle[:n])
	b.idle = slices.Delete(b.idle, 0, n)
	return surplus
}

// shutAll ends rtunnels.
func shutAll(conns []*openerConn, err error) {
	for _, oc := range conns {
		oc.shut(err)
	}
}
