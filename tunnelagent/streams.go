package tunnelagent

import (
	"context"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// streams are the boards that may have idle data rtunnels here, and the
// rtunnels they have.
type streams struct {
	agent *Agent

	mu     sync.Mutex // guards the fields below
	boards map[s4t.BoardID]struct{}
}

func newStreams(a *Agent) *streams {
	return &streams{agent: a, boards: map[s4t.BoardID]struct{}{}}
}

// apply implements reconciler.
func (s *streams) apply(rd *round, changed []wire.Resource) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range changed {
		board := s4t.BoardID(r.ID)
		if !r.Gone {
			s.boards[board] = struct{}{}
			continue
		}
		delete(s.boards, board)
		rd.end(func() { s.agent.opener.Drop(board) })
	}
}

// state implements reconciler: up while the board has an rtunnel here.
func (s *streams) state(id string) (up bool, problem error) {
	return s.agent.opener.Has(s4t.BoardID(id)), nil
}

// wanted reports whether the board may have rtunnels here.
func (s *streams) wanted(board s4t.BoardID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.boards[board]
	return ok
}

// keep keeps a board's rtunnel for streams until it ends. It does not wait for
// that; done is called then.
func (s *streams) keep(ctx context.Context, board s4t.BoardID, conn *rtunnel.Conn, done func()) {
	key := wire.ResourceKey{Kind: wire.KindStreams, ID: string(board)}
	s.agent.opener.Keep(ctx, board, conn, func(error) {
		s.agent.changed(key)
		done()
	})
	if !s.wanted(board) { // it went in the same moment
		s.agent.opener.Drop(board)
	}
	s.agent.changed(key)
}
