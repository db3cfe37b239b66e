package store

import (
	"cmp"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// BoardParts are parts of boards that lists need not read: what people and boards say may be long.
type BoardParts int

// The parts of a board.
const (
	PartLabels BoardParts = 1 << iota
	PartLocation
	PartProblems
	PartKey
	PartBrief // version, os, arch, kernel, networks, resumes of Info
	PartInfo  // all of it

	AllParts = PartLabels | PartLocation | PartProblems | PartKey | PartInfo
)

// boardParts has the columns of parts in boardSelect, each once.
var boardParts = []struct {
	part   BoardParts
	column string
}{{PartLabels, "b.labels"}, {PartLocation, "b.location"}, {PartProblems, "b.problems"}, {PartKey, "b.public_key"}, {PartInfo, "b.info"}}

// selectBoards is boardSelect without what is in none of parts: that is empty.
func selectBoards(parts BoardParts) string {
	query := boardSelect
	for _, p := range boardParts {
		switch {
		case parts&p.part != 0:
		case p.part == PartInfo && parts&PartBrief != 0: // what was written by an earlier version has no brief
			query = strings.Replace(query, p.column+",", "CASE WHEN b.brief = '' THEN b.info ELSE b.brief END,", 1)
		default:
			query = strings.Replace(query, p.column+",", "'',", 1)
		}
	}
	return query
}

// brief is what a board says of itself that many others say too: lists of thousands read one
// text of a few.
func brief(i s4t.BoardInfo) s4t.BoardInfo {
	return s4t.BoardInfo{Version: i.Version, OS: i.OS, Arch: i.Arch, Kernel: i.Kernel, Networks: i.Networks, Resumes: i.Resumes}
}

// Boards returns a page of the boards of a project by name, with a status and
// labels; "" means every project, and every status.
func (tx *Tx) Boards(project s4t.ProjectID, status s4t.BoardStatus, labels map[string]string, p wire.Page) (wire.List[Board], error) {
	return tx.BoardsWith(AllParts, project, status, labels, p)
}

// BoardsWith is Boards that reads only some parts of them.
func (tx *Tx) BoardsWith(parts BoardParts, project s4t.ProjectID, status s4t.BoardStatus, labels map[string]string, p wire.Page) (wire.List[Board], error) {
	if len(labels) > 0 {
		parts |= PartLabels
	}
	where, err := tx.narrow(boardFilter("", status), "b.", project, labels, nil)
	if err != nil {
		return wire.List[Board]{}, err
	}
	list, err := pageOf(tx, "list boards", boardPage(p), wire.MaxBoardPage, boardOrder, scanBoard, selectBoards(parts), where)
	list.Items = withLabels(list.Items, labels)
	return list, err
}

// boardFilter chooses boards of a project, with a status.
func boardFilter(project s4t.ProjectID, status s4t.BoardStatus) filter {
	f := equal(filter{}, "b.project", project)
	if status != "" { // by the row, which has an index, and then as it is
		f = f.and("p.status IN (?, 'online')", status).and(statusOf("p")+" = ?", status)
	}
	return f
}

// boardOrder is the order of lists of boards.
var boardOrder = order[Board]{"b.name, b.id", func(b Board) []any { return []any{b.Name, string(b.ID)} }}

// boardPage is a page that has a limit.
func boardPage(p wire.Page) wire.Page {
	p.Limit = cmp.Or(p.Limit, wire.MaxPage)
	return p
}

// AfterBoard is where a page of boards begins that follows one: [wire.Page.After].
func AfterBoard(b Board) string { return cursor(boardOrder.key(b)) }

// BridgeNames returns the names of the bridges that each of boards is on.
func (tx *Tx) BridgeNames(boards []s4t.BoardID) (map[s4t.BoardID][]string, error) {
	names := make(map[s4t.BoardID][]string, len(boards))
	_, err := manyIn(tx, "find the bridges of boards", func(s scanner) (_ struct{}, err error) {
		var board s4t.BoardID
		var name string
		err = s.Scan(&board, &name)
		names[board] = append(names[board], name)
		return
	}, `SELECT p.board, br.name FROM ports p JOIN bridges br ON br.network = p.network WHERE p.board IN `, nil, boards, ``)
	return names, err
}

// BoardText is a board as a list of thousands shows it: what is JSON in the database is the text of it.
type BoardText struct {
	ID                                                             s4t.BoardID
	Name, Project, Type, Labels, Location, Problems, Brief, Public string
	Status                                                         s4t.BoardStatus
	WAMPAgent, TunnelAgent                                         string
	SeenAt, CreatedAt, CodeExpiresAt                               time.Time // zero: never, none
}

// After is where a page begins that follows this one.
func (b BoardText) After() string { return cursor([]any{b.Name, string(b.ID)}) }

// BoardTexts returns a page of boards as [Tx.Boards] does, of which nothing but the id, the name
// and some columns is read; columns are names of theirs in JSON, and "brief".
func (tx *Tx) BoardTexts(columns []string, project s4t.ProjectID, status s4t.BoardStatus, p wire.Page) (wire.List[BoardText], error) {
	query := "SELECT b.id, b.name"
	for _, c := range columns {
		query += ", " + boardColumns[c].sql
	}
	var b BoardText
	var seen, created, expires int64
	into := []any{&b.ID, &b.Name}
	for _, c := range columns {
		into = append(into, boardColumns[c].into(&b, &seen, &created, &expires))
	}
	scan := func(s scanner) (BoardText, error) {
		err := s.Scan(into...)
		b.SeenAt, b.CreatedAt, b.CodeExpiresAt = time.Time{}, time.Time{}, time.Time{}
		for _, t := range []struct {
			micros int64
			at     *time.Time
		}{{seen, &b.SeenAt}, {created, &b.CreatedAt}, {expires, &b.CodeExpiresAt}} {
			if t.micros != 0 {
				*t.at = fromMicros(t.micros)
			}
		}
		return b, err
	}
	return pageOf(tx, "list boards", boardPage(p), wire.MaxBoardPage, order[BoardText]{boardOrder.columns, func(b BoardText) []any { return []any{b.Name, string(b.ID)} }}, scan,
		query+" FROM boards b JOIN presence p ON p.board = b.id ", boardFilter(project, status))
}

// boardColumns are the columns of [BoardText], by name, and where each goes.
var boardColumns = map[string]struct {
	sql  string
	into func(b *BoardText, seen, created, expires *int64) any
}{
	"project":         {"b.project", func(b *BoardText, _, _, _ *int64) any { return &b.Project }},
	"type":            {"b.type", func(b *BoardText, _, _, _ *int64) any { return &b.Type }},
	"labels":          {"b.labels", func(b *BoardText, _, _, _ *int64) any { return &b.Labels }},
	"location":        {"b.location", func(b *BoardText, _, _, _ *int64) any { return &b.Location }},
	"problems":        {"b.problems", func(b *BoardText, _, _, _ *int64) any { return &b.Problems }},
	"brief":           {"CASE WHEN b.brief = '' THEN b.info ELSE b.brief END", func(b *BoardText, _, _, _ *int64) any { return &b.Brief }},
	"public_address":  {"b.public_address", func(b *BoardText, _, _, _ *int64) any { return &b.Public }},
	"status":          {statusOf("p"), func(b *BoardText, _, _, _ *int64) any { return &b.Status }},
	"wamp_agent":      {"p.wamp_agent", func(b *BoardText, _, _, _ *int64) any { return &b.WAMPAgent }},
	"tunnel_agent":    {"b.tunnel_agent", func(b *BoardText, _, _, _ *int64) any { return &b.TunnelAgent }},
	"last_seen":       {"COALESCE(p.seen_at, 0)", func(_ *BoardText, seen, _, _ *int64) any { return seen }},
	"created_at":      {"b.created_at", func(_ *BoardText, _, created, _ *int64) any { return created }},
	"code_expires_at": {"CASE WHEN b.code_used = 0 THEN b.code_expires_at ELSE 0 END", func(_ *BoardText, _, _, expires *int64) any { return expires }},
}
