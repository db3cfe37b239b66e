package wampagent

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what is asked of the pins of one board, and of what it tells of them.
const (
	pinWorkers = 512 // messages of the queue about pins that are served at a time

	maxPinAsks    = 8                                        // questions that a board answers at a time
	maxPinWaiting = 64                                       // that wait, beside them
	pinAskTime    = s4t.PinAnswerTime - 100*time.Millisecond // for a board's answer, and for its turn; who asked hears of it in time
	maxSinks      = 256                                      // that watch one board
	sinkTime      = 2 * time.Second                          // a sink that does not take samples within it is dropped
	sampleRate    = rate.Limit(8 << 20)                      // bytes of samples a second: some 80,000 of them; more wait
	sampleBurst   = 8 << 20
	reportRate    = rate.Limit(2) // reports of pins a second; more wait
	reportBurst   = 20
)

// pinSession is what a board's session has to do with pins: those of the board,
// which are asked and watched, and those of others, which it watches.
type pinSession struct {
	*turns                // of questions
	telling chan struct{} // of capacity 1: held while the board is told what is watched
	samples *rate.Limiter
	reports *rate.Limiter

	mu       sync.Mutex // guards the fields below; nothing is called with it held
	sinks    map[wire.Sink]*sink
	incoming map[s4t.BoardID]*incoming // samples of others that are on their way to the board
}

// sink is what somebody watches of a board.
type sink struct {
	pins    []string // none: all
	project s4t.ProjectID
	until   time.Time
}

func newPinSession() *pinSession {
	return &pinSession{
		turns: newTurns(maxPinAsks, maxPinWaiting), telling: make(chan struct{}, 1),
		samples: rate.NewLimiter(sampleRate, sampleBurst), reports: rate.NewLimiter(reportRate, reportBurst),
	}
}

// pinsOfBoard asks a board.
func (a *Agent) pinsOfBoard(ctx context.Context, req wire.BoardPins) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, pinAskTime)
	defer cancel()
	s, ok := a.sessions.soon(ctx, req.Board)
	if !ok {
		return nil, offline(req.Board)
	}
	return a.askPins(ctx, s, req.Ask)
}

// askPins asks a board in a session. One that does not answer until ctx ends is
// Offline.
func (a *Agent) askPins(ctx context.Context, s session, ask wire.PinAsk) (json.RawMessage, error) {
	op := fmt.Sprintf("%s pins of board %s", ask.Do, s.Board)
	leave, err := s.pins().enter(ctx, op)
	var reply string
	if err == nil {
		reply, err = a.router.Call(ctx, s.Session, wamp.PinsAsk, string(wire.Encode(ask)))
		leave()
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, s4t.Errorf(s4t.Offline, op, "`s4t doctor` says what is known of it", "the board did not answer within %v", s4t.PinAnswerTime)
	case err != nil:
		return nil, err
	case !json.Valid([]byte(reply)):
		return nil, s4t.Errorf(s4t.Internal, op, "", "the board's answer is not JSON")
	}
	return json.RawMessage(reply), nil
}

// put notes what a sink watches, and reports whether it is new.
func (p *pinSession) put(req wire.BoardPinsWatch, now time.Time) (fresh bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	if _, there := p.sinks[req.Sink]; !there {
		if fresh = true; len(p.sinks) >= maxSinks {
			return fresh, s4t.Errorf(s4t.TooMany, "watch pins of board "+string(req.Board), "try again in a moment", "%d watch it already", maxSinks).After(time.Second)
		}
	}
	if p.sinks == nil {
		p.sinks = map[wire.Sink]*sink{}
	}
	of := &sink{pins: req.Pins, project: req.Project, until: now.Add(wire.PinWatchTerm)}
	if !req.Until.IsZero() && req.Until.Before(of.until) { // its lease is over then
		of.until = req.Until
	}
	p.sinks[req.Sink] = of
	return fresh, nil
}

// dropOf forgets all sinks of a project.
func (p *pinSession) dropOf(project s4t.ProjectID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.sinks, func(_ wire.Sink, s *sink) bool { return s.project == project })
}

// drop forgets a sink, unless it asked again meanwhile; nil: in any case.
func (p *pinSession) drop(of wire.Sink, was *sink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if was == nil || p.sinks[of] == was {
		delete(p.sinks, of)
	}
}

// expire forgets those whose term is over. mu is held.
func (p *pinSession) expire(now time.Time) {
	maps.DeleteFunc(p.sinks, func(_ wire.Sink, s *sink) bool { return !now.Before(s.until) })
}

// watching are the sinks that are there now.
func (p *pinSession) watching(now time.Time) map[wire.Sink]*sink {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.expire(now)
	return maps.Clone(p.sinks)
}

// union is what all sinks together watch, with what of it is for whom.
func (p *pinSession) union(now time.Time) wire.PinAsk {
	ask := wire.PinAsk{Do: wire.PinWatched}
	watching := p.watching(now)
	ask.Shares = sharesOf(watching)
	for _, s := range watching {
		ask.Pins = append(ask.Pins, s.pins...)
		ask.All = ask.All || len(s.pins) == 0
		ask.Term = max(ask.Term, s.until.Sub(now))
	}
	slices.Sort(ask.Pins)
	ask.Pins = slices.Compact(ask.Pins)
	if ask.All = ask.All || len(ask.Pins) > s4t.MaxPins; ask.All {
		ask.Pins = nil
	}
	return ask
}

// sharesOf are the parts of what sinks watch, by project; none where nobody said for whom.
func sharesOf(sinks map[wire.Sink]*sink) (shares []wire.PinShare) {
	of := map[s4t.ProjectID]*wire.PinShare{}
	all := map[s4t.ProjectID]bool{}
	for _, s := range sinks {
		if of[s.project] == nil {
			of[s.project] = &wire.PinShare{Project: s.project}
		}
		of[s.project].Pins = append(of[s.project].Pins, s.pins...)
		all[s.project] = all[s.project] || len(s.pins) == 0
	}
	if len(of) == 1 && of[""] != nil {
		return nil
	}
	for _, project := range slices.Sorted(maps.Keys(of)) {
		s := of[project]
		slices.Sort(s.Pins)
		if s.Pins = slices.Compact(s.Pins); all[project] || len(s.Pins) > s4t.MaxPins {
			s.Pins = nil
		}
		shares = append(shares, *s)
	}
	return shares
}

// pinsWatch has the samples of a board sent to a sink. The board is told what all
// sinks together watch: it samples, and sends, once.
func (a *Agent) pinsWatch(ctx context.Context, req wire.BoardPinsWatch) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, pinAskTime)
	defer cancel()
	s, ok := a.sessions.soon(ctx, req.Board)
	if !ok {
		return nil, offline(req.Board)
	}
	p := s.pins()
	select { // of two unions the later one is told later
	case p.telling <- struct{}{}:
		defer func() { <-p.telling }()
	case <-ctx.Done():
		return nil, s4t.Errorf(s4t.Offline, "watch pins of board "+string(req.Board), "`s4t doctor` says what is known of it", "the board did not answer within %v", s4t.PinAnswerTime)
	}
	now := time.Now()
	if req.End {
		if p.drop(req.Sink, nil); req.Sink == (wire.Sink{}) {
			p.dropOf(req.Project)
		}
		return a.askPins(ctx, s, p.union(now))
	}
	fresh, err := p.put(req, now)
	if err != nil {
		return nil, err
	}
	ask := p.union(now)
	ask.After = req.After
	reply, err := a.askPins(ctx, s, ask)
	if err != nil && fresh {
		p.drop(req.Sink, nil)
	}
	return reply, err
}

// takeSamples gives samples of a board to all who watch it, and returns when they
// have them: the board goes as fast as the cloud. One that does not take them is
// dropped. NotFound: nobody watches.
func (a *Agent) takeSamples(ctx context.Context, from router.Session, p *pinSession, req wire.PinSamples) (string, error) {
	op := "take samples of board " + string(from.Board)
	if err := p.samples.WaitN(ctx, min(len(req.Samples), sampleBurst)); err != nil {
		return "", s4t.Errorf(s4t.Unavailable, op, "", "the WAMP agent stops")
	}
	ctx, cancel := context.WithTimeout(ctx, sinkTime)
	defer cancel()
	sinks := p.watching(time.Now())
	var giving sync.WaitGroup
	for to, s := range sinks {
		give := func() {
			err := a.cfg.Queue.Call(ctx, to.Topic, wire.MethodPinsSamples, wire.PinSamples{Board: from.Board, Watcher: to.Watcher, For: to.For, Samples: req.Samples}, nil)
			if err != nil {
				a.cfg.Log.Debug("samples are not sent there any more", "board", from.Board, "sink", to.Topic, "watcher", to.Watcher, "err", err)
				p.drop(to, s)
			}
		}
		if len(sinks) == 1 {
			give()
		} else {
			giving.Go(give)
		}
	}
	giving.Wait()
	if len(p.watching(time.Now())) == 0 {
		return "", s4t.Errorf(s4t.NotFound, op, "", "nobody watches the board")
	}
	return encode(wire.Empty{}, nil)
}
