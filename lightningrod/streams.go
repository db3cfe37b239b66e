package lightningrod

import (
	"context"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/resume"
	"github.com/stack4things/s4t/rtunnel/stream"
	"github.com/stack4things/s4t/terminal"
	"github.com/stack4things/s4t/wire"
)

// streams realise the kind streams: idle data rtunnels at the tunnel agent, on
// which streams come. What a stream may reach is in service.go.
type streams struct {
	pool      *stream.Pool
	resumable *resume.Keeper
	shells    *terminal.Host // nil: none
	record    *recordings
	online    func() (online bool, changed <-chan struct{})

	mu sync.Mutex // guards id
	id string     // of the resource; empty: none is wanted
}

// newStreams makes the kind streams of a board.
func (e *Engine) newStreams(dial rtunnelDialer, policy *streamPolicy) (*streams, error) {
	pool, err := stream.NewPool(stream.PoolConfig{
		Dial: func(ctx context.Context, url, ticket string) (*rtunnel.Conn, error) {
			return dial.Dial(ctx, url, rtunnel.Path, rtunnel.SubprotocolStreams, ticket)
		},
		Tickets: e.streamsTickets,
		Connect: policy.connect,
		Moved:   e.profile.traffic.stream,
		Changed: e.markDirty,
		Log:     e.cfg.Log,
	})
	if err != nil {
		return nil, err
	}
	return &streams{pool: pool, resumable: policy.resumable, shells: policy.shells, record: policy.recordings, online: e.isOnline}, nil
}

// streamsTickets asks for n tickets for idle data rtunnels, when there is a
// session.
func (e *Engine) streamsTickets(ctx context.Context, n int) ([]string, error) {
	for {
		online, changed := e.isOnline()
		if online {
			return e.tickets(ctx, wire.BoardTicket{Purpose: wire.PurposeStreams, Count: n})
		}
		select {
		case <-ctx.Done():
			return nil, s4t.Errorf(s4t.Unavailable, "ask for a ticket", "", "%w", errNoSession)
		case <-changed:
		}
	}
}

// Apply implements reconciler. A board has one tunnel agent for its streams: the
// first resource is taken.
func (s *streams) Apply(want []wire.Resource) (refused []wire.ResourceState) {
	var first *wire.DesiredStreams
	id := ""
	for _, r := range want {
		var d wire.DesiredStreams
		state, ok := decode(r, &d)
		if ok && first != nil {
			state, ok = refuse(r, "", "a board has idle data rtunnels at one tunnel agent only"), false
		}
		if !ok {
			refused = append(refused, state)
			continue
		}
		first, id = &d, r.ID
	}
	s.mu.Lock()
	s.id = id
	s.mu.Unlock()
	s.pool.Set(first)
	return refused
}

// wanted returns the id of the resource, empty if none is wanted.
func (s *streams) wanted() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.id
}

// up reports whether streams can come.
func (s *streams) up() bool {
	now := s.pool.Status()
	return s.wanted() != "" && (now.Idle > 0 || now.Busy > 0 && now.Problem == "")
}

// States implements reconciler. The resource is up while there is an idle data
// rtunnel, and also while all are busy and others can be opened.
func (s *streams) States() (states []wire.ResourceState, settled bool) {
	id := s.wanted()
	if id == "" {
		return nil, true
	}
	state := wire.ResourceState{Kind: wire.KindStreams, ID: id}
	if state.Up = s.up(); !state.Up {
		state.Problem = s.pool.Status().Problem
	}
	online, _ := s.online()
	return []wire.ResourceState{state}, state.Up || state.Problem != "" || !online
}

// Retry implements retrier.
func (s *streams) Retry() { s.pool.Wake() }

// Run implements runner.
func (s *streams) Run(ctx context.Context) error {
	if s.shells != nil {
		defer s.shells.Wait()
	}
	s.record.begin(ctx)
	defer s.resumable.Close()
	return s.pool.Run(ctx)
}

// cut ends all streams that are open, or wait to be resumed.
func (s *streams) cut(why error) {
	s.resumable.Drop(why)
	s.pool.Cut(why)
}

// errLeaseOver is why what was open by a lease ends with it.
var errLeaseOver = s4t.Errorf(s4t.Forbidden, "use the board", "`s4t lease create` books it again", "the lease is over by which it was open")

// endLeased ends the streams that are open by leases that are over, or wait to be resumed.
func (s *streams) endLeased(over func(id s4t.LeaseID) bool) {
	by := func(id string) bool { return over(s4t.LeaseID(id)) }
	s.resumable.DropBy(by, errLeaseOver)
	s.pool.CutBy(by, errLeaseOver)
}

// Problems implements complainer.
func (s *streams) Problems() []string {
	problem := s.pool.Status().Problem
	if online, _ := s.online(); problem == "" || !online || s.wanted() == "" {
		return nil
	}
	return []string{problem}
}
