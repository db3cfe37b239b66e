package api

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// commandFailed is the status of an answer about a command that failed.
var commandFailed = strconv.Itoa(wire.HTTPStatus(s4t.Failed))

// commandParams are the parameters of a command as they were sent: whatever the
// command's own schema allows.
type commandParams json.RawMessage

// UnmarshalJSON keeps the text; the schema has refused what is no object.
func (p *commandParams) UnmarshalJSON(b []byte) error {
	*p = append((*p)[:0], b...)
	return nil
}

// Schema says so in the document.
func (commandParams) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeObject, Description: "The parameters, as the command's own schema has them", AdditionalProperties: true}
}

// CommandRef is the input of a route about one command. It is exported for huma,
// as [PageQuery] is.
type CommandRef struct {
	Board   string `path:"board" maxLength:"63" doc:"Name or id"`
	Command string `path:"command" maxLength:"63" doc:"Name of the command"`
}

// CommandQuery is what every route that runs a command takes. It is exported for
// huma, as [PageQuery] is.
type CommandQuery struct {
	Key      string `header:"Idempotency-Key" maxLength:"255" doc:"The same request with the same key is run once: it is answered with what became of it. Remembered for a day after it has ended"`
	Prefer   string `header:"Prefer" maxLength:"255" doc:"respond-async: 202 and an operation at once; wait=N: after N seconds at most (RFC 7240)"`
	Deadline string `query:"deadline" maxLength:"32" example:"30s" doc:"The command is ended after it; at most, and by default, the command's own timeout"`
	Queue    string `query:"queue" maxLength:"32" example:"1h" doc:"Where the board is away, wait so long for it: 202 and an operation. It begins in that time or never"`

	stream bool
}

// Resolve keeps what kind of answer is wanted.
func (in *CommandQuery) Resolve(ctx huma.Context) []error {
	in.stream = strings.Contains(ctx.Header("Accept"), "text/event-stream")
	return nil
}

// request is what of it goes to the conductor.
func (in *CommandQuery) request(ctx context.Context, command string, params *commandParams) (req wire.CommandRun, err error) {
	req = wire.CommandRun{Caller: callerOf(ctx), Command: command, Params: json.RawMessage("{}"), Key: in.Key}
	if params != nil {
		req.Params = json.RawMessage(*params)
	}
	if in.Deadline != "" {
		if req.Deadline, err = duration("deadline", in.Deadline, time.Millisecond, s4t.MaxCommandTimeout); err != nil {
			return req, err
		}
	}
	if in.Queue != "" {
		req.Queue, err = duration("queue", in.Queue, time.Second, s4t.MaxCommandQueue)
	}
	return req, err
}

// wait is how long the answer may take, and which preference of the client that
// is; none by default.
func (in *CommandQuery) wait() (wait time.Duration, applied string) {
	wait = maxWait
	for _, p := range strings.Split(in.Prefer, ",") {
		name, value, _ := strings.Cut(strings.ToLower(strings.TrimSpace(p)), "=")
		switch name {
		case "respond-async":
			return 0, "respond-async"
		case "wait":
			if n, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 16); err == nil && time.Duration(n)*time.Second < maxWait {
				wait, applied = time.Duration(n)*time.Second, "wait="+strconv.FormatUint(n, 10)
			}
		}
	}
	return wait, applied
}

// commandAsk is the input of the route that runs a command.
type commandAsk struct {
	CommandRef
	CommandQuery
	Body *commandParams // none: {}
}

// commandRoutes are the commands of boards.
func (a *API) commandRoutes() {
	register(a, guarded, "GET /v1/commands", "command.list", "List commands", "Of all boards.",
		func(ctx context.Context, in *PageQuery) (*listed[s4t.Command], error) {
			return a.listCommands(ctx, in, "")
		})
	register(a, guarded, "GET /v1/boards/{board}/commands", "board.commands", "List the commands of a board", "As the board told of them last: those of its plugins that run, and those of its owner.",
		func(ctx context.Context, in *struct {
			PageQuery
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
		}) (*listed[s4t.Command], error) {
			return a.listCommands(ctx, &in.PageQuery, in.Board)
		})
	register(a, guarded, "GET /v1/boards/{board}/commands/{command}", "command.show", "Show a command", "With the JSON Schemas of its parameters and its result.",
		func(ctx context.Context, in *CommandRef) (*answered[s4t.Command], error) {
			out, err := get[s4t.Command](ctx, a, wire.MethodCommandGet, wire.CommandGet{Caller: callerOf(ctx), Board: in.Board, Command: in.Command})
			if err == nil {
				out.Body = withSchemas(out.Body)
			}
			return out, err
		})
	register(a, guarded, "POST /v1/boards/{board}/commands/{command}", "command.run", "Run a command",
		"The body is the parameters. The answer is the bare result; the run goes on when the client does not wait for it. One that takes longer than a minute, or was queued, is answered with its operation. "+
			"With Accept: text/event-stream: server-sent events output (what the command says), state (the operation, when it has changed), and as the last one result (the operation).",
		a.runCommand, a.ran(&huma.Schema{Description: "The result, as the command's own schema has it"}, true))
	register(a, guarded, "POST /v1/operations/{id}/cancel", "command.cancel", "Cancel a command",
		"One that is queued never begins; one that runs is told to end, and made to after 5 s. 409 where it has ended.",
		func(ctx context.Context, in *struct {
			ID string `path:"id" maxLength:"63" doc:"Id"`
		}) (*answered[s4t.Operation], error) {
			return get[s4t.Operation](ctx, a, wire.MethodCommandCancel, wire.RefRequest{Caller: callerOf(ctx), Ref: in.ID})
		}, func(op *huma.Operation) { op.DefaultStatus = http.StatusOK })
}

func (a *API) listCommands(ctx context.Context, in *PageQuery, board string) (*listed[s4t.Command], error) {
	out, err := list[s4t.Command](ctx, a, in, wire.MethodCommandList, wire.CommandList{Caller: callerOf(ctx), Board: board, Page: in.page()})
	if err == nil {
		for i, cmd := range out.Body.list {
			out.Body.list[i] = withSchemas(cmd)
		}
	}
	return out, err
}

// Schemas of a command that has none.
var (
	noParams  = json.RawMessage(`{"type":"object","maxProperties":0}`)
	anyResult = json.RawMessage(`{}`)
)

// withSchemas is a command as it is shown: it has both schemas.
func withSchemas(c s4t.Command) s4t.Command {
	if len(c.Params) == 0 {
		c.Params = noParams
	}
	if len(c.Result) == 0 {
		c.Result = anyResult
	}
	return c
}

// ran bounds the body of a route that runs a command, and documents its answers.
func (a *API) ran(result *huma.Schema, stream bool) func(*huma.Operation) {
	return func(op *huma.Operation) {
		op.MaxBodyBytes = s4t.MaxCommandParams
		schemas := a.huma.OpenAPI().Components.Schemas
		operation := map[string]*huma.MediaType{"application/json": {Schema: schemas.Schema(typeOf[s4t.Operation](), true, "")}}
		text := &huma.Schema{Type: huma.TypeString}
		headers := map[string]*huma.Param{
			"Location":                {Schema: text, Description: "Where the operation is found"},
			apiclient.OperationHeader: {Schema: text, Description: "Its id"},
		}
		if !stream {
			headers = nil
		}
		op.Responses = map[string]*huma.Response{
			"200":         {Description: "It succeeded", Content: map[string]*huma.MediaType{"application/json": {Schema: result}}, Headers: headers},
			"202":         {Description: "It has not ended", Content: operation, Headers: headers},
			commandFailed: {Description: "The command itself failed: failed"},
		}
		if stream {
			op.Responses["200"].Content["text/event-stream"] = &huma.MediaType{Schema: text}
		} else {
			op.Responses["202"].Content = op.Responses["200"].Content
			delete(op.Responses, commandFailed)
		}
	}
}

func (a *API) runCommand(ctx context.Context, in *commandAsk) (*huma.StreamResponse, error) {
	req, err := in.request(ctx, in.Command, in.Body)
	if err != nil {
		return nil, a.answer(ctx, "command.run", err)
	}
	req.Board = in.Board
	if in.stream {
		return a.streamRun(ctx, req)
	}
	wait, applied := in.wait()
	req.Async = wait == 0
	op, err := call[s4t.Operation](ctx, a, wire.MethodCommandRun, req)
	if err != nil {
		return nil, err
	}
	if !op.Status.Ended() && op.Status != s4t.OperationQueued && wait > wire.RunWait {
		out, err := a.follow(ctx, wire.OperationGet{Caller: callerOf(ctx), ID: op.ID}, wait-wire.RunWait, func(s4t.Operation) bool { return false })
		if err == nil {
			op = out.Body
		} // else it runs, and that is said
	}
	if err := apiclient.Failed(op); err != nil {
		return nil, runProblem(op, err)
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		hctx.SetHeader("Content-Type", "application/json")
		hctx.SetHeader("Location", "/v1/operations/"+string(op.ID))
		hctx.SetHeader(apiclient.OperationHeader, string(op.ID))
		if applied != "" {
			hctx.SetHeader("Preference-Applied", applied)
		}
		if op.Status != s4t.OperationSucceeded {
			hctx.SetStatus(http.StatusAccepted)
			json.NewEncoder(hctx.BodyWriter()).Encode(op)
			return
		}
		hctx.SetStatus(http.StatusOK)
		hctx.BodyWriter().Write(append(resultOf(op), '\n'))
	}}, nil
}

// resultOf is the result of a command that succeeded.
func resultOf(op s4t.Operation) json.RawMessage {
	if op.Run == nil || len(op.Run.Result) == 0 {
		return json.RawMessage("null")
	}
	return op.Run.Result
}

// runProblem says it with the operation.
func runProblem(op s4t.Operation, err error) *problem {
	p := problemOf(err)
	p.Operation = op.ID
	return p
}
