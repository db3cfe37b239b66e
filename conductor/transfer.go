package conductor

import (
	"context"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A board gets another owner in two steps: its project lets another one claim it, and gives that a
// code; the other one claims it. All that the owner before had on it ends in the transaction of the
// claim; what is on the board itself the board wipes when it sees that it has another owner, however
// long it is away (see lightningrod/owner.go).

// boardTransfer makes the code with which a project may claim a board, or takes it back.
func (c *Conductor) boardTransfer(ctx context.Context, req wire.BoardTransfer) (s4t.Transfer, error) {
	op := fmt.Sprintf("transfer board %q", req.Ref)
	var made s4t.Transfer
	err := c.request(ctx, req.Caller, "board.transfer", req.Ref, func(ch *change, rec *s4t.AuditRecord) error {
		b, _, err := ch.lockBoard(req.Caller, op, wire.MethodBoardTransfer, req.Ref)
		if err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Board, rec.Project = string(b.ID), b.Name, b.ID, b.Project
		if err := allow(req.Caller, op, s4t.RoleManager); err != nil {
			return err
		}
		if req.Cancel {
			rec.Detail = "cancelled"
			there, err := ch.DeleteTransfer(b.ID)
			if err == nil && !there {
				err = s4t.Errorf(s4t.NotFound, op, "", "no project may claim the board")
			}
			made = s4t.Transfer{Board: b.ID, Name: b.Name}
			return err
		}
		to, err := anyProject(ch.Tx, op, req.To)
		if err != nil {
			return err
		}
		if to.ID == b.Project {
			return s4t.Errorf(s4t.Invalid, op, "name another project", "the board is of project %q", to.Name)
		}
		leases, err := ch.LeasesOf(b.ID)
		if err != nil {
			return err
		}
		code := newCode()
		rec.Detail = "to project " + to.Name
		made = s4t.Transfer{Board: b.ID, Name: b.Name, To: to.ID, Code: code, ExpiresAt: ch.now.Add(s4t.CodeLifetime), Leases: len(leases)}
		return ch.SetTransfer(store.Transfer{Board: b.ID, To: to.ID, CodeHash: codeHash(code), ExpiresAt: made.ExpiresAt}, ch.now)
	})
	return made, err
}

// anyProject returns the project of a name or an id: who gives a board away knows to whom.
func anyProject(tx *store.Tx, op, ref string) (s4t.Project, error) {
	if ref == "" {
		return s4t.Project{}, s4t.Errorf(s4t.Invalid, op, "name the project with --to", "it is not said to which project")
	}
	p, err := tx.Project(ref)
	if s4t.KindOf(err) == s4t.NotFound {
		err = s4t.Errorf(s4t.NotFound, op, "ask its manager for its name or id", "there is no project %q", s4t.Line(ref, s4t.MaxName))
	}
	return p, err
}

// boardClaim takes over a board whose owner let the caller's project do so.
func (c *Conductor) boardClaim(ctx context.Context, req wire.BoardClaim) (s4t.Board, error) {
	const op = "claim a board"
	var b store.Board
	err := c.request(ctx, req.Caller, "board.claim", req.Name, func(ch *change, rec *s4t.AuditRecord) error {
		if err := allow(req.Caller, op, s4t.RoleManager); err != nil {
			return err
		}
		none := s4t.Errorf(s4t.NotFound, op, "ask the board's owner for a code: `s4t board transfer BOARD --to PROJECT`", "no board waits for this project with this code")
		t, err := ch.TransferByCode(codeHash(req.Code))
		if s4t.KindOf(err) == s4t.NotFound || err == nil && (t.To != req.Caller.Project || !t.ExpiresAt.After(ch.now)) {
			return none
		}
		if err != nil {
			return err
		}
		if err := ch.Claim(op, t.To, s4t.QuotaBoards, 1); err != nil {
			return err
		}
		leases, err := ch.holdLeasesOf(t.Board)
		if err != nil {
			return err
		}
		if b, err = ch.LockBoard(t.Board); err != nil {
			return err
		}
		if again, err := ch.TransferByCode(codeHash(req.Code)); err != nil || again != t { // another was faster
			return none
		}
		owner := b.Project
		for _, id := range leases {
			l, err := ch.LeaseByID(id)
			if err != nil {
				return err
			}
			if l.Status.Over() { // with what it was a share of
				continue
			}
			if err := ch.endLease(l, s4t.LeaseRevoked, fmt.Sprintf("board %q has another owner", b.Name)); err != nil {
				return err
			}
		}
		gone := b
		gone.PublicKey = nil // for its streams: they end, and with them those that are open
		if err := ch.clearBoard(gone); err != nil {
			return err
		}
		ch.boardEvent("board.transferred", b, "it is of another project")
		ch.boardEvent("board.deleted", b, "it is of another project")
		b.Project, b.Labels, b.CodeHash, b.CodeExpiresAt = t.To, nil, "", nil
		if req.Name != "" {
			b.Name = req.Name
			if err := s4t.ValidName("board", b.Name); err != nil {
				return err
			}
		}
		if err := ch.MoveBoard(b); err != nil {
			if store.IsUnique(err, "boards.name") {
				return s4t.Errorf(s4t.Conflict, op, "give it another name with --name", "the project has a board named %q", b.Name)
			}
			return err
		}
		ch.renew(boardOf(b.ID)) // it is told that it has another owner
		ch.heard[string(b.ID)] = true
		ch.boardEvent("board.created", b, "it was of another project")
		ch.boardEvent("board.claimed", b, "it was of another project")
		rec.Object, rec.Name, rec.Board = string(b.ID), b.Name, b.ID
		ch.lentBy(owner)
		return nil
	})
	return c.shown(b), err
}

// holdLeasesOf holds the boards of all leases of a board, in order, and returns the leases: none of them
// is written by somebody else from then on, and none comes to the board.
func (ch *change) holdLeasesOf(board s4t.BoardID) ([]s4t.LeaseID, error) {
	was, err := ch.LeasesOf(board)
	if err != nil {
		return nil, err
	}
	ids := leaseIDs(was)
	members, err := ch.LeaseBoards(ids)
	if err != nil {
		return nil, err
	}
	hold := []s4t.BoardID{board}
	for _, boards := range members {
		hold = append(hold, boardIDs(boards)...)
	}
	slices.Sort(hold)
	if err := ch.LockBoards(slices.Compact(hold)); err != nil {
		return nil, err
	}
	ch.byDatabase()
	now, err := ch.LeasesOf(board)
	if err != nil {
		return nil, err
	}
	for _, id := range leaseIDs(now) {
		if !slices.Contains(ids, id) {
			return nil, s4t.Errorf(s4t.Conflict, "claim a board", "try again", "it was booked at this moment")
		}
	}
	return leaseIDs(now), nil
}

// leaseIDs are the ids of leases, in order.
func leaseIDs(all []store.Lent) []s4t.LeaseID {
	ids := make([]s4t.LeaseID, len(all))
	for i, l := range all {
		ids[i] = l.Lease
	}
	slices.Sort(ids)
	return ids
}
