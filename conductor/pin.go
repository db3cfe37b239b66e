package conductor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Pins are the board's: it knows their values, and who has them. The conductor
// says who may ask, numbers claims, and keeps a copy of what there is. What it
// asks of a board it asks in vain for s4t.PinAnswerTime at most.

const (
	// maxPinQuestions is how many questions about pins one project asks at a time: a
	// quarter of the workers of their topic.
	maxPinQuestions = pinWorkers / 4
	pinWorkers      = 512
)

// asker is who asks for pins: a user, or a board that mounts those of others.
type asker struct {
	caller       wire.Caller // of a board: a member of its project
	holder, name string      // as boards tell holders apart, and for people
	board        s4t.BoardID // that asks; empty: a user
}

func userAsks(c wire.Caller) asker {
	id := string(c.UserID)
	if id == "" {
		id = c.User
	}
	return asker{caller: c, holder: "user:" + id, name: "user " + c.User}
}

func boardAsks(r store.Route) asker {
	return asker{
		caller: wire.Caller{User: "board:" + r.Name, Project: r.Project, Role: s4t.RoleMember},
		holder: "board:" + string(r.ID), name: "board " + r.Name, board: r.ID,
	}
}

// pinAsk asks a board of a user.
func (c *Conductor) pinAsk(ctx context.Context, req wire.PinRequest) (wire.PinAnswer, error) {
	return c.askPins(ctx, userAsks(req.Caller), req.Board, req.Ask)
}

// askPins asks a board, or has it do something.
func (c *Conductor) askPins(ctx context.Context, who asker, board string, ask wire.PinAsk) (wire.PinAnswer, error) {
	op := askOp(ask, board)
	ask, err := checkAsk(op, ask)
	if err != nil {
		return wire.PinAnswer{}, err
	}
	ask.Holder, ask.HolderName = who.holder, who.name
	if !isOrder(ask.Do) {
		if err := allow(who.caller, op, s4t.RoleReader); err != nil {
			return wire.PinAnswer{}, err
		}
	} else if err := allow(who.caller, op, s4t.RoleMember); err != nil {
		rec := orderAudit(c.now(), who, ask)
		rec.Project, rec.Name = who.caller.Project, s4t.Line(board, s4t.MaxName)
		c.refused(ctx, rec, s4t.Forbidden)
		return wire.PinAnswer{}, err
	}
	leave, err := c.pinQuestions.enter(op, who.caller.Project)
	if err != nil {
		return wire.PinAnswer{}, err
	}
	defer leave()
	var by right
	r, err := view(ctx, c, func(tx *store.Tx) (r store.Route, err error) {
		r, by, err = findRoute(tx, who.caller, op, wire.MethodPinAsk, board)
		return r, err
	})
	if err != nil {
		return wire.PinAnswer{}, err
	}
	ask.Project = by.Project
	if isOrder(ask.Do) {
		if by.lent() && ask.Do == wire.PinClaim && ask.For == 0 {
			ask.For = s4t.MaxActuation
		}
		ask.For = by.within(ask.For, c.now()) // the board ends it with the lease, cloud or no cloud
		if by.lent() && r.Status == s4t.BoardOnline {
			if err := c.keepPins(ctx, op, r, by, ask); err != nil {
				return wire.PinAnswer{}, err
			}
		}
		return c.orderPins(ctx, op, who, r, ask)
	}
	a, err := c.askRoute(ctx, op, r, ask)
	if ask.Do == wire.PinList && away(err) {
		return c.copied(ctx, op, r, ask, err)
	}
	return a, err
}

// away reports whether a board could not be asked.
func away(err error) bool {
	kind := s4t.KindOf(err)
	return kind == s4t.Offline || kind == s4t.Unavailable
}

// askRoute asks a board, through the WAMP agent of its session. One that is
// offline is not asked.
func (c *Conductor) askRoute(ctx context.Context, op string, r store.Route, ask wire.PinAsk) (wire.PinAnswer, error) {
	return c.callPins(ctx, op, r, wire.MethodPinsOfBoard, wire.BoardPins{Board: r.ID, Ask: ask})
}

func (c *Conductor) callPins(ctx context.Context, op string, r store.Route, method string, req any) (a wire.PinAnswer, err error) {
	if r.Status != s4t.BoardOnline {
		return a, s4t.Errorf(s4t.Offline, op, fmt.Sprintf("`s4t doctor %s` says what is known", r.Name), "the board is not online")
	}
	// A board that says Timeout itself, of a driver, says so before.
	late := time.Now().Add(s4t.PinAnswerTime - 50*time.Millisecond)
	called, cancel := context.WithTimeout(ctx, s4t.PinAnswerTime)
	defer cancel()
	err = c.cfg.Queue.Call(called, wire.TopicWAMPPins+"."+string(r.WAMPAgent), method, req, &a)
	if s4t.KindOf(err) == s4t.Timeout && time.Now().After(late) {
		return a, s4t.Errorf(s4t.Offline, op, fmt.Sprintf("`s4t doctor %s` says what is known", r.Name), "the board did not answer within %v", s4t.PinAnswerTime)
	}
	if err != nil {
		return wire.PinAnswer{}, err
	}
	a.Operation, a.ReportedAt = nil, nil // not the board's to say
	a.Pins = slices.DeleteFunc(a.Pins, func(p s4t.Pin) bool { return s4t.ValidPinName(p.Name) != nil })
	for i := range a.Pins {
		cleanPin(&a.Pins[i])
	}
	a.Samples = slices.DeleteFunc(a.Samples, func(s s4t.Sample) bool { return s4t.ValidPinName(s.Pin) != nil })
	return a, nil
}

// copied answers with the cloud's copy of the pins of a board that could not be
// asked, as err says. A board that never said of pins has none.
func (c *Conductor) copied(ctx context.Context, op string, r store.Route, ask wire.PinAsk, err error) (wire.PinAnswer, error) {
	kept, viewErr := view(ctx, c, func(tx *store.Tx) (store.BoardPins, error) { return tx.BoardPins(r.ID) })
	if viewErr != nil {
		return wire.PinAnswer{}, viewErr
	}
	if kept.ReportedAt == nil {
		return wire.PinAnswer{}, err
	}
	a := wire.PinAnswer{ReportedAt: kept.ReportedAt}
	if err := json.Unmarshal(kept.Pins, &a.Pins); err != nil {
		return a, s4t.Errorf(s4t.Internal, op, "", "the copy of its pins is not understood: %w", err)
	}
	if len(ask.Pins) == 0 {
		return a, nil
	}
	all := a.Pins
	a.Pins = nil
	for _, name := range ask.Pins {
		i := slices.IndexFunc(all, func(p s4t.Pin) bool { return p.Name == name || p.Label == name })
		if i < 0 {
			return a, s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t pin list %s` shows what there is", r.Name), "the board had no pin %q when it was there last", name)
		}
		a.Pins = append(a.Pins, all[i])
	}
	return a, nil
}

// pinWatch has samples of a board sent to an API process.
func (c *Conductor) pinWatch(ctx context.Context, req wire.PinWatch) (wire.PinAnswer, error) {
	if !strings.HasPrefix(req.Sink.Topic, wire.TopicAPIPins+".") || len(req.Sink.Topic) > 2*s4t.MaxName || len(req.Sink.For) > s4t.MaxName || req.Sink.Watcher != "" {
		return wire.PinAnswer{}, s4t.Errorf(s4t.Invalid, watchOp(req), "", "samples cannot be sent to %q", s4t.Line(req.Sink.Topic, 2*s4t.MaxName))
	}
	return c.watchPins(ctx, userAsks(req.Caller), req)
}

func watchOp(req wire.PinWatch) string {
	return fmt.Sprintf("watch pins of board %q", s4t.Line(req.Board, s4t.MaxName))
}

// watchPins has samples of a board sent to a sink.
func (c *Conductor) watchPins(ctx context.Context, who asker, req wire.PinWatch) (wire.PinAnswer, error) {
	op := watchOp(req)
	if err := allow(who.caller, op, s4t.RoleReader); err != nil {
		return wire.PinAnswer{}, err
	}
	if len(req.Pins) > s4t.MaxPinWatch || len(req.After) > s4t.MaxPins {
		return wire.PinAnswer{}, s4t.Errorf(s4t.TooMany, op, "name none to watch all of the board", "%d pins are named, %d are possible", len(req.Pins), s4t.MaxPinWatch)
	}
	for _, name := range req.Pins {
		if err := checkPinRef(op, name); err != nil {
			return wire.PinAnswer{}, err
		}
	}
	leave, err := c.pinQuestions.enter(op, who.caller.Project)
	if err != nil {
		return wire.PinAnswer{}, err
	}
	defer leave()
	var by right
	r, err := view(ctx, c, func(tx *store.Tx) (r store.Route, err error) {
		r, by, err = findRoute(tx, who.caller, op, wire.MethodPinWatch, req.Board)
		return r, err
	})
	if err != nil {
		return wire.PinAnswer{}, err
	}
	watch := wire.BoardPinsWatch{Board: r.ID, Pins: req.Pins, After: req.After, Sink: req.Sink, End: req.End, Project: by.Project}
	if by.lent() {
		watch.Until = by.Until
	}
	return c.callPins(ctx, op, r, wire.MethodPinsWatch, watch)
}

// Bytes of a page of boards with their pins: what fits through the queue, and
// through a board's control channel.
const (
	maxPinPage       = 6 << 20
	maxPinPageRemote = s4t.MaxMessage * 3 / 4
)

// pinBoards encodes as [wire.PinBoards]; the pins in it go through as they were
// kept.
type pinBoards struct {
	wire.List[store.PinBoard]
	Unchanged bool `json:"unchanged,omitempty"`
}

// pinAll answers with the copies of the pins of all boards that a user sees.
func (c *Conductor) pinAll(ctx context.Context, req wire.PinAll) (pinBoards, error) {
	return c.allPins(ctx, userAsks(req.Caller), req, maxPinPage)
}

func (c *Conductor) allPins(ctx context.Context, who asker, req wire.PinAll, size int) (pinBoards, error) {
	const op = "list the pins of boards"
	if err := allow(who.caller, op, s4t.RoleReader); err != nil {
		return pinBoards{}, err
	}
	if len(req.Boards) > wire.MaxPage {
		return pinBoards{}, s4t.Errorf(s4t.TooMany, op, "name none to have all", "%d boards are named, %d are possible", len(req.Boards), wire.MaxPage)
	}
	return view(ctx, c, func(tx *store.Tx) (all pinBoards, err error) {
		var ids []s4t.BoardID
		lent := false // of those of others nobody tells
		for _, ref := range req.Boards {
			r, by, err := findRoute(tx, who.caller, op, wire.MethodPinAll, ref)
			if err != nil {
				return all, err
			}
			ids = append(ids, r.ID)
			lent = lent || by.lent()
		}
		if req.Known > 0 && !lent && req.Page.After == "" {
			if all.EventID, err = tx.LastEvent(); err != nil {
				return all, err
			}
			changed, err := tx.PinsChangedSince(scope(who.caller), req.Known)
			if all.Unchanged = !changed && req.Known <= all.EventID; err != nil || all.Unchanged {
				all.Items = []store.PinBoard{}
				return all, err
			}
		}
		if len(req.Boards) > 0 {
			all.List, err = tx.PinBoardsIn(ids, req.Page, size)
		} else {
			all.List, err = tx.PinBoards(scope(who.caller), req.Page, size)
		}
		all.Items = slices.DeleteFunc(all.Items, func(b store.PinBoard) bool { return b.ID == who.board })
		return all, err
	})
}

// remoteAnswer encodes as [wire.PinRemoteAnswer].
type remoteAnswer struct {
	All    *pinBoards      `json:"all,omitempty"`
	Answer *wire.PinAnswer `json:"answer,omitempty"`
}

// boardRemote answers a board that mounts the pins of its project's other boards.
func (c *Conductor) boardRemote(ctx context.Context, req wire.PinRemote) (answer remoteAnswer, err error) {
	op := fmt.Sprintf("ask for pins from board %q", req.Board)
	r, err := view(ctx, c, func(tx *store.Tx) (store.Route, error) { return tx.Route(req.Board) })
	if err != nil {
		return answer, err
	}
	if r.Epoch != req.Epoch || r.Status != s4t.BoardOnline {
		return answer, stale(op)
	}
	who := boardAsks(r)
	var a wire.PinAnswer
	switch {
	case req.All != nil:
		all, err := c.allPins(ctx, who, *req.All, maxPinPageRemote)
		return remoteAnswer{All: &all}, err
	case req.Ask != nil:
		a, err = c.askPins(ctx, who, req.Ask.Board, req.Ask.Ask)
	case req.Watch != nil:
		w := *req.Watch
		w.Sink = wire.Sink{Topic: wire.TopicWAMPPins + "." + string(r.WAMPAgent), Watcher: r.ID}
		a, err = c.watchPins(ctx, who, w)
	default:
		err = s4t.Errorf(s4t.Invalid, op, "bring both sides to the same version", "it asks nothing that is known")
	}
	return remoteAnswer{Answer: &a}, err
}
