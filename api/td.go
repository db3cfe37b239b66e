package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/td"
	"github.com/stack4things/s4t/wire"
)

// maxDirectoryReads bounds the pages of boards that one request for a page of the
// directory reads, where the filter leaves nothing of them.
const maxDirectoryReads = 8

// thingFilter is the input of the directory of Thing Descriptions.
type thingFilter struct {
	PageQuery
	Label  []string `query:"label,explode" maxItems:"64" doc:"K=V; repeated: boards with all of them"`
	Type   string   `query:"type" maxLength:"255" doc:"Boards of this type"`
	Near   string   `query:"near" maxLength:"64" doc:"LAT,LON in degrees: boards at most within kilometres from there"`
	Within float64  `query:"within" minimum:"0" maximum:"20100" doc:"Kilometres, for near; 10 by default"`
	Q      string   `query:"q" maxLength:"255" doc:"Boards that have this in their name, type, labels, or in the name or label of a pin, in capitals or not"`
}

// thingRef is the input of a route about one Thing Description.
type thingRef struct {
	Thing string `path:"thing" maxLength:"63" doc:"Id of the thing (urn:uuid:...), or name or id of the board"`
}

// description is a Thing Description, or a page of them, as it was written.
type description struct {
	ContentType string `header:"Content-Type"`
	Body        []byte
}

type descriptions struct {
	Link        string `header:"Link" doc:"<URL>; rel=\"next\": the path of the next page; absent on the last"`
	EventID     int64  `header:"X-Event-Id" doc:"Id of the newest event when this was read: what has changed since is told by events after it"`
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// tdRoutes are the Thing Descriptions of boards, and their directory.
func (a *API) tdRoutes() {
	const what = "W3C Web of Things Thing Description 1.1: each pin is a property that can be read, observed, and written where it is an output. Of the cloud's copy of the pins: it is there for boards that are offline, too."
	thing := &huma.Schema{Type: huma.TypeObject, Description: "Thing Description, see https://www.w3.org/TR/wot-thing-description11/", AdditionalProperties: true}
	answers := func(contentType string, s *huma.Schema) func(*huma.Operation) {
		return func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{contentType: {Schema: s}}}}
		}
	}
	register(a, guarded, "GET /v1/boards/{board}/td", "board.td", "Describe a board", what,
		func(ctx context.Context, in *boardRef) (*description, error) { return a.describeThing(ctx, in.Board) }, answers(td.MediaType, thing))
	register(a, guarded, "GET /v1/td", "td.list", "List Thing Descriptions", "Of all boards that the caller sees, in pages as every list; with a filter a page may be shorter than its limit, and is the last one only where there is no Link.",
		a.listThings, answers("application/json", &huma.Schema{Type: huma.TypeArray, Items: thing}))
	register(a, guarded, "GET /v1/td/{thing}", "td.show", "Show a Thing Description", what,
		func(ctx context.Context, in *thingRef) (*description, error) {
			return a.describeThing(ctx, td.BoardRef(in.Thing))
		}, answers(td.MediaType, thing))
	a.mux.HandleFunc("GET /.well-known/wot", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", td.MediaType)
		json.NewEncoder(w).Encode(td.Directory(a.url))
	})
}

// describe writes the Thing Description of a board.
func (a *API) describe(b wire.PinBoard, commands []s4t.Command) td.Thing {
	thing := td.Of(a.url, s4t.Board{ID: b.ID, Name: b.Name, Type: b.Type, Labels: b.Labels, Location: b.Location}, b.Pins, b.ReportedAt)
	thing.AddCommands(commands)
	return thing
}

// describeAll does it for several.
func (a *API) describeAll(ctx context.Context, boards []wire.PinBoard) ([]td.Thing, error) {
	ids := make([]s4t.BoardID, len(boards))
	for i, b := range boards {
		ids[i] = b.ID
	}
	commands, err := a.commandsOfSome(ctx, ids)
	if err != nil {
		return nil, err
	}
	things := make([]td.Thing, len(boards))
	for i, b := range boards {
		things[i] = a.describe(b, commands[b.ID])
	}
	return things, nil
}

// commandsOfSome are the commands of boards.
func (a *API) commandsOfSome(ctx context.Context, boards []s4t.BoardID) (map[s4t.BoardID][]s4t.Command, error) {
	all := map[s4t.BoardID][]s4t.Command{}
	for len(boards) > 0 {
		l, err := call[wire.List[s4t.Command]](ctx, a, wire.MethodCommandList, wire.CommandList{Caller: callerOf(ctx), Boards: boards[:min(len(boards), wire.MaxPage)]})
		if err != nil {
			return nil, err
		}
		for _, cmd := range l.Items {
			all[cmd.BoardID] = append(all[cmd.BoardID], cmd)
		}
		next := slices.Index(boards, s4t.BoardID(l.Next))
		if next <= 0 {
			next = min(len(boards), wire.MaxPage)
		}
		boards = boards[next:]
	}
	return all, nil
}

func (a *API) describeThing(ctx context.Context, ref string) (*description, error) {
	l, err := call[wire.PinBoards](ctx, a, wire.MethodPinAll, wire.PinAll{Caller: callerOf(ctx), Boards: []string{ref}})
	if err != nil {
		return nil, err
	}
	if len(l.Items) != 1 {
		return nil, a.answer(ctx, "td.show", s4t.Errorf(s4t.NotFound, "describe a board", "", "board %q does not exist", ref))
	}
	commands, err := a.commandsOf(ctx, string(l.Items[0].ID))
	if err != nil && s4t.KindOf(err) != s4t.Forbidden { // a lease may give the pins alone
		return nil, a.answer(ctx, "td.show", err)
	}
	text, err := json.Marshal(a.describe(l.Items[0], commands))
	if err != nil {
		return nil, a.answer(ctx, "td.show", err)
	}
	return &description{td.MediaType, text}, nil
}

func (a *API) listThings(ctx context.Context, in *thingFilter) (*descriptions, error) {
	keep, err := in.filter()
	if err != nil {
		return nil, a.answer(ctx, "td.list", err)
	}
	page := in.page()
	things := []td.Thing{}
	for reads := 1; ; reads++ {
		l, err := call[wire.PinBoards](ctx, a, wire.MethodPinAll, wire.PinAll{Caller: callerOf(ctx), Page: page})
		if err != nil {
			return nil, err
		}
		kept := slices.DeleteFunc(l.Items, func(b wire.PinBoard) bool { return !keep(b) })
		described, err := a.describeAll(ctx, kept)
		if err != nil {
			return nil, err
		}
		things = append(things, described...)
		if len(things) > 0 || l.Next == "" || reads >= maxDirectoryReads {
			text, err := json.Marshal(things)
			if err != nil {
				return nil, a.answer(ctx, "td.list", err)
			}
			return &descriptions{in.link(l.Next), l.EventID, "application/json", text}, nil
		}
		page.After = l.Next
	}
}

// filter is what a board has to meet.
func (in *thingFilter) filter() (func(wire.PinBoard) bool, error) {
	const op = "list Thing Descriptions"
	labels, possible, err := parseLabels(op, in.Label)
	if err != nil {
		return nil, err
	}
	var near *s4t.Location
	if in.Near != "" {
		lat, lon, ok := strings.Cut(in.Near, ",")
		l := s4t.Location{}
		var err1, err2 error
		l.Latitude, err1 = strconv.ParseFloat(strings.TrimSpace(lat), 64)
		l.Longitude, err2 = strconv.ParseFloat(strings.TrimSpace(lon), 64)
		if !ok || err1 != nil || err2 != nil || l.Validate() != nil {
			return nil, s4t.Errorf(s4t.Invalid, op, "write it as LAT,LON in degrees", "near %q is no place", in.Near)
		}
		near = &l
	}
	if in.Within != 0 && in.Near == "" {
		return nil, s4t.Errorf(s4t.Invalid, op, "give near=LAT,LON, too", "within %v km of what?", in.Within)
	}
	within := in.Within
	if within == 0 {
		within = 10
	}
	q := strings.ToLower(in.Q)
	return func(b wire.PinBoard) bool {
		for k, v := range labels {
			if have, ok := b.Labels[k]; !ok || have != v {
				return false
			}
		}
		return possible && (in.Type == "" || b.Type == in.Type) &&
			(near == nil || b.Location != nil && near.Kilometres(*b.Location) <= within) &&
			(q == "" || mentions(b, q))
	}, nil
}

// mentions reports whether a board has text, in lower case, in what it is called.
func mentions(b wire.PinBoard, text string) bool {
	has := func(s string) bool { return strings.Contains(strings.ToLower(s), text) }
	if has(b.Name) || has(b.Type) {
		return true
	}
	for k, v := range b.Labels {
		if has(k + "=" + v) {
			return true
		}
	}
	for _, p := range b.Pins {
		if has(p.Name) || has(p.Label) {
			return true
		}
	}
	return false
}
