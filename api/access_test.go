package api_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/lease"
)

// walked are the routes of the document that need a token, as "METHOD /path".
func walked(t *testing.T, r *rig) []string {
	_, text := r.do(t, "GET", "/v1/openapi.json", "", "")
	var doc openAPI
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	var routes []string
	for path, methods := range doc.Paths {
		for m, op := range methods {
			if len(op.Security) > 0 {
				routes = append(routes, strings.ToUpper(m)+" "+path)
			}
		}
	}
	slices.Sort(routes)
	return routes
}

const (
	routesBegin = "<!-- every route: `go test ./api -run TestEveryRouteSaysWhoMay -update` writes it -->\n"
	routesEnd   = "<!-- end -->\n"
)

func TestEveryRouteSaysWhoMay(t *testing.T) {
	routes := walked(t, newRig(t))
	for _, route := range routes {
		if n, ok := api.RouteNeeds[route]; !ok || !n.Role.Valid() {
			t.Errorf("api/access.go does not say who may %s", route)
		}
	}
	for route := range api.RouteNeeds {
		if !slices.Contains(routes, route) {
			t.Errorf("api/access.go has %s, which is no route", route)
		}
	}
	var table strings.Builder
	table.WriteString("| route | role | by a lease of the board that allows |\n|---|---|---|\n")
	byPath := func(a, b string) int {
		am, ap, _ := strings.Cut(a, " ")
		bm, bp, _ := strings.Cut(b, " ")
		return strings.Compare(ap+" "+am, bp+" "+bm)
	}
	slices.SortFunc(routes, byPath)
	for _, route := range routes {
		n := api.RouteNeeds[route]
		by := string(n.Lease)
		if n.Lease == "" && strings.Contains(route, "{board}") {
			by = "nobody: the owner only"
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", route, n.Role, by)
	}
	const file = "../docs/security.md"
	page, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(page, []byte(routesBegin))
	old, after, ok2 := bytes.Cut(rest, []byte(routesEnd))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for the routes", file)
	}
	if string(old) == table.String() {
		return
	}
	if !*update {
		t.Fatalf("%s says something else of routes than api/access.go: go test ./api -run TestEveryRouteSaysWhoMay -update", file)
	}
	if err := os.WriteFile(file, slices.Concat(before, []byte(routesBegin), []byte(table.String()), []byte(routesEnd), after), 0o644); err != nil {
		t.Fatal(err)
	}
}

// borrower is a project, with a token of it, that has a lease of one action, or none that helps.
type borrower struct {
	name   string
	token  string
	reader string
	allows lease.Action
}

func TestEveryRouteIsForWhomItSays(t *testing.T) {
	r, adminToken := newCloud(t)
	ctx := t.Context()
	w := newWalk(t, r, adminToken)
	routes := walked(t, r)

	// A lease gives what it allows, and no more, whatever the role of who has it.
	var borrowers []borrower
	owner := r.client(t, w.callers[s4t.RoleManager].secret)
	admin := r.client(t, adminToken)
	lend := func(name string, allows lease.Action) borrower {
		p := must(admin.CreateProject(ctx, apiclient.ProjectCreate{Name: name}))(t)
		b := borrower{name: name, allows: allows, token: must(admin.CreateToken(ctx, apiclient.TokenCreate{Project: string(p.ID), Role: s4t.RoleManager}))(t).Secret,
			reader: must(admin.CreateToken(ctx, apiclient.TokenCreate{Project: string(p.ID), Role: s4t.RoleReader}))(t).Secret}
		borrowers = append(borrowers, b)
		return b
	}
	offer := func(to string, allow ...string) {
		must(owner.CreateOffer(ctx, apiclient.OfferCreate{Name: "to-" + to, Boards: []string{"kitchen"}, To: []string{to}, Shared: true, Allow: allow}))(t)
	}
	for _, a := range lease.Actions() {
		b := lend("lab-"+string(a), a)
		offer(b.name, string(a))
		must(r.client(t, b.token).CreateLease(ctx, apiclient.LeaseCreate{Name: "night", Boards: []string{"kitchen"}}))(t)
	}
	lend("stranger", "")
	offer(lend("offered", "").name)
	over := lend("over", "")
	offer(over.name)
	must(r.client(t, over.token).CreateLease(ctx, apiclient.LeaseCreate{Name: "night", Boards: []string{"kitchen"}}))(t)
	must(r.client(t, over.token).ReleaseLease(ctx, "night"))(t)
	lend("given", lease.Pins)
	from := borrowers[slices.IndexFunc(borrowers, func(b borrower) bool { return b.allows == lease.Pins })]
	must(r.client(t, from.token).ShareLease(ctx, "night", apiclient.LeaseShare{To: "given"}))(t)

	before := w.snapshot()
	for _, route := range routes {
		needs := api.RouteNeeds[route]
		if !strings.Contains(route, "{board}") && route != "POST /v1/bridges" || route == "GET /v1/boards/{board}/calendar.ics" {
			continue
		}
		method, _, _ := strings.Cut(route, " ")
		for _, b := range borrowers {
			may := b.allows != "" && (needs.Lease == b.allows || needs.Lease == api.AnyAction)
			if may && method != "GET" {
				continue // below, when nothing is compared any more
			}
			w.lent(route, b, b.token, may)
			if b.allows != "" && needs.Role != s4t.RoleReader {
				w.lent(route, b, b.reader, false)
			}
		}
	}

	// Who is weaker than a route needs gets nothing; who is of another project neither, whatever the role.
	for _, route := range routes {
		if strings.Contains(route, "/v1/session") {
			continue // it is about the token in use
		}
		for _, role := range s4t.Roles[:3] {
			if role.Covers(api.RouteNeeds[route].Role) {
				continue
			}
			if status, answer := w.call(route, w.callers[role]); status != http.StatusForbidden && status != http.StatusNotFound {
				t.Errorf("%s by a %s: status %d %s", route, role, status, answer)
			}
		}
	}
	if after := w.snapshot(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}

	// Who is strong enough is not refused: what is read first, what is deleted last.
	for _, route := range routes {
		method, _, _ := strings.Cut(route, " ")
		for _, b := range borrowers {
			if needs := api.RouteNeeds[route]; strings.Contains(route, "{board}") && method != "GET" && method != "DELETE" && needs.Lease != "" && needs.Lease == b.allows {
				w.lent(route, b, b.token, true)
			}
		}
	}
	order := map[string]int{"GET": 0, "PUT": 1, "PATCH": 1, "POST": 1, "DELETE": 2}
	slices.SortStableFunc(routes, func(a, b string) int {
		am, ap, _ := strings.Cut(a, " ")
		bm, bp, _ := strings.Cut(b, " ")
		if order[am] != order[bm] {
			return order[am] - order[bm]
		}
		return strings.Count(bp, "/") - strings.Count(ap, "/")
	})
	for _, route := range routes {
		method, path, _ := strings.Cut(route, " ")
		if strings.Contains(route, "/v1/session") || path == "/v1/users/{user}" && method == "DELETE" || path == "/v1/projects/{project}" && method == "DELETE" || path == "/v1/events" {
			continue // it ends the caller; the last one waits for events
		}
		for _, role := range s4t.Roles {
			if !role.Covers(api.RouteNeeds[route].Role) {
				continue
			}
			if status, answer := w.call(route, w.callers[role]); status == http.StatusForbidden || status == http.StatusUnauthorized {
				t.Errorf("%s by a %s: status %d %s", route, role, status, answer)
			}
			if method != "GET" {
				break
			}
		}
	}
}

var boardUnknown = regexp.MustCompile(`board \\?"[^"]*" does not exist`)

// lent asks a route for who has a lease, and looks whether the board's owner would have been asked in vain.
func (w *walk) lent(route string, b borrower, token string, may bool) {
	w.t.Helper()
	c := caller{secret: token, user: w.callers[s4t.RoleReader].user, token: w.callers[s4t.RoleReader].token}
	status, answer := w.call(route, c)
	refused := status == http.StatusForbidden || status == http.StatusNotFound && boardUnknown.MatchString(answer)
	if refused == may {
		w.t.Errorf("%s by %s, whose lease allows %q: status %d %s", route, b.name, b.allows, status, answer)
	}
	if !may && b.allows == "" && strings.Contains(answer, "kitchen") {
		w.t.Errorf("%s tells %s of kitchen: %s", route, b.name, answer)
	}
}

// caller is somebody of the owner's project, with objects of its own.
type caller struct{ secret, user, token string }

// walk has an object for each part of a path.
type walk struct {
	t       *testing.T
	r       *rig
	admin   string
	ids     map[string]string
	bodies  map[string]string
	callers map[s4t.Role]caller
}

// newWalk fills a cloud.
func newWalk(t *testing.T, r *rig, adminToken string) *walk {
	ctx := t.Context()
	w := &walk{t: t, r: r, admin: adminToken, callers: map[s4t.Role]caller{}}
	admin := r.client(t, adminToken)
	home := must(admin.CreateProject(ctx, apiclient.ProjectCreate{Name: "home"}))(t)
	for _, role := range s4t.Roles {
		u := must(admin.CreateUser(ctx, apiclient.UserCreate{Name: string(role) + "-user", Project: "home", Role: role}))(t)
		of := func() s4t.Token {
			return must(admin.CreateToken(ctx, apiclient.TokenCreate{User: u.Name, Project: "home", Role: role}))(t)
		}
		w.callers[role] = caller{of().Secret, string(u.ID), string(of().ID)}
	}
	c := r.client(t, w.callers[s4t.RoleMember].secret)
	board := must(c.CreateBoard(ctx, apiclient.BoardCreate{Name: "kitchen"}))(t)
	must(c.CreateBoard(ctx, apiclient.BoardCreate{Name: "garden"}))(t)
	op := must(c.CreateBridge(ctx, apiclient.BridgeCreate{Name: "lab", Boards: []string{"garden"}}))(t)
	fleet := must(c.CreateFleet(ctx, apiclient.FleetCreate{Name: "lamps", Boards: []string{"kitchen"}}))(t)
	held := must(c.CreateLease(ctx, apiclient.LeaseCreate{Name: "own", Boards: []string{"garden"}}))(t)
	offered := must(r.client(t, w.callers[s4t.RoleManager].secret).CreateOffer(ctx, apiclient.OfferCreate{Name: "spare", Boards: []string{"garden"}, To: []string{"home"}}))(t)
	exposed := must(c.ExposeService(ctx, "kitchen", apiclient.ServiceExpose{Service: "ssh"}))(t)
	plugin, digest := weather(t, c)
	joins := must(c.CreateFleetToken(ctx, "lamps", apiclient.FleetTokenCreate{}))(t)
	rollout := must(c.CreateRollout(ctx, "lamps", apiclient.RolloutCreate{Plugin: "weather"}))(t)
	bridge := must(c.Bridge(ctx, "lab"))(t)
	network := must(c.Network(ctx, string(bridge.Network)))(t)
	w.ids = map[string]string{
		"{board}": string(board.ID), "{fleet}": string(fleet.ID), "{rollout}": string(rollout.ID), "{fleettoken}": string(joins.ID), "{offer}": string(offered.ID), "{lease}": string(held.ID), "{command}": "blink", "{plugin}": string(plugin.ID), "{version}": plugin.Version, "{digest}": digest, "{pin}": "some-pin",
		"{thing}": "urn:uuid:" + string(board.ID), "{bridge}": string(bridge.ID), "{service}": exposed.Object, "{project}": string(home.ID), "{agent}": "tunnel-agent-1", "{recording}": s4t.NewID(),
		"/v1/operations/{id}": string(op.ID), "/v1/networks/{id}": string(network.ID), "/v1/subnets/{id}": string(network.Subnets[0].ID), "/v1/ports/{id}": string(bridge.Ports[0].ID),
	}
	w.bodies = routeBodies(string(board.ID), digest)
	return w
}

// call asks a route.
func (w *walk) call(route string, c caller) (int, string) {
	w.t.Helper()
	method, template, _ := strings.Cut(route, " ")
	path := strings.ReplaceAll(strings.ReplaceAll(template, "{user}", c.user), "{token}", c.token)
	for name, id := range w.ids {
		if strings.HasPrefix(name, "{") {
			path = strings.ReplaceAll(path, name, id)
		} else if template == name || strings.HasPrefix(template, name+"/") {
			path = strings.ReplaceAll(path, "{id}", id)
		}
	}
	switch {
	case strings.Contains(path, "{"):
		w.t.Fatalf("no example for %s", template)
	case template == "/v1/commands/{command}":
		path += "?board=" + w.ids["{board}"]
	}
	res, answer := w.r.do(w.t, method, path, c.secret, w.bodies[route])
	return res.StatusCode, answer
}

// snapshot is what there is.
func (w *walk) snapshot() string {
	var s strings.Builder
	for _, list := range []string{"boards", "fleets", "offers", "leases", "bridges", "services", "networks", "subnets", "ports", "projects", "users", "plugins"} {
		_, body := w.r.do(w.t, "GET", "/v1/"+list, w.admin, "")
		s.WriteString(body)
	}
	return s.String()
}

// routeBodies are what requests need so that nothing but the caller is wrong with them.
func routeBodies(board, digest string) map[string]string {
	return map[string]string{
		"POST /v1/boards/{board}/transfer":                 `{"to":"other"}`,
		"POST /v1/boards/claim":                            `{"code":"none"}`,
		"POST /v1/calendars":                               `{"board":"` + board + `"}`,
		"POST /v1/search/boards":                           `{}`,
		"POST /v1/fleets/{fleet}/tokens":                   `{"count":5}`,
		"POST /v1/fleets/{fleet}/rollouts":                 `{"plugin":"weather"}`,
		"POST /v1/rollouts/{rollout}/abort":                `{"back":true}`,
		"PUT /v1/bundles/{digest}":                         `part`,
		"POST /v1/plugins":                                 `{"name":"weather","digest":"` + digest + `","key":"","signature":""}`,
		"PUT /v1/boards/{board}/plugins/{plugin}":          `{"onboot":true}`,
		"POST /v1/boards/{board}/plugins/{plugin}/upgrade": `{}`,
		"POST /v1/boards":                                  `{"name":"new"}`,
		"PATCH /v1/boards/{board}":                         `{"type":"x"}`,
		"POST /v1/boards/{board}/services":                 `{"service":"http"}`,
		"POST /v1/boards/{board}/streams":                  `{"port":22}`,
		"PUT /v1/boards/{board}/pins":                      `{"values":{"a":1}}`,
		"PUT /v1/boards/{board}/pins/{pin}":                `{"value":1}`,
		"PUT /v1/boards/{board}/pins/{pin}/value":          `1`,
		"PATCH /v1/boards/{board}/services/{service}":      `{"dns_name":""}`,
		"PATCH /v1/boards/{board}/pins/{pin}":              `{"edge":"both"}`,
		"POST /v1/boards/{board}/pins/{pin}/claim":         `{"for":"10m"}`,
		"POST /v1/fleets":                                  `{"name":"new","boards":["` + board + `"]}`,
		"PATCH /v1/fleets/{fleet}":                         `{"name":"newer"}`,
		"POST /v1/offers":                                  `{"name":"new","boards":["` + board + `"]}`,
		"POST /v1/leases":                                  `{"boards":["` + board + `"]}`,
		"PATCH /v1/leases/{lease}":                         `{"for_seconds":60}`,
		"POST /v1/leases/{lease}/shares":                   `{"to":"other"}`,
		"POST /v1/boards/{board}/commands/{command}":       `{}`, "POST /v1/fleets/{fleet}/commands/{command}": `{}`, "POST /v1/commands/{command}": `{}`,
		"POST /v1/bridges":                        `{"name":"new","boards":["` + board + `"]}`,
		"POST /v1/bridges/{bridge}/boards":        `{"boards":["` + board + `"]}`,
		"POST /v1/bridges/{bridge}/boards/remove": `{"boards":["` + board + `"]}`,
		"POST /v1/networks/{id}/uplink":           `{"bridge":"br0"}`,
		"POST /v1/networks/{id}/gre":              `{"remote":"192.0.2.7"}`,
		"POST /v1/networks/{id}/gre/remove":       `{"remote":"192.0.2.7"}`,
		"POST /v1/projects":                       `{"name":"new"}`,
		"PATCH /v1/projects/{project}":            `{"record_terminals":false}`,
		"PUT /v1/users/{user}/password":           `{"password":"another one"}`,
		"POST /v1/users":                          `{"name":"new","project":"home","role":"reader"}`,
		"POST /v1/tokens":                         `{"project":"home"}`,
	}
}
