package conductor

import (
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// The book of a board: what it is told of who holds it, so that it decides as the conductor does, also
// where the cloud is away. Its number is the generation of the board's desired state, which only grows,
// and which grows with each change of what is held of the board.

// bookOf signs the book of a board that is held so, at the database's time now.
func (c *Conductor) bookOf(b store.Board, tree lease.Tree, now time.Time) string {
	book := wire.Book{Board: b.ID, Number: b.Generation, Time: now.UnixMicro(), Owner: b.Project}
	for _, h := range tree {
		if h.Lease == "" || !h.Window.From.Before(h.Window.Until) {
			continue
		}
		if len(book.Held) == wire.MaxBookEntries {
			break
		}
		book.Held = append(book.Held, wire.BookEntry{
			Lease: h.Lease, Parent: h.Parent, Name: h.Name, Project: h.Project,
			From: h.Window.From.UnixMicro(), Until: h.Window.Until.UnixMicro(), Allow: h.Allow.Words(),
		})
	}
	return book.Sign(c.cfg.TicketKey)
}

// rebook has the boards of a lease told who holds them, after it was made or changed.
func (ch *change) rebook(id s4t.LeaseID) error {
	boards, err := ch.LeaseBoards([]s4t.LeaseID{id})
	if err != nil {
		return err
	}
	for _, b := range boardIDs(boards[id]) {
		ch.renew(boardOf(b))
	}
	return nil
}

// leasedBy says by which lease of a project a board is to have something; of its own project it says
// nothing.
func leasedBy(project s4t.ProjectID, id s4t.LeaseID) wire.Leased {
	if id == "" {
		return wire.Leased{}
	}
	return wire.Leased{For: project, Lease: id}
}
