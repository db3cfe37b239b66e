package wampagent

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wamp"
	"github.com/stack4things/s4t/wamp/router"
	"github.com/stack4things/s4t/wire"
)

// maxInstance bounds what a board calls itself, in bytes.
const maxInstance = 64

// serve carries a board's call to the conductor. The board and the epoch in it
// are those of the session.
func (a *Agent) serve(ctx context.Context, from router.Session, procedure, arg string) (string, error) {
	op := fmt.Sprintf("serve %s of board %s", procedure, from.Board)
	if err := a.serving(op); err != nil {
		return "", err
	}
	now, live := a.sessions.take(from)
	if !live {
		return "", s4t.Errorf(s4t.Unavailable, op, "", "the session is over")
	}
	if procedure == wamp.Connected {
		var req wire.BoardConnected
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		if req.Instance == "" || len(req.Instance) > maxInstance {
			return "", s4t.Errorf(s4t.Invalid, op, "", "an instance of 1 to %d bytes is required", maxInstance)
		}
		return encode(a.connected(ctx, op, from, req))
	}
	epoch := now.epoch
	if epoch == 0 && procedure == wamp.Leave {
		// `lightning-rod leave` has no state to apply: it only says so.
		w, err := a.connected(ctx, op, from, wire.BoardConnected{Instance: s4t.NewID()})
		if err != nil {
			return "", err
		}
		epoch = w.Epoch
	}
	if epoch == 0 {
		return "", s4t.Errorf(s4t.Invalid, op, "", "the session has not begun: %s comes first", wamp.Connected)
	}
	switch procedure {
	case wamp.Desired:
		return a.pass(ctx, from, wire.MethodBoardDesired, wire.BoardAsk{Board: from.Board, Epoch: epoch, Told: now.woken})
	case wamp.Leave:
		return a.pass(ctx, from, wire.MethodBoardLeave, wire.BoardAsk{Board: from.Board, Epoch: epoch})
	case wamp.Report:
		var req wire.BoardReport
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, epoch
		return a.pass(ctx, from, wire.MethodBoardReport, req)
	case wamp.Ticket:
		var req wire.BoardTicket
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, epoch
		if !now.tickets().AllowN(time.Now(), max(1, req.Count)) {
			return "", s4t.Errorf(s4t.TooMany, op, "try again in a moment", "it asks for more than %d tickets a second", ticketRate).After(time.Second)
		}
		var reply wire.BoardTickets
		err := a.conduct(ctx, callTimeout, wire.MethodBoardTicket, req, &reply)
		return encode(reply, err)
	case wamp.Pins:
		var req wire.PinReport
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, epoch
		if err := now.pins().reports.Wait(ctx); err != nil {
			return "", s4t.Errorf(s4t.Unavailable, op, "", "the WAMP agent stops")
		}
		return a.pass(ctx, from, wire.MethodBoardPins, req)
	case wamp.Samples:
		var req wire.PinSamples
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		return a.takeSamples(ctx, from, now.pins(), req)
	case wamp.Remote:
		var req wire.PinRemote
		if err := decode(op, arg, &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, epoch
		return a.remote(ctx, from, now.pins(), req)
	case wamp.Health:
		var req wire.HealthReport
		if err := decodeHealth(op, arg, now.health(), &req); err != nil {
			return "", err
		}
		req.Board, req.Epoch = from.Board, epoch
		return a.pass(ctx, from, wire.MethodBoardHealth, req)
	case wamp.Recording:
		return a.takeRecording(ctx, op, from, now, epoch, arg)
	case wamp.Code, wamp.Runs, wamp.Token, wamp.Lines:
		now.epoch = epoch
		return a.serveCode(ctx, op, from, now, procedure, arg)
	}
	return "", s4t.Errorf(s4t.NotFound, op, "bring both sides to the same version", "the cloud has no such procedure")
}

// pass carries a request over, and its answer back as it is.
func (a *Agent) pass(ctx context.Context, from router.Session, method string, req any) (string, error) {
	var reply json.RawMessage
	err := a.conduct(ctx, callTimeout, method, req, &reply)
	if err != nil {
		a.heed(ctx, from, err)
		return "", err
	}
	return string(reply), nil
}

// connected begins a board's session. It goes on when the board gives up
// meanwhile: what the conductor took in has to be ended again.
func (a *Agent) connected(ctx context.Context, op string, from router.Session, req wire.BoardConnected) (wire.BoardWelcome, error) {
	var w wire.BoardWelcome
	address := ""
	if from := a.router.Address(from); from.IsValid() {
		address = from.String()
	}
	err := a.conduct(ctx, callTimeout, wire.MethodBoardConnected, wire.BoardConnected{
		Board: from.Board, Agent: a.cfg.ID, Incarnation: a.incarnation, Session: from.ID,
		Instance: req.Instance, Info: req.Info.Clamp(), Address: address, Moved: req.Moved, Uptime: max(req.Uptime, 0), Report: req.Report,
	}, &w)
	switch s4t.KindOf(err) {
	case "":
	case s4t.Conflict:
		a.dismiss(ctx, from, wamp.ReasonCloned, err.Error())
		return w, err
	case s4t.NotFound, s4t.Unauthenticated:
		a.dismiss(ctx, from, wamp.ReasonLeft, err.Error())
		return w, err
	case s4t.Unavailable:
		a.registration.Renew() // it may not know this agent
		return w, err
	default:
		return w, err
	}
	a.router.Begun(from)
	goes, some, live := a.sessions.begin(from, w.Epoch)
	if some {
		a.kick(ctx, goes, wamp.ReasonReplaced, "a newer session of the board took over")
	}
	if !live || some && goes == from {
		return w, s4t.Errorf(s4t.Unavailable, op, "", "the session is over")
	}
	if err := a.serving(op); err != nil { // the lease was lost meanwhile
		a.dismiss(ctx, from, wamp.ReasonStale, err.Error())
		return w, err
	}
	return w, nil
}

// boardKick ends the session of at most that epoch.
func (a *Agent) boardKick(ctx context.Context, req wire.BoardKick) (wire.Empty, error) {
	if s, ok := a.sessions.of(req.Board); ok && s.epoch <= req.Epoch {
		a.kick(ctx, s.Session, req.Reason, req.Message)
	}
	return wire.Empty{}, nil
}

// boardPing asks the board itself, in the session of that epoch.
func (a *Agent) boardPing(ctx context.Context, req wire.BoardPing) (wire.Empty, error) {
	s, ok := a.sessions.of(req.Board)
	if !ok || s.epoch != req.Epoch {
		return wire.Empty{}, offline(req.Board)
	}
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := a.router.Call(ctx, s.Session, wamp.Ping, "{}")
	return wire.Empty{}, err
}

// boardCall calls a procedure of a board: a question, which it may hold.
func (a *Agent) boardCall(ctx context.Context, req wire.BoardCall) (json.RawMessage, error) {
	s, ok := a.sessions.of(req.Board)
	if !ok {
		return nil, offline(req.Board)
	}
	if _, _, ok := wamp.ParseBoardURI(wamp.BoardURI(req.Board, req.Procedure)); !ok {
		return nil, s4t.Errorf(s4t.Invalid, "call "+req.Procedure, "", "this is no name of a procedure")
	}
	return a.questions.ask(ctx, req, func(ctx context.Context) (json.RawMessage, error) {
		reply, err := a.router.Call(ctx, s.Session, req.Procedure, string(req.Args))
		if err != nil {
			return nil, err
		}
		if !json.Valid([]byte(reply)) {
			return nil, s4t.Errorf(s4t.Internal, fmt.Sprintf("call %s of board %s", req.Procedure, req.Board), "", "the board's answer is not JSON")
		}
		return json.RawMessage(reply), nil
	})
}

func offline(board s4t.BoardID) error {
	return s4t.Errorf(s4t.Offline, "reach board "+string(board), "try again when it is back", "it has no session here")
}

func decode(op, arg string, v any) error {
	if err := json.Unmarshal([]byte(arg), v); err != nil {
		return s4t.Errorf(s4t.Invalid, op, "", "the request is not understood: %w", err)
	}
	return nil
}

func encode(v any, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return string(wire.Encode(v)), nil
}
