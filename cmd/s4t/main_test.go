package main

import (
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/fuse"
	"github.com/stack4things/s4t/wire"
)

func TestMain(m *testing.M) {
	testscript.Main(leakTest{m}, map[string]func(){"s4t": main})
}

// leakTest fails when the tests leave goroutines behind.
type leakTest struct{ m *testing.M }

// Run runs the tests.
func (l leakTest) Run() int {
	status := l.m.Run()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	return status
}

// TestScripts runs the command lines of testdata against a cloud that gives
// the same answers each time.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			srv := httptest.NewTLSServer(http.HandlerFunc(cannedCloud))
			env.Defer(srv.Close)
			ca := filepath.Join(env.WorkDir, "ca.pem")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}), 0o600); err != nil {
				return err
			}
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("URL", srv.URL)
			env.Setenv("CA", ca)
			env.Setenv("S4T_URL", srv.URL)
			env.Setenv("S4T_CA", ca)
			env.Setenv("S4T_TOKEN", "member")
			env.Setenv("GORACE", "atexit_sleep_ms=0") // else each program of a test with -race ends a second late
			env.Setenv("AGO", ago(longAgo, time.Now()))
			return nil
		},
		Condition: func(cond string) (bool, error) {
			if cond != "fuse" {
				return false, fmt.Errorf("there is no condition %q", cond)
			}
			return fuse.CanMount() == nil, nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"status": statusCommand},
	})
}

// statusCommand is `status N PROGRAM ARGS...`: the program ends with status N.
func statusCommand(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	if neg || err != nil {
		ts.Fatalf("usage: status N PROGRAM ARGS...")
	}
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		e, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit status %d, want %d", got, want)
	}
}

const (
	kitchenID = "11111111-1111-4111-8111-111111111111"
	gardenID  = "22222222-2222-4222-8222-222222222222"
)

var (
	longAgo   = time.Date(2020, 2, 3, 4, 5, 6, 0, time.UTC)
	steps     = []s4t.Step{{Number: 1, Name: s4t.StepName[1], At: longAgo}, {Number: 9, Name: s4t.StepName[9], At: longAgo, TookMS: 12.3}}
	cannedOne = map[string]any{
		"boards/kitchen": s4t.Board{ID: kitchenID, Name: "kitchen", Status: s4t.BoardOnline, Type: "rpi4", Labels: map[string]string{"room": "kitchen", "a": "b"},
			Generation: 4, AppliedGeneration: 3, CreatedAt: longAgo, LastSeen: &longAgo,
			Info: s4t.BoardInfo{OS: "linux", Arch: "arm64", Hostname: "evil\x1b[31mhost\nname", HostKeys: []string{"no key at all"}}, Problems: []string{"no /dev/net/tun"}},
		"boards/garden":            s4t.Board{ID: gardenID, Name: "garden", Status: s4t.BoardOffline, CreatedAt: longAgo, LastSeen: &longAgo},
		"boards/" + gardenID:       s4t.Board{ID: gardenID, Name: "garden", Status: s4t.BoardOffline, CreatedAt: longAgo, LastSeen: &longAgo},
		"services/s1":              s4t.Service{ID: "s1", Board: "kitchen", Name: "ssh", TCPPort: 22, Target: "127.0.0.1", Host: "cloud.example.org", PublicPort: 50022, Status: s4t.ServiceUp, CreatedAt: longAgo},
		"bridges/lab":              lab,
		"bridges/br1":              lab,
		"operations/o1":            s4t.Operation{ID: "o1", Kind: "bridge.create", Object: "br1", Status: s4t.OperationSucceeded, Steps: steps, CreatedAt: longAgo, EndedAt: &longAgo},
		"operations/o2":            s4t.Operation{ID: "o2", Kind: "service.expose", Object: "s1", Status: s4t.OperationSucceeded, Steps: steps, CreatedAt: longAgo},
		"operations/o3":            s4t.Operation{ID: "o3", Kind: "bridge.create", Object: "br1", Status: s4t.OperationFailed, Error: `create bridge "bad": board "garden" did not answer`, ErrorKind: s4t.Timeout, CreatedAt: longAgo},
		"operations/o7":            s4t.Operation{ID: "o7", Kind: "pin.write", Object: kitchenID, Status: s4t.OperationFailed, Error: "write pin reaped of board kitchen: user paul took it", ErrorKind: s4t.Conflict, CreatedAt: longAgo},
		"ports/po1":                s4t.Port{ID: "po1", Board: "kitchen", Status: s4t.PortUp, Interface: "s4t1", Addresses: []string{"10.77.0.2/24"}, MTU: 1500, Counters: &s4t.PortCounters{RxFrames: 7, RxBytes: 1234567, Dropped: s4t.PortDropped{SpoofedMAC: 3, Loop: 1}}},
		"networks/n1":              s4t.Network{ID: "n1", Name: "lab", Layer: 2, Encapsulation: s4t.EncapEthernet, MTU: 1500, Uplink: &s4t.Uplink{Bridge: "br0", Status: s4t.PortDown, Problem: "no br0"}, CreatedAt: longAgo},
		"operations/o6":            s4t.Operation{ID: "o6", Kind: "network.uplink", Object: "n1", Status: s4t.OperationSucceeded, CreatedAt: longAgo},
		"version":                  apiclient.Version{Version: "9.9.9", API: "v1"},
		"boards/kitchen/doctor":    wire.DoctorReport{Board: "kitchen", Status: s4t.BoardOnline, Findings: []wire.Finding{{Check: "mtu", Level: "warning", Cause: "a small link is in the path", Cure: "lower the MTU"}}},
		"projects/default-project": s4t.Project{ID: "default-project", Name: "default", CreatedAt: longAgo},
	}
	lab = s4t.Bridge{ID: "br1", Name: "lab", Status: s4t.BridgeDegraded, Layer: 2, Encapsulation: s4t.EncapEthernet, MTU: 1500, CIDR: "10.77.0.0/24", Network: "n1", CreatedAt: longAgo, Ports: []s4t.Port{
		{ID: "po1", Board: "kitchen", Status: s4t.PortUp, Interface: "s4t1", Addresses: []string{"10.77.0.2/24"}, MAC: "02:00:00:00:00:01"},
		{ID: "po2", Board: "garden", Status: s4t.PortPending, Interface: "s4t1", Addresses: []string{"10.77.0.3/24"}, MAC: "02:00:00:00:00:02", Problem: "it is offline"}}}
	cannedList = map[string]any{
		"boards":   []any{cannedOne["boards/kitchen"], cannedOne["boards/garden"]},
		"services": []any{cannedOne["services/s1"]}, "boards/kitchen/services": []any{cannedOne["services/s1"]},
		"bridges": []any{lab}, "projects": []any{cannedOne["projects/default-project"]}, "networks": []any{}, "subnets": []any{}, "ports": []any{},
		"operations": []any{cannedOne["operations/o1"], cannedOne["operations/o3"]},
		"users":      []s4t.User{{ID: "u1", Name: "maria", Project: "default-project", Role: s4t.RoleMember, CreatedAt: longAgo}},
		"tokens":     []s4t.Token{{ID: "t1", User: "maria", Project: "default-project", Role: s4t.RoleReader, CreatedAt: longAgo}, {ID: "t2", User: "maria", Project: "gone", Role: s4t.RoleReader, ExpiresAt: &longAgo, CreatedAt: longAgo}},
		"audit":      []s4t.AuditRecord{{At: longAgo, User: "maria", Action: "bridge.create", Name: "lab", Outcome: "ok"}},
	}
)

// cannedCloud answers as the API does.
func cannedCloud(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1/")
	say := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v)
	}
	refuse := func(status int, kind s4t.Kind, detail, hint string) {
		say(status, apiclient.Problem{Type: "about:blank", Status: status, Kind: kind, Detail: detail, Hint: hint})
	}
	var body struct {
		Name, Service, User, Password, Project string
		Weight                                 int
		RecordTerminals                        bool `json:"record_terminals"`
		Quota                                  map[s4t.QuotaKey]*int64
		RequireOnline                          bool `json:"require_online"`
		NewCode                                bool `json:"new_code"`
	}
	text, _ := io.ReadAll(r.Body)
	json.Unmarshal(text, &body)
	r.Body = io.NopCloser(bytes.NewReader(text))
	if path == "version" {
		say(200, cannedOne[path])
		return
	}
	if path == "login" {
		if body.Password != "right" {
			refuse(401, s4t.Unauthenticated, `log in as "`+body.User+`": wrong user or password`, "")
			return
		}
		say(200, s4t.Token{ID: "t1", Secret: "member", Project: "default-project"})
		return
	}
	if r.Header.Get("Authorization") != "Bearer member" {
		refuse(401, s4t.Unauthenticated, "authenticate: the token is not valid", "log in with `s4t login`")
		return
	}
	if strings.Contains("/"+path, "/pins") && cannedPins(w, r, path, say, refuse) {
		return
	}
	if cannedPlugins(w, r, path, say, refuse) {
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(text))
	switch r.Method + " " + path {
	case "GET boards":
		if r.URL.Query().Get("status") == "online" {
			say(200, []any{cannedOne["boards/kitchen"]})
			return
		}
	case "POST boards":
		switch body.Name {
		case "kitchen":
			refuse(409, s4t.Conflict, `create board "kitchen": there is one already`, "choose another name")
		case "bad!":
			refuse(400, s4t.Invalid, `name a board: board name "bad!" has a character that is not allowed`, "")
		default:
			say(201, s4t.Board{ID: gardenID, Name: body.Name, Status: s4t.BoardRegistered, Code: "c0de", Join: "s4t1.abc.12345678", CreatedAt: longAgo})
		}
		return
	case "DELETE boards/" + kitchenID, "DELETE boards/" + gardenID:
		w.WriteHeader(204)
		return
	case "POST projects", "PATCH projects/lab":
		p := s4t.Project{ID: "lab-project", Name: "lab", Weight: body.Weight, RecordTerminals: body.RecordTerminals, CreatedAt: longAgo}
		for key, limit := range body.Quota {
			if p.Quota == nil {
				p.Quota = map[s4t.QuotaKey]s4t.Quota{}
			}
			p.Quota[key] = s4t.Quota{Used: 3, Limit: s4t.DefaultQuota[key]}
			if limit != nil {
				p.Quota[key] = s4t.Quota{Used: 12345, Limit: *limit}
			}
		}
		say(200, p)
		return
	case "PATCH boards/kitchen":
		refuse(403, s4t.Forbidden, "update board kitchen: the role reader does not allow it", "")
		return
	case "PATCH boards/garden":
		if !body.NewCode {
			refuse(400, s4t.Invalid, "nothing is asked for", "")
			return
		}
		say(200, s4t.Board{ID: gardenID, Name: "garden", Status: s4t.BoardRegistered, Code: "c0de", Join: "s4t1.def.12345678", CreatedAt: longAgo})
		return
	case "POST bridges":
		switch {
		case body.RequireOnline:
			refuse(503, s4t.Offline, `create bridge "lab": not online: garden`, "")
		case body.Name == "bad":
			say(202, s4t.Operation{ID: "o3", Object: "br1", Status: s4t.OperationRunning})
		case body.Name == "slow":
			say(202, s4t.Operation{ID: "o4", Object: "br1", Status: s4t.OperationRunning, Steps: steps[:1]})
		default:
			say(202, s4t.Operation{ID: "o1", Kind: "bridge.create", Object: "br1", Status: s4t.OperationRunning, CreatedAt: longAgo})
		}
		return
	case "GET operations/o4": // never ends
		if r.URL.Query().Get("steps") == "0" {
			say(200, s4t.Operation{ID: "o4", Object: "br1", Status: s4t.OperationRunning, Steps: steps[:1]})
			return
		}
		<-r.Context().Done()
		return
	case "POST networks/lab/uplink", "DELETE networks/lab/uplink":
		say(202, s4t.Operation{ID: "o6", Object: "n1", Status: s4t.OperationRunning})
		return
	case "POST bridges/lab/boards", "POST bridges/lab/boards/remove", "DELETE bridges/br1":
		say(202, s4t.Operation{ID: "o1", Object: "br1", Status: s4t.OperationRunning})
		return
	case "POST boards/kitchen/services", "DELETE boards/kitchen/services/ssh":
		say(202, s4t.Operation{ID: "o2", Object: "s1", Status: s4t.OperationRunning})
		return
	case "POST boards/garden/streams":
		refuse(503, s4t.Offline, `connect to board "garden": it is offline`, "")
		return
	case "GET events":
		w.Header().Set("Content-Type", "text/event-stream")
		for i, kind := range []string{"board.online", "port.up"} {
			b, _ := json.Marshal(s4t.Event{ID: int64(i + 1), At: longAgo, Kind: kind, Object: kitchenID, Name: "kitchen", Detail: "it is there"})
			fmt.Fprintf(w, "id: %d\nevent: %s\ndata: %s\n\n", i+1, kind, b)
		}
		b, _ := json.Marshal(s4t.Event{ID: 9, At: longAgo, Kind: apiclient.EventReset, Detail: "not all events can be told"})
		fmt.Fprintf(w, "id: 9\nevent: reset\ndata: %s\n\n", b)
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	case "PUT users/-/password":
		if body.Password != "another" {
			refuse(400, s4t.Invalid, "no password", "")
			return
		}
		w.WriteHeader(204)
		return
	case "PUT users/root/password":
		refuse(403, s4t.Forbidden, "change the password of user \"root\": it needs the role admin", "")
		return
	}
	if r.Method == "GET" {
		if v, ok := cannedOne[path]; ok {
			say(200, v)
			return
		}
		if v, ok := cannedList[path]; ok {
			say(200, v)
			return
		}
	}
	refuse(404, s4t.NotFound, r.Method+" "+path+": it does not exist", "")
}
