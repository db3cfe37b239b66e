package wampagent

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/samples"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// Boards that mount the pins of others: their questions go to the conductor, samples
// and news come from here.

const (
	maxIncoming   = 256              // boards that one board watches
	incomingQueue = 512              // about as many samples of each wait for it; of more the newest of each pin stays
	incomingTime  = 10 * time.Second // for it to take some
	mountTime     = 2 * time.Minute  // a board that asked nothing for so long is not told of news
	newsInterval  = time.Second
	remoteTimeout = callTimeout
	newsTime      = 3 * time.Second // for all boards to be told
)

// incoming are samples of another board that are on their way to a board. Who sends
// them does not wait for its link.
type incoming struct {
	queue   *samples.Queue
	sending bool
	over    bool // the board did not take them: who sends the next ones is told
}

// pinsSamples takes samples of a board for another one that watches it. NotFound: it
// does not, or is not here.
func (a *Agent) pinsSamples(_ context.Context, req wire.PinSamples) (wire.Empty, error) {
	const op = "send samples to a board"
	gone := s4t.Errorf(s4t.NotFound, op, "", "board %s does not watch them here", req.Watcher)
	s, ok := a.sessions.of(req.Watcher)
	if !ok {
		return wire.Empty{}, gone
	}
	var list []s4t.Sample
	if err := json.Unmarshal(req.Samples, &list); err != nil || len(list) > wire.MaxSamples {
		return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "these are no %d samples", wire.MaxSamples)
	}
	p := s.pins()
	p.mu.Lock()
	defer p.mu.Unlock()
	in := p.incoming[req.Board]
	switch {
	case in == nil && len(p.incoming) >= maxIncoming:
		return wire.Empty{}, s4t.Errorf(s4t.TooMany, op, "", "it watches %d others already", maxIncoming)
	case in == nil:
		if p.incoming == nil {
			p.incoming = map[s4t.BoardID]*incoming{}
		}
		in = &incoming{queue: samples.NewQueue(incomingQueue)}
		p.incoming[req.Board] = in
	case in.over:
		delete(p.incoming, req.Board)
		return wire.Empty{}, gone
	}
	in.queue.Put(list...)
	if !in.sending {
		in.sending = true
		a.sending.Go(func() { a.sendSamples(s, req.Board, in) })
	}
	return wire.Empty{}, nil
}

// sendSamples sends what waits for a board, until nothing does.
func (a *Agent) sendSamples(s session, of s4t.BoardID, in *incoming) {
	p := s.pins()
	for {
		list := in.queue.Take(wire.MaxSamples)
		if len(list) == 0 {
			p.mu.Lock()
			if list = in.queue.Take(wire.MaxSamples); len(list) == 0 {
				in.sending = false
				if p.incoming[of] == in {
					delete(p.incoming, of)
				}
			}
			p.mu.Unlock()
		}
		if len(list) == 0 {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), incomingTime)
		_, err := a.router.Call(ctx, s.Session, wamp.PinsSamples, string(wire.Encode(wire.PinSamples{Board: of, Samples: wire.Encode(list)})))
		cancel()
		if err != nil {
			p.mu.Lock()
			in.sending, in.over = false, true
			p.mu.Unlock()
			return
		}
	}
}

// again forgets which samples the board did not take: it watches anew.
func (p *pinSession) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for of, in := range p.incoming {
		if in.over {
			delete(p.incoming, of)
		}
	}
}

// remote carries a question of a board about others' pins to the conductor. Its
// errors are about those: none of them says that the session is over.
func (a *Agent) remote(ctx context.Context, from router.Session, p *pinSession, req wire.PinRemote) (string, error) {
	a.mounts.note(from.Board, time.Now())
	if req.Watch != nil {
		req.Watch.Sink = wire.Sink{Topic: wire.TopicWAMPPins + "." + string(a.cfg.ID), Watcher: from.Board}
		p.again()
	}
	var reply json.RawMessage
	err := a.conduct(ctx, remoteTimeout, wire.MethodBoardRemote, req, &reply)
	return string(reply), err
}

// mounts are the boards that are told when others, or their pins, may have changed.
type mounts struct {
	newest atomic.Int64  // event
	some   chan struct{} // of capacity 1: it is to be told

	mu    sync.Mutex // guards the field below
	until map[s4t.BoardID]time.Time
}

func newMounts() *mounts {
	return &mounts{some: make(chan struct{}, 1), until: map[s4t.BoardID]time.Time{}}
}

// note has a board told for a while.
func (m *mounts) note(board s4t.BoardID, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until[board] = now.Add(mountTime)
}

// due are the boards to tell now.
func (m *mounts) due(now time.Time) (boards []s4t.BoardID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for board, until := range m.until {
		if now.After(until) {
			delete(m.until, board)
		} else {
			boards = append(boards, board)
		}
	}
	return boards
}

// news hears of events.
func (a *Agent) news(_ context.Context, n wire.News) (wire.Empty, error) {
	for old := a.mounts.newest.Load(); n.Events > old; old = a.mounts.newest.Load() {
		if a.mounts.newest.CompareAndSwap(old, n.Events) {
			poke(a.mounts.some)
			break
		}
	}
	return wire.Empty{}, nil
}

// tellNews tells boards that mount of events, until ctx ends: at most once in
// newsInterval, what came meanwhile together.
func (a *Agent) tellNews(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		select {
		case <-ctx.Done():
			return
		case <-a.mounts.some:
		}
		text := string(wire.Encode(wire.PinNews{EventID: a.mounts.newest.Load()}))
		telling, cancel := context.WithTimeout(ctx, newsTime)
		var group errgroup.Group
		group.SetLimit(together)
		for _, board := range a.mounts.due(time.Now()) {
			group.Go(func() error {
				if err := a.router.Publish(telling, wamp.BoardURI(board, wamp.PinsNews), text); err != nil {
					a.cfg.Log.Debug("a board is not told of news", "board", board, "err", err)
				}
				return nil
			})
		}
		_ = group.Wait() // none returns an error
		cancel()
		pause.Reset(newsInterval)
	}
}
