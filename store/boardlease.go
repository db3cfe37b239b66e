package store

import (
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/geo"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/wire"
)

const leaseColumns = `id, project, parent, name, user_name, status, reason, starts_at, ends_at, allow, priority, next_free, created_at`

func scanLease(s scanner) (l s4t.Lease, err error) {
	var parent sql.NullString
	var from, until, next, created int64
	var allow string
	if err = s.Scan(&l.ID, &l.Project, &parent, &l.Name, &l.User, &l.Status, &l.Reason, &from, &until, &allow, &l.Priority, &next, &created); err != nil {
		return l, err
	}
	l.Parent = s4t.LeaseID(parent.String)
	l.From, l.Until, l.CreatedAt = fromMicros(from), fromMicros(until), fromMicros(created)
	l.Allow = strings.Split(allow, ",")
	if next != 0 {
		at := fromMicros(next)
		l.Next = &at
	}
	return l, nil
}

// LeaseMember is a board of a lease as it is booked.
type LeaseMember struct {
	Board  s4t.BoardID
	Offer  s4t.OfferID // empty: the project's own board
	Shared bool        // others may stand beside it
}

// InsertBoardLease adds a lease with its boards, which are locked (see [Tx.LockBoards]).
func (tx *Tx) InsertBoardLease(l s4t.Lease, members []LeaseMember) error {
	op := fmt.Sprintf("create lease %q", l.Name)
	if _, err := tx.exec(op, `INSERT INTO board_leases (`+leaseColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		l.ID, l.Project, textOrNull(string(l.Parent)), l.Name, l.User, l.Status, l.Reason, micros(l.From), micros(l.Until), strings.Join(l.Allow, ","), l.Priority, nextOf(l), micros(l.CreatedAt)); err != nil {
		return err
	}
	if _, err := tx.exec(op, `INSERT INTO lease_projects (project, lease) VALUES (?, ?)`, l.Project, l.ID); err != nil {
		return err
	}
	owners, err := manyIn(tx, op, value[s4t.ProjectID], `SELECT DISTINCT project FROM boards WHERE id IN `, nil, boardsOf(members), ``)
	if err != nil {
		return err
	}
	for _, owner := range owners { // in general one
		if _, err := tx.exec(op, `INSERT INTO lease_projects (project, lease) VALUES (?, ?) ON CONFLICT DO NOTHING`, owner, l.ID); err != nil {
			return err
		}
	}
	return insert(tx, op, `INSERT INTO lease_boards (lease, board, offer, starts_at, ends_at, priority, shared, share) VALUES `, members, func(m LeaseMember) []any {
		return []any{l.ID, m.Board, textOrNull(string(m.Offer)), micros(l.From), micros(l.Until), l.Priority, bit(m.Shared), bit(l.Parent != "")}
	}, "")
}

func boardsOf(members []LeaseMember) []s4t.BoardID {
	ids := make([]s4t.BoardID, len(members))
	for i, m := range members {
		ids[i] = m.Board
	}
	return ids
}

// nextOf is when the boards of a lease are free next, as it is kept.
func nextOf(l s4t.Lease) int64 {
	if l.Next == nil {
		return 0
	}
	return micros(*l.Next)
}

// SetBoardLease writes what may change of a lease: status, reason, window and what is free next.
func (tx *Tx) SetBoardLease(l s4t.Lease) error {
	op := fmt.Sprintf("update lease %q", l.Name)
	if _, err := tx.exec(op, `UPDATE board_leases SET status = ?, reason = ?, starts_at = ?, ends_at = ?, next_free = ?, revision = revision + 1 WHERE id = ?`, l.Status, l.Reason, micros(l.From), micros(l.Until), nextOf(l), l.ID); err != nil {
		return err
	}
	_, err := tx.exec(op, `UPDATE lease_boards SET starts_at = ?, ends_at = ? WHERE lease = ?`, micros(l.From), micros(l.Until), l.ID)
	return err
}

// LeaseByID returns the lease with this id, without its boards.
func (tx *Tx) LeaseByID(id s4t.LeaseID) (s4t.Lease, error) {
	return one(tx, fmt.Sprintf("find lease %q", id), scanLease, `SELECT `+leaseColumns+` FROM board_leases WHERE id = ?`, id)
}

// LeasesNamed returns the leases with a name that are not over: of a project, or with "" of
// every one; without their boards.
func (tx *Tx) LeasesNamed(project s4t.ProjectID, name string) ([]s4t.Lease, error) {
	f := equal(filter{}, "project", project).and("name = ?", name).and("status IN ('pending', 'active')")
	return many(tx, fmt.Sprintf("find lease %q", name), scanLease, `SELECT `+leaseColumns+` FROM board_leases`+f.where(), f.args...)
}

// BoardLeases returns a page of the leases that a project has, and of those by its offers, by
// name, without their boards; "" means every one.
func (tx *Tx) BoardLeases(project s4t.ProjectID, p wire.Page) (wire.List[s4t.Lease], error) {
	var where filter
	if project != "" {
		where = where.and(`id IN (SELECT lease FROM lease_projects WHERE project = ?)`, project)
	}
	return page(tx, "list leases", p, order[s4t.Lease]{"name, id", func(l s4t.Lease) []any { return []any{l.Name, string(l.ID)} }},
		scanLease, `SELECT `+leaseColumns+` FROM board_leases`, where)
}

// LeaseBoards returns the boards of leases, by lease, in the order of their names.
func (tx *Tx) LeaseBoards(ids []s4t.LeaseID) (map[s4t.LeaseID][]s4t.LeaseBoard, error) {
	all := map[s4t.LeaseID][]s4t.LeaseBoard{}
	_, err := manyIn(tx, "list the boards of leases", func(s scanner) (_ struct{}, err error) {
		var id s4t.LeaseID
		var b s4t.LeaseBoard
		var offer sql.NullString
		err = s.Scan(&id, &b.ID, &b.Name, &b.Owner, &offer)
		b.Offer = s4t.OfferID(offer.String)
		all[id] = append(all[id], b)
		return
	}, `SELECT m.lease, b.id, b.name, b.project, m.offer FROM lease_boards m JOIN boards b ON b.id = m.board WHERE m.lease IN `, nil, ids, ` ORDER BY b.name, b.id`)
	return all, err
}

// Calendars returns what is booked of boards from a time on: of leases that are not over, and
// of no share. A board with nothing has none.
func (tx *Tx) Calendars(boards []s4t.BoardID, from time.Time) (map[s4t.BoardID]lease.Calendar, error) {
	all := map[s4t.BoardID]lease.Calendar{}
	_, err := manyIn(tx, "look at the calendars of boards", func(s scanner) (_ struct{}, err error) {
		var board s4t.BoardID
		var e lease.Entry
		var starts, ends int64
		if err = s.Scan(&board, &e.Lease, &starts, &ends, &e.Priority, flag(&e.Shared)); err != nil {
			return
		}
		e.Window = lease.Window{From: fromMicros(starts), Until: fromMicros(ends)}
		all[board] = append(all[board], e)
		return
	}, `SELECT m.board, m.lease, m.starts_at, m.ends_at, m.priority, m.shared FROM lease_boards m JOIN board_leases l ON l.id = m.lease
		WHERE m.ends_at > ? AND m.share = 0 AND l.status IN ('pending', 'active') AND m.board IN `, []any{micros(from)}, boards, ` ORDER BY m.starts_at, m.lease`)
	return all, err
}

// Holdings returns all that is held of a board by leases that are not over, and by its owner.
func (tx *Tx) Holdings(board s4t.BoardID) (lease.Tree, error) {
	op := fmt.Sprintf("see who holds board %q", board)
	owner, err := one(tx, op, value[s4t.ProjectID], `SELECT project FROM boards WHERE id = ?`, board)
	if err != nil {
		return nil, err
	}
	held, err := many(tx, op, func(s scanner) (lease.Holding, error) {
		_, h, err := scanHolding(s)
		return h, err
	}, holdingSelect+`WHERE m.board = ? AND l.status IN ('pending', 'active') ORDER BY l.starts_at, l.id`, board)
	if err != nil {
		return nil, err
	}
	return append(lease.Tree{{Project: owner}}, held...), nil
}

const holdingSelect = `SELECT m.board, l.id, l.parent, l.name, l.project, l.starts_at, l.ends_at, l.allow FROM lease_boards m JOIN board_leases l ON l.id = m.lease `

func scanHolding(s scanner) (board s4t.BoardID, h lease.Holding, err error) {
	var parent sql.NullString
	var starts, ends int64
	var allow string
	if err = s.Scan(&board, &h.Lease, &parent, &h.Name, &h.Project, &starts, &ends, &allow); err != nil {
		return board, h, err
	}
	h.Parent = s4t.LeaseID(parent.String)
	h.Window = lease.Window{From: fromMicros(starts), Until: fromMicros(ends)}
	h.Allow, err = lease.ParseSet(allow)
	return board, h, err
}

// HoldingsOf returns the leases of boards that are not over; their owners are not in it.
func (tx *Tx) HoldingsOf(boards []s4t.BoardID) (map[s4t.BoardID]lease.Tree, error) {
	all := map[s4t.BoardID]lease.Tree{}
	_, err := manyIn(tx, "see who holds boards", func(s scanner) (struct{}, error) {
		board, h, err := scanHolding(s)
		all[board] = append(all[board], h)
		return struct{}{}, err
	}, holdingSelect+`WHERE l.status IN ('pending', 'active') AND m.board IN `, nil, boards, ` ORDER BY l.starts_at, l.id`)
	return all, err
}

// ForgetLeases forgets at most limit leases that were over before a time.
func (tx *Tx) ForgetLeases(before time.Time, limit int) error {
	old, err := many(tx, "find old leases", value[s4t.LeaseID], `SELECT id FROM board_leases WHERE status NOT IN ('pending', 'active') AND ends_at < ? ORDER BY ends_at, id LIMIT ?`, micros(before), limit)
	if err != nil {
		return err
	}
	return tx.forgetLeases(old)
}

// forgetLeases forgets leases that are over. Shares of them are over too, and stay as leases.
func (tx *Tx) forgetLeases(ids []s4t.LeaseID) error {
	for _, id := range ids {
		op := fmt.Sprintf("forget lease %q", id)
		if _, err := tx.exec(op, `UPDATE board_leases SET parent = NULL WHERE parent = ?`, id); err != nil {
			return err
		}
		if _, err := tx.exec(op, `DELETE FROM board_leases WHERE id = ?`, id); err != nil {
			return err
		}
	}
	return nil
}

// LentNamed returns the boards of a name of which a project has a lease that is not over.
func (tx *Tx) LentNamed(project s4t.ProjectID, name string) ([]s4t.BoardID, error) {
	return many(tx, fmt.Sprintf("find board %q", name), value[s4t.BoardID], `SELECT DISTINCT b.id FROM board_leases l JOIN lease_boards m ON m.lease = l.id JOIN boards b ON b.id = m.board
		WHERE l.project = ? AND l.status IN ('pending', 'active') AND b.name = ? ORDER BY b.id`, project, name)
}

// Lent is a lease of a board: whose it is, and until when.
type Lent struct {
	Lease   s4t.LeaseID
	Project s4t.ProjectID
	Until   time.Time
}

// LeasesOf returns the leases of a board that are not over.
func (tx *Tx) LeasesOf(board s4t.BoardID) ([]Lent, error) {
	return many(tx, fmt.Sprintf("find the leases of board %q", board), func(s scanner) (l Lent, err error) {
		var until int64
		err = s.Scan(&l.Lease, &l.Project, &until)
		l.Until = fromMicros(until)
		return l, err
	}, `SELECT l.id, l.project, l.ends_at FROM lease_boards m JOIN board_leases l ON l.id = m.lease WHERE m.board = ? AND l.status IN ('pending', 'active') ORDER BY l.id`, board)
}

// BoardsLentTo returns the boards of which a project has a lease that is not over.
func (tx *Tx) BoardsLentTo(project s4t.ProjectID) ([]s4t.BoardID, error) {
	return many(tx, fmt.Sprintf("find the boards that are lent to project %q", project), value[s4t.BoardID], `SELECT DISTINCT m.board FROM board_leases l JOIN lease_boards m ON m.lease = l.id
		WHERE l.project = ? AND l.status IN ('pending', 'active') ORDER BY m.board`, project)
}

// DueLeases returns leases whose time comes or is over by now, those that end first before
// those that begin, at most n of each.
func (tx *Tx) DueLeases(now time.Time, n int) ([]s4t.Lease, error) {
	const op = "find leases whose time comes"
	ends, err := many(tx, op, scanLease, `SELECT `+leaseColumns+` FROM board_leases WHERE status IN ('pending', 'active') AND ends_at <= ? ORDER BY ends_at, id LIMIT ?`, micros(now), n)
	if err != nil {
		return nil, err
	}
	begins, err := many(tx, op, scanLease, `SELECT `+leaseColumns+` FROM board_leases WHERE status = 'pending' AND starts_at <= ? AND ends_at > ? ORDER BY starts_at, id LIMIT ?`, micros(now), micros(now), n)
	return append(ends, begins...), err
}

// NextLease is when the next lease begins or ends; the zero time where none does.
func (tx *Tx) NextLease() (time.Time, error) {
	at, err := one(tx, "see when the next lease begins or ends", func(s scanner) (at sql.NullInt64, err error) {
		err = s.Scan(&at)
		return at, err
	}, `SELECT MIN(at) FROM (SELECT MIN(ends_at) AS at FROM board_leases WHERE status IN ('pending', 'active') UNION ALL SELECT MIN(starts_at) FROM board_leases WHERE status = 'pending') t`)
	if err != nil || !at.Valid {
		return time.Time{}, err
	}
	return fromMicros(at.Int64), nil
}

// Bookable is a board that somebody may book, as far as that is chosen by.
type Bookable struct {
	ID       s4t.BoardID
	Name     string
	Project  s4t.ProjectID
	Labels   map[string]string
	Location *s4t.Location
	Online   bool
}

func scanBookable(s scanner) (b Bookable, err error) {
	var labels, location string
	var status s4t.BoardStatus
	if err = s.Scan(&b.ID, &b.Name, &b.Project, &labels, &location, &status); err != nil {
		return b, err
	}
	b.Online = status == s4t.BoardOnline
	if err = fromJSON(labels, &b.Labels); err == nil {
		err = fromJSON(location, &b.Location)
	}
	return b, err
}

var bookableSelect = `SELECT b.id, b.name, b.project, b.labels, b.location, ` + statusOf("p") + ` FROM boards b JOIN presence p ON p.board = b.id `

// BookableByID returns those of boards that there are.
func (tx *Tx) BookableByID(ids []s4t.BoardID) ([]Bookable, error) {
	return manyIn(tx, "find boards", scanBookable, bookableSelect+`WHERE b.id IN `, nil, ids, ``)
}

// BookableOf returns the boards of a project with all of some labels, and in one of some cells (nil: anywhere).
func (tx *Tx) BookableOf(project s4t.ProjectID, labels map[string]string, cells []geo.Range) ([]Bookable, error) {
	where, err := tx.narrow(filter{}, "b.", project, labels, cells)
	if err != nil {
		return nil, err
	}
	return many(tx, "find boards", scanBookable, bookableSelect+where.where(), where.args...)
}

// Booked returns how long each of boards was booked between two times.
func (tx *Tx) Booked(boards []s4t.BoardID, from, until time.Time) (map[s4t.BoardID]time.Duration, error) {
	all := map[s4t.BoardID]time.Duration{}
	_, err := manyIn(tx, "see how much boards were used", func(s scanner) (_ struct{}, err error) {
		var board s4t.BoardID
		var starts, ends int64
		if err = s.Scan(&board, &starts, &ends); err == nil {
			all[board] += fromMicros(min(ends, micros(until))).Sub(fromMicros(max(starts, micros(from))))
		}
		return
	}, `SELECT board, starts_at, ends_at FROM lease_boards WHERE ends_at > ? AND starts_at < ? AND share = 0 AND board IN `, []any{micros(from), micros(until)}, boards, ``)
	return all, err
}

// SharesOf returns the shares of a lease that are not over, without their boards.
func (tx *Tx) SharesOf(id s4t.LeaseID) ([]s4t.Lease, error) {
	return many(tx, fmt.Sprintf("find the shares of lease %q", id), scanLease, `SELECT `+leaseColumns+` FROM board_leases WHERE parent = ? AND status IN ('pending', 'active') ORDER BY name, id`, id)
}
