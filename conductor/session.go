package conductor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// pingTimeout is how long a board's first session has to answer before a
// second one takes its place.
const pingTimeout = 2 * time.Second

// cloneNotice is how long a board is told that another uses its key.
const cloneNotice = 10 * time.Minute

// codeHash is how a registration code is kept.
func codeHash(code string) string {
	h := sha256.Sum256([]byte("s4t-code-1\x00" + code))
	return hex.EncodeToString(h[:])
}

// boardAuthenticate returns the key of an enrolled board.
func (c *Conductor) boardAuthenticate(ctx context.Context, req wire.BoardAuthenticate) (wire.BoardIdentity, error) {
	op := fmt.Sprintf("authenticate board %q", req.Board)
	b, err := view(ctx, c, func(tx *store.Tx) (store.Board, error) { return tx.Board(req.Board) })
	if s4t.KindOf(err) == s4t.NotFound || err == nil && len(b.PublicKey) == 0 {
		return wire.BoardIdentity{}, s4t.Errorf(s4t.NotFound, op, "enrol it again: `lightning-rod leave`, then join with a new code", "the cloud does not know it (any more)")
	}
	if err != nil {
		return wire.BoardIdentity{}, err
	}
	return wire.BoardIdentity{Board: b.ID, Name: b.Name, PublicKey: b.PublicKey}, nil
}

// boardJoin binds a key to the board of a code, once. The same code with the
// same key answers the same again: a lost answer strands no board.
func (c *Conductor) boardJoin(ctx context.Context, req wire.BoardJoin) (wire.BoardJoined, error) {
	const op = "join"
	if len(req.PublicKey) != ed25519.PublicKeySize {
		return wire.BoardJoined{}, s4t.Errorf(s4t.Invalid, op, "", "the key has %d bytes, %d are needed", len(req.PublicKey), ed25519.PublicKeySize)
	}
	var joined wire.BoardJoined
	err := c.change(ctx, func(ch *change) error {
		b, again, err := boardOfCode(ch.Tx, op, req)
		if err != nil {
			return err
		}
		joined = wire.BoardJoined{Board: b.ID, Name: b.Name, TicketKey: c.ticketKey()}
		if again {
			return nil
		}
		b.CodeUsed, b.PublicKey = true, req.PublicKey
		if err := ch.UpdateBoard(b); err != nil {
			return err
		}
		ch.boardEvent("board.joined", b, "")
		return ch.InsertAudit(boardAudit(ch.now, b, "board.join"))
	})
	return joined, err
}

// boardJoinCheck says whether a join would succeed, and uses nothing up.
func (c *Conductor) boardJoinCheck(ctx context.Context, req wire.BoardJoin) (wire.Empty, error) {
	return view(ctx, c, func(tx *store.Tx) (wire.Empty, error) {
		_, _, err := boardOfCode(tx, "check the code", req)
		return wire.Empty{}, err
	})
}

// boardOfCode finds the board that a code lets in. again is true when the same
// key has used it already.
func boardOfCode(tx *store.Tx, op string, req wire.BoardJoin) (b store.Board, again bool, err error) {
	b, err = tx.BoardByCode(codeHash(req.Code))
	switch {
	case s4t.KindOf(err) == s4t.NotFound:
		return b, false, s4t.Errorf(s4t.Unauthenticated, op, "make a new one with `s4t board create`", "the code is not known")
	case err != nil:
		return b, false, err
	case req.Name != "" && req.Name != b.Name:
		return b, false, s4t.Errorf(s4t.Invalid, op, "leave --name out", "the code belongs to board %q, not to %q", b.Name, req.Name)
	case !b.CodeUsed:
		return b, false, nil
	case len(b.PublicKey) > 0 && bytes.Equal(b.PublicKey, req.PublicKey):
		return b, true, nil
	}
	return b, false, s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("make a new one: `s4t board update %s --new-code` after the board has left, or `s4t board create`", b.Name), "the code was used")
}

// boardAudit is the record of something that a board did itself.
func boardAudit(now time.Time, b store.Board, action string) s4t.AuditRecord {
	return s4t.AuditRecord{At: now, User: "board:" + b.Name, Project: b.Project, Action: action, Object: string(b.ID), Name: b.Name, Board: b.ID, Outcome: "ok"}
}

// boardConnected begins a session: a new epoch, so that what is still to come
// of older sessions is told apart. Another instance of lightning-rod with the
// same key, while the first still answers, is a clone and is refused.
func (c *Conductor) boardConnected(ctx context.Context, req wire.BoardConnected) (wire.BoardWelcome, error) {
	op := fmt.Sprintf("begin a session of board %q", req.Board)
	silent := int64(-1) // epoch of the session that was asked and did not answer
	for {
		var welcome wire.BoardWelcome
		var rival *store.Board
		err := c.change(ctx, func(ch *change) error {
			rival = nil
			b, err := ch.Board(req.Board)
			if err != nil {
				return err
			}
			if len(b.PublicKey) == 0 {
				return s4t.Errorf(s4t.Unauthenticated, op, "enrol it again with a new code", "it is not enrolled")
			}
			a, err := ch.Agent(req.Agent)
			if err != nil && s4t.KindOf(err) != s4t.NotFound {
				return err
			}
			if a.Incarnation != req.Incarnation {
				return s4t.Errorf(s4t.Unavailable, op, "try again in a moment", "agent %s has to say hello first", req.Agent)
			}
			online := b.Status == s4t.BoardOnline
			if online && b.Instance != req.Instance && b.Epoch != silent {
				rival = &b
				return nil
			}
			if online && b.WAMPAgent != req.Agent {
				ch.kick(b, "s4t.error.replaced")
			}
			if err := ch.beginSession(&b, req); err != nil {
				return err
			}
			welcome.Epoch = b.Epoch
			welcome.Desired, err = c.desiredOf(ch.Tx, b, ch.now)
			return err
		})
		if err != nil {
			return welcome, err
		}
		if rival == nil {
			c.notePresence(req.Board, true)
			c.noteBoard(req.Board, welcome.Desired.Generation, true)
			return welcome, nil
		}
		if c.answers(ctx, *rival) {
			return welcome, c.cloned(ctx, op, *rival)
		}
		silent = rival.Epoch
	}
}

// beginSession writes a new session of a board.
func (ch *change) beginSession(b *store.Board, req wire.BoardConnected) error {
	if b.Status != s4t.BoardOnline || b.Instance != req.Instance {
		// What an earlier lightning-rod had is gone.
		if err := ch.boardHas(*b, nil); err != nil {
			return err
		}
	}
	was := b.Status
	b.Epoch++
	b.Status, b.WAMPAgent, b.Incarnation, b.Instance = s4t.BoardOnline, req.Agent, req.Incarnation, req.Instance
	b.Info, b.LastSeen = req.Info.Clamp(), &ch.now
	if b.TunnelAgent == "" {
		if _, err := ch.placeBoard("", b); err != nil && s4t.KindOf(err) != s4t.Unavailable {
			return err
		}
	}
	ch.heardBoards[b.ID] = true
	if was != s4t.BoardOnline {
		ch.boardEvent("board.online", *b, "")
	}
	if err := ch.UpdateBoard(*b); err != nil {
		return err
	}
	return ch.setServices(b.ID)
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
		b, err := ch.Board(b.ID)
		if err != nil {
			return err
		}
		if ch.now.Sub(b.ClonedAt) > cloneNotice/2 { // else it was told a moment ago
			ch.boardEvent("board.cloned", b, "another board connects with this board's key; it is refused")
			if ch.now.Sub(b.ClonedAt) > cloneNotice {
				ch.touchBoard(b.ID)
			}
			b.ClonedAt = ch.now
			return ch.UpdateBoard(b)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return s4t.Errorf(s4t.Conflict, op, "on the copy: `lightning-rod leave`, then join with a code of its own", "cloned: another board with the same key is connected and answers")
}

// boardDisconnected ends the session of that epoch: a late one never hides a
// newer session.
func (c *Conductor) boardDisconnected(ctx context.Context, req wire.BoardDisconnected) (wire.Empty, error) {
	over := false
	err := c.change(ctx, func(ch *change) error {
		over = false
		b, err := ch.Board(req.Board)
		if s4t.KindOf(err) == s4t.NotFound {
			return nil
		}
		if err != nil || b.Epoch != req.Epoch || b.WAMPAgent == "" {
			return err
		}
		if b.Status == s4t.BoardOnline {
			if err := ch.setOffline(b, ""); err != nil {
				return err
			}
			over = true
		}
		// Its session is over for good, also where its agent was only silent.
		b.Status, b.WAMPAgent, b.Incarnation, b.LastSeen = s4t.BoardOffline, "", "", &ch.now
		return ch.UpdateBoard(b)
	})
	if over {
		c.notePresence(req.Board, false)
	}
	return wire.Empty{}, err
}

// setOffline ends a board's session as far as can be seen now, and with it the
// board's half of its ports.
func (ch *change) setOffline(b store.Board, detail string) error {
	if err := ch.boardHas(b, nil); err != nil {
		return err
	}
	b.Status, b.LastSeen = s4t.BoardOffline, &ch.now
	ch.heardBoards[b.ID] = true
	ch.boardEvent("board.offline", b, detail)
	if err := ch.UpdateBoard(b); err != nil {
		return err
	}
	return ch.setServices(b.ID)
}

// boardHas writes what differs from the board's half of its ports. A port that
// is not reported is not there.
func (ch *change) boardHas(b store.Board, has []wire.PortReport) error {
	reported := make(map[s4t.PortID]wire.PortReport, len(has))
	for _, r := range has {
		reported[r.ID] = r
	}
	ports, err := ch.PortsOfBoard(b.ID)
	if err != nil {
		return err
	}
	for _, p := range ports {
		r := reported[p.ID]
		r.Problem = clip(r.Problem)
		if p.BoardUp == r.Up && p.BoardProblem == r.Problem {
			continue
		}
		p.BoardUp, p.BoardProblem = r.Up, r.Problem
		if err := ch.setPort(p); err != nil {
			return err
		}
	}
	return nil
}

// stale is the error for a session that is over.
func stale(op string) error {
	return s4t.Errorf(s4t.Conflict, op, "connect again", "the session is over")
}

// current checks that the request comes from the board's present session.
func current(op string, b store.Board, epoch int64) error {
	if b.Epoch != epoch || b.Status != s4t.BoardOnline {
		return stale(op)
	}
	return nil
}

// boardReport takes what a board has (step 7 of Fig. 3). What says the same as
// before is not written.
func (c *Conductor) boardReport(ctx context.Context, req wire.BoardReport) (wire.Empty, error) {
	op := fmt.Sprintf("take the report of board %q", req.Board)
	err := c.change(ctx, func(ch *change) error {
		b, err := ch.Board(req.Board)
		if err != nil {
			return err
		}
		if err := current(op, b, req.Epoch); err != nil {
			return err
		}
		if err := ch.boardHas(b, req.Ports); err != nil {
			return err
		}
		problems := boundProblems(req.Problems)
		if req.Recovered != "" {
			ch.boardEvent("board.recovered", b, clip(req.Recovered))
		}
		if b.AppliedGeneration == req.Generation && slices.Equal(b.Problems, problems) {
			return nil
		}
		b.AppliedGeneration, b.Problems, b.LastSeen = min(req.Generation, b.Generation), problems, &ch.now
		ch.heardBoards[b.ID] = true
		return ch.UpdateBoard(b)
	})
	if err == nil {
		c.noteBoard(req.Board, req.Generation, true)
	}
	return wire.Empty{}, err
}

// boundProblems keeps at most 16 lines of at most 255 bytes.
func boundProblems(lines []string) []string {
	var kept []string
	for _, l := range lines[:min(len(lines), 16)] {
		kept = append(kept, clip(l))
	}
	return kept
}

// boardWoken hears that a board was told of a generation (step 5).
func (c *Conductor) boardWoken(_ context.Context, req wire.BoardWake) (wire.Empty, error) {
	c.noteBoard(req.Board, req.Generation, false)
	return wire.Empty{}, nil
}

// boardLeave un-enrols a board, as its contributor asked on the board: its key
// is forgotten, its ports and services go, and it needs a new code to come
// back. The record stays, with its name and labels.
func (c *Conductor) boardLeave(ctx context.Context, req wire.BoardAsk) (wire.Empty, error) {
	op := fmt.Sprintf("un-enrol board %q", req.Board)
	err := c.change(ctx, func(ch *change) error {
		b, err := ch.Board(req.Board)
		if err != nil {
			return err
		}
		if err := current(op, b, req.Epoch); err != nil {
			return err
		}
		if err := ch.clearBoard(b); err != nil {
			return err
		}
		b.Epoch++
		b.PublicKey, b.Status, b.WAMPAgent, b.Incarnation, b.Instance = nil, s4t.BoardRegistered, "", "", ""
		b.AppliedGeneration, b.Problems, b.StreamsUp, b.StreamsUntil, b.ClonedAt = 0, nil, false, time.Time{}, time.Time{}
		b.LastSeen = &ch.now
		ch.boardEvent("board.left", b, "its contributor un-enrolled it")
		if err := ch.InsertAudit(boardAudit(ch.now, b, "board.leave")); err != nil {
			return err
		}
		return ch.UpdateBoard(b)
	})
	if err == nil {
		c.notePresence(req.Board, false)
	}
	return wire.Empty{}, err
}
