package wampagent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"golang.org/x/time/rate"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// Bounds of what is asked of the code on one board, and of what it tells of it.
const (
	commandWorkers = 1024 // messages of the queue about commands that are served at a time

	maxCodeAsks    = 64  // questions that a board answers at a time: a run holds one for wire.RunWait
	maxCodeWaiting = 256 // that wait, beside them
	codeAskTime    = 2*time.Second - 100*time.Millisecond
	codeRate       = rate.Limit(2) // reports of runs and asks for tokens a second, of each; more wait
	codeBurst      = 20

	// What the code is, of which each report may be an event: as often as a board
	// says so by itself. More wait, and none is lost.
	reportCodeRate  = rate.Limit(1) // a second
	reportCodeBurst = 4             // a session that begins has more to say
)

// codeSession is what a board's session has to do with the code on the board.
type codeSession struct {
	*turns                // of questions
	reports, runs, tokens *rate.Limiter
	feeds                 feeds
}

func newCodeSession() *codeSession {
	limiter := func() *rate.Limiter { return rate.NewLimiter(codeRate, codeBurst) }
	return &codeSession{turns: newTurns(maxCodeAsks, maxCodeWaiting), reports: rate.NewLimiter(reportCodeRate, reportCodeBurst), runs: limiter(), tokens: limiter()}
}

// codeAsk asks a board about the code on it. One that does not answer is Offline.
func (a *Agent) codeAsk(ctx context.Context, req wire.BoardCodeAsk) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, codeAskTime)
	defer cancel()
	s, ok := a.sessions.soon(ctx, req.Board)
	if !ok {
		return nil, offline(req.Board)
	}
	op := fmt.Sprintf("ask board %s to %s code", req.Board, s4t.Line(req.Ask.Do, s4t.MaxName))
	leave, err := s.code().enter(ctx, op)
	if err != nil && ctx.Err() != nil {
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "the board is busy with what others asked").After(time.Second)
	}
	if err != nil {
		return nil, err
	}
	defer leave()
	forget, err := s.code().feeds.put(op, req.Ask, time.Now())
	if err != nil {
		return nil, err
	}
	reply, err := a.router.Call(ctx, s.Session, wamp.CodeAsk, string(wire.Encode(req.Ask)))
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, s4t.Errorf(s4t.Offline, op, "`s4t doctor` says what is known of it", "the board did not answer within %v", codeAskTime)
	case err != nil:
		forget()
		return nil, err
	case !json.Valid([]byte(reply)):
		return nil, s4t.Errorf(s4t.Internal, op, "", "the board's answer is not JSON")
	}
	return json.RawMessage(reply), nil
}

// serveCode carries what a board says of its code by itself. req is bound to its
// session.
func (a *Agent) serveCode(ctx context.Context, op string, from router.Session, now session, procedure, arg string) (string, error) {
	wait := func(l *rate.Limiter) error {
		if err := l.Wait(ctx); err != nil {
			return s4t.Errorf(s4t.Unavailable, op, "", "the WAMP agent stops")
		}
		return nil
	}
	switch procedure {
	case wamp.Code:
		var req wire.CodeReport
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, now.epoch
		if err := wait(now.code().reports); err != nil {
			return "", err
		}
		return a.pass(ctx, from, wire.MethodBoardCode, req)
	case wamp.Runs:
		var req wire.RunReport
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, now.epoch
		if err := wait(now.code().runs); err != nil {
			return "", err
		}
		return a.pass(ctx, from, wire.MethodBoardRuns, req)
	case wamp.Token:
		var req wire.PluginTokenAsk
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, now.epoch
		if err := wait(now.code().tokens); err != nil {
			return "", err
		}
		var reply json.RawMessage // its errors are about the plugin: none says that the session is over
		err := a.conduct(ctx, callTimeout, wire.MethodBoardPluginToken, req, &reply)
		return string(reply), err
	}
	var req wire.FeedLines // wamp.Lines
	if err := decode(op, arg, &req); err != nil {
		return "", err
	}
	return encode(wire.Empty{}, a.takeLines(ctx, op, now.code(), from.Board, req))
}
