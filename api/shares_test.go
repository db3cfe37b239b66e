package api

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestAShareOfOneIsNotTakenByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shares{each: 2, all: 3, waiting: 1, patience: time.Second}
		ctx := t.Context()
		a1, _ := s.take(ctx, "a", 1)
		a2, _ := s.take(ctx, "a", 1)
		if _, ok := s.take(ctx, "a", 1); ok {
			t.Error("a has more than its share")
		}
		if _, ok := s.take(ctx, "b", 5); ok {
			t.Error("b was given more than is left")
		}
		b1, ok := s.take(ctx, "b", 1)
		if !ok {
			t.Fatal("b has no share")
		}
		for _, give := range []func(){a1, a2, b1} {
			give()
		}
		if s.given != 0 || len(s.keys) != 0 || len(s.order) != 0 {
			t.Errorf("left: %d given, %d keys, %d wait", s.given, len(s.keys), len(s.order))
		}
	})
}

func TestWhoWaitsIsServedInTurnKeyByKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shares{each: 4, all: 1, waiting: 100, patience: time.Hour}
		first, _ := s.take(t.Context(), "a", 1)
		var served []string
		for _, key := range []string{"a", "a", "a", "b", "a", "b"} {
			go func() {
				give, ok := s.take(t.Context(), key, 1)
				if ok {
					served = append(served, key) // one at a time
					give()
				}
			}()
			synctest.Wait()
		}
		first()
		synctest.Wait()
		if want := []string{"a", "b", "a", "b", "a", "a"}; !slices.Equal(served, want) {
			t.Errorf("served %v, want %v", served, want)
		}
	})
}

func TestWhoWaitsTooLongOrWithTooManyIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := shares{each: 1, all: 10, waiting: 2, patience: time.Second}
		give, _ := s.take(t.Context(), "a", 1)
		began := time.Now()
		ended := make(chan time.Duration, 4)
		for range 3 {
			go func() {
				if _, ok := s.take(t.Context(), "a", 1); ok {
					t.Error("one was served")
				}
				ended <- time.Since(began)
			}()
			synctest.Wait()
		}
		if at := <-ended; at != 0 {
			t.Errorf("one too many was refused after %v", at)
		}
		for range 2 {
			if at := <-ended; at != time.Second {
				t.Errorf("one was refused after %v", at)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, ok := s.take(ctx, "a", 1); ok {
			t.Error("served though it had gone")
		}
		give()
		if give, ok := s.take(t.Context(), "a", 1); !ok {
			t.Error("not served although nobody has any")
		} else {
			give()
		}
		if s.given != 0 || len(s.keys) != 0 || len(s.order) != 0 {
			t.Errorf("left: %d given, %d keys, %d wait", s.given, len(s.keys), len(s.order))
		}
	})
}
