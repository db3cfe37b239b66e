package descriptors

// Crowded reports whether more than half of the share is held: from then on,
// who can do with less has less.
func (p *Pool) Crowded() bool {
	return p != nil && p.share > 0 && p.used.Load() > p.share/2
}

// Fair reports whether somebody who holds n may have more: as many as they like
// while half of the share is free, then up to a quarter of it. So nobody keeps
// the others out, and a share that nobody else wants is of use.
func (p *Pool) Fair(n int) bool {
	return !p.Crowded() || int64(n) < p.share/4
}
