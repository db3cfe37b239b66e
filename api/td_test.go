package api_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/td"
	"github.com/stack4things/s4t/wire"
)

// twoBoards are what the conductor answers pin.all with, a page each.
func twoBoards(r *rig) {
	at := time.Date(2026, 11, 29, 2, 0, 0, 0, time.UTC)
	boards := []wire.PinBoard{
		{ID: "6ba7b810-9dad-41d1-80b4-00c04fd430c8", Name: "kitchen", Type: "rpi4", Labels: map[string]string{"room": "kitchen"}, Location: &s4t.Location{Latitude: 38.19, Longitude: 15.55}, ReportedAt: &at,
			Pins: []s4t.Pin{{Name: "led/board/act", Label: "Lamp", Kind: s4t.PinDigital, Writable: true, Direction: s4t.PinOut}}},
		{ID: "6ba7b810-9dad-41d1-80b4-00c04fd430c9", Name: "garden", Location: &s4t.Location{Latitude: 38.11, Longitude: 13.36}},
	}
	r.mu.Lock()
	r.answer[wire.MethodPinAll] = func(body []byte) (any, error) {
		var req wire.PinAll
		if err := json.Unmarshal(body, &req); err != nil {
			return nil, err
		}
		out := wire.PinBoards{List: wire.List[wire.PinBoard]{EventID: 7}}
		switch {
		case len(req.Boards) == 1:
			for _, b := range boards {
				if b.Name == req.Boards[0] || string(b.ID) == req.Boards[0] {
					out.Items = append(out.Items, b)
				}
			}
			if len(out.Items) == 0 {
				return nil, s4t.Errorf(s4t.NotFound, "list pins", "", "board %q does not exist", req.Boards[0])
			}
		case req.Page.After == "":
			out.Items, out.Next = boards[:1], "kitchen"
		default:
			out.Items = boards[1:]
		}
		return out, nil
	}
	r.mu.Unlock()
}

func TestTheThingDescriptionOfABoard(t *testing.T) {
	r := newRig(t)
	twoBoards(r)
	for _, path := range []string{"/v1/boards/kitchen/td", "/v1/td/kitchen", "/v1/td/urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8"} {
		res, body := r.do(t, "GET", path, "reader-secret", "")
		var thing td.Thing
		if err := json.Unmarshal([]byte(body), &thing); err != nil || res.StatusCode != 200 || res.Header.Get("Content-Type") != td.MediaType {
			t.Fatalf("%s: %s %q %v: %s", path, res.Status, res.Header.Get("Content-Type"), err, body)
		}
		if thing.ID != "urn:uuid:6ba7b810-9dad-41d1-80b4-00c04fd430c8" || thing.Properties["led/board/act"].Title != "Lamp" || thing.Base != "https://127.0.0.1:8812/v1/boards/6ba7b810-9dad-41d1-80b4-00c04fd430c8/" {
			t.Errorf("%s: %+v", path, thing)
		}
	}
	if res, body := r.do(t, "GET", "/v1/td/cellar", "reader-secret", ""); res.StatusCode != 404 || problem(t, body).Kind != "not_found" {
		t.Errorf("%s %s", res.Status, body)
	}
}

func TestTheDirectoryIsSearched(t *testing.T) {
	r := newRig(t)
	twoBoards(r)
	for query, want := range map[string]string{
		"":                                "kitchen garden",
		"?label=room%3Dkitchen":           "kitchen",
		"?label=room%3Da&label=room%3Db":  "",
		"?type=rpi4":                      "kitchen",
		"?near=38.2,15.5&within=20":       "kitchen", // the other one is 190 km away
		"?near=38.2,15.5&within=250":      "kitchen garden",
		"?near=38.2,15.5":                 "kitchen",
		"?q=LAMP":                         "kitchen",
		"?q=led/board":                    "kitchen",
		"?q=gard":                         "garden",
		"?q=nothing":                      "",
		"?type=rpi4&near=38.11,13.36&q=x": "",
	} {
		var names []string
		for path := "/v1/td" + query; path != ""; {
			res, body := r.do(t, "GET", path, "reader-secret", "")
			var page []td.Thing
			if err := json.Unmarshal([]byte(body), &page); err != nil || res.StatusCode != 200 || page == nil || res.Header.Get("X-Event-Id") != "7" {
				t.Fatalf("%s: %s %v: %s", path, res.Status, err, body)
			}
			for _, thing := range page {
				names = append(names, thing.Title)
			}
			path = nextPath(t, res)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
	for _, query := range []string{"?near=north", "?near=1", "?near=91,0", "?near=1,2,3", "?within=-1", "?within=3", "?label=room", "?colour=red"} {
		if res, body := r.do(t, "GET", "/v1/td"+query, "reader-secret", ""); res.StatusCode != 400 {
			t.Errorf("%s: %s %s", query, res.Status, body)
		}
	}
}

// TestAFilterDoesNotReadForEver: what nothing meets is told in pages, too.
func TestAFilterDoesNotReadForEver(t *testing.T) {
	r := newRig(t)
	n := 0
	r.mu.Lock()
	r.answer[wire.MethodPinAll] = func([]byte) (any, error) {
		n++
		return wire.PinBoards{List: wire.List[wire.PinBoard]{Items: []wire.PinBoard{{Name: "x"}}, Next: fmt.Sprint(n)}}, nil
	}
	r.mu.Unlock()
	res, body := r.do(t, "GET", "/v1/td?q=nothing", "reader-secret", "")
	if n != 8 || body != "[]" || nextPath(t, res) != "/v1/td?after=8&q=nothing" {
		t.Errorf("%d pages were read: %s, next %q", n, body, nextPath(t, res))
	}
}

func TestTheDirectoryIsFoundWhereItIsLookedFor(t *testing.T) {
	r := newRig(t)
	res, body := r.do(t, "GET", "/.well-known/wot", "", "")
	var thing td.Thing
	if err := json.Unmarshal([]byte(body), &thing); err != nil || res.Header.Get("Content-Type") != td.MediaType {
		t.Fatalf("%s %v: %s", res.Status, err, body)
	}
	if form := thing.Properties["things"].Forms[0]; thing.Type != "ThingDirectory" || thing.Base+form.Href != "https://127.0.0.1:8812/v1/td" || !slices.Contains(form.Op, "readproperty") {
		t.Errorf("%+v", thing)
	}
}
