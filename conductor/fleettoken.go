package conductor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// fleetTokenCreate makes a code with which many boards join a fleet.
func (c *Conductor) fleetTokenCreate(ctx context.Context, req wire.FleetTokenCreate) (s4t.FleetToken, error) {
	op := fmt.Sprintf("create a token of fleet %q", s4t.Line(req.Fleet, s4t.MaxName))
	count, life := cmp.Or(req.Count, s4t.DefaultFleetJoins), cmp.Or(req.Expires, s4t.Seconds(s4t.DefaultFleetTokenFor/time.Second))
	if count < 1 || count > s4t.MaxFleetBoards {
		return s4t.FleetToken{}, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use 1 to %d", s4t.MaxFleetBoards), "%d boards cannot join with one token", count)
	}
	if life < 1 || life.Duration() > s4t.MaxFleetTokenLife {
		return s4t.FleetToken{}, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use at most %v", s4t.MaxFleetTokenLife), "a token cannot be good for %v", life.Duration())
	}
	code := newCode()
	urls, err := c.joinURLs(ctx, op, store.Board{Board: s4t.Board{ID: s4t.BoardID(code)}}) // by chance
	if err != nil {
		return s4t.FleetToken{}, err
	}
	var t s4t.FleetToken
	err = c.request(ctx, req.Caller, "fleet.token_create", s4t.Line(req.Fleet, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		f, err := findFleet(ch.Tx, req.Caller, op, req.Fleet)
		if err != nil {
			return err
		}
		now := ch.Now()
		t = s4t.FleetToken{
			ID: s4t.TokenID(s4t.NewID()), Fleet: f.ID, FleetName: f.Name, Project: f.Project, User: req.Caller.User, Count: count, ExpiresAt: now.Add(life.Duration()), CreatedAt: now,
			Join: s4t.JoinString{URLs: urls, Code: code, Fingerprint: c.cfg.CAFingerprint()}.String(),
		}
		rec.Object, rec.Name, rec.Project = string(t.ID), f.Name, f.Project
		rec.Detail = fmt.Sprintf("for %d boards, until %s", count, t.ExpiresAt.Format(time.RFC3339))
		if n, err := ch.CountFleetTokens(f.ID); err != nil {
			return err
		} else if n >= s4t.MaxFleetTokens {
			return s4t.Errorf(s4t.TooMany, op, fmt.Sprintf("`s4t fleet token revoke %s ID` ends one", f.Name), "it has %d tokens, which is the most", n)
		}
		return ch.InsertFleetToken(t, codeHash(code))
	})
	return t, err
}

// fleetTokenList returns the tokens of a fleet, without their codes.
func (c *Conductor) fleetTokenList(ctx context.Context, req wire.FleetTokenList) (wire.List[s4t.FleetToken], error) {
	op := fmt.Sprintf("list the tokens of fleet %q", s4t.Line(req.Fleet, s4t.MaxName))
	return list(ctx, c, req.Caller, op, req.Page, same[s4t.FleetToken], func(tx *store.Tx, p wire.Page) (wire.List[s4t.FleetToken], error) {
		f, err := findFleet(tx, req.Caller, op, req.Fleet)
		if err != nil {
			return wire.List[s4t.FleetToken]{}, err
		}
		return tx.FleetTokens(f.ID, p)
	})
}

// fleetTokenRevoke ends a token; boards that joined with it stay.
func (c *Conductor) fleetTokenRevoke(ctx context.Context, req wire.FleetTokenRevoke) (wire.Empty, error) {
	op := fmt.Sprintf("revoke a token of fleet %q", s4t.Line(req.Fleet, s4t.MaxName))
	return wire.Empty{}, c.request(ctx, req.Caller, "fleet.token_revoke", s4t.Line(req.Fleet, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		f, err := findFleet(ch.Tx, req.Caller, op, req.Fleet)
		if err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Project = s4t.Line(string(req.Token), s4t.MaxName), f.Name, f.Project
		t, err := ch.FleetToken(f.ID, req.Token)
		if s4t.KindOf(err) == s4t.NotFound {
			return s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t fleet token list %s` shows them", f.Name), "there is no token %q", s4t.Line(string(req.Token), s4t.MaxName))
		} else if err != nil {
			return err
		}
		rec.Detail = fmt.Sprintf("%d of %d boards had joined", t.Used, t.Count)
		return ch.DeleteFleetToken(t.ID)
	})
}

// forgetFleetTokens forgets those that expired a day ago.
func (c *Conductor) forgetFleetTokens(ctx context.Context) error {
	return c.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return tx.ForgetFleetTokens(tx.Now().Add(-24*time.Hour), batch) })
}

// tokenOfCode finds the fleet token that lets a board in, and the board where the same key has used it
// already.
func tokenOfCode(tx *store.Tx, op string, req wire.BoardJoin) (t s4t.FleetToken, again *store.Board, err error) {
	t, err = tx.FleetTokenByCode(codeHash(req.Code))
	if s4t.KindOf(err) == s4t.NotFound {
		return t, nil, s4t.Errorf(s4t.Unauthenticated, op, "make a new one with `s4t board create`, or `s4t fleet token create`", "the code is not known")
	}
	if err != nil {
		return t, nil, err
	}
	id, err := tx.FleetJoin(t.ID, req.PublicKey)
	if err == nil {
		b, err := tx.Board(id)
		if err == nil && !bytes.Equal(b.PublicKey, req.PublicKey) {
			err = s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("make a new one: `s4t board update %s --new-code`", b.Name), "the board has used the code, and left")
		}
		return t, &b, err
	}
	hint := fmt.Sprintf("make a new one: `s4t fleet token create %s`", t.FleetName)
	switch {
	case s4t.KindOf(err) != s4t.NotFound:
		return t, nil, err
	case !t.ExpiresAt.After(tx.Now()):
		return t, nil, s4t.Errorf(s4t.Forbidden, op, hint, "the code has expired: it was good until %s", t.ExpiresAt.UTC().Format(time.RFC3339))
	case t.Used >= t.Count:
		return t, nil, usedUp(op, t)
	}
	return t, nil, nil
}

// usedUp is the error of a token with which as many boards have joined as may.
func usedUp(op string, t s4t.FleetToken) error {
	return s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("make a new one: `s4t fleet token create %s`", t.FleetName), "the code was used by %d boards, which is as many as may", t.Count)
}

// joinFleet makes a board of who joins with a fleet token, and a member of the fleet of it.
func (ch *change) joinFleet(op string, req wire.BoardJoin) (joined wire.BoardJoined, err error) {
	t, again, err := tokenOfCode(ch.Tx, op, req)
	if err != nil {
		return joined, err
	}
	if again != nil {
		return wire.BoardJoined{Board: again.ID, Name: again.Name, TicketKey: ch.c.ticketKey()}, nil
	}
	if err := ch.Claim(op, t.Project, s4t.QuotaBoards, 1); err != nil { // from here on one after the other
		return joined, err
	}
	if t, again, err = tokenOfCode(ch.Tx, op, req); err != nil || again != nil { // it may have been used meanwhile
		if err == nil {
			joined = wire.BoardJoined{Board: again.ID, Name: again.Name, TicketKey: ch.c.ticketKey()}
		}
		return joined, err
	}
	if used, err := ch.UseFleetToken(t.ID); err != nil || !used {
		return joined, cmp.Or(err, usedUp(op, t))
	}
	if n, err := ch.CountNamed(t.Fleet); err != nil {
		return joined, err
	} else if n >= s4t.MaxFleetBoards {
		return joined, s4t.Errorf(s4t.TooMany, op, "make another fleet", "fleet %s has %d boards, which is the most", t.FleetName, n)
	}
	name, err := ch.nameOf(op, t.Project, req)
	if err != nil {
		return joined, err
	}
	b := store.Board{
		Board:     s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: name, Project: t.Project, Status: s4t.BoardRegistered, Generation: 1, CreatedAt: ch.now},
		PublicKey: req.PublicKey, CodeUsed: true,
	}
	if err := ch.InsertBoard(b); err != nil {
		if store.IsUnique(err, "boards.name") {
			return joined, nameTaken(op, name)
		}
		return joined, err
	}
	if err := ch.SetBoardKey(b); err != nil {
		return joined, err
	}
	if err := ch.InsertFleetJoin(t, req.PublicKey, b.ID); err != nil {
		return joined, err
	}
	ch.boardEvent("board.created", b, "by a token of fleet "+t.FleetName)
	ch.boardEvent("board.joined", b, "")
	rec := boardAudit(ch.now, b, "board.join")
	rec.Detail = fmt.Sprintf("by token %s of fleet %s", t.ID, t.FleetName)
	return wire.BoardJoined{Board: b.ID, Name: b.Name, TicketKey: ch.c.ticketKey()}, ch.InsertAudit(rec)
}

// nameOf is the name of a board that joins without one that somebody made: what it asks for, or its
// host's. Where a host's name is taken a part of the board's key comes behind it.
func (ch *change) nameOf(op string, project s4t.ProjectID, req wire.BoardJoin) (string, error) {
	if req.Name == "" && req.Host == "" {
		return "", s4t.Errorf(s4t.Invalid, op, "give --name", "the code belongs to no named board, and the board says no name")
	}
	name := cmp.Or(req.Name, req.Host)
	if err := s4t.ValidName("board", name); err != nil {
		return "", err
	}
	taken, err := ch.BoardsNamed(project, name)
	if err != nil || len(taken) == 0 {
		return name, err
	}
	if req.Name != "" {
		return "", nameTaken(op, name)
	}
	sum := sha256.Sum256(req.PublicKey)
	suffix := "-" + hex.EncodeToString(sum[:4])
	return name[:min(len(name), s4t.MaxName-len(suffix))] + suffix, nil
}

func nameTaken(op, name string) error {
	return s4t.Errorf(s4t.Conflict, op, "give another --name", "the project has a board named %q", name)
}
