package descriptors

import "testing"

func TestNobodyKeepsTheOthersOut(t *testing.T) {
	p := New(100, 0)
	take := func(n int) {
		if _, ok := p.Acquire(n); !ok {
			t.Fatalf("no %d of %d", n, 100-p.Used())
		}
	}
	take(50)
	if p.Crowded() || !p.Fair(50) {
		t.Error("half is free, and somebody may not have it")
	}
	take(1)
	if !p.Crowded() || p.Fair(51) || p.Fair(25) || !p.Fair(24) {
		t.Error("more than half is held: who has a quarter may have more, or who has less may not")
	}
	var none *Pool
	if none.Crowded() || !none.Fair(1<<20) || New(0, 7).Crowded() {
		t.Error("where there is no share, somebody is kept out")
	}
}
