package conductor

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// cloneNotice is how long a board is told that another uses its key.
const cloneNotice = 10 * time.Minute

// codeHash is how a registration code is kept.
func codeHash(code string) string {
	h := sha256.Sum256([]byte("s4t-code-1\x00" + code))
	return hex.EncodeToString(h[:])
}

// boardAuthenticate returns the key of an enrolled board.
func (c *Conductor) boardAuthenticate(ctx context.Context, req wire.BoardAuthenticate) (wire.BoardIdentity, error) {
	return c.identities.do(ctx, req.Board)
}

// identify answers for boards that come together, from one look at the database.
func (c *Conductor) identify(ctx context.Context, ids []s4t.BoardID) []outcome[wire.BoardIdentity] {
	out := make([]outcome[wire.BoardIdentity], len(ids))
	known, err := view(ctx, c, func(tx *store.Tx) ([]store.Board, error) { return tx.BoardKeys(ids) })
	at := make(map[s4t.BoardID]store.Board, len(known))
	for _, b := range known {
		at[b.ID] = b
	}
	for i, id := range ids {
		b := at[id]
		switch {
		case err != nil:
			out[i].err = err
		case len(b.PublicKey) == 0:
			out[i].err = s4t.Errorf(s4t.NotFound, fmt.Sprintf("authenticate board %q", id), "enrol it again: `lightning-rod leave`, then join with a new code", "the cloud does not know it (any more)")
		default:
			out[i].reply = wire.BoardIdentity{Board: id, Name: b.Name, PublicKey: b.PublicKey}
		}
	}
	return out
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
		b, again, err := boardOfCode(ch.Tx, op, req, ch.now)
		if s4t.KindOf(err) == s4t.NotFound {
			joined, err = ch.joinFleet(op, req)
			return err
		}
		if err != nil {
			return err
		}
		joined = wire.BoardJoined{Board: b.ID, Name: b.Name, TicketKey: c.ticketKey()}
		if again {
			return nil
		}
		rec := boardAudit(ch.now, b, "board.join")
		if len(b.PublicKey) > 0 {
			rec.Detail = "in place of an earlier key"
			if err := ch.replaceBoard(&b); err != nil {
				return err
			}
		}
		b.CodeUsed, b.PublicKey = true, req.PublicKey
		if err := ch.SetBoardKey(b); err != nil {
			return err
		}
		ch.boardEvent("board.joined", b, rec.Detail)
		return ch.InsertAudit(rec)
	})
	return joined, err
}

// boardJoinCheck says whether a join would succeed, and uses nothing up.
func (c *Conductor) boardJoinCheck(ctx context.Context, req wire.BoardJoin) (wire.Empty, error) {
	return view(ctx, c, func(tx *store.Tx) (wire.Empty, error) {
		const op = "check the code"
		_, _, err := boardOfCode(tx, op, req, c.now())
		if s4t.KindOf(err) == s4t.NotFound {
			_, _, err = tokenOfCode(tx, op, req)
		}
		return wire.Empty{}, err
	})
}

// boardOfCode finds the board that a code lets in, NotFound where it is of none; one that has expired is
// Forbidden. again is true when the same
// key has used it already.
func boardOfCode(tx *store.Tx, op string, req wire.BoardJoin, now time.Time) (b store.Board, again bool, err error) {
	b, err = tx.BoardByCode(codeHash(req.Code))
	switch {
	case err != nil:
		return b, false, err
	case req.Name != "" && req.Name != b.Name:
		return b, false, s4t.Errorf(s4t.Invalid, op, "leave --name out", "the code belongs to board %q, not to %q", b.Name, req.Name)
	case !b.CodeUsed && b.CodeExpiresAt != nil && now.After(*b.CodeExpiresAt):
		return b, false, s4t.Errorf(s4t.Forbidden, op, fmt.Sprintf("make a new one with `s4t board update %s --new-code`", b.Name), "the code has expired: it was good until %s", b.CodeExpiresAt.UTC().Format(time.RFC3339))
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

// boardDisconnected ends the session of that epoch: a late one never hides a
// newer session.
func (c *Conductor) boardDisconnected(ctx context.Context, req wire.BoardDisconnected) (wire.Empty, error) {
	return c.ends.do(ctx, req)
}

// endSessions ends those of boards that go together, in one transaction; where that
// fails, one by one.
func (c *Conductor) endSessions(ctx context.Context, reqs []wire.BoardDisconnected) []outcome[wire.Empty] {
	out := make([]outcome[wire.Empty], len(reqs))
	last := map[s4t.BoardID]int64{} // of a board, the highest epoch: that ends those before it
	var ids []s4t.BoardID
	for _, r := range reqs {
		if _, there := last[r.Board]; !there {
			ids = append(ids, r.Board)
		}
		last[r.Board] = max(last[r.Board], r.Epoch)
	}
	slices.Sort(ids)
	err := c.change(ctx, func(ch *change) error {
		boards, err := ch.LockedBoards(ids)
		if err != nil {
			return err
		}
		said, err := ch.SaidByHolders(ids)
		if err != nil {
			return err
		}
		var offline []store.Board
		for _, b := range boards {
			if b.Epoch != last[b.ID] || b.WAMPAgent == "" {
				continue
			}
			if err := ch.endSession(&b, said[b.ID]); err != nil {
				return err
			}
			offline = append(offline, b)
		}
		return ch.SetPresences(offline)
	})
	return eachAlone(ctx, reqs, out, err, c.endSessions)
}

// endSession ends the session of a board, which said that it has what is in said; the
// caller writes its presence.
func (ch *change) endSession(b *store.Board, said []store.Realization) error {
	if b.Status == s4t.BoardOnline {
		b.WAMPAgent, b.Incarnation = "", ""
		if err := ch.beginOutage(*b, s4t.Outage{Began: ch.now, Reason: s4t.OutageUnknown}); err != nil {
			return err
		}
		if _, err := ch.hear(boardOf(b.ID), said, nil); err != nil {
			return err
		}
		ch.isOffline(b, "")
		return nil
	}
	a, err := ch.Agent(b.WAMPAgent)
	if err != nil {
		return err
	}
	out := lostOutage(a, b.Ended)
	// Its session is over for good, also where its agent was only silent.
	b.WAMPAgent, b.Incarnation = "", ""
	return ch.beginOutage(*b, out)
}

// setOffline ends a board's session as far as can be seen now, and with it
// what the board has. o is the outage that begins.
func (ch *change) setOffline(b store.Board, o s4t.Outage) error {
	if err := ch.beginOutage(b, o); err != nil {
		return err
	}
	if _, err := ch.silent(boardOf(b.ID), wire.MaxResources); err != nil {
		return err
	}
	ch.isOffline(&b, o.Detail)
	return ch.SetPresence(b)
}

// isOffline changes the presence of a board, which is to be written.
func (ch *change) isOffline(b *store.Board, detail string) {
	b.Status, b.LastSeen = s4t.BoardOffline, &ch.now
	ch.heard[string(b.ID)] = true
	ch.boardEvent("board.offline", *b, detail)
}

// stale is the error for a session that is over.
func stale(op string) error {
	return s4t.Errorf(s4t.Conflict, op, "connect again", "the session is over")
}

// current checks that the request comes from the board's present session. Its
// agent may have been silent: that it asks shows that it is there.
func current(op string, b *store.Board, epoch int64) error {
	if b.Ended == store.EndedSilent {
		b.Status, b.Ended = s4t.BoardOnline, store.EndedNot
	}
	if b.Epoch != epoch || b.Status != s4t.BoardOnline {
		return stale(op)
	}
	return nil
}

// boardReport takes what a board has (step 7 of Fig. 3). What says the same as
// before is not written.
func (c *Conductor) boardReport(ctx context.Context, req wire.BoardReport) (wire.Empty, error) {
	op := fmt.Sprintf("take the report of board %q", req.Board)
	if len(req.Resources) > wire.MaxResources {
		return wire.Empty{}, s4t.Errorf(s4t.TooMany, op, "", "it speaks of %d resources, at most %d are possible", len(req.Resources), wire.MaxResources)
	}
	if len(req.Resources) == 0 { // of boards that have nothing many come at once
		return c.reports.do(ctx, req)
	}
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(req.Board)
		if err != nil {
			return err
		}
		rows, err := ch.RealizationsOfHolder(string(b.ID))
		if err != nil {
			return err
		}
		says, err := ch.takeReport(&b, rows, req)
		if err != nil || !says {
			return err
		}
		return ch.SetPresence(b)
	})
}

// boardReports takes the reports of boards that have nothing, in one transaction;
// where that fails, one by one.
func (c *Conductor) boardReports(ctx context.Context, reqs []wire.BoardReport) []outcome[wire.Empty] {
	out := make([]outcome[wire.Empty], len(reqs))
	ids := make([]s4t.BoardID, len(reqs))
	for i, r := range reqs {
		ids[i] = r.Board
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	err := c.change(ctx, func(ch *change) error {
		clear(out)
		boards, err := ch.LockedBoards(ids)
		if err != nil {
			return err
		}
		rows, err := ch.RealizationsOfHolders(ids)
		if err != nil {
			return err
		}
		last := map[s4t.BoardID]int{} // a board that reported twice: the later report
		for i, r := range reqs {
			last[r.Board] = i
		}
		at := map[s4t.BoardID]store.Board{}
		for _, b := range boards {
			at[b.ID] = b
		}
		var told []store.Board
		for i, r := range reqs {
			b, there := at[r.Board]
			switch {
			case !there:
				out[i].err = s4t.Errorf(s4t.NotFound, "take the report of a board", "", "it does not exist")
			case last[r.Board] == i:
				says, err := ch.takeReport(&b, rows[r.Board], r)
				if s4t.KindOf(err) == s4t.Conflict {
					out[i].err = err
				} else if err != nil {
					return err
				} else if says {
					told = append(told, b)
				}
			}
		}
		return ch.SetPresences(told)
	})
	return eachAlone(ctx, reqs, out, err, c.boardReports)
}

// takeReport takes one; rows are what is wanted of the board, which is locked. says
// is whether its presence is another now, which the caller writes.
func (ch *change) takeReport(b *store.Board, rows []store.Realization, req wire.BoardReport) (says bool, err error) {
	if err := current(fmt.Sprintf("take the report of board %q", b.ID), b, req.Epoch); err != nil || req.Seq != 0 && req.Seq < b.ReportSeq {
		return false, err // one that was overtaken says nothing
	}
	if _, err := ch.hear(boardOf(b.ID), rows, req.Resources); err != nil {
		return false, err
	}
	if req.Recovered != "" {
		ch.boardEvent("board.recovered", *b, s4t.Line(req.Recovered, wire.MaxProblem))
	}
	heard := func() bool { return ch.heard[string(b.ID)] }
	info := b.Info
	if req.Info != nil {
		info = req.Info.Clamp()
		info.PublicAddress = b.Info.PublicAddress // which the agent of its session said
	}
	if problems := boundProblems(req.Problems); !slices.Equal(b.Problems, problems) || !reflect.DeepEqual(b.Info, info) {
		b.Info, b.Problems, ch.heard[string(b.ID)] = info, problems, true
		if err := ch.SetBoardSays(*b); err != nil {
			return false, err
		}
	}
	if applied := min(req.Generation, b.Generation); applied != b.AppliedGeneration {
		b.AppliedGeneration, ch.heard[string(b.ID)] = applied, true
	} else if req.Seq <= b.ReportSeq && !heard() {
		return false, nil
	}
	if heard() && !req.Received.IsZero() {
		if err := ch.noteAwaits(note{board: b.ID, generation: b.AppliedGeneration, told: req.Told, received: req.Received}); err != nil {
			return false, err
		}
	}
	b.ReportSeq, b.LastSeen = req.Seq, &ch.now
	return true, nil
}

// boundProblems keeps at most 16 lines of at most 255 bytes.
func boundProblems(lines []string) []string {
	var kept []string
	for _, l := range lines[:min(len(lines), 16)] {
		kept = append(kept, s4t.Line(l, wire.MaxProblem))
	}
	return kept
}

// boardLeave un-enrols a board, as its contributor asked on the board: its key
// is forgotten, its ports and services go, and it needs a new code to come
// back. The record stays, with its name and labels.
func (c *Conductor) boardLeave(ctx context.Context, req wire.BoardAsk) (wire.Empty, error) {
	op := fmt.Sprintf("un-enrol board %q", req.Board)
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(req.Board)
		if err != nil {
			return err
		}
		if err := current(op, &b, req.Epoch); err != nil {
			return err
		}
		b.PublicKey, b.StreamsUntil, b.ClonedAt, b.Problems = nil, time.Time{}, time.Time{}, nil
		if err := ch.clearBoard(b); err != nil {
			return err
		}
		b.Epoch++
		b.Status, b.WAMPAgent, b.Incarnation, b.Instance, b.AppliedGeneration, b.LastSeen = s4t.BoardRegistered, "", "", "", 0, &ch.now
		ch.heard[string(b.ID)] = true
		ch.boardEvent("board.left", b, "its contributor un-enrolled it")
		for _, write := range []func(store.Board) error{ch.SetBoardKey, ch.SetBoardStreams, ch.SetBoardCloned, ch.SetBoardSays, ch.SetPresence} {
			if err := write(b); err != nil {
				return err
			}
		}
		return ch.InsertAudit(boardAudit(ch.now, b, "board.leave"))
	})
}
