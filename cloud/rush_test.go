package cloud

import "testing"

// Memory is given back when a rush is over: not in it, not for a few boards, and again
// after those have gone and come back.
func TestAfterARushMemoryIsGivenBack(t *testing.T) {
	n, freed := 0, 0
	r := &rush{sessions: func() int { return n }, free: func() { freed++ }}
	for i, step := range []struct{ boards, freed int }{
		{0, 0}, {1000, 0}, {2000, 0}, {2010, 1}, {2010, 1}, {2100, 1}, {2100, 1}, {2400, 1}, {2400, 2}, {0, 2}, {0, 2}, {2400, 2}, {2400, 3}, {2400, 3},
	} {
		n = step.boards
		if r.look(); freed != step.freed {
			t.Errorf("step %d, %d boards: given back %d times, want %d", i, n, freed, step.freed)
		}
	}
}
