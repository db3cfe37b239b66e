package api

import (
	"context"
	"strings"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// boardRef is the input of a route about one board.
type boardRef struct {
	Board string `path:"board" maxLength:"63" doc:"Name or id"`
}

// boardFilter is the input of the list of boards.
type boardFilter struct {
	Limit int `query:"limit" minimum:"1" maximum:"2000" doc:"At most so many boards in this answer; 500 by default. The header Link leads to the rest; a page may have fewer"`
	PageRest
	Label  []string        `query:"label,explode" maxItems:"64" doc:"K=V; repeated: boards with all of them"`
	Fleet  string          `query:"fleet" maxLength:"63" doc:"Name or id: boards of this fleet"`
	Status s4t.BoardStatus `query:"status" enum:"registered,online,offline" doc:"Boards with this status"`
	Leased bool            `query:"leased" doc:"Instead of the project's own boards those that are leased to it now, each with its lease"`
	Query  string          `query:"q" maxLength:"1024" example:"status:offline !label:site=messina kitchen" doc:"Words that find boards, all of which hold: text in the name, the type or a label, or status:, label:K=V, type:, name:, seen:>1d, version:, arch:, agent:, problem:*, bridge:. A ! before a word means that it does not hold, a comma between values any of them"`
}

// boardRoutes are boards, their doctor, and streams to their services.
func (a *API) boardRoutes() {
	register(a, guarded, "GET /v1/boards", "board.list", "List boards", "", a.listBoards)
	register(a, guarded, "POST /v1/boards", "board.create", "Create a board", "The registration code and the join string are in this answer and in no other.",
		func(ctx context.Context, in *bodyOf[apiclient.BoardCreate]) (*output[s4t.Board], error) {
			b := in.Body
			return created(ctx, a, wire.MethodBoardCreate, wire.BoardCreate{Caller: callerOf(ctx), Name: b.Name, Type: b.Type, Labels: b.Labels, Location: b.Location},
				func(b s4t.Board) string { return "/v1/boards/" + string(b.ID) })
		})
	register(a, guarded, "GET /v1/boards/{board}", "board.show", "Show a board", "",
		func(ctx context.Context, in *boardRef) (*answered[s4t.Board], error) {
			return get[s4t.Board](ctx, a, wire.MethodBoardGet, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
		})
	register(a, guarded, "PATCH /v1/boards/{board}", "board.update", "Update a board", "What is absent stays as it is.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
			Body  apiclient.BoardUpdate
		}) (*answered[s4t.Board], error) {
			b := in.Body
			return get[s4t.Board](ctx, a, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: callerOf(ctx), Ref: in.Board, Name: b.Name, Type: b.Type, Labels: b.Labels, Location: b.Location, NewCode: b.NewCode, Replace: b.Replace})
		})
	register(a, guarded, "DELETE /v1/boards/{board}", "board.delete", "Delete a board", "With its ports and services; its session ends.",
		func(ctx context.Context, in *boardRef) (*nothing, error) {
			return drop(ctx, a, wire.MethodBoardDelete, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
		})
	a.transferRoutes()
	a.calendarRoutes()
	register(a, guarded, "GET /v1/boards/{board}/doctor", "board.doctor", "Examine a board", "What stands between the board and what it should do, worst first.",
		func(ctx context.Context, in *boardRef) (*answered[wire.DoctorReport], error) {
			return get[wire.DoctorReport](ctx, a, wire.MethodBoardDoctor, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
		})
	register(a, guarded, "GET /v1/boards/{board}/profile", "board.profile", "Show what the owner of a board gives", "Limits, hours, what enforces them, and what projects have used, as the board told it last. It is set on the board only.",
		func(ctx context.Context, in *boardRef) (*answered[s4t.BoardProfile], error) {
			return get[s4t.BoardProfile](ctx, a, wire.MethodBoardProfile, wire.RefRequest{Caller: callerOf(ctx), Ref: in.Board})
		})
	register(a, guarded, "POST /v1/boards/{board}/streams", "stream.open", "Open a stream",
		"Answers where to connect to, and a ticket that opens one stream to a TCP service of the board, once, within 60 s: a WebSocket at /rtunnel with the subprotocol s4t.stream.1 and the ticket as bearer token, or, in browsers, the ticket in base64url as a second subprotocol, s4t.ticket.TICKET.",
		func(ctx context.Context, in *struct {
			Board  string `path:"board" maxLength:"63" doc:"Name or id"`
			Origin string `header:"Origin" maxLength:"300" doc:"A browser says it by itself; the ticket is then for pages of that origin"`
			Body   apiclient.StreamOpen
		}) (*answered[wire.StreamGrant], error) {
			return get[wire.StreamGrant](ctx, a, wire.MethodStreamOpen, wire.StreamOpen{Caller: callerOf(ctx), Board: in.Board, Target: in.Body.Target, TCPPort: in.Body.TCPPort, HostKeys: in.Body.HostKeys,
				Terminal: in.Body.Terminal, Resumable: in.Body.Resumable, Again: in.Body.Again, Origin: in.Origin})
		})
}

func (a *API) listBoards(ctx context.Context, in *boardFilter) (*listed[s4t.Board], error) {
	labels, possible, err := parseLabels("list boards", in.Label)
	if err != nil {
		return nil, a.answer(ctx, "board.list", err)
	}
	if !possible {
		return &listed[s4t.Board]{}, nil
	}
	req := wire.BoardList{Caller: callerOf(ctx), Status: in.Status, Labels: labels, Fleet: in.Fleet, Leased: in.Leased, Query: in.Query, Fields: in.Fields, Page: wire.Page{Limit: in.Limit, After: in.After}}
	l, err := call[wire.RawList](ctx, a, wire.MethodBoardList, req)
	if err != nil {
		return nil, err
	}
	return &listed[s4t.Board]{in.link(l.Next), l.EventID, items[s4t.Board]{raw: l.Items}}, nil
}

// parseLabels reads labels of a filter, K=V. It is not possible that a board has
// them where they say two values of one label.
func parseLabels(op string, list []string) (labels map[string]string, possible bool, err error) {
	for _, l := range list {
		k, v, ok := strings.Cut(l, "=")
		if !ok || k == "" {
			return nil, false, s4t.Errorf(s4t.Invalid, op, "write it as K=V", "label %q has no value", l)
		}
		if old, ok := labels[k]; ok && old != v {
			return nil, false, nil
		}
		if labels == nil {
			labels = map[string]string{}
		}
		labels[k] = v
	}
	return labels, true, nil
}
