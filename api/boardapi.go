package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// openAPIType is the media type of an OpenAPI document.
const openAPIType = "application/vnd.oai.openapi+json;version=3.1"

// boardAPIRoutes are the documents of boards' own commands.
func (a *API) boardAPIRoutes() {
	document := &huma.Schema{Type: huma.TypeObject, Description: "OpenAPI 3.1", AdditionalProperties: true}
	register(a, guarded, "GET /v1/boards/{board}/openapi.json", "board.openapi", "Describe the commands of a board as an API",
		"An OpenAPI 3.1 document with a typed operation for each command that the board has now. Its ETag changes when the commands do.",
		func(ctx context.Context, in *struct {
			Board string `path:"board" maxLength:"63" doc:"Name or id"`
			Match string `header:"If-None-Match" maxLength:"255" doc:"304 where the document is still the one with this ETag"`
		}) (*boardDocument, error) {
			return a.describeCommands(ctx, in.Board, in.Match)
		}, func(op *huma.Operation) {
			op.Responses = map[string]*huma.Response{"200": {Description: "OK", Content: map[string]*huma.MediaType{openAPIType: {Schema: document}}}}
		})
}

// boardDocument is the document of a board.
type boardDocument struct {
	Status      int
	ETag        string `header:"ETag"`
	ContentType string `header:"Content-Type"`
	Body        []byte
}

// commandsOf are all commands of a board.
func (a *API) commandsOf(ctx context.Context, ref string) ([]s4t.Command, error) {
	req := wire.CommandList{Caller: callerOf(ctx), Board: ref}
	var all []s4t.Command
	for {
		var l wire.List[s4t.Command]
		if err := a.ask(ctx, wire.MethodCommandList, req, &l); err != nil {
			return nil, err
		}
		all = append(all, l.Items...)
		if l.Next == "" || l.Next == req.Page.After || len(all) > s4t.MaxCommands {
			return all, nil
		}
		req.Page.After = l.Next
	}
}

func (a *API) describeCommands(ctx context.Context, ref, match string) (*boardDocument, error) {
	board, err := call[s4t.Board](ctx, a, wire.MethodBoardGet, wire.RefRequest{Caller: callerOf(ctx), Ref: ref})
	if err != nil {
		return nil, err
	}
	commands, err := a.commandsOf(ctx, ref)
	if err != nil {
		return nil, a.answer(ctx, "board.openapi", err)
	}
	text, err := json.MarshalIndent(a.boardAPI(board, commands), "", "  ")
	if err != nil {
		return nil, a.answer(ctx, "board.openapi", err)
	}
	sum := sha256.Sum256(text)
	out := &boardDocument{Status: http.StatusOK, ETag: `"` + hex.EncodeToString(sum[:16]) + `"`, ContentType: openAPIType, Body: text}
	if match == "*" || strings.Contains(match, out.ETag) {
		out.Status, out.Body = http.StatusNotModified, nil
	}
	return out, nil
}

// object is one of JSON, in a document.
type object = map[string]any

// ref refers to a component.
func ref(section, name string) object { return object{"$ref": "#/components/" + section + "/" + name} }

// ofSchema is the content of a body.
func ofSchema(contentType string, schema any) object {
	return object{contentType: object{"schema": schema}}
}

// boardAPI is the document of a board's commands.
func (a *API) boardAPI(b s4t.Board, commands []s4t.Command) object {
	c := &components{schemas: object{}}
	for _, name := range []string{"Operation", "Problem"} {
		c.borrow(a.ownSchemas(), name)
	}
	paths := object{}
	for _, cmd := range commands {
		paths["/commands/"+cmd.Name] = object{"post": a.commandAPI(c, cmd)}
	}
	text := object{"type": "string"}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": b.Name, "version": a.version,
			"description": "The commands of the board " + b.Name + ", run through Stack4Things.",
		},
		"servers":  []any{object{"url": strings.TrimRight(a.url, "/") + "/v1/boards/" + string(b.ID)}},
		"security": []any{object{"bearer": []any{}}, object{"x-auth-token": []any{}}},
		"paths":    paths,
		"components": object{
			"schemas": c.schemas,
			"securitySchemes": object{
				"bearer":       object{"type": "http", "scheme": "bearer"},
				"x-auth-token": object{"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
			},
			"parameters": object{
				"IdempotencyKey": object{"name": "Idempotency-Key", "in": "header", "schema": object{"type": "string", "maxLength": s4t.MaxKey}, "description": "The same request with the same key is run once"},
				"Prefer":         object{"name": "Prefer", "in": "header", "schema": text, "description": "respond-async: 202 and an operation at once"},
				"Deadline":       object{"name": "deadline", "in": "query", "schema": text, "description": "The command is ended after it", "example": "30s"},
				"Queue":          object{"name": "queue", "in": "query", "schema": text, "description": "Where the board is away, wait so long for it", "example": "1h"},
			},
			"headers": object{
				"Operation": object{"schema": text, "description": "Id of the operation"},
				"Location":  object{"schema": text, "description": "Where the operation is found"},
			},
			"responses": object{
				"Accepted": object{
					"description": "It has not ended: see the operation", "content": ofSchema("application/json", ref("schemas", "Operation")),
					"headers": object{apiclient.OperationHeader: ref("headers", "Operation"), "Location": ref("headers", "Location")},
				},
				"Problem": object{"description": "It was not done; kind says why", "content": ofSchema("application/problem+json", ref("schemas", "Problem"))},
			},
		},
	}
}

// commandAPI is the operation of one command.
func (a *API) commandAPI(c *components, cmd s4t.Command) object {
	name := c.name(cmd.Name)
	ok := ofSchema("application/json", object{})
	if len(cmd.Result) > 0 {
		ok = ofSchema("application/json", c.add(name+"Result", cmd.Result))
	}
	if cmd.Stream {
		ok["text/event-stream"] = object{"schema": object{"type": "string"}}
	}
	var params any = object{"type": "object", "maxProperties": 0}
	needed := false
	if len(cmd.Params) > 0 {
		params = c.add(name+"Params", cmd.Params)
		var s struct{ Required []string }
		needed = json.Unmarshal(cmd.Params, &s) == nil && len(s.Required) > 0
	}
	description := cmd.Description
	from := "A command of the board's owner"
	if cmd.Plugin != "" {
		from = "A command of the plugin " + cmd.Plugin
	}
	description = strings.TrimSpace(description + "\n\n" + from + ". It may take " + cmd.Timeout + ".")
	responses := object{
		"200": object{
			"description": "What it answered", "content": ok,
			"headers": object{apiclient.OperationHeader: ref("headers", "Operation"), "Location": ref("headers", "Location")},
		},
		"202":     ref("responses", "Accepted"),
		"default": ref("responses", "Problem"),
	}
	for _, status := range []string{"400", "401", "403", "404", "409", commandFailed, "429", "503", "504"} {
		responses[status] = ref("responses", "Problem")
	}
	return object{
		"operationId": cmd.Name, "summary": summary(cmd), "description": description, "tags": []any{"commands"},
		"parameters":  []any{ref("parameters", "IdempotencyKey"), ref("parameters", "Prefer"), ref("parameters", "Deadline"), ref("parameters", "Queue")},
		"requestBody": object{"required": needed, "content": ofSchema("application/json", params)},
		"responses":   responses,
	}
}

// summary is what a command does in a few words.
func summary(cmd s4t.Command) string {
	line, _, _ := strings.Cut(cmd.Description, "\n")
	if line == "" {
		return cmd.Name
	}
	return s4t.Line(line, 120)
}

// ownSchemas are the schemas of the API's own document, read when they are wanted
// first.
type ownSchemas struct {
	sync.Once
	all object
}

func (a *API) ownSchemas() object {
	a.schemas.Do(func() {
		var d struct{ Components struct{ Schemas object } }
		if b, err := json.Marshal(a.huma.OpenAPI()); err == nil && json.Unmarshal(b, &d) == nil {
			a.schemas.all = d.Components.Schemas
		}
	})
	return a.schemas.all
}
