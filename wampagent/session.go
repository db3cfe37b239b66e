package wampagent

import (
	"context"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// session is a live WAMP session of a board.
type session struct {
	router.Session
	epoch int64 // 0 until the conductor took it in
}

// sessions knows the live ones, and the ends that the conductor has not heard
// of yet.
type sessions struct {
	mu    *sync.Mutex              // guards the maps; never held while anything is called
	live  map[uint64]*session      // by WAMP session id
	board map[s4t.BoardID]*session // the one of the highest epoch
	ended map[s4t.BoardID]int64    // epochs to tell the conductor of
	tell  chan struct{}            // something is in ended: capacity 1
}

func newSessions() sessions {
	return sessions{
		mu:    new(sync.Mutex),
		live:  make(map[uint64]*session),
		board: make(map[s4t.BoardID]*session),
		ended: make(map[s4t.BoardID]int64),
		tell:  make(chan struct{}, 1),
	}
}

// joined is told by the router that a session begins.
func (s sessions) joined(who router.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[who.ID] = &session{Session: who}
}

// left is told by the router that a session has ended.
func (s sessions) left(who router.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.live[who.ID]
	delete(s.live, who.ID)
	if was == nil {
		return
	}
	if s.board[who.Board] == was {
		delete(s.board, who.Board)
	}
	s.end(who.Board, was.epoch)
}

// end notes that the conductor is to be told. An epoch that a newer session
// has overtaken is over without being told. mu is held.
func (s sessions) end(board s4t.BoardID, epoch int64) {
	if now := s.board[board]; epoch == 0 || now != nil && now.epoch > epoch || s.ended[board] > epoch {
		return
	}
	s.ended[board] = epoch
	select {
	case s.tell <- struct{}{}:
	default:
	}
}

// take returns the epoch of a live session.
func (s sessions) take(who router.Session) (epoch int64, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[who.ID]; l != nil {
		return l.epoch, true
	}
	return 0, false
}

// of returns the session of a board.
func (s sessions) of(board s4t.BoardID) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.board[board]; l != nil {
		return *l, true
	}
	return session{}, false
}

// all returns the sessions that the conductor took in.
func (s sessions) all() []session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]session, 0, len(s.board))
	for _, l := range s.board {
		out = append(out, *l)
	}
	return out
}

// begin gives a session its epoch. It returns the session that has to go: the
// older one of the board, which may be the new-comer itself. A session that
// ended meanwhile is reported as an end.
func (s sessions) begin(who router.Session, epoch int64) (goes router.Session, some, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.live[who.ID]
	if l == nil {
		s.end(who.Board, epoch)
		return goes, false, false
	}
	l.epoch = epoch
	old := s.board[who.Board]
	switch {
	case old != nil && old.epoch > epoch:
		return who, true, true
	case old != nil && old != l:
		goes, some = old.Session, true
	}
	s.board[who.Board] = l
	return goes, some, true
}

// tellEnds tells the conductor of sessions that ended, until ctx ends. Each is
// told until it was heard, or a newer session of the board made it idle talk.
func (a *Agent) tellEnds(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.sessions.tell:
		}
		a.sessions.mu.Lock()
		batch := make([]wire.BoardDisconnected, 0, len(a.sessions.ended))
		for board, epoch := range a.sessions.ended {
			batch = append(batch, wire.BoardDisconnected{Board: board, Epoch: epoch})
		}
		clear(a.sessions.ended)
		a.sessions.mu.Unlock()
		var group errgroup.Group
		group.SetLimit(8)
		for _, end := range batch {
			group.Go(func() error {
				a.retry(ctx, "tell the conductor that a board went", func(ctx context.Context) error {
					if now, ok := a.sessions.of(end.Board); ok && now.epoch > end.Epoch {
						return nil
					}
					return a.conduct(ctx, callTimeout, wire.MethodBoardDisconnected, end, nil)
				})
				return nil
			})
		}
		_ = group.Wait() // none returns an error
	}
}

// checkSessions finds out, after the conductor was away, which sessions it
// still takes for live. A board of the others opens a new one: the normal way.
func (a *Agent) checkSessions(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(8)
	for _, s := range a.sessions.all() {
		group.Go(func() error {
			err := a.conduct(ctx, callTimeout, wire.MethodBoardDesired, wire.BoardAsk{Board: s.Board, Epoch: s.epoch}, nil)
			a.heed(ctx, s.Session, err)
			return nil
		})
	}
	_ = group.Wait() // none returns an error
}

// heed ends a session that the conductor no longer takes for the board's.
func (a *Agent) heed(ctx context.Context, s router.Session, err error) {
	switch s4t.KindOf(err) {
	case s4t.Conflict:
		a.kick(ctx, s, wamp.ReasonStale, "the cloud takes this session for over")
	case s4t.NotFound:
		a.kick(ctx, s, wamp.ReasonLeft, "the board was deleted")
	}
}

// kick ends a session. That the router has stopped ends it too.
func (a *Agent) kick(ctx context.Context, s router.Session, reason, message string) {
	a.cfg.Log.Info("a control session is ended", "board", s.Board, "session", s.ID, "reason", reason)
	if err := a.router.Kick(ctx, s, reason, message); err != nil && ctx.Err() == nil {
		a.cfg.Log.Warn("cannot end a control session", "board", s.Board, "session", s.ID, "err", err)
	}
}
