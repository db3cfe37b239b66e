package api

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// PinRef is the input of a route about one pin. It is exported for huma, as
// [PageQuery] is.
type PinRef struct {
	Board string `path:"board" maxLength:"63" doc:"Name or id"`
	Pin   string `path:"pin" maxLength:"191" doc:"DRIVER/DEVICE/PIN, as three elements of the path or as one with %2F; or a label"`
}

// pinFilter is the input of the list of a board's pins.
type pinFilter struct {
	PageQuery
	Board string   `path:"board" maxLength:"63" doc:"Name or id"`
	Pin   []string `query:"pin,explode" maxItems:"256" doc:"A name or a label; repeated: only these, and they are read now"`
}

// pinList is a page of the list of a board's pins.
type pinList struct {
	Link     string `header:"Link" doc:"<URL>; rel=\"next\": the path of the next page; absent on the last"`
	EventID  int64  `header:"X-Event-Id" doc:"Id of the newest event when this was read"`
	Reported string `header:"X-Reported-At" doc:"When the board reported this, where it is away and did not answer itself (RFC 3339); values are absent then"`
	Body     []s4t.Pin
}

// pinWritten answers a write: the pin, or with `for` the operation.
type pinWritten struct {
	Status   int
	Location string `header:"Location" doc:"Where the operation is found, of a value that is written for a time"`
	Body     any
}

// pinWrite is a body that may be a bare value, too.
type pinWrite struct{ apiclient.PinWrite }

// UnmarshalJSON reads either form; the schema has refused all others.
func (w *pinWrite) UnmarshalJSON(b []byte) error {
	switch text := strings.TrimSpace(string(b)); {
	case strings.HasPrefix(text, "{"):
		return json.Unmarshal(b, &w.PinWrite)
	case text == "true":
		w.Value = 1
		return nil
	case text == "false":
		return nil
	}
	return json.Unmarshal(b, &w.Value)
}

// Schema says so in the document.
func (pinWrite) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{r.Schema(typeOf[apiclient.PinWrite](), true, ""), {Type: huma.TypeNumber}, {Type: huma.TypeBoolean}}}
}

// pinSetting is what a key of a pin is set to: text, or a number where it is one.
type pinSetting string

// UnmarshalJSON reads either form; the schema has refused all others.
func (s *pinSetting) UnmarshalJSON(b []byte) error {
	if !strings.HasPrefix(string(b), `"`) {
		*s = pinSetting(b)
		return nil
	}
	return json.Unmarshal(b, (*string)(s))
}

// Schema says so in the document.
func (pinSetting) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{{Type: huma.TypeString}, {Type: huma.TypeNumber}}}
}

// pinRoutes are the pins of boards.
func (a *API) pinRoutes() {
	written := func(schema func(huma.Registry) *huma.Schema) func(*huma.Operation) {
		return func(op *huma.Operation) {
			r := a.huma.OpenAPI().Components.Schemas
			op.Responses = map[string]*huma.Response{
				"200": {Description: "As it is after it", Content: map[string]*huma.MediaType{"application/json": {Schema: schema(r)}}},
				"202": {Description: "With for: the operation, which ends when the value goes back", Content: map[string]*huma.MediaType{"application/json": {Schema: r.Schema(typeOf[s4t.Operation](), true, "")}}},
			}
		}
	}
	onePin := written(func(r huma.Registry) *huma.Schema { return r.Schema(typeOf[s4t.Pin](), true, "") })
	manyPins := written(func(r huma.Registry) *huma.Schema { return r.Schema(typeOf[[]s4t.Pin](), true, "") })

	register(a, guarded, "GET /v1/boards/{board}/pins", "pin.list", "List the pins of a board", "With their newest values. Of a board that is away: what it reported last, without values, and the header X-Reported-At.", a.listPins)
	register(a, guarded, "PUT /v1/boards/{board}/pins", "pin.write-many", "Write several pins", "All, or, where one is refused, none.", a.writePins, manyPins)
	register(a, guarded, "GET /v1/boards/{board}/pins/{pin}", "pin.show", "Show a pin", "A pin that is not sampled is read now.", a.showPin)
	register(a, guarded, "PUT /v1/boards/{board}/pins/{pin}", "pin.write", "Write a pin", "The answer comes when it is done. The body is an object, or the bare value.", a.writePin, onePin)
	register(a, guarded, "GET /v1/boards/{board}/pins/{pin}/sample", "pin.sample", "Read a pin, with time and number", "The newest sample; a pin that is not sampled is read now.",
		func(ctx context.Context, in *PinRef) (*answered[s4t.Sample], error) {
			s, err := a.readPin(ctx, *in)
			if err != nil {
				return nil, err
			}
			return &answered[s4t.Sample]{s}, nil
		})
	register(a, guarded, "GET /v1/boards/{board}/pins/{pin}/value", "pin.value", "Read a pin", "The bare value. With wait: a long poll, which answers at the next sample, and when the time is over with the newest; HEAD answers at once.", a.pinValue)
	register(a, guarded, "PUT /v1/boards/{board}/pins/{pin}/value", "pin.put-value", "Write a pin's value", "The same as a PUT of the pin.", a.writePin, onePin)
	register(a, guarded, "PATCH /v1/boards/{board}/pins/{pin}", "pin.set", "Change settings of a pin", "What is absent stays as it is.",
		func(ctx context.Context, in *struct {
			PinRef
			Body map[string]pinSetting `minProperties:"1" maxProperties:"16" doc:"By key: direction, edge, bias, debounce, period, threshold, deadband, scale, label, fallback"`
		}) (*answered[s4t.Pin], error) {
			settings := make(map[string]string, len(in.Body))
			for key, value := range in.Body {
				settings[key] = string(value)
			}
			return a.changePin(ctx, in.PinRef, wire.PinAsk{Do: wire.PinSet, Settings: settings})
		})
	register(a, guarded, "POST /v1/boards/{board}/pins/{pin}/claim", "pin.claim", "Claim a pin", "Others then write it with a higher priority only. The lease in the answer has the fence and the end.",
		func(ctx context.Context, in *struct {
			PinRef
			Body apiclient.PinHold
		}) (*answered[s4t.Pin], error) {
			term, err := actuation(in.Body.For)
			if err != nil {
				return nil, a.answer(ctx, "pin.claim", err)
			}
			return a.changePin(ctx, in.PinRef, wire.PinAsk{Do: wire.PinClaim, For: term, Priority: in.Body.Priority})
		})
	register(a, guarded, "DELETE /v1/boards/{board}/pins/{pin}/claim", "pin.release", "Release a pin", "Answers with the pin, which is back at its fallback.",
		func(ctx context.Context, in *struct {
			PinRef
			Priority int `query:"priority" minimum:"0" maximum:"100" doc:"Release another's claim, which has a lower one"`
		}) (*answered[s4t.Pin], error) {
			return a.changePin(ctx, in.PinRef, wire.PinAsk{Do: wire.PinRelease, Priority: in.Priority})
		}, func(op *huma.Operation) { op.DefaultStatus = http.StatusOK })
	register(a, guarded, "GET /v1/boards/{board}/pins/{pin}/history", "pin.history", "The history of a pin", "What the board keeps: 24 h, or 10 MB of all its pins. Oldest first.", a.pinHistory)
}

// askPins asks a board of its pins.
func (a *API) askPins(ctx context.Context, board string, ask wire.PinAsk) (wire.PinAnswer, error) {
	return call[wire.PinAnswer](ctx, a, wire.MethodPinAsk, wire.PinRequest{Caller: callerOf(ctx), Board: board, Ask: ask})
}

// onePin is the pin of an answer about one.
func (a *API) onePin(ctx context.Context, ref PinRef, pins []s4t.Pin) (s4t.Pin, error) {
	if len(pins) == 0 {
		return s4t.Pin{}, a.answer(ctx, "pin.show", s4t.Errorf(s4t.NotFound, "find pin "+strconv.Quote(ref.Pin)+" of board "+strconv.Quote(ref.Board), "see `s4t pin list "+ref.Board+"`", "there is no such pin"))
	}
	return pins[0], nil
}

// readPins answers with pins as they are now: what is not sampled is read.
func (a *API) readPins(ctx context.Context, board string, names []string) ([]s4t.Pin, error) {
	type answer struct {
		wire.PinAnswer
		err error
	}
	read := make(chan answer, 1)
	go func() {
		got, err := a.askPins(ctx, board, wire.PinAsk{Do: wire.PinRead, Pins: names})
		read <- answer{got, err}
	}()
	got, err := a.askPins(ctx, board, wire.PinAsk{Do: wire.PinList, Pins: names})
	values := <-read
	switch {
	case err != nil:
		return nil, err
	case values.err != nil:
		return nil, values.err
	}
	newest := map[string]s4t.Sample{}
	for _, s := range values.Samples {
		newest[s.Pin] = s
	}
	for i := range got.Pins {
		if s, ok := newest[got.Pins[i].Name]; ok {
			got.Pins[i].Value, got.Pins[i].At = &s.Value, &s.At
		}
	}
	return got.Pins, nil
}

func (a *API) listPins(ctx context.Context, in *pinFilter) (*pinList, error) {
	out := &pinList{Body: []s4t.Pin{}, EventID: max(a.feed.last(), 0)}
	if len(in.Pin) > 0 {
		pins, err := a.readPins(ctx, in.Board, in.Pin)
		if err != nil {
			return nil, err
		}
		out.Body = append(out.Body, pins...)
		return out, nil
	}
	got, err := a.askPins(ctx, in.Board, wire.PinAsk{Do: wire.PinList})
	if err != nil {
		return nil, err
	}
	if got.ReportedAt != nil {
		out.Reported = got.ReportedAt.UTC().Format(time.RFC3339Nano)
	}
	slices.SortFunc(got.Pins, func(x, y s4t.Pin) int { return strings.Compare(x.Name, y.Name) })
	for i, p := range got.Pins {
		if p.Name <= in.After {
			continue
		}
		if in.Limit > 0 && len(out.Body) == in.Limit {
			out.Link = in.link(got.Pins[i-1].Name)
			break
		}
		out.Body = append(out.Body, p)
	}
	return out, nil
}

func (a *API) showPin(ctx context.Context, in *PinRef) (*answered[s4t.Pin], error) {
	pins, err := a.readPins(ctx, in.Board, []string{in.Pin})
	if err != nil {
		return nil, err
	}
	p, err := a.onePin(ctx, *in, pins)
	if err != nil {
		return nil, err
	}
	return &answered[s4t.Pin]{p}, nil
}

// actuation reads how long a value or a claim lasts; 0: it was not said.
func actuation(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	return duration("for", text, time.Millisecond, s4t.MaxActuation)
}

// order writes values, and answers with what one makes of the pins, or with the
// operation.
func (a *API) order(ctx context.Context, board string, w apiclient.PinsWrite, period string, body func([]s4t.Pin) (any, error)) (*pinWritten, error) {
	term, err := actuation(period)
	if err != nil {
		return nil, a.answer(ctx, "pin.write", err)
	}
	got, err := a.askPins(ctx, board, wire.PinAsk{Do: wire.PinWrite, Values: w.Values, For: term, Priority: w.Priority, Fence: w.Fence})
	if err != nil {
		return nil, err
	}
	if got.Operation != nil {
		return &pinWritten{http.StatusAccepted, "/v1/operations/" + string(got.Operation.ID), got.Operation}, nil
	}
	out, err := body(got.Pins)
	if err != nil {
		return nil, err
	}
	return &pinWritten{Status: http.StatusOK, Body: out}, nil
}

func (a *API) writePin(ctx context.Context, in *struct {
	PinRef
	Body pinWrite
}) (*pinWritten, error) {
	w := in.Body
	return a.order(ctx, in.Board, apiclient.PinsWrite{Values: map[string]float64{in.Pin: w.Value}, Priority: w.Priority, Fence: w.Fence}, w.For,
		func(pins []s4t.Pin) (any, error) { return a.onePin(ctx, in.PinRef, pins) })
}

func (a *API) writePins(ctx context.Context, in *struct {
	Board string `path:"board" maxLength:"63" doc:"Name or id"`
	Body  apiclient.PinsWrite
}) (*pinWritten, error) {
	return a.order(ctx, in.Board, in.Body, "", func(pins []s4t.Pin) (any, error) {
		if pins == nil {
			pins = []s4t.Pin{}
		}
		return pins, nil
	})
}

// changePin has something done to one pin, and answers with it.
func (a *API) changePin(ctx context.Context, ref PinRef, ask wire.PinAsk) (*answered[s4t.Pin], error) {
	ask.Pins = []string{ref.Pin}
	got, err := a.askPins(ctx, ref.Board, ask)
	if err != nil {
		return nil, err
	}
	p, err := a.onePin(ctx, ref, got.Pins)
	if err != nil {
		return nil, err
	}
	return &answered[s4t.Pin]{p}, nil
}

// historyAsk is the input of the history of a pin.
type historyAsk struct {
	PageQuery
	PinRef
	Since string `query:"since" maxLength:"64" example:"1h" doc:"A duration back from now, or a time (RFC 3339)"`
}

// pinHistory answers with a page of samples; its after is the seq of a sample.
func (a *API) pinHistory(ctx context.Context, in *historyAsk) (*listed[s4t.Sample], error) {
	ask := wire.PinAsk{Do: wire.PinHistory, Pins: []string{in.Pin}, Limit: min(max(in.Limit, 1), wire.MaxPage)}
	if in.Limit == 0 {
		ask.Limit = wire.MaxPage
	}
	var err error
	if ask.Since, err = sinceTime(in.Since); err != nil {
		return nil, a.answer(ctx, "pin.history", err)
	}
	if in.After != "" {
		seq, err := strconv.ParseUint(in.After, 10, 64)
		if err != nil {
			return nil, a.answer(ctx, "pin.history", s4t.Errorf(s4t.Invalid, "list the history of a pin", "give the seq of a sample", "%q is not one", s4t.Line(in.After, 64)))
		}
		ask.After = map[string]uint64{in.Pin: seq}
	}
	got, err := a.askPins(ctx, in.Board, ask)
	if err != nil {
		return nil, err
	}
	out := &listed[s4t.Sample]{EventID: max(a.feed.last(), 0), Body: items[s4t.Sample]{list: got.Samples}}
	if n := len(got.Samples); got.More && n > 0 {
		out.Link = in.link(strconv.FormatUint(got.Samples[n-1].Seq, 10))
	}
	return out, nil
}

// sinceTime reads a duration back from now, or a time; "" is none.
func sinceTime(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return time.Time{}, s4t.Errorf(s4t.Invalid, "check the request", "write it as 90m, or as 2006-01-02T15:04:05Z", "since %q is neither a duration nor a time", s4t.Line(text, 64))
	}
	return time.Now().Add(-d), nil
}
