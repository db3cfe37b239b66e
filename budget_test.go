package s4t

import (
	"fmt"
	"testing"
	"time"
)

func TestBudgets(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := NewBudgets(3, 10*time.Second, 100)
	take := func(key string, want time.Duration) {
		t.Helper()
		if wait, ok := b.Take(key, now); wait != want || ok != (want == 0) {
			t.Errorf("%s: wait %v, %v, want %v", key, wait, ok, want)
		}
	}
	for range 3 {
		take("a", 0)
	}
	take("a", 10*time.Second)
	take("b", 0)
	now = now.Add(4 * time.Second)
	take("a", 6*time.Second)
	now = now.Add(6 * time.Second)
	take("a", 0)
	take("a", 10*time.Second)
	b.Give("a", now)
	take("a", 0)
	take("a", 10*time.Second)
	now = now.Add(-time.Hour) // the clock was set back
	take("a", 10*time.Second)
	b.Reset("a")
	take("a", 0)
	b.Give("never seen", now)
	if _, ok := b.of["never seen"]; ok {
		t.Error("what is whole is remembered")
	}
}

func TestACrowdGivesNobodyABudgetBack(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b := NewBudgets(3, time.Hour, 100)
	for range 3 {
		b.Take("a", now)
	}
	for n := range 1000 {
		b.Take(fmt.Sprint(n), now)
	}
	if len(b.of) > 100 {
		t.Errorf("%d are remembered", len(b.of))
	}
	if _, ok := b.Take("a", now); ok {
		t.Error("a crowd gave it back")
	}
}
