package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/cloud"
	"github.com/stack4things/s4t/identity"
	"github.com/stack4things/s4t/plugin/bundle"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// newCloud is the API and the conductor in a process, with TLS and admission as
// they ship, and a tunnel agent that said hello and no more. It returns the
// admin's token.
func newCloud(t *testing.T) (*rig, string) {
	t.Helper()
	r, admin, dir := &rig{q: queue.New()}, "", t.TempDir()
	c, err := cloud.New(cloud.Config{
		Roles: []cloud.Role{cloud.API, cloud.Conductor}, Data: dir, Listen: "127.0.0.1:0", BoardURLs: []string{"https://cloud.example.org:8812"},
		Queue: r.q, Database: "sqlite:" + filepath.Join(dir, "s4t.db"),
		Bootstrap: func(ctx context.Context, id *identity.Identity, _ string, trust wire.Trust) error {
			r.ca = strings.Join(trust.CAs, "")
			_, err := id.Bootstrap(ctx, func(f identity.First) error { admin = f.Token.Secret; return nil })
			return err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- c.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(r.ca))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	r.url, r.transport = c.URL(), transport
	t.Cleanup(func() { transport.CloseIdleConnections(); cancel(); <-ended })

	hello := wire.AgentHello{ID: "tunnel-agent-1", Kind: wire.AgentTunnel, Incarnation: "one", URL: "https://cloud.example.org:8812", Host: "cloud.example.org", PublicPorts: s4t.PortRange{First: 50000, Last: 60000}}
	if err := r.q.Call(ctx, wire.TopicAgents, wire.MethodAgentHello, hello, nil); err != nil {
		t.Fatal(err)
	}
	return r, admin
}

// must fails the test on an error.
func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// weather makes a plugin, and returns it and the digest of its bundle.
func weather(t *testing.T, c *apiclient.Client) (s4t.Plugin, string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"plugin.toml": "name = \"weather\"\nversion = \"1.0-a\"\nruntime = \"exec\"\nkind = \"service\"\nentry = \"run\"\n", "run": "#!/bin/sh\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var packed bytes.Buffer
	_, size, err := bundle.Pack(dir, &packed)
	if err != nil {
		t.Fatal(err)
	}
	digest := must(c.PutBundle(t.Context(), bytes.NewReader(packed.Bytes()), size, nil))(t)
	key := must(bundle.GenerateKey())(t)
	return must(c.CreatePlugin(t.Context(), "weather", digest, key.Public().(ed25519.PublicKey), bundle.Sign(key, digest)))(t), digest
}

func TestNoRouteOfTheRealCloudGivesAnythingToTheWrongCaller(t *testing.T) {
	r, adminToken := newCloud(t)
	ctx := t.Context()
	admin := r.client(t, adminToken)
	home := must(admin.CreateProject(ctx, apiclient.ProjectCreate{Name: "home"}))(t)
	must(admin.CreateProject(ctx, apiclient.ProjectCreate{Name: "other"}))(t)
	user := must(admin.CreateUser(ctx, apiclient.UserCreate{Name: "maria", Project: "home", Role: s4t.RoleMember}))(t)
	token := func(project string, role s4t.Role) s4t.Token {
		return must(admin.CreateToken(ctx, apiclient.TokenCreate{Project: project, Role: role}))(t)
	}
	member, reader, foreign, revoked := token("home", s4t.RoleMember), token("home", s4t.RoleReader), token("other", s4t.RoleMember), token("home", s4t.RoleMember)
	if err := admin.RevokeToken(ctx, string(revoked.ID)); err != nil {
		t.Fatal(err)
	}

	c := r.client(t, member.Secret)
	board := must(c.CreateBoard(ctx, apiclient.BoardCreate{Name: "kitchen"}))(t)
	must(c.CreateBoard(ctx, apiclient.BoardCreate{Name: "garden"}))(t)
	op := must(c.CreateBridge(ctx, apiclient.BridgeCreate{Name: "lab", Boards: []string{"kitchen", "garden"}}))(t)
	fleet := must(c.CreateFleet(ctx, apiclient.FleetCreate{Name: "lamps", Boards: []string{"kitchen"}}))(t)
	manager := token("home", s4t.RoleManager)
	offer := must(r.client(t, manager.Secret).CreateOffer(ctx, apiclient.OfferCreate{Name: "spare", Boards: []string{"kitchen"}, To: []string{"home"}}))(t)
	held := must(c.CreateLease(ctx, apiclient.LeaseCreate{Name: "night", Boards: []string{"kitchen"}}))(t)
	exposed := must(c.ExposeService(ctx, "kitchen", apiclient.ServiceExpose{Service: "ssh"}))(t)
	plugin, digest := weather(t, c)
	must(c.InjectPlugin(ctx, "kitchen", "weather", apiclient.PluginInject{}))(t)
	joins := must(c.CreateFleetToken(ctx, "lamps", apiclient.FleetTokenCreate{}))(t)
	rollout := must(c.CreateRollout(ctx, "lamps", apiclient.RolloutCreate{Plugin: "weather"}))(t)
	bridge := must(c.Bridge(ctx, "lab"))(t)
	network := must(c.Network(ctx, string(bridge.Network)))(t)
	ids := map[string]string{
		"{board}": string(board.ID), "{fleet}": string(fleet.ID), "{offer}": string(offer.ID), "{rollout}": string(rollout.ID), "{fleettoken}": string(joins.ID), "{lease}": string(held.ID), "{command}": "blink", "{plugin}": string(plugin.ID), "{version}": plugin.Version, "{digest}": digest, "{pin}": "kitchen-pin", "{thing}": "urn:uuid:" + string(board.ID), "{bridge}": string(bridge.ID), "{service}": exposed.Object, "{project}": string(home.ID), "{user}": string(user.ID), "{agent}": "tunnel-agent-1", "{token}": string(member.ID),
		"/v1/operations/{id}": string(op.ID), "/v1/networks/{id}": string(network.ID), "/v1/subnets/{id}": string(network.Subnets[0].ID), "/v1/ports/{id}": string(bridge.Ports[0].ID),
	}
	secrets := []string{"kitchen", "garden", "lab", "lamps", "spare", "night", "maria", home.Name + `"`}
	for _, id := range ids {
		secrets = append(secrets, id)
	}

	ids["{recording}"] = s4t.NewID() // there is none: no secret

	// What a request needs so that nothing but the caller is wrong with it.
	bodies := routeBodies(string(board.ID), digest)
	snapshot := func() string {
		var s strings.Builder
		for _, list := range []string{"boards", "fleets", "rollouts", "offers", "leases", "bridges", "services", "networks", "subnets", "ports", "projects", "users"} {
			_, body := r.do(t, "GET", "/v1/"+list, adminToken, "")
			s.WriteString(body)
		}
		return s.String()
	}
	before := snapshot()

	_, text := r.do(t, "GET", "/v1/openapi.json", "", "")
	var doc openAPI
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	// What is read comes first: what a caller tried in vain stands in the
	// caller's own audit.
	type step struct {
		template, path, method string
		hasBody                bool
	}
	var reads, changes []step
	for template, methods := range doc.Paths {
		path := template
		for name, id := range ids {
			if strings.HasPrefix(name, "{") {
				path = strings.ReplaceAll(path, name, id)
			} else if template == name || strings.HasPrefix(template, name+"/") {
				path = strings.ReplaceAll(path, "{id}", id)
			}
		}
		if template == "/v1/commands/{command}" {
			path += "?board=" + string(board.ID)
		}
		if strings.Contains(path, "{") {
			t.Fatalf("no example for %s", template)
		}
		for m, op := range methods {
			s := step{template, path, strings.ToUpper(m), op.RequestBody != nil}
			switch {
			case len(op.Security) == 0:
			case s.method == "GET":
				reads = append(reads, s)
			default:
				changes = append(changes, s)
			}
		}
	}
	if n := len(reads) + len(changes); n < 35 {
		t.Errorf("walked %d routes", n)
	}
	for _, s := range append(reads, changes...) {
		template, path, m := s.template, s.path, s.method
		name := m + " " + template
		body := bodies[name]
		looks := name == "POST /v1/search/boards" // it changes nothing
		if s.hasBody && body == "" {
			t.Fatalf("no body for %s", name)
		}
		for _, bad := range []string{"", "s4t_bad", revoked.Secret, string(member.ID)} {
			if res, answer := r.do(t, m, path, bad, body); res.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with token %q: status %d %s", name, bad, res.StatusCode, answer)
			}
		}

		if strings.HasPrefix(template, "/v1/session") {
			continue // it is about the token in use: logging out would end this test's
		}

		// A member of another project sees nothing of this one. Boards and
		// tokens of the own project may be made: POST /v1/boards is no
		// question of this test, a token of this project is.
		if name != "POST /v1/boards" && name != "PUT /v1/bundles/{digest}" && name != "POST /v1/plugins" {
			res, answer := r.do(t, m, path, foreign.Secret, body)
			list := (m == "GET" || looks) && path == template
			switch {
			case template == "/v1/commands/{command}" && strings.Contains(answer, `"error_kind":"not_found"`) && !strings.Contains(answer, "kitchen"):
				// A result for each board that was named: there is none.
			case forFew(template) && res.StatusCode == http.StatusForbidden:
			case list && res.StatusCode != 200:
				t.Errorf("%s by a foreign member: status %d %s", name, res.StatusCode, answer)
			case list:
				for _, s := range secrets {
					if strings.Contains(answer, s) {
						t.Errorf("%s shows %q to a foreign member: %s", name, s, answer)
					}
				}
			case res.StatusCode != http.StatusNotFound && res.StatusCode != http.StatusForbidden:
				t.Errorf("%s by a foreign member: status %d %s", name, res.StatusCode, answer)
			case res.StatusCode == http.StatusForbidden && strings.Contains(answer, "kitchen"):
				t.Errorf("%s tells a foreign member of kitchen: %s", name, answer)
			}
		}

		// A reader of this project sees, and changes nothing.
		res, answer := r.do(t, m, path, reader.Secret, body)
		switch {
		case (template == "/v1/boards/{board}/commands/{command}" || strings.HasSuffix(template, "/logs/stream")) && (res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusServiceUnavailable):
			// The board has no such command, and never was there: the right to ask it was.
		case (strings.Contains(template, "/pins") || strings.Contains(template, "/logs")) && m == "GET" && res.StatusCode == http.StatusServiceUnavailable && problem(t, answer).Kind == s4t.Offline:
			// The board never was there: the right to ask it was.
		case strings.HasSuffix(template, "/profile") && problem(t, answer).Kind == s4t.Unavailable:
			// The board never said one: the right to ask for it was there.
		case forFew(template) && res.StatusCode == http.StatusForbidden:
		case m == "GET" && res.StatusCode != 200 && !strings.HasPrefix(template, "/v1/users") && !strings.HasPrefix(template, "/v1/tokens"):
			t.Errorf("%s by a reader: status %d %s", name, res.StatusCode, answer)
		case m != "GET" && !looks && name != "POST /v1/tokens" && res.StatusCode != http.StatusForbidden && res.StatusCode != http.StatusNotFound:
			t.Errorf("%s by a reader: status %d %s", name, res.StatusCode, answer)
		case name == "POST /v1/tokens" && strings.Contains(answer, `"role":"member"`):
			t.Errorf("a reader made a stronger token: %s", answer)
		}
	}
	if after := snapshot(); after != before {
		t.Errorf("something changed:\n%s\n%s", before, after)
	}
	if _, err := c.Boards(ctx, nil, ""); err != nil {
		t.Errorf("the member's token is gone: %v", err)
	}
}

// forFew are routes that a member may not even read: agents are an admin's, recordings a manager's.
func forFew(template string) bool {
	return strings.HasPrefix(template, "/v1/agents") || strings.HasPrefix(template, "/v1/recordings")
}

func TestAnOperationOfTheRealCloudIsWaitedForAndToldStepByStep(t *testing.T) {
	r, adminToken := newCloud(t)
	c := r.client(t, adminToken)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(c.CreateBoard(ctx, apiclient.BoardCreate{Name: "kitchen"}))(t)
	events := must(c.Events(ctx, apiclient.EventsOptions{After: 0}))(t)
	defer events.Close()

	// No board is online: the tunnel agent's half is all that is waited for.
	op := must(c.CreateBridge(ctx, apiclient.BridgeCreate{Name: "lab", Boards: []string{"kitchen"}}))(t)
	agent := func() {
		var want wire.TunnelDesired
		if err := r.q.Call(ctx, wire.TopicAgents, wire.MethodTunnelAsk, wire.TunnelAsk{Agent: "tunnel-agent-1", Incarnation: "one"}, &want); err != nil {
			t.Error(err)
			return
		}
		report := wire.TunnelReport{Agent: "tunnel-agent-1", Incarnation: "one", Generation: want.Generation}
		if err := r.q.Call(ctx, wire.TopicAgents, wire.MethodTunnelReport, report, nil); err != nil {
			t.Error(err)
		}
	}
	agent()
	var told []int
	op = must(c.WaitOperation(ctx, op.ID, func(s s4t.Step) { told = append(told, s.Number) }))(t)
	if op.Status != s4t.OperationSucceeded {
		t.Fatalf("%+v", op)
	}
	if len(told) == 0 || told[len(told)-1] != 10 {
		t.Errorf("told %v", told)
	}
	var kinds []string
	for e := range events.All() {
		kinds = append(kinds, e.Kind)
		if e.Kind == "operation.succeeded" {
			break
		}
	}
	if !strings.Contains(fmt.Sprint(kinds), "bridge.created") && !strings.Contains(fmt.Sprint(kinds), "operation.started") {
		t.Errorf("events %v", kinds)
	}
}
