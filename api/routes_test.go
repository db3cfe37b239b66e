package api_test

import (
	"encoding/json"
	"net/http"
	"sort"
	"strings"
	"testing"
)

// route of the OpenAPI document.
type route struct {
	method, path string
	guarded      bool
	body         string // a valid one
}

type openAPI struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Security    []map[string][]string
		RequestBody *struct {
			Content map[string]struct{ Schema schema }
		}
		Responses map[string]struct {
			Content map[string]json.RawMessage
		}
	}
	Components struct{ Schemas map[string]schema }
}

type schema struct {
	Ref        string `json:"$ref"`
	Type       any
	Enum       []any
	Properties map[string]schema
	Required   []string
	Items      *schema

	OneOf                []schema
	MinProperties        int
	AdditionalProperties json.RawMessage // of a map: the schema of its values
}

// example makes a value that the schema allows, with what is required only.
func (d *openAPI) example(s schema) any {
	if s.Ref != "" {
		return d.example(d.Components.Schemas[s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]])
	}
	if len(s.Enum) > 0 {
		return s.Enum[0]
	}
	if len(s.OneOf) > 0 {
		return d.example(s.OneOf[0])
	}
	t, _ := s.Type.(string)
	if l, ok := s.Type.([]any); ok {
		t = l[0].(string)
	}
	switch t {
	case "object":
		m := map[string]any{}
		for _, r := range s.Required {
			m[r] = d.example(s.Properties[r])
		}
		var values schema
		if s.MinProperties > 0 && json.Unmarshal(s.AdditionalProperties, &values) == nil {
			m["key"] = d.example(values)
		}
		return m
	case "array":
		return []any{d.example(*s.Items)}
	case "integer", "number":
		return 22
	case "boolean":
		return true
	}
	return "kitchen"
}

func document(t *testing.T, r *rig) (openAPI, []route) {
	t.Helper()
	_, text := r.do(t, "GET", "/v1/openapi.json", "", "")
	var d openAPI
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	var l []route
	for path, methods := range d.Paths {
		for method, op := range methods {
			rt := route{method: strings.ToUpper(method), guarded: len(op.Security) > 0}
			rt.path = path
			for strings.Contains(rt.path, "{") {
				i, j := strings.IndexByte(rt.path, '{'), strings.IndexByte(rt.path, '}')
				rt.path = rt.path[:i] + "marker-user" + rt.path[j+1:]
			}
			// A token is found by its id.
			rt.path = strings.Replace(rt.path, "/v1/tokens/marker-user", "/v1/tokens/x", 1)
			if rt.path == "/v1/commands/marker-user" { // it names a command, and boards beside it
				rt.path += "?board=marker-user"
			}
			// A bundle by its digest.
			rt.path = strings.Replace(rt.path, "/v1/bundles/marker-user", "/v1/bundles/"+strings.Repeat("a", 64), 1)
			if op.RequestBody != nil {
				b, err := json.Marshal(d.example(op.RequestBody.Content["application/json"].Schema))
				if err != nil {
					t.Fatal(err)
				}
				rt.body = string(b)
			}
			l = append(l, rt)
		}
	}
	sort.Slice(l, func(i, j int) bool { return l[i].path+l[i].method < l[j].path+l[j].method })
	return d, l
}

// Routes that a reader may send although they are no GET: they are about the
// caller's own tokens, or only look.
var readersToo = map[string]bool{"POST /v1/tokens": true, "DELETE /v1/tokens/x": true, "DELETE /v1/session": true, "POST /v1/session/code": true,
	"POST /v1/search/boards": true} // it changes nothing

// strangersToo are the routes that need no token.
var strangersToo = map[string]bool{"POST /v1/login": true, "POST /v1/session": true, "GET /v1/version": true, "GET /v1/trust": true,
	"GET /v1/boards/marker-user/calendar.ics": true, "GET /v1/leases.ics": true} // their addresses have tokens of their own

func TestNoRouteGivesAnythingToTheWrongCaller(t *testing.T) {
	r := newRig(t)
	_, routes := document(t, r)
	if len(routes) < 35 {
		t.Fatalf("only %d routes", len(routes))
	}
	guarded := 0
	for _, rt := range routes {
		name := rt.method + " " + rt.path
		if !rt.guarded {
			if !strangersToo[name] {
				t.Errorf("%s needs no token", name)
			}
			continue
		}
		guarded++
		for _, token := range []string{"", "bad-token", strings.Repeat("x", 10000)} {
			before := r.state()
			res, body := r.do(t, rt.method, rt.path, token, rt.body)
			if res.StatusCode != http.StatusUnauthorized || res.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s with token %.12q: status %d", name, token, res.StatusCode)
			}
			if p := problem(t, body); p.Kind != "unauthenticated" {
				t.Errorf("%s with token %.12q: %+v", name, token, p)
			}
			if after := r.state(); after != before {
				t.Errorf("%s with token %.12q reached the conductor: %v", name, token, after)
			}
		}

		before := r.state().changes
		res, body := r.do(t, rt.method, rt.path, "foreign-token", rt.body)
		if strings.Contains(body, "marker") && !strings.Contains(res.Header.Get("Content-Type"), "problem") {
			t.Errorf("%s shows a foreign project: %s", name, body)
		}
		if rt.method != "GET" && !readersToo[name] && res.StatusCode != http.StatusNotFound {
			t.Errorf("%s by a foreign project: status %d %s", name, res.StatusCode, body)
		}
		res, body = r.do(t, rt.method, rt.path, "reader-secret", rt.body)
		switch {
		case rt.method == "GET" || readersToo[name]:
			if res.StatusCode >= 400 {
				t.Errorf("%s by a reader: status %d %s", name, res.StatusCode, body)
			}
		case res.StatusCode != http.StatusForbidden:
			t.Errorf("%s by a reader: status %d %s", name, res.StatusCode, body)
		}
		if r.state().changes != before {
			t.Errorf("%s changed something", name)
		}

		// The same request by a member is allowed, so that it was the caller
		// that was refused.
		r.about() // forget what was asked before
		if res, body = r.do(t, rt.method, rt.path, "member-secret", rt.body); res.StatusCode >= 300 {
			t.Errorf("%s by a member: status %d %s", name, res.StatusCode, body)
		}
		if !strings.Contains(rt.path, "marker") || strings.HasPrefix(rt.path, "/v1/users") && rt.method == "GET" {
			continue // it names no object, or it is found in a list
		}
		// A stream, and a description, ask about the board that was found by that name.
		if got := r.about(); got != "marker-user" && !((strings.HasSuffix(rt.path, "/stream") || strings.Contains(rt.path, "/td")) && got == "b1") {
			t.Errorf("%s asked the conductor about %q", name, got)
		}
	}
	if guarded != len(routes)-len(strangersToo) {
		t.Errorf("%d of %d routes need a token", guarded, len(routes))
	}
}

type conductorState struct{ calls, changes int }

// about is the object of the last call.
func (f *fakeConductor) about() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	defer func() { f.ref = "" }()
	return f.ref
}

func (f *fakeConductor) state() conductorState {
	f.mu.Lock()
	defer f.mu.Unlock()
	return conductorState{len(f.calls), f.changes}
}

func TestOpenAPIDocumentsOurErrorsAndNoOthers(t *testing.T) {
	r := newRig(t)
	d, _ := document(t, r)
	if d.OpenAPI != "3.1.0" {
		t.Errorf("OpenAPI %q", d.OpenAPI)
	}
	for path, methods := range d.Paths {
		for method, op := range methods {
			for _, status := range []string{"400", "401", "403", "404", "409", "429", "500", "503", "504"} {
				if _, ok := op.Responses[status].Content["application/problem+json"]; !ok {
					t.Errorf("%s %s does not document %s", method, path, status)
				}
			}
			if _, ok := op.Responses["422"]; ok {
				t.Errorf("%s %s documents 422", method, path)
			}
		}
	}
	for _, name := range []string{"ErrorModel", "ErrorDetail", "Caller"} {
		if _, ok := d.Components.Schemas[name]; ok {
			t.Errorf("the document has a schema %s", name)
		}
	}
}

func TestDocsPageIsWholeAndSelfContained(t *testing.T) {
	r := newRig(t)
	res, page := r.do(t, "GET", "/v1/docs", "", "")
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		t.Fatal(res.Status)
	}
	for _, want := range []string{"/v1/bridges/{bridge}/boards/remove", "Needs no token", "type-Problem", "array of Board", "</html>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, never := range []string{"<script", "http://", "https://", "ZgotmplZ"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %q", never)
		}
	}
	if res.Header.Get("Content-Security-Policy") == "" || res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("headers %v", res.Header)
	}
}
