package tunnelagent

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/wire"
)

// streams are the boards that may have idle data rtunnels here, the rtunnels
// they have, and how many streams each project has open.
type streams struct {
	agent *Agent

	mu       sync.Mutex // guards the fields below
	boards   map[s4t.BoardID]wire.TunnelStreams
	projects map[s4t.ProjectID]int64 // open, or being opened
	changed  chan struct{}           // closed, and made anew, with each change of boards
}

func newStreams(a *Agent) *streams {
	return &streams{agent: a, boards: map[s4t.BoardID]wire.TunnelStreams{}, projects: map[s4t.ProjectID]int64{}, changed: make(chan struct{})}
}

// apply implements reconciler.
func (s *streams) apply(rd *round, changed []wire.Resource) {
	each(rd, changed, func(id string) {
		board := s4t.BoardID(id)
		s.mu.Lock()
		delete(s.boards, board)
		s.tell()
		s.mu.Unlock()
		rd.end(func() { s.agent.opener.Drop(board) })
	}, func(id string, want wire.TunnelStreams) error {
		board := s4t.BoardID(id)
		s.mu.Lock()
		defer s.mu.Unlock()
		if was, ok := s.boards[board]; ok && was.Project != want.Project { // it has another owner: nothing of the one before goes on
			rd.end(func() { s.agent.opener.Drop(board) })
		}
		s.boards[board] = want
		s.tell()
		return nil
	})
}

// tell has those that wait for a change look again. s.mu is held.
func (s *streams) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// lease returns until when a lease of a board lasts, as it is known now, and what is closed when that
// may be another time. over: it is not there.
func (s *streams) lease(board s4t.BoardID, id s4t.LeaseID) (until time.Time, changed <-chan struct{}, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	us, ok := s.boards[board].Leases[id]
	return time.UnixMicro(us), s.changed, !ok
}

// ofProject reports whether a board is of a project, or is not known here.
func (s *streams) ofProject(board s4t.BoardID, project s4t.ProjectID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	of, known := s.boards[board]
	return !known || of.Project == "" || of.Project == project
}

// leased reports whether a lease of a board lasts.
func (s *streams) leased(board s4t.BoardID, id s4t.LeaseID) bool {
	until, _, over := s.lease(board, id)
	return !over && time.Now().Before(until)
}

// whileLeased returns a context that ends with a lease of a board: when its time is over, with the
// cloud or without, and as soon as the cloud takes it back.
func (s *streams) whileLeased(ctx context.Context, board s4t.BoardID, id s4t.LeaseID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		for {
			until, changed, over := s.lease(board, id)
			if over {
				return
			}
			end := time.NewTimer(time.Until(until))
			select {
			case <-changed:
				end.Stop()
			case <-end.C:
				return
			case <-ctx.Done():
				end.Stop()
				return
			}
		}
	}()
	return ctx, cancel
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

// sharedStreams is the quota from which on one source of visitors leaves a quarter
// to others. Who gives a project fewer wants them used.
const sharedStreams = 64

// begin counts one more stream of a board for its project, or for the one that has
// the lease by which it is, unless that project
// has as many as it may, or the source that it is for has most of them: ofSource
// is how many that has, with this one; 0 for a user's. end counts one less. A board that may have no rtunnels
// here has no streams either.
func (s *streams) begin(board s4t.BoardID, lease s4t.LeaseID, ofSource int) (end func(), err error) {
	const op = "open a stream on the board"
	s.mu.Lock()
	defer s.mu.Unlock()
	of, known := s.boards[board]
	if !known || of.Project == "" {
		return func() {}, nil
	}
	if by, lent := of.Lessees[lease]; lent {
		of.Project, of.Limit = by.Project, by.Limit
	}
	used := s.projects[of.Project]
	if of.Limit != s4t.Unlimited && used >= of.Limit {
		return nil, s4t.OverQuota(op, s4t.QuotaStreams, string(of.Project), s4t.Quota{Used: used, Limit: of.Limit}, 1)
	}
	if of.Limit >= sharedStreams && int64(ofSource) > of.Limit*3/4 {
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "one source has three quarters of the streams of project %q", of.Project).After(tryAgain)
	}
	if !s.agent.cfg.Descriptors.Fair(visitorCost * int(used)) {
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "project %q has a quarter of the cloud's descriptors for streams, and others want some", of.Project).After(tryAgain)
	}
	s.projects[of.Project]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.projects[of.Project]--; s.projects[of.Project] == 0 {
			delete(s.projects, of.Project)
		}
	}, nil
}

// uses says how many streams each project has open.
func (s *streams) uses() []wire.Use {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]wire.Use, 0, len(s.projects))
	for project, n := range s.projects {
		all = append(all, wire.Use{Project: project, Key: s4t.QuotaStreams, Used: n})
	}
	return all
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
