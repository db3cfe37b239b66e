package api_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// nextPath is the path of the next page, empty on the last.
func nextPath(t *testing.T, res *http.Response) string {
	t.Helper()
	link := res.Header.Get("Link")
	if link == "" {
		return ""
	}
	m := regexp.MustCompile(`^<(/[^>]+)>; rel="next"$`).FindStringSubmatch(link)
	if m == nil {
		t.Fatalf("the link %q", link)
	}
	return m[1]
}

// lists are the routes of lists, and the method behind each.
var lists = map[string]string{
	"/v1/projects": wire.MethodProjectList, "/v1/users": wire.MethodUserList, "/v1/tokens": wire.MethodTokenList,
	"/v1/boards?label=a%3Db&status=online": wire.MethodBoardList, "/v1/bridges": wire.MethodBridgeList, "/v1/networks": wire.MethodNetworkList,
	"/v1/bookings?label=a%3Db": wire.MethodBookingList, "/v1/subnets": wire.MethodSubnetList, "/v1/ports": wire.MethodPortList, "/v1/services": wire.MethodServiceList,
	"/v1/boards/kitchen/services": wire.MethodServiceList, "/v1/operations": wire.MethodOperationList, "/v1/audit?since=1h": wire.MethodAuditList,
}

func TestListsHavePages(t *testing.T) {
	r := newRig(t)
	for first, method := range lists {
		var asked []wire.Page
		var filters []string
		r.mu.Lock()
		r.answer[method] = func(body []byte) (any, error) {
			var req struct{ Page wire.Page }
			json.Unmarshal(body, &req)
			asked = append(asked, req.Page)
			var rest map[string]any
			json.Unmarshal(body, &rest)
			delete(rest, "page")
			b, _ := json.Marshal(rest)
			filters = append(filters, string(b))
			l := wire.List[json.RawMessage]{Items: []json.RawMessage{[]byte(`{}`)}, EventID: 17}
			if len(asked) < 3 {
				l.Next = fmt.Sprintf("a/b+c %d&>", len(asked))
			}
			return l, nil
		}
		r.mu.Unlock()
		sep := "?"
		if strings.Contains(first, "?") {
			sep = "&"
		}
		path, pages := first+sep+"limit=1", 0
		for path != "" {
			res, body := r.do(t, "GET", path, "member-secret", "")
			if res.StatusCode != 200 || body[0] != '[' || res.Header.Get("X-Event-Id") != "17" {
				t.Fatalf("%s: status %d, %v: %s", path, res.StatusCode, res.Header, body)
			}
			if path = nextPath(t, res); path != "" && !strings.HasPrefix(path, strings.SplitN(first, "?", 2)[0]+"?") {
				t.Errorf("%s leads to %s", first, path)
			}
			pages++
		}
		want := []wire.Page{{Limit: 1}, {Limit: 1, After: "a/b+c 1&>"}, {Limit: 1, After: "a/b+c 2&>"}}
		if fmt.Sprint(asked) != fmt.Sprint(want) {
			t.Errorf("%s asked for %+v", first, asked)
		}
		for _, f := range filters {
			if f != filters[0] {
				t.Errorf("%s: the filter changed: %s, %s", first, filters[0], f)
			}
		}
	}
	if len(lists) != 13 {
		t.Errorf("%d lists", len(lists))
	}
}

func TestLimitsOfPagesAreChecked(t *testing.T) {
	r := newRig(t)
	for _, list := range []string{"boards", "tokens", "audit", "events"} {
		for _, limit := range []string{"0", "-1", map[bool]string{true: "2001", false: "501"}[list == "boards"], "x"} {
			if res, body := r.do(t, "GET", "/v1/"+list+"?limit="+limit, "member-secret", ""); res.StatusCode != 400 || !strings.Contains(body, "limit") {
				t.Errorf("%s with limit %s: status %d %s", list, limit, res.StatusCode, body)
			}
		}
	}
}

func TestAUserIsFoundOnALaterPage(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.answer[wire.MethodUserList] = func(body []byte) (any, error) {
		var req wire.ListRequest
		json.Unmarshal(body, &req)
		if req.Page.After == "" {
			return wire.List[s4t.User]{Items: []s4t.User{{Name: "anna"}}, Next: "anna"}, nil
		}
		return wire.List[s4t.User]{Items: []s4t.User{{Name: "maria"}}}, nil
	}
	r.mu.Unlock()
	if u, err := r.client(t, "admin-secret").User(t.Context(), "maria"); err != nil || u.Name != "maria" {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := r.client(t, "admin-secret").User(t.Context(), "nobody"); s4t.KindOf(err) != s4t.NotFound {
		t.Error(err)
	}
}

// TestTheBoundsOfTheDocumentAreThoseOfTheGround holds the tags of the API and
// of package apiclient against the constants that the conductor checks with.
func TestTheBoundsOfTheDocumentAreThoseOfTheGround(t *testing.T) {
	r := newRig(t)
	_, text := r.do(t, "GET", "/v1/openapi.json", "", "")
	type bounds struct {
		MaxLength, MaxItems, Minimum, Maximum *int
	}
	var d struct {
		Paths map[string]map[string]struct {
			Parameters []struct {
				Name, In string
				Schema   bounds
			}
		}
		Components struct {
			Schemas map[string]struct{ Properties map[string]bounds }
		}
	}
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	is := func(what string, got *int, want int) {
		t.Helper()
		if got == nil || *got != want {
			t.Errorf("%s: not bounded by %d", what, want)
		}
	}
	seen := 0
	for schema, s := range d.Components.Schemas {
		if !bodies.MatchString(schema) {
			continue
		}
		for name, b := range s.Properties {
			what := schema + "." + name
			seen++
			switch name {
			case "name", "type", "user", "project", "service":
				if schema != "Problem" {
					is(what, b.MaxLength, s4t.MaxName)
				}
			case "boards":
				most := s4t.MaxBridgePorts
				switch {
				case strings.HasPrefix(schema, "Fleet"):
					most = s4t.MaxFleetBoards
				case strings.HasPrefix(schema, "Offer"):
					most = s4t.MaxOfferBoards
				case strings.HasPrefix(schema, "Lease"):
					most = s4t.MaxLeaseBoards
				}
				is(what, b.MaxItems, most)
			case "weight":
				is(what, b.Minimum, 1)
				is(what, b.Maximum, s4t.MaxWeight)
			case "priority":
				is(what, b.Maximum, s4t.MaxPriority)
			case "mtu":
				is(what, b.Minimum, s4t.MinMTU)
				is(what, b.Maximum, s4t.MaxMTU)
			}
		}
	}
	pages := 0
	for path, methods := range d.Paths {
		for _, op := range methods {
			for _, p := range op.Parameters {
				what := path + " " + p.Name
				seen++
				switch {
				case p.In == "path" && p.Name == "pin":
					is(what, p.Schema.MaxLength, 3*s4t.MaxName+2)
				case p.Name == "pin" && path != "/v1/search/boards":
					is(what, p.Schema.MaxItems, s4t.MaxPinWatch)
				case p.Name == "priority":
					is(what, p.Schema.Maximum, s4t.MaxPriority)
				case p.Name == "board" && p.Schema.MaxItems != nil:
					is(what, p.Schema.MaxItems, s4t.MaxBridgePorts)
				case p.In == "path" && p.Name == "digest":
					is(what, p.Schema.MaxLength, 2*sha256.Size)
				case p.In == "path" || p.Name == "board":
					is(what, p.Schema.MaxLength, s4t.MaxName)
				case p.Name == "limit":
					is(what, p.Schema.Minimum, 1)
					most := wire.MaxPage
					if path == "/v1/boards" {
						most = wire.MaxBoardPage
					}
					is(what, p.Schema.Maximum, most)
					pages++
				case p.Name == "q" && path == "/v1/boards":
					is(what, p.Schema.MaxLength, s4t.MaxBoardQuery)
				case p.Name == "label":
					is(what, p.Schema.MaxItems, s4t.MaxLabels)
				}
			}
		}
	}
	if seen < 60 || pages != 30 {
		t.Errorf("only %d bounds, %d lists", seen, pages)
	}
}
