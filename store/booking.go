package store

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// Bookings returns what is booked of boards between two times, by board and by the time it begins: of
// leases that are not over, and of those that are over if a project sees them. Of a lease that it does
// not see, nothing but the time is there. Shares are there if the project has them. With all, it sees
// every lease.
func (tx *Tx) Bookings(boards []s4t.BoardID, from, until time.Time, project s4t.ProjectID, all bool) (map[s4t.BoardID][]s4t.Booking, error) {
	found := map[s4t.BoardID][]s4t.Booking{}
	_, err := manyIn(tx, "look at the calendars of boards", func(s scanner) (_ struct{}, err error) {
		var board s4t.BoardID
		var b s4t.Booking
		var starts, ends int64
		var allow string
		var sees bool
		if err = s.Scan(&board, &b.Lease, &starts, &ends, flag(&b.Shared), flag(&b.Share), &b.Name, &b.Project, &b.ProjectName, &b.User, &b.Status, &allow, &b.Priority, flag(&sees)); err != nil {
			return
		}
		b.From, b.Until = fromMicros(starts), fromMicros(ends)
		if b.Allow = strings.Split(allow, ","); !sees && !all {
			if b.Status.Over() {
				return
			}
			b = s4t.Booking{Window: b.Window, Shared: b.Shared}
		}
		found[board] = append(found[board], b)
		return
	}, `SELECT m.board, m.lease, m.starts_at, m.ends_at, m.shared, m.share, l.name, l.project, p.name, l.user_name, l.status, l.allow, l.priority,
		CASE WHEN EXISTS (SELECT 1 FROM lease_projects v WHERE v.lease = l.id AND v.project = ?) THEN 1 ELSE 0 END
		FROM lease_boards m JOIN board_leases l ON l.id = m.lease JOIN projects p ON p.id = l.project
		WHERE m.ends_at > ? AND m.starts_at < ? AND m.starts_at < m.ends_at AND (m.share = 0 OR l.project = ?) AND m.board IN `,
		[]any{project, micros(from), micros(until), project}, boards, ` ORDER BY m.starts_at, m.lease`)
	return found, err
}

// BookedBy returns the boards of which a project has leases, or shares, between two times that are not over.
func (tx *Tx) BookedBy(project s4t.ProjectID, from, until time.Time) ([]s4t.BoardID, error) {
	return many(tx, "find the boards that a project has booked", value[s4t.BoardID], `SELECT DISTINCT m.board FROM board_leases l JOIN lease_boards m ON m.lease = l.id
		WHERE l.project = ? AND l.status IN ('pending', 'active') AND l.ends_at > ? AND l.starts_at < ? ORDER BY m.board`, project, micros(from), micros(until))
}

// leasedNow chooses boards that a project has by a lease, or a share, at a time: its project, and the time twice.
const leasedNow = `b.id IN (SELECT m.board FROM board_leases l JOIN lease_boards m ON m.lease = l.id WHERE l.project = ? AND l.status = 'active' AND l.starts_at <= ? AND l.ends_at > ?)`

// BoardsLeased is [Tx.BoardsWith] of boards that are leased to a project at a time, each with the
// lease by which it has it longest.
func (tx *Tx) BoardsLeased(parts BoardParts, project s4t.ProjectID, now time.Time, status s4t.BoardStatus, labels map[string]string, p wire.Page) (wire.List[Board], error) {
	if len(labels) > 0 {
		parts |= PartLabels
	}
	f := boardFilter("", status).and(leasedNow, project, micros(now), micros(now)).and("b.project <> ?", project)
	list, err := pageOf(tx, "list leased boards", boardPage(p), wire.MaxBoardPage, boardOrder, scanBoard, selectBoards(parts), f)
	if err != nil {
		return list, err
	}
	list.Items = withLabels(list.Items, labels)
	at, ids := index(list.Items, func(b Board) s4t.BoardID { return b.ID })
	_, err = manyIn(tx, "find the leases of boards", func(s scanner) (_ struct{}, err error) {
		var board s4t.BoardID
		var l s4t.LeasedBy
		var until int64
		var allow string
		if err = s.Scan(&board, &l.ID, &l.Name, &until, &allow); err != nil {
			return
		}
		l.Until, l.Allow = fromMicros(until), strings.Split(allow, ",")
		list.Items[at[board]].Lease = &l // the last is that which lasts longest
		return
	}, `SELECT m.board, l.id, l.name, l.ends_at, l.allow FROM board_leases l JOIN lease_boards m ON m.lease = l.id
		WHERE l.project = ? AND l.status = 'active' AND l.starts_at <= ? AND l.ends_at > ? AND m.board IN `,
		[]any{project, micros(now), micros(now)}, ids, ` ORDER BY l.ends_at, l.id`)
	return list, err
}

// withLabels keeps those of boards that have all of some labels.
func withLabels(boards []Board, labels map[string]string) []Board {
	return slices.DeleteFunc(boards, func(b Board) bool {
		for k, v := range labels {
			if got, ok := b.Labels[k]; !ok || got != v {
				return true
			}
		}
		return false
	})
}

// Lessee is a project that has a board by a lease.
type Lessee struct {
	Board   s4t.BoardID
	Project s4t.ProjectID
}

// Lessees returns the projects that have some of boards by leases, or shares, at a time.
func (tx *Tx) Lessees(boards []s4t.BoardID, now time.Time) ([]Lessee, error) {
	found, err := manyIn(tx, "find who leases boards", func(s scanner) (l Lessee, err error) { return l, s.Scan(&l.Board, &l.Project) },
		`SELECT DISTINCT m.board, l.project FROM lease_boards m JOIN board_leases l ON l.id = m.lease
		WHERE m.ends_at > ? AND m.starts_at <= ? AND l.status = 'active' AND m.board IN `, []any{micros(now), micros(now)}, boards, ``)
	slices.SortFunc(found, func(a, b Lessee) int { return cmp.Or(cmp.Compare(a.Board, b.Board), cmp.Compare(a.Project, b.Project)) })
	return slices.Compact(found), err
}
