package wampagent

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/registration"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// session is a live WAMP session of a board.
type session struct {
	router.Session
	epoch int64         // 0 until the conductor took it in
	woken time.Time     // when it was last told of a new generation; zero: it was not
	begun chan struct{} // closed when the conductor took it in
	gone  chan struct{} // closed when it has ended

	*parts
}

// parts of a session are made when they are used first: most boards never use them.
type parts struct {
	ofPins    part[pinSession]
	ofCode    part[codeSession]
	ofTickets part[rate.Limiter] // that the board may ask for
	ofHealth  part[rate.Limiter] // of reports of how the board is

	ofRecordings part[rate.Limiter] // of what its shells write
}

// part is one of them.
type part[T any] struct {
	once sync.Once
	made *T
}

func (p *part[T]) get(make func() *T) *T {
	p.once.Do(func() { p.made = make() })
	return p.made
}

func (p *parts) pins() *pinSession  { return p.ofPins.get(newPinSession) }
func (p *parts) code() *codeSession { return p.ofCode.get(newCodeSession) }

func (p *parts) tickets() *rate.Limiter {
	return p.ofTickets.get(func() *rate.Limiter { return rate.NewLimiter(ticketRate, ticketBurst) })
}

func (p *parts) health() *rate.Limiter {
	return p.ofHealth.get(func() *rate.Limiter { return rate.NewLimiter(healthRate, healthBurst) })
}

func (p *parts) recordings() *rate.Limiter {
	return p.ofRecordings.get(func() *rate.Limiter { return rate.NewLimiter(recordingRate, recordingBurst) })
}

// Tickets of one session: at once, as many as a board may have ports and
// streams that come back together, and then so many a second.
const (
	ticketBurst = 2048
	ticketRate  = 50
)

// sessions knows the live ones, and the ends that the conductor has not heard
// of yet.
type sessions struct {
	mu     *sync.Mutex              // guards the maps; never held while anything is called
	live   map[uint64]*session      // by WAMP session id
	board  map[s4t.BoardID]*session // the one of the highest epoch
	coming map[s4t.BoardID]*session // the newest that the conductor did not take in yet
	ended  map[s4t.BoardID]int64    // epochs to tell the conductor of
	waits  map[s4t.BoardID]*delay   // of those that it did not take
	tell   chan struct{}            // something is in ended: capacity 1
}

// delay is when the conductor is told of an end that it did not take.
type delay struct {
	backoff registration.Backoff
	until   time.Time
}

func newSessions() sessions {
	return sessions{
		mu:     new(sync.Mutex),
		live:   make(map[uint64]*session),
		board:  make(map[s4t.BoardID]*session),
		coming: make(map[s4t.BoardID]*session),
		ended:  make(map[s4t.BoardID]int64),
		waits:  make(map[s4t.BoardID]*delay),
		tell:   make(chan struct{}, 1),
	}
}

// joined is told by the router that a session begins.
func (s sessions) joined(who router.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &session{Session: who, begun: make(chan struct{}), gone: make(chan struct{}), parts: &parts{}}
	s.live[who.ID], s.coming[who.Board] = l, l
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
	close(was.gone)
	if s.coming[who.Board] == was {
		delete(s.coming, who.Board)
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
	poke(s.tell)
}

// take returns a live session.
func (s sessions) take(who router.Session) (now session, live bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[who.ID]; l != nil {
		return *l, true
	}
	return session{}, false
}

// woke notes that a session was told of a new generation.
func (s sessions) woke(who router.Session, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[who.ID]; l != nil {
		l.woken = at
	}
}

// gone is closed when the session has ended.
func (s sessions) gone(who router.Session) <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.live[who.ID]; l != nil {
		return l.gone
	}
	ended := make(chan struct{})
	close(ended)
	return ended
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

// soon returns the session of a board. Where one is about to begin it waits for that,
// as long as ctx lasts: who heard of it from the conductor may be faster.
func (s sessions) soon(ctx context.Context, board s4t.BoardID) (session, bool) {
	s.mu.Lock()
	c := s.coming[board]
	s.mu.Unlock()
	if c != nil {
		select {
		case <-c.begun:
		case <-c.gone:
		case <-ctx.Done():
		}
	}
	return s.of(board)
}

// all returns the live ones.
func (s sessions) all() (all []router.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.live {
		all = append(all, l.Session)
	}
	return all
}

// begun returns those that the conductor took in.
func (s sessions) begun() (begun []session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.board {
		begun = append(begun, *l)
	}
	return begun
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
	if l.epoch == 0 {
		close(l.begun)
	}
	if s.coming[who.Board] == l {
		delete(s.coming, who.Board)
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

// due takes the ends that the conductor is to be told of now, and returns when
// it is to be told of the next of the others.
func (s sessions) due(now time.Time) (batch []wire.BoardDisconnected, next time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next = time.Hour
	for board, epoch := range s.ended {
		if w := s.waits[board]; w != nil && now.Before(w.until) {
			next = min(next, w.until.Sub(now))
			continue
		}
		delete(s.ended, board)
		batch = append(batch, wire.BoardDisconnected{Board: board, Epoch: epoch})
	}
	return batch, next
}

// told notes whether the conductor took an end. What it did not take it is
// told again, later each time, unless a newer session of the board made it idle
// talk.
func (s sessions) told(end wire.BoardDisconnected, err error) (backoff registration.Backoff) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		delete(s.waits, end.Board)
		return backoff
	}
	w := s.waits[end.Board]
	if w == nil {
		w = &delay{}
		s.waits[end.Board] = w
	}
	w.until = time.Now().Add(w.backoff.Next())
	s.end(end.Board, end.Epoch)
	if _, again := s.ended[end.Board]; !again {
		delete(s.waits, end.Board)
	}
	return w.backoff
}

// tellEnds tells the conductor of sessions that ended, until ctx ends, each
// until it was heard. One that it cannot take keeps no other from being told.
func (a *Agent) tellEnds(ctx context.Context) {
	var group errgroup.Group
	group.SetLimit(endsTogether)
	defer func() { _ = group.Wait() }() // none returns an error
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.sessions.tell:
		case <-timer.C:
		}
		batch, next := a.sessions.due(time.Now())
		timer.Reset(next)
		for _, end := range batch {
			group.Go(func() error {
				a.tellEnd(ctx, end)
				return nil
			})
		}
	}
}

// tellEnd tells the conductor of one end.
func (a *Agent) tellEnd(ctx context.Context, end wire.BoardDisconnected) {
	var err error
	if now, ok := a.sessions.of(end.Board); !ok || now.epoch <= end.Epoch {
		err = a.conduct(ctx, tellTimeout, wire.MethodBoardDisconnected, end, nil)
	}
	backoff := a.sessions.told(end, err)
	if err != nil && ctx.Err() == nil {
		backoff.Log(a.cfg.Log, "tell the conductor that board "+string(end.Board)+" went", err)
	}
}

// checkSessions finds out, after the conductor was away, which sessions it
// still takes for live. A board of the others opens a new one, as always.
func (a *Agent) checkSessions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.check:
		}
		var group errgroup.Group
		group.SetLimit(together)
		for _, s := range a.sessions.begun() {
			group.Go(func() error {
				err := a.conduct(ctx, callTimeout, wire.MethodBoardDesired, wire.BoardAsk{Board: s.Board, Epoch: s.epoch}, nil)
				a.heed(ctx, s.Session, err)
				return nil
			})
		}
		_ = group.Wait() // none returns an error
	}
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

// dismiss ends a session that has a call under way, and returns when it has
// ended: the board is to learn why from the end of the session, not from what
// its call returns.
func (a *Agent) dismiss(ctx context.Context, s router.Session, reason, message string) {
	a.kick(ctx, s, reason, message)
	select {
	case <-a.sessions.gone(s):
	case <-time.After(pingTimeout):
	case <-ctx.Done():
	}
}

// kick ends a session. That the router has stopped ends it too.
func (a *Agent) kick(ctx context.Context, s router.Session, reason, message string) {
	a.cfg.Log.Info("a control session is ended", "board", s.Board, "session", s.ID, "reason", reason)
	if err := a.router.Kick(ctx, s, reason, message); err != nil && ctx.Err() == nil {
		a.cfg.Log.Warn("cannot end a control session", "board", s.Board, "session", s.ID, "err", err)
	}
}
