// Package td writes W3C Web of Things Thing Descriptions, version 1.1
// (https://www.w3.org/TR/wot-thing-description11/): what a consumer that knows
// nothing of Stack4Things needs to read, write and observe the pins of a board.
// It does no I/O.
package td

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/stack4things/s4t"
)

// MediaType of a Thing Description.
const MediaType = "application/td+json"

// Prefix of the id of a board's thing; the board's id follows.
const Prefix = "urn:uuid:"

// Names that a description uses beside the vocabulary of TD 1.1.
const (
	contextTD     = "https://www.w3.org/2022/wot/td/v1.1"
	contextGeo    = "http://www.w3.org/2003/01/geo/wgs84_pos#"
	contextSchema = "https://schema.org/"
)

// LongPoll is the query of a longpoll form: how long an answer may be waited for.
const LongPoll = "wait=30s"

// Thing is a Thing Description, with what we use of it.
type Thing struct {
	Context             []any                     `json:"@context"`
	Type                string                    `json:"@type,omitempty"`
	ID                  string                    `json:"id"`
	Title               string                    `json:"title"`
	Description         string                    `json:"description,omitempty"`
	Modified            *time.Time                `json:"modified,omitempty"` // when the board last said what pins it has
	Latitude            *float64                  `json:"geo:lat,omitempty"`  // degrees, WGS 84
	Longitude           *float64                  `json:"geo:long,omitempty"`
	Altitude            *float64                  `json:"geo:alt,omitempty"`         // metres
	Keywords            []string                  `json:"schema:keywords,omitempty"` // the board's labels, K=V
	Category            string                    `json:"schema:category,omitempty"` // the board's type
	Base                string                    `json:"base"`
	SecurityDefinitions map[string]SecurityScheme `json:"securityDefinitions"`
	Security            []string                  `json:"security"`
	Properties          map[string]Property       `json:"properties,omitempty"`
	Actions             map[string]Action         `json:"actions,omitempty"`
	Events              map[string]Event          `json:"events,omitempty"`
	Links               []Link                    `json:"links,omitempty"`
}

// SecurityScheme says how who asks is known.
type SecurityScheme struct {
	Scheme string `json:"scheme"`
	In     string `json:"in,omitempty"`
	Name   string `json:"name,omitempty"`
	Format string `json:"format,omitempty"`
}

// DataSchema says what a value can be.
type DataSchema struct {
	Type       string                `json:"type"`
	Format     string                `json:"format,omitempty"`
	Unit       string                `json:"unit,omitempty"`
	Minimum    *float64              `json:"minimum,omitempty"`
	Maximum    *float64              `json:"maximum,omitempty"`
	Properties map[string]DataSchema `json:"properties,omitempty"`
	Required   []string              `json:"required,omitempty"`
	Items      *DataSchema           `json:"items,omitempty"`
}

// Property is a pin.
type Property struct {
	Title       string `json:"title"`
	Description string `json:"description,omitempty"`
	DataSchema
	ReadOnly   bool   `json:"readOnly"`
	Observable bool   `json:"observable"`
	Forms      []Form `json:"forms"`
}

// Event is something that is told.
type Event struct {
	Title        string                `json:"title"`
	Description  string                `json:"description,omitempty"`
	Data         *DataSchema           `json:"data,omitempty"`
	URIVariables map[string]DataSchema `json:"uriVariables,omitempty"`
	Forms        []Form                `json:"forms"`
}

// Form says by which request something is done.
type Form struct {
	Href        string   `json:"href"` // relative to the base
	ContentType string   `json:"contentType,omitempty"`
	Op          []string `json:"op"`
	Method      string   `json:"htv:methodName,omitempty"`
	Subprotocol string   `json:"subprotocol,omitempty"`
}

// Link leads to something else.
type Link struct {
	Href string `json:"href"`
	Rel  string `json:"rel"`
	Type string `json:"type,omitempty"`
}

// ID is the id of a board's thing.
func ID(board s4t.BoardID) string { return Prefix + string(board) }

// BoardRef is the name or id of the board that a thing's id, or a board's name or
// id, means.
func BoardRef(id string) string { return strings.TrimPrefix(id, Prefix) }

// Of describes a board with its pins, for who reaches the cloud at url
// (https://HOST:PORT). reported is when the board last said what pins it has; nil:
// never. The description has no value and no state in it: it changes only when the
// board or its pins do.
func Of(url string, b s4t.Board, pins []s4t.Pin, reported *time.Time) Thing {
	t := Thing{
		Context: []any{contextTD, map[string]string{"geo": contextGeo, "schema": contextSchema}},
		ID:      ID(b.ID), Title: b.Name, Description: "The pins of the board " + b.Name, Category: b.Type,
		Base:                strings.TrimRight(url, "/") + "/v1/boards/" + string(b.ID) + "/",
		SecurityDefinitions: map[string]SecurityScheme{"bearer": bearer},
		Security:            []string{"bearer"},
		Properties:          make(map[string]Property, len(pins)),
		Events:              map[string]Event{"samples": samples},
		Links: []Link{
			{Href: "/v1/td", Rel: "collection", Type: "application/json"},
			{Href: "/v1/docs", Rel: "service-doc", Type: "text/html"},
		},
	}
	if reported != nil {
		at := reported.UTC()
		t.Modified = &at
	}
	if l := b.Location; l != nil {
		t.Latitude, t.Longitude, t.Altitude = &l.Latitude, &l.Longitude, &l.Altitude
	}
	for k, v := range b.Labels {
		t.Keywords = append(t.Keywords, k+"="+v)
	}
	slices.Sort(t.Keywords)
	for _, p := range pins {
		t.Properties[p.Name] = property(p)
	}
	return t
}

// bearer is the token of the API.
var bearer = SecurityScheme{Scheme: "bearer", In: "header", Name: "Authorization", Format: "opaque"}

// property describes a pin. The form for observing is the long poll: consumers send
// the token with it, which not all do with server-sent events.
func property(p s4t.Pin) Property {
	title := p.Label
	if title == "" {
		title = p.Name
	}
	value := "pins/" + p.Name + "/value"
	read := Form{Href: value, ContentType: "application/json", Op: []string{"readproperty"}}
	if p.Writable {
		read.Op = append(read.Op, "writeproperty")
	}
	return Property{
		Title: title, Description: describe(p), DataSchema: schema(p), ReadOnly: !p.Writable, Observable: true,
		Forms: []Form{
			read,
			{Href: value + "?" + LongPoll, ContentType: "application/json", Op: []string{"observeproperty", "unobserveproperty"}, Subprotocol: "longpoll"},
		},
	}
}

// describe says what a pin is, for people.
func describe(p s4t.Pin) string {
	way := "input"
	if p.Writable {
		way = "output"
	}
	text := fmt.Sprintf("A %s %s", p.Kind, way)
	if p.Writable && p.Guarantee != "" {
		text += ": " + p.Guarantee
	}
	return text
}

// schema says what the value of a pin can be.
func schema(p s4t.Pin) DataSchema {
	low, high := 0.0, 1.0
	switch p.Kind {
	case s4t.PinDigital:
		return DataSchema{Type: "integer", Unit: p.Unit, Minimum: &low, Maximum: &high}
	case s4t.PinPWM:
		return DataSchema{Type: "number", Unit: p.Unit, Minimum: &low, Maximum: &high}
	}
	return DataSchema{Type: "number", Unit: p.Unit}
}

// samples are all samples of the board, or those of one pin, as [s4t.Sample].
var samples = Event{
	Title:       "Samples",
	Description: "Each sample and each edge of the pins, none left out unless merged says so",
	Data: &DataSchema{
		Type: "object",
		Properties: map[string]DataSchema{
			"pin": {Type: "string"}, "seq": {Type: "integer"}, "at": {Type: "string", Format: "date-time"}, "value": {Type: "number"}, "merged": {Type: "integer"},
		},
		Required: []string{"pin", "seq", "at", "value"},
	},
	URIVariables: map[string]DataSchema{"pin": {Type: "string"}},
	Forms:        []Form{{Href: "pins/stream{?pin}", ContentType: "application/json", Op: []string{"subscribeevent", "unsubscribeevent"}, Subprotocol: "sse"}},
}

// Directory describes the directory of a cloud's things itself
// (https://www.w3.org/TR/wot-discovery/): one property, an array of descriptions.
func Directory(url string) Thing {
	url = strings.TrimRight(url, "/")
	return Thing{
		Context: []any{contextTD, "https://www.w3.org/2022/wot/discovery"},
		Type:    "ThingDirectory",
		ID:      url + "/v1/td", Title: "Stack4Things", Description: "The boards of a cloud; the header Link leads to the next page",
		Base:                url + "/",
		SecurityDefinitions: map[string]SecurityScheme{"bearer": bearer},
		Security:            []string{"bearer"},
		Properties: map[string]Property{"things": {
			Title: "Things", DataSchema: DataSchema{Type: "array", Items: &DataSchema{Type: "object"}}, ReadOnly: true,
			Forms: []Form{{Href: "v1/td", ContentType: "application/json", Op: []string{"readproperty"}, Method: "GET"}},
		}},
	}
}
