package api

import (
	"context"
	"slices"
	"sync"
	"time"
)

// shares gives out a number of something to keys, projects or sources, so that
// none gets more than a share of it, who wants more waits for a while, and those
// who wait are served in turn, key by key.
type shares struct {
	each, all int64         // the most that one key, and that all keys together may have
	waiting   int           // of one key
	patience  time.Duration // of who waits

	mu    sync.Mutex // guards what follows; a leaf
	given int64
	keys  map[string]*share
	order []*share // those with somebody who waits, whose turn is next first
}

// share is what a key has.
type share struct {
	key   string
	given int64
	turns []*turn // who waits, the first first
}

// turn is somebody who waits.
type turn struct {
	n  int64
	ok chan struct{} // closed when it was given
}

// take takes n, at most each, for a key; give gives them back. It is not ok
// where ctx or the patience ends before, or too many wait already.
func (s *shares) take(ctx context.Context, key string, n int64) (give func(), ok bool) {
	n = min(n, s.each, s.all)
	s.mu.Lock()
	if s.keys == nil {
		s.keys = map[string]*share{}
	}
	k := s.keys[key]
	if k == nil {
		k = &share{key: key}
		s.keys[key] = k
	}
	t := &turn{n, make(chan struct{})}
	if k.turns = append(k.turns, t); len(k.turns) == 1 {
		s.order = append(s.order, k)
	}
	s.serve()
	if !closed(t.ok) && len(k.turns) > s.waiting {
		s.drop(k, t)
	}
	waits := slices.Contains(k.turns, t)
	s.mu.Unlock()
	if waits {
		late := time.NewTimer(s.patience)
		defer late.Stop()
		select {
		case <-t.ok:
		case <-late.C:
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !closed(t.ok) {
		s.drop(k, t)
		s.serve() // the one behind it may want less
		return nil, false
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		k.given -= n
		s.given -= n
		s.serve()
		s.forget(k)
	}, true
}

// serve gives to those who wait, in turn, as far as it goes. mu is held.
func (s *shares) serve() {
	for blocked := 0; blocked < len(s.order); {
		k := s.order[0]
		t := k.turns[0]
		if k.given+t.n > s.each {
			s.order = append(s.order[1:], k) // its own others have to end before
			blocked++
			continue
		}
		if s.given+t.n > s.all {
			return // whose turn it is waits for anybody to end
		}
		blocked = 0
		k.given += t.n
		s.given += t.n
		close(t.ok)
		s.order = s.order[1:]
		if k.turns = k.turns[1:]; len(k.turns) > 0 {
			s.order = append(s.order, k)
		}
	}
}

// drop takes off who waits no more. mu is held.
func (s *shares) drop(k *share, t *turn) {
	if i := slices.Index(k.turns, t); i >= 0 {
		k.turns = slices.Delete(k.turns, i, i+1)
		if len(k.turns) == 0 {
			i := slices.Index(s.order, k)
			s.order = slices.Delete(s.order, i, i+1)
		}
	}
	s.forget(k)
}

// forget drops a key that has nothing. mu is held.
func (s *shares) forget(k *share) {
	if k.given == 0 && len(k.turns) == 0 && s.keys[k.key] == k {
		delete(s.keys, k.key)
	}
}

// closed reports whether a channel that carries nothing is closed.
func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
