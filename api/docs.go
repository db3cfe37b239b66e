package api

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

//go:embed docs.html
var docsPage string

// documentRoutes serve the OpenAPI document and a page to read it on. Each
// is made when it is first asked for, once: the routes do not change.
func (a *API) documentRoutes() {
	serve := func(contentType string, text func() ([]byte, error)) http.HandlerFunc {
		text = sync.OnceValues(text)
		return func(w http.ResponseWriter, r *http.Request) {
			b, err := text()
			if err != nil {
				a.log.ErrorContext(r.Context(), "the API's document cannot be shown", "err", err)
				http.Error(w, "internal error", http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", contentType)
			w.Write(b)
		}
	}
	a.mux.HandleFunc("GET /v1/openapi.json", serve(openAPIType, func() ([]byte, error) { return json.MarshalIndent(a.huma.OpenAPI(), "", "  ") }))
	a.mux.HandleFunc("GET /v1/docs", serve("text/html; charset=utf-8", func() ([]byte, error) {
		page, err := template.New("docs").Parse(docsPage)
		if err != nil {
			return nil, err
		}
		var html bytes.Buffer
		err = page.Execute(&html, describe(a.huma.OpenAPI()))
		return html.Bytes(), err
	}))
}

// The page in terms of what it shows.
type (
	docsView struct {
		Title, Version, Description string
		Groups                      []docsGroup
		Types                       []docsType
	}
	docsGroup struct {
		Name   string
		Routes []docsRoute
	}
	docsRoute struct {
		ID, Method, Path, Summary, Description string
		Public                                 bool
		Params                                 []docsField
		Body                                   docsRef
		Answers                                []docsAnswer
	}
	docsAnswer struct {
		Status, Description string
		Body                docsRef
	}
	docsType struct {
		Name   string
		Fields []docsField
	}
	docsField struct {
		Name, In, Doc string
		Required      bool
		Type          docsRef
	}
	// docsRef is a type in words, and the type of the page it refers to.
	docsRef struct{ Text, Link string }
)

// describe says what the page shows of the document, in the order of paths.
func describe(doc *huma.OpenAPI) docsView {
	v := docsView{Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description}
	groups := map[string]*docsGroup{}
	paths := make([]string, 0, len(doc.Paths))
	for p := range doc.Paths {
		paths = append(paths, p)
	}
	sort.Strings(paths)
	for _, p := range paths {
		item := doc.Paths[p]
		for _, op := range []*huma.Operation{item.Get, item.Post, item.Put, item.Patch, item.Delete} {
			if op == nil {
				continue
			}
			g := groups[op.Tags[0]]
			if g == nil {
				g = &docsGroup{Name: op.Tags[0]}
				groups[op.Tags[0]] = g
			}
			g.Routes = append(g.Routes, describeRoute(op))
		}
	}
	for _, g := range groups {
		v.Groups = append(v.Groups, *g)
	}
	sort.Slice(v.Groups, func(i, j int) bool { return v.Groups[i].Name < v.Groups[j].Name })
	for name, s := range doc.Components.Schemas.Map() {
		t := docsType{Name: name}
		for field, fs := range s.Properties {
			t.Fields = append(t.Fields, docsField{Name: field, Doc: fs.Description, Required: slices.Contains(s.Required, field), Type: typeText(fs)})
		}
		sort.Slice(t.Fields, func(i, j int) bool { return t.Fields[i].Name < t.Fields[j].Name })
		v.Types = append(v.Types, t)
	}
	sort.Slice(v.Types, func(i, j int) bool { return v.Types[i].Name < v.Types[j].Name })
	return v
}

func describeRoute(op *huma.Operation) docsRoute {
	r := docsRoute{ID: op.OperationID, Method: op.Method, Path: op.Path, Summary: op.Summary, Description: op.Description, Public: len(op.Security) == 0}
	for _, p := range op.Parameters {
		r.Params = append(r.Params, docsField{Name: p.Name, In: p.In, Doc: p.Description, Required: p.Required, Type: typeText(p.Schema)})
	}
	if op.RequestBody != nil {
		r.Body = bodyText(op.RequestBody.Content)
	}
	for status, res := range op.Responses {
		if status < "400" { // errors are alike everywhere
			r.Answers = append(r.Answers, docsAnswer{Status: status, Description: res.Description, Body: bodyText(res.Content)})
		}
	}
	sort.Slice(r.Answers, func(i, j int) bool { return r.Answers[i].Status < r.Answers[j].Status })
	return r
}

func bodyText(content map[string]*huma.MediaType) docsRef {
	for _, m := range content {
		return typeText(m.Schema)
	}
	return docsRef{}
}

// typeText says a schema in words.
func typeText(s *huma.Schema) docsRef {
	switch {
	case s == nil:
		return docsRef{}
	case s.Ref != "":
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		return docsRef{Text: name, Link: name}
	case s.Type == huma.TypeArray && s.Items != nil:
		of := typeText(s.Items)
		return docsRef{Text: "array of " + of.Text, Link: of.Link}
	case len(s.Enum) > 0:
		var words []string
		for _, e := range s.Enum {
			b, _ := json.Marshal(e) // strings and numbers only
			words = append(words, string(b))
		}
		return docsRef{Text: strings.Join(words, " | ")}
	case s.Type == huma.TypeObject:
		if of, ok := s.AdditionalProperties.(*huma.Schema); ok {
			return docsRef{Text: "map of " + typeText(of).Text}
		}
	case s.Type == "":
		return docsRef{Text: "any"}
	case s.Format == "date-time":
		return docsRef{Text: "time (RFC 3339)"}
	}
	return docsRef{Text: s.Type}
}
