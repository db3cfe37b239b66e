package conductor

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	// pingTimeout is how long a board's first session has to answer before a
	// second one takes its place.
	pingTimeout = 2 * time.Second

	// maxReturn is the longest that boards which lose their sessions at one
	// moment are asked to spread their return over, and returnRate how many are
	// to come a second to each WAMP agent; few come at once.
	maxReturn  = time.Minute
	returnRate = 400

	// refreshRate is how many boards a second ask for their desired state though nobody
	// woke them. A wake-up that was lost is not what they look for: who lags is woken again.
	refreshRate = 10
)

// connecting is a board that begins a session.
type connecting struct {
	wire.BoardConnected
	silent int64 // epoch of the session that was asked and did not answer; -1: none was
}

// welcomed is what became of it: a welcome, or the session of another instance of
// lightning-rod that may be live.
type welcomed struct {
	wire.BoardWelcome
	rival *store.Board
}

// boardConnected begins a session: a new epoch, so that what is still to come
// of older sessions is told apart. Another instance of lightning-rod with the
// same key, while the first still answers, is a clone and is refused.
func (c *Conductor) boardConnected(ctx context.Context, req wire.BoardConnected) (wire.BoardWelcome, error) {
	op := connectOp(req.Board)
	for ask := (connecting{req, -1}); ; {
		w, err := c.connects.do(ctx, ask)
		if err != nil {
			return wire.BoardWelcome{}, err
		}
		if w.rival == nil {
			c.noteStep(note{board: req.Board, generation: w.Desired.Generation, told: w.Desired.Time, received: w.Desired.Time})
			return w.BoardWelcome, nil
		}
		if c.answers(ctx, *w.rival) {
			return wire.BoardWelcome{}, c.cloned(ctx, op, *w.rival)
		}
		ask.silent = w.rival.Epoch
	}
}

func connectOp(board s4t.BoardID) string { return fmt.Sprintf("begin a session of board %q", board) }

// beginSessions begins the sessions of boards that come together, in one
// transaction. Where that fails they are tried one by one: none suffers for
// another.
func (c *Conductor) beginSessions(ctx context.Context, reqs []connecting) []outcome[welcomed] {
	out := make([]outcome[welcomed], len(reqs))
	err := c.change(ctx, func(ch *change) error {
		clear(out)
		return ch.beginSessions(reqs, out)
	})
	if err == nil {
		c.settleBegun(ctx, reqs, out)
	}
	return eachAlone(ctx, reqs, out, err, c.beginSessions)
}

// settleBegun has open commands settled with those of the boards that have some,
// now that their sessions have begun: nearly all have none.
func (c *Conductor) settleBegun(ctx context.Context, reqs []connecting, out []outcome[welcomed]) {
	var begun []s4t.BoardID
	for i, o := range out {
		if o.err == nil && o.reply.rival == nil {
			begun = append(begun, reqs[i].Board)
		}
	}
	open, err := view(ctx, c, func(tx *store.Tx) ([]s4t.BoardID, error) { return tx.BoardsWithRuns(begun) })
	if err != nil {
		open = begun // each is looked at by itself
	}
	for _, id := range open {
		c.settleLater(id)
	}
}

// beginSessions is that transaction. An answer that is an error is one board's
// own.
func (ch *change) beginSessions(reqs []connecting, out []outcome[welcomed]) error {
	ids := make([]s4t.BoardID, len(reqs))
	for i, r := range reqs {
		ids[i] = r.Board
	}
	slices.Sort(ids)
	locked, err := ch.LockedBoards(slices.Compact(ids))
	if err != nil {
		return err
	}
	at := byID(locked)
	k := back{lost: map[s4t.AgentID]store.Agent{}}
	if k.open, err = ch.OpenOutages(slices.Compact(ids)); err != nil {
		return err
	}
	agents := map[s4t.AgentID]store.Agent{}
	welcome := map[s4t.BoardID]int{} // which of the requests a board is welcomed for: the last
	began := map[s4t.BoardID]began{}
	for i, r := range reqs {
		b, op := at[r.Board], connectOp(r.Board)
		a, known := agents[r.Agent]
		if !known {
			if a, err = ch.Agent(r.Agent); err != nil && s4t.KindOf(err) != s4t.NotFound {
				return err
			}
			agents[r.Agent] = a
		}
		switch {
		case b == nil:
			out[i].err = s4t.Errorf(s4t.NotFound, op, "", "it does not exist")
			continue
		case len(b.PublicKey) == 0:
			out[i].err = s4t.Errorf(s4t.Unauthenticated, op, "enrol it again with a new code", "it is not enrolled")
			continue
		case a.Incarnation != r.Incarnation:
			out[i].err = s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "agent %s has to say hello first", r.Agent)
			continue
		case b.Status == s4t.BoardOnline && b.Instance != r.Instance && b.Epoch != r.silent:
			rival := *b
			out[i].reply.rival = &rival
			continue
		}
		if b.Status == s4t.BoardOnline && b.WAMPAgent != r.Agent && !r.Moved {
			ch.kick(*b, wire.KickReplaced, "")
		}
		if err := ch.returns(&k, *b, r.BoardConnected); err != nil {
			return err
		}
		began[b.ID] = ch.beginSession(b, r.BoardConnected, began[b.ID])
		out[i].reply.Epoch = b.Epoch
		welcome[b.ID] = i
	}
	if err := ch.PutOutages(k.ended); err != nil {
		return err
	}
	begun := slices.DeleteFunc(slices.Compact(ids), func(id s4t.BoardID) bool { _, ok := welcome[id]; return !ok })
	if err := ch.writeSessions(begun, at, began); err != nil {
		return err
	}
	if err := ch.apply(); err != nil { // the boards are welcomed with what they should have now
		return err
	}
	wanted, err := ch.RealizationsOfHolders(begun)
	if err != nil {
		return err
	}
	held, err := ch.HoldingsOf(begun)
	if err != nil {
		return err
	}
	told := ch.Now()
	n, err := ch.c.fleet.boards(ch.Tx, ch.now)
	for _, id := range begun {
		b, w := at[id], &out[welcome[id]].reply
		if g, grew := ch.generations[boardOf(id)]; grew {
			b.Generation = g
		}
		w.Desired, w.Move = ch.c.desiredOf(*b, wanted[id], ch.now), ch.c.around.better(*b, agents[b.WAMPAgent])
		w.Desired.Book = ch.c.bookOf(*b, held[id], told)
		w.Heard = began[id].report != nil
		w.ReturnWithin, w.Refresh = returnWithin(n, ch.c.around.online()), time.Duration(n)*time.Second/refreshRate
	}
	return err
}

// fleet remembers how many boards there are, for a while.
type fleet struct {
	mu sync.Mutex // guards the fields below
	n  int
	at time.Time
}

// last returns how many there were when it was last looked; 0: nobody has.
func (f *fleet) last() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.n
}

// boards returns how many there are, or were a moment ago.
func (f *fleet) boards(tx *store.Tx, now time.Time) (int, error) {
	f.mu.Lock()
	n, old := f.n, now.Sub(f.at).Abs() > maxReturn/2
	f.mu.Unlock()
	if !old {
		return n, nil
	}
	n, err := tx.Fleet()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.n, f.at = n, now
	}
	return n, err
}

// returnWithin is what each of n boards that so many agents have is told of how to
// come back: so many that they would meet are asked to spread their return.
func returnWithin(n, agents int) time.Duration {
	if n /= max(agents, 1); n < returnRate {
		return 0
	}
	return min(time.Duration(n)*time.Second/returnRate, maxReturn)
}

// began says what follows from a session that a board began.
type began struct {
	first bool // it never had one
	anew  bool // what it had is gone
	says  bool // it says something else of itself than before

	report *wire.BoardReport // the first of the session; nil: it comes by itself
}

// beginSession makes a new session of a board; was is what follows from one that
// it began a moment ago. Nothing is written yet.
func (ch *change) beginSession(b *store.Board, req wire.BoardConnected, was began) began {
	was.first = was.first || b.Status == s4t.BoardRegistered
	// What an earlier lightning-rod had is gone. One whose agent went says itself
	// what it still has.
	was.anew = was.anew || b.Status != s4t.BoardOnline && b.Ended == store.EndedNot || b.Instance != req.Instance
	if b.Status != s4t.BoardOnline {
		ch.boardEvent("board.online", *b, "")
	} else { // who watches its pins asks again
		ch.boardEvent("board.online", *b, "in a new session")
	}
	b.Epoch++
	b.Ended = store.EndedNot
	b.Status, b.WAMPAgent, b.Incarnation, b.Instance, b.ReportSeq = s4t.BoardOnline, req.Agent, req.Incarnation, req.Instance, 0
	b.LastSeen = &ch.now
	ch.heard[string(b.ID)] = true
	if was.report = req.Report; was.report != nil && len(was.report.Resources) > 0 {
		was.report = nil
	}
	info := req.Info.Clamp()
	info.PublicAddress = req.Address[:min(len(req.Address), 45)] // of IPv6 as text
	if !reflect.DeepEqual(info, b.Info) {
		b.Info, was.says = info, true
	}
	return was
}

// writeSessions writes the sessions that boards began, whose ids are sorted: as many
// at once as can be. What is left to do for one is done for few.
func (ch *change) writeSessions(begun []s4t.BoardID, at map[s4t.BoardID]*store.Board, began map[s4t.BoardID]began) error {
	var anew, report []s4t.BoardID
	for _, id := range begun {
		if began[id].anew {
			anew = append(anew, id)
		}
		if began[id].report != nil {
			report = append(report, id)
		}
	}
	said, err := ch.SaidByHolders(anew)
	if err != nil {
		return err
	}
	for _, id := range anew {
		if _, err := ch.hear(boardOf(id), said[id], nil); err != nil {
			return err
		}
	}
	if err := ch.takeFirst(report, at, began); err != nil {
		return err
	}
	boards := make([]store.Board, len(begun))
	for i, id := range begun {
		boards[i] = *at[id]
	}
	if err := ch.SetPresences(boards); err != nil {
		return err
	}
	return ch.arrive(begun, at, began)
}

// takeFirst takes the reports that some boards begin their sessions with.
func (ch *change) takeFirst(of []s4t.BoardID, at map[s4t.BoardID]*store.Board, began map[s4t.BoardID]began) error {
	if len(of) == 0 {
		return nil
	}
	rows, err := ch.RealizationsOfHolders(of)
	if err != nil {
		return err
	}
	for _, id := range of {
		r := *began[id].report
		r.Epoch = at[id].Epoch
		if min(r.Generation, at[id].Generation) == at[id].AppliedGeneration { // no step of an operation
			r.Received = time.Time{}
		}
		if _, err := ch.takeReport(at[id], rows[id], r); err != nil {
			return err
		}
	}
	return nil
}

// answers asks the board itself, through the WAMP agent of its session.
func (c *Conductor) answers(ctx context.Context, b store.Board) bool {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	err := c.cfg.Queue.Call(ctx, wire.TopicWAMPAgent+"."+string(b.WAMPAgent), wire.MethodBoardPing, wire.BoardPing{Board: b.ID, Epoch: b.Epoch}, nil)
	return err == nil
}

// cloned refuses a second board with the key of the first, and tells both.
func (c *Conductor) cloned(ctx context.Context, op string, b store.Board) error {
	err := c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(b.ID)
		if err != nil {
			return err
		}
		if ch.now.Sub(b.ClonedAt) > cloneNotice/2 { // else it was told a moment ago
			ch.boardEvent("board.cloned", b, "another board connects with this board's key; it is refused")
			if ch.now.Sub(b.ClonedAt) > cloneNotice {
				ch.renew(boardOf(b.ID))
			}
			b.ClonedAt = ch.now
			return ch.SetBoardCloned(b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s4t.Errorf(s4t.Conflict, op, "on the copy: `lightning-rod leave`, then join with a code of its own", "cloned: another board with the same key is connected and answers")
}
