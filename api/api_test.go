package api_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A fake conductor knows one project "home" with one of everything in it, and
// decides as the real one does: a foreign project's objects are not found, a
// reader changes nothing.
type fakeConductor struct {
	mu       sync.Mutex
	calls    []string // "METHOD by USER", in order, without verify
	ref      string   // what the last call was about
	changes  int      // how often something would have been changed
	events   []s4t.Event
	revoked  map[string]bool
	sessions map[string]wire.Caller                    // by secret
	answer   map[string]func(body []byte) (any, error) // by method, instead of the default
}

const home = s4t.ProjectID("11111111-1111-4111-8111-111111111111")

var callers = map[string]wire.Caller{
	"admin-secret":  {User: "root", Project: "00000000-0000-4000-8000-000000000000", Role: s4t.RoleAdmin},
	"member-secret": {User: "maria", Project: home, Role: s4t.RoleMember},
	"reader-secret": {User: "rita", Project: home, Role: s4t.RoleReader},
	"foreign-token": {User: "fred", Project: "22222222-2222-4222-8222-222222222222", Role: s4t.RoleMember},
}

var markerRollout = s4t.Rollout{ID: "ro1", PluginName: "marker-plugin", Status: s4t.RolloutStopped}
var markerLease = s4t.Lease{ID: "l1", Name: "marker-lease", Status: s4t.LeaseActive}

// changing methods and what they answer.
var changing = map[string]any{
	wire.MethodBoardTransfer: s4t.Transfer{Name: "marker-board"}, wire.MethodBoardClaim: s4t.Board{ID: "b1", Name: "marker-board"}, wire.MethodCalendarCreate: s4t.Calendar{URL: "marker-url"},
	wire.MethodProjectCreate: s4t.Project{ID: "p1", Name: "marker-project"}, wire.MethodProjectUpdate: s4t.Project{ID: "p1", Name: "marker-project"}, wire.MethodProjectDelete: wire.Empty{},
	wire.MethodUserCreate: s4t.User{ID: "u1", Name: "marker-user"}, wire.MethodUserDelete: wire.Empty{}, wire.MethodUserPassword: wire.Empty{},
	wire.MethodBoardCreate: s4t.Board{ID: "b1", Name: "marker-board", Join: "s4t1.x"}, wire.MethodBoardUpdate: s4t.Board{ID: "b1", Name: "marker-board"}, wire.MethodBoardDelete: wire.Empty{},
	wire.MethodStreamOpen:    wire.StreamGrant{URL: "https://x", Ticket: "marker-ticket"},
	wire.MethodServiceExpose: s4t.Operation{ID: "o1", Object: "marker"}, wire.MethodServiceHide: s4t.Operation{ID: "o1", Object: "marker"},
	wire.MethodServiceUpdate: s4t.Service{ID: "s1", Board: "marker-board"},
	wire.MethodUplinkSet:     s4t.Operation{ID: "o1", Object: "marker"}, wire.MethodUplinkRemove: s4t.Operation{ID: "o1", Object: "marker"},
	wire.MethodAttachGRE: s4t.Operation{ID: "o1", Object: "marker"}, wire.MethodDetachGRE: s4t.Operation{ID: "o1", Object: "marker"},
	wire.MethodBridgeCreate: s4t.Operation{ID: "o1", Object: "marker"}, wire.MethodBridgeDelete: s4t.Operation{ID: "o1", Object: "marker"},
	wire.MethodCommandRun:    s4t.Operation{ID: "o1", Kind: "command.run", Status: s4t.OperationSucceeded, Run: &s4t.CommandRun{Board: "marker-board", BoardID: "b1", Command: "blink", Result: json.RawMessage(`3`)}},
	wire.MethodCommandFleet:  wire.CommandResults{Items: []s4t.Operation{{ID: "o1", Status: s4t.OperationSucceeded, Run: &s4t.CommandRun{Board: "marker-board", BoardID: "b1", Command: "blink"}}}},
	wire.MethodCommandCancel: s4t.Operation{ID: "o1", Status: s4t.OperationCancelled},
	wire.MethodAgentsDrain:   s4t.Agent{ID: "tunnel-agent-1", URL: "https://marker"},
	wire.MethodFleetCreate:   s4t.Fleet{ID: "f1", Name: "marker-fleet"}, wire.MethodFleetUpdate: s4t.Fleet{ID: "f1", Name: "marker-fleet"}, wire.MethodFleetDelete: wire.Empty{},
	wire.MethodFleetTokenCreate: s4t.FleetToken{ID: "ft1", FleetName: "marker-fleet"}, wire.MethodFleetTokenRevoke: wire.Empty{},
	wire.MethodRolloutCreate: markerRollout, wire.MethodRolloutResume: markerRollout, wire.MethodRolloutAbort: markerRollout,
	wire.MethodOfferCreate: s4t.Offer{ID: "of1", Name: "marker-offer"}, wire.MethodOfferDelete: wire.Empty{},
	wire.MethodLeaseCreate: markerLease, wire.MethodLeaseExtend: markerLease, wire.MethodLeaseRelease: markerLease, wire.MethodLeaseShare: markerLease,
	wire.MethodBridgeAdd: s4t.Operation{ID: "o1", Object: "marker"}, wire.MethodBridgeRemove: s4t.Operation{ID: "o1", Object: "marker"},
	wire.MethodBundlePut: wire.BundleHas{Has: 1}, wire.MethodPluginCreate: s4t.Plugin{ID: "pl1", Name: "marker"}, wire.MethodPluginDelete: wire.Empty{}, wire.MethodRecordingDelete: wire.Empty{},
	wire.MethodPluginInject: s4t.Operation{ID: "o1", Object: "marker"}, wire.MethodPluginAct: s4t.Operation{ID: "o1", Object: "marker"},
}

// own methods are about the caller's own tokens: every role may use them.
var own = map[string]any{
	wire.MethodTokenCreate: s4t.Token{ID: "t1", Secret: "fresh"}, wire.MethodTokenRevoke: wire.Empty{},
	wire.MethodSessionGet: s4t.Session{User: "maria"}, wire.MethodSessionCode: s4t.LoginCode{Code: "fresh"},
	wire.MethodOperationDone: wire.Empty{},
}

var shown = map[string]any{
	wire.MethodProjectGet: s4t.Project{ID: "p1", Name: "marker-project"}, wire.MethodBoardGet: s4t.Board{ID: "b1", Name: "marker-board"},
	wire.MethodBoardDoctor: wire.DoctorReport{Board: "marker-board"}, wire.MethodServiceGet: s4t.Service{ID: "s1", Board: "marker-board"},
	wire.MethodBridgeGet: s4t.Bridge{ID: "br1", Name: "marker-bridge"}, wire.MethodNetworkGet: s4t.Network{ID: "n1", Name: "marker-network"},
	wire.MethodSubnetGet: s4t.Subnet{ID: "sn1", Network: "marker"}, wire.MethodPortGet: s4t.Port{ID: "po1", Board: "marker-board"},
	wire.MethodCommandGet: markerCommand, wire.MethodFeedFollow: wire.Empty{},
	wire.MethodRolloutGet:   markerRollout,
	wire.MethodOfferGet:     s4t.Offer{ID: "of1", Name: "marker-offer"},
	wire.MethodLeaseGet:     markerLease,
	wire.MethodFleetGet:     s4t.Fleet{ID: "f1", Name: "marker-fleet"},
	wire.MethodOperationGet: s4t.Operation{ID: "o1", Kind: "marker", Status: s4t.OperationSucceeded},
	wire.MethodPluginGet:    s4t.Plugin{ID: "pl1", Name: "marker-plugin"}, wire.MethodPluginStatus: listOf(s4t.BoardPlugin{Plugin: "marker-plugin"}),
	wire.MethodBoardTransfer:  s4t.Transfer{Name: "marker-board"},
	wire.MethodBoardClaim:     s4t.Board{Name: "marker-board"},
	wire.MethodCalendarCreate: s4t.Calendar{URL: "marker-url"},
	wire.MethodCalendarRead:   wire.CalendarText{Text: "marker-text"},
	wire.MethodCloudHosts:     wire.CloudHosts{Hosts: []string{"marker.example"}},
	wire.MethodRecordingRead:  wire.RecordingText{Data: "marker"},
	wire.MethodHealthGet:      s4t.BoardHealth{Board: "marker-board"},
	wire.MethodBoardProfile:   s4t.BoardProfile{Enforced: map[string]string{"cpu": "marker"}},
	wire.MethodBoardAsk:       wire.CodeAnswer{Lines: []s4t.LogLine{{Seq: 1, Text: "marker"}}},
}

var listed = map[string]any{
	wire.MethodProjectList: listOf(s4t.Project{ID: "p1", Name: "marker-project"}), wire.MethodUserList: listOf(s4t.User{ID: "x", Name: "marker-user"}),
	wire.MethodTokenList: listOf(s4t.Token{ID: "x", User: "marker-user"}), wire.MethodBoardList: listOf(s4t.Board{ID: "b1", Name: "marker-board"}),
	wire.MethodServiceList: listOf(s4t.Service{ID: "s1", Board: "marker-board"}), wire.MethodBridgeList: listOf(s4t.Bridge{ID: "br1", Name: "marker-bridge"}),
	wire.MethodNetworkList: listOf(s4t.Network{ID: "n1", Name: "marker-network"}), wire.MethodSubnetList: listOf(s4t.Subnet{ID: "marker"}),
	wire.MethodPortList: listOf(s4t.Port{ID: "marker"}), wire.MethodNetworkPorts: listOf(s4t.Port{ID: "po1", Board: "marker-board"}), wire.MethodOperationList: listOf(s4t.Operation{ID: "o1", Kind: "marker"}),
	wire.MethodPinAll:      wire.PinBoards{List: listOf(wire.PinBoard{ID: "b1", Name: "marker-board", Pins: []s4t.Pin{markerPin}})},
	wire.MethodMetrics:     wire.Metrics{Boards: map[s4t.BoardStatus]int{s4t.BoardOnline: 1}},
	wire.MethodHealthAll:   wire.HealthMetrics{Boards: []wire.BoardMetrics{{ID: "b1", Name: "marker-board", Status: s4t.BoardOnline}}},
	wire.MethodOutageList:  listOf(s4t.Outage{Reason: s4t.OutageLink, Detail: "marker"}),
	wire.MethodCommandList: listOf(markerCommand),
	wire.MethodAgentsList:  listOf(s4t.Agent{ID: "tunnel-agent-1", URL: "https://marker"}),
	wire.MethodAgentsGet:   s4t.Agent{ID: "tunnel-agent-1", URL: "https://marker"},
	wire.MethodRolloutList: listOf(markerRollout),

	wire.MethodFleetTokenList: listOf(s4t.FleetToken{ID: "ft1", FleetName: "marker-fleet"}),
	wire.MethodOfferList:      listOf(s4t.Offer{ID: "of1", Name: "marker-offer"}),
	wire.MethodLeaseList:      listOf(markerLease),
	wire.MethodWhoCan:         listOf(s4t.Access{Project: "marker", By: "owner"}),
	wire.MethodBookingList:    listOf(s4t.BoardCalendar{ID: "b1", Name: "marker-board"}),
	wire.MethodBoardSearch:    listOf(s4t.FoundBoard{ID: "b1", Name: "marker-board"}),
	wire.MethodFleetList:      listOf(s4t.Fleet{ID: "f1", Name: "marker-fleet"}),
	wire.MethodRecordingList:  listOf(s4t.Recording{ID: "r1", Board: "marker-board"}),
	wire.MethodPluginList:     listOf(s4t.Plugin{ID: "pl1", Name: "marker-plugin"}),
	wire.MethodAuditList:      listOf(s4t.AuditRecord{User: "marker-user"}),
	wire.MethodBoardPlaces:    listOf(s4t.Place{Location: s4t.Location{Latitude: 4711}}),
	wire.MethodAuditChain:     s4t.AuditChain{Head: s4t.AuditHead{Chain: "marker-chain"}},
}

func listOf[T any](items ...T) wire.List[T] { return wire.List[T]{Items: items, EventID: 4711} }

func (f *fakeConductor) handle(_ context.Context, method string, body []byte) ([]byte, error) {
	var req struct {
		Caller   wire.Caller
		Secret   string
		After    json.RawMessage
		Limit    int
		User     string
		Password string
		Ref      string
		Board    string
		Boards   []string
		Fleet    string
		ID       string
		Ask      wire.PinAsk
		Data     []byte
	}
	if err := json.Unmarshal(body, &req); err != nil {
		return nil, err
	}
	after, _ := strconv.ParseInt(string(req.After), 10, 64)
	f.mu.Lock()
	defer f.mu.Unlock()
	if method == wire.MethodVerify {
		c, ok := callers[req.Secret]
		if s, begun := f.sessions[req.Secret]; begun {
			c, ok = s, true
		}
		if !ok || f.revoked[req.Secret] {
			return nil, s4t.Errorf(s4t.Unauthenticated, "authenticate", "log in again", "the token is not valid")
		}
		return json.Marshal(c)
	}
	if method != wire.MethodEventFeed && method != wire.MethodPinWatch && method != wire.MethodFeedFollow { // the API asks these by itself
		f.calls = append(f.calls, method+" by "+req.Caller.User)
		f.ref = req.Ref + req.Board + req.ID
		switch method {
		case wire.MethodCommandFleet, wire.MethodRolloutCreate, wire.MethodFleetTokenCreate, wire.MethodFleetTokenList, wire.MethodFleetTokenRevoke:
			f.ref = req.Fleet + strings.Join(req.Boards, ",")
		}
		if method == wire.MethodPinAll {
			var all wire.PinAll
			json.Unmarshal(body, &all)
			f.ref = strings.Join(all.Boards, ",")
		}
	}
	if a, ok := f.answer[method]; ok {
		v, err := a(body)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}
	if method == wire.MethodSessionOpen {
		var open wire.SessionOpen
		json.Unmarshal(body, &open)
		if open.Login.Password != "right-password" && open.Code != "right-code" {
			return nil, s4t.Errorf(s4t.Unauthenticated, "begin a session", "", "wrong user or password")
		}
		f.sessions = map[string]wire.Caller{open.Secret: callers["member-secret"]}
		return json.Marshal(s4t.Session{User: "maria", Role: s4t.RoleMember, Project: home, ProjectName: "home", Token: "t1", Browser: true})
	}
	if method == wire.MethodLogin {
		if req.Password != "right-password" {
			return nil, s4t.Errorf(s4t.Unauthenticated, "log in as "+req.User, "", "wrong user or password")
		}
		return json.Marshal(s4t.Token{ID: "t1", Secret: "member-secret"})
	}
	sees := req.Caller.Project == home || req.Caller.Role == s4t.RoleAdmin
	if method == wire.MethodPinWatch {
		return json.Marshal(wire.PinAnswer{})
	}
	if method == wire.MethodPinAsk {
		return f.pins(req.Caller, req.Ask, sees)
	}
	if method == wire.MethodBundlePut && len(req.Data) == 0 { // asked only
		return json.Marshal(wire.BundleHas{Has: 1})
	}
	if v, ok := changing[method]; ok {
		switch {
		case !req.Caller.Role.Covers(s4t.RoleMember):
			return nil, s4t.Errorf(s4t.Forbidden, method, "", "the role %s does not allow it", req.Caller.Role)
		case !sees:
			return nil, s4t.Errorf(s4t.NotFound, method, "", "it does not exist")
		}
		f.changes++
		return json.Marshal(v)
	}
	if v, ok := own[method]; ok {
		return json.Marshal(v)
	}
	if v, ok := shown[method]; ok {
		if !sees {
			return nil, s4t.Errorf(s4t.NotFound, method, "", "it does not exist")
		}
		return json.Marshal(v)
	}
	if v, ok := listed[method]; ok {
		if !sees {
			return []byte("null"), nil
		}
		return json.Marshal(v)
	}
	if method == wire.MethodEventList || method == wire.MethodEventFeed {
		var l wire.List[s4t.Event]
		for _, e := range f.events {
			if e.ID > after && (method == wire.MethodEventFeed || req.Caller.Role == s4t.RoleAdmin || e.Project == req.Caller.Project) && (req.Limit == 0 || len(l.Items) < req.Limit) {
				l.Items = append(l.Items, e)
			}
			l.EventID = e.ID
		}
		return json.Marshal(l)
	}
	return nil, s4t.Errorf(s4t.NotFound, method, "", "no such method")
}

type rig struct {
	*fakeConductor
	q         *queue.Mem
	url       string
	ca        string            // PEM; empty without TLS
	transport http.RoundTripper // of do; nil: the default one, whose connections end with each request
	log       *strings.Builder  // read it after the requests only
}

// client with one of the tokens of callers.
func (r *rig) client(t *testing.T, token string) *apiclient.Client {
	t.Helper()
	c, err := apiclient.New(apiclient.Config{URL: r.url, Token: token, CA: r.ca})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// lockedWriter lets several goroutines log.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{fakeConductor: &fakeConductor{revoked: map[string]bool{}, answer: map[string]func([]byte) (any, error){}}, q: queue.New(), log: &strings.Builder{}}
	a, err := api.New(api.Config{Queue: r.q, Version: "1.2.3", Log: slog.New(slog.NewTextHandler(&lockedWriter{w: r.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() { r.q.Serve(ctx, wire.TopicConductor, "", 8, r.handle) })
	done.Go(func() { r.q.Serve(ctx, wire.TopicQuestions, "", 8, r.handle) })
	done.Go(func() { r.q.Serve(ctx, wire.TopicPins, "", 8, r.handle) })
	done.Go(func() { r.q.Serve(ctx, wire.TopicCommands, "", 8, r.handle) })
	done.Go(func() { r.q.Serve(ctx, wire.TopicBundles, "", 8, r.handle) })
	done.Go(func() { a.Run(ctx) })
	// Serve has no ready signal; a call that is answered is one.
	for r.q.Call(ctx, wire.TopicConductor, wire.MethodVerify, wire.VerifyRequest{Secret: "admin-secret"}, nil) != nil {
	}
	for r.q.Call(ctx, wire.TopicPins, wire.MethodPinAll, wire.PinAll{Caller: callers["admin-secret"]}, nil) != nil {
	}
	for r.q.Call(ctx, wire.TopicCommands, wire.MethodCommandList, wire.CommandList{Caller: callers["admin-secret"]}, nil) != nil {
	}
	for r.q.Call(ctx, wire.TopicBundles, wire.MethodBundlePut, wire.BundlePut{Caller: callers["admin-secret"]}, nil) != nil {
	}
	for r.q.Call(ctx, wire.TopicEvents, wire.MethodNews, wire.News{}, nil) != nil {
	}
	srv := httptest.NewServer(a.Handler())
	r.url = srv.URL
	t.Cleanup(func() { cancel(); done.Wait(); srv.Close() })
	return r
}

// do sends a raw request.
func (r *rig) do(t *testing.T, method, path, token, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	req = req.WithContext(ctx)
	transport := r.transport
	if transport == nil {
		transport = http.DefaultTransport
		defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if path == "/v1/events" || strings.HasSuffix(path, "/stream") { // it does not end by itself
		defer time.AfterFunc(200*time.Millisecond, end).Stop()
	}
	b, _ := io.ReadAll(res.Body)
	return res, string(b)
}

func problem(t *testing.T, body string) apiclient.Problem {
	t.Helper()
	var p apiclient.Problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("not a problem: %v: %s", err, body)
	}
	return p
}

func TestErrors(t *testing.T) {
	r := newRig(t)
	tests := []struct {
		name                  string
		method, path, tok, in string
		status                int
		kind                  s4t.Kind
		detail                string // a part of it
	}{
		{"an unknown field is named", "POST", "/v1/boards", "member-secret", `{"name":"x","nmae":"y"}`, 400, s4t.Invalid, "nmae"},
		{"a missing field is named", "POST", "/v1/boards", "member-secret", `{}`, 400, s4t.Invalid, "name"},
		{"a body that is no JSON", "POST", "/v1/boards", "member-secret", `{"name":`, 400, s4t.Invalid, "body"},
		{"two bodies", "POST", "/v1/boards", "member-secret", `{"name":"x"}{"name":"y"}`, 400, s4t.Invalid, "body"},
		{"no body", "POST", "/v1/boards", "member-secret", ``, 400, s4t.Invalid, "body is required"},
		{"a caller in the body", "POST", "/v1/boards", "member-secret", `{"name":"x","caller":{"role":"admin"}}`, 400, s4t.Invalid, "caller"},
		{"a body that nests too deeply", "POST", "/v1/boards", "member-secret", strings.Repeat(`{"a":`, 20000), 400, s4t.Invalid, "nests too deeply"},
		{"a body that is too large", "POST", "/v1/boards", "member-secret", `{"name":"` + strings.Repeat("x", s4t.MaxMessage) + `"}`, 413, s4t.Invalid, "too large"},
		{"parameters that are too large", "POST", "/v1/boards/b/commands/c", "member-secret", `{"a":"` + strings.Repeat("x", s4t.MaxCommandParams) + `"}`, 413, s4t.Invalid, "limit=65536 bytes"},
		{"a DNS name where there is no zone", "PATCH", "/v1/boards/b/services/s", "member-secret", `{"dns_name":"kitchen-ssh"}`, 409, s4t.Conflict, "no DNS zone"},
		{"a number out of range", "POST", "/v1/boards/b/streams", "member-secret", `{"port":70000}`, 400, s4t.Invalid, "port"},
		{"an unknown query parameter", "GET", "/v1/boards?color=red", "member-secret", "", 400, s4t.Invalid, "color"},
		{"a status that is none", "GET", "/v1/boards?status=happy", "member-secret", "", 400, s4t.Invalid, "status"},
		{"a label without a value", "GET", "/v1/boards?label=x", "member-secret", "", 400, s4t.Invalid, "label"},
		{"a duration that is none", "GET", "/v1/audit?since=yesterday", "member-secret", "", 400, s4t.Invalid, "yesterday"},
		{"a wait that is too long", "GET", "/v1/operations/x?wait=2h", "member-secret", "", 400, s4t.Invalid, "wait"},
		{"an event id that is none", "GET", "/v1/events?after=x", "member-secret", "", 400, s4t.Invalid, "event"},
		{"a name that is too long", "GET", "/v1/boards/" + strings.Repeat("x", 64), "member-secret", "", 400, s4t.Invalid, "board"},
		{"a path that is no route", "GET", "/v1/nothing", "member-secret", "", 404, s4t.NotFound, "no such route"},
		{"a method that is not allowed", "PUT", "/v1/boards", "member-secret", "", 405, s4t.Invalid, "not allowed"},
		{"a wrong password", "POST", "/v1/login", "", `{"user":"maria","password":"sesame-xyzzy"}`, 401, s4t.Unauthenticated, "wrong user or password"},
		{"a token in no known scheme", "GET", "/v1/boards", "", "", 401, s4t.Unauthenticated, "no token"},
		{"a reader that changes", "DELETE", "/v1/boards/b", "reader-secret", "", 403, s4t.Forbidden, "reader"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res, body := r.do(t, tt.method, tt.path, tt.tok, tt.in)
			if res.StatusCode != tt.status {
				t.Fatalf("status %d, want %d: %s", res.StatusCode, tt.status, body)
			}
			p := problem(t, body)
			if p.Kind != tt.kind || p.Status != tt.status || !strings.Contains(p.Detail, tt.detail) {
				t.Errorf("got %+v, want kind %s and a detail with %q", p, tt.kind, tt.detail)
			}
			if ct := res.Header.Get("Content-Type"); ct != "application/problem+json" {
				t.Errorf("content type %q", ct)
			}
			if strings.Contains(body, "sesame") || len(body) > 2000 {
				t.Errorf("the request is echoed: %.300s", body)
			}
		})
	}
	for _, secret := range []string{"sesame", "member-secret", "reader-secret"} {
		if strings.Contains(r.log.String(), secret) {
			t.Errorf("%q is in the log", secret)
		}
	}
}

// TestTheRestOfABodyIsNoRequest sends a body that is too long, and behind its
// first part what looks like a request: a reverse proxy sends requests of many
// users over one connection.
func TestTheRestOfABodyIsNoRequest(t *testing.T) {
	r := newRig(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", 3*s4t.MaxMessage, strings.Repeat("x", s4t.MaxMessage+1))
	answers := bufio.NewReader(conn)
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
	io.WriteString(conn, "GET /v1/version HTTP/1.1\r\nHost: x\r\n\r\n")
	if resp, err := http.ReadResponse(answers, nil); err == nil {
		t.Errorf("a part of the body was answered with %d", resp.StatusCode)
	}
}

func TestEveryKindHasItsStatus(t *testing.T) {
	r := newRig(t)
	for kind, want := range map[s4t.Kind]int{
		s4t.Invalid: 400, s4t.Unauthenticated: 401, s4t.Forbidden: 403, s4t.NotFound: 404, s4t.Conflict: 409, s4t.Stale: 409, s4t.Offline: 503,
		s4t.Unavailable: 503, s4t.Timeout: 504, s4t.TooMany: 429, s4t.Internal: 500,
	} {
		r.mu.Lock()
		r.answer[wire.MethodBoardGet] = func([]byte) (any, error) { return nil, s4t.Errorf(kind, "look", "do this", "what is wrong") }
		r.mu.Unlock()
		res, body := r.do(t, "GET", "/v1/boards/b", "member-secret", "")
		p := problem(t, body)
		if res.StatusCode != want || p.Kind != kind {
			t.Errorf("%s: status %d, want %d; %s", kind, res.StatusCode, want, body)
		}
		if kind != s4t.Internal && (p.Detail != "look: what is wrong" || p.Hint != "do this") {
			t.Errorf("%s: %+v", kind, p)
		}
		if kind == s4t.Internal && strings.Contains(body, "what is wrong") {
			t.Errorf("an internal error is shown: %s", body)
		}
		// What the client makes of it is what the conductor said.
		_, err := r.client(t, "member-secret").Board(t.Context(), "b")
		if s4t.KindOf(err) != kind {
			t.Errorf("%s: the client got %v", kind, err)
		}
		if kind != s4t.Internal && err.Error() != "look: what is wrong; do this" {
			t.Errorf("%s: the client says %q", kind, err)
		}
	}
}

func TestTokenInEitherHeader(t *testing.T) {
	r := newRig(t)
	for header, value := range map[string]string{"Authorization": "bearer member-secret", "X-Auth-Token": "member-secret"} {
		req, _ := http.NewRequest("GET", r.url+"/v1/boards", nil)
		req.Header.Set(header, value)
		res, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: status %d", header, res.StatusCode)
		}
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
}

func TestListsAreBareArraysEvenWhenEmpty(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"boards", "bridges", "services", "networks", "subnets", "ports", "operations", "audit", "projects", "users", "tokens"} {
		if _, body := r.do(t, "GET", "/v1/"+path, "foreign-token", ""); strings.TrimSpace(body) != "[]" {
			t.Errorf("%s: %s", path, body)
		}
	}
}

func TestSuccessCodesAndLocations(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		location           string
	}{
		{"POST", "/v1/boards", `{"name":"kitchen","labels":{"a":"b"},"location":{"latitude":1,"longitude":2,"altitude":0}}`, 201, "/v1/boards/b1"},
		{"PATCH", "/v1/boards/kitchen", `{"type":"rpi"}`, 200, ""},
		{"DELETE", "/v1/boards/kitchen", ``, 204, ""},
		{"POST", "/v1/boards/kitchen/services", `{"service":"ssh"}`, 202, "/v1/operations/o1"},
		{"DELETE", "/v1/boards/kitchen/services/ssh", ``, 202, "/v1/operations/o1"},
		{"POST", "/v1/bridges", `{"name":"lab","boards":["a","b"],"cidr":"none","layer":3,"guards":{"allow_any_source":true,"allow_dhcp":false,"allow_ra":false}}`, 202, "/v1/operations/o1"},
		{"POST", "/v1/bridges/lab/boards", `{"boards":["c"]}`, 202, "/v1/operations/o1"},
		{"POST", "/v1/bridges/lab/boards/remove", `{"boards":["c"]}`, 202, "/v1/operations/o1"},
		{"DELETE", "/v1/bridges/lab", ``, 202, "/v1/operations/o1"},
		{"PUT", "/v1/users/maria/password", `{"password":"another"}`, 204, ""},
		{"PUT", "/v1/users/-/password", `{"password":"another"}`, 204, ""},
		{"POST", "/v1/tokens", `{"expires":"24h"}`, 201, "/v1/tokens/t1"},
		{"POST", "/v1/boards/kitchen/streams", `{"port":22}`, 200, ""},
		{"GET", "/v1/version", ``, 200, ""},
	} {
		res, body := r.do(t, tt.method, tt.path, "member-secret", tt.body)
		if res.StatusCode != tt.status || res.Header.Get("Location") != tt.location {
			t.Errorf("%s %s: status %d, location %q: %s", tt.method, tt.path, res.StatusCode, res.Header.Get("Location"), body)
		}
	}
}

func TestAnErrorThatNobodyMeantIsNotShown(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.answer[wire.MethodBoardGet] = func([]byte) (any, error) { return nil, fmt.Errorf("plain") }
	r.mu.Unlock()
	res, body := r.do(t, "GET", "/v1/boards/b", "member-secret", "")
	if res.StatusCode != 500 || strings.Contains(body, "plain") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}
