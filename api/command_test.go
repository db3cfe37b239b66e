package api_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

var markerCommand = s4t.Command{
	Name: "blink", Board: "marker-board", BoardID: "b1", Source: s4t.CommandOfOwner, Description: "Blinks a lamp", Timeout: "30s",
	Params: json.RawMessage(`{"type":"object","properties":{"times":{"type":"integer","minimum":1}},"required":["times"],"additionalProperties":false}`),
	Result: json.RawMessage(`{"type":"integer"}`),
}

// ask sends a request of a member with headers.
func (r *rig) ask(t *testing.T, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	all := http.Header{}
	maps.Copy(all, header)
	all.Set("Authorization", "Bearer member-secret")
	return r.send(t, method, path, body, all)
}

// send sends a request with headers.
func (r *rig) send(t *testing.T, method, path, body string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(req.Header, header)
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

// runs has the fake conductor answer a run with op, and its operation with what
// later returns.
func (r *rig) runs(op s4t.Operation, later func() s4t.Operation) *wire.CommandRun {
	var asked wire.CommandRun
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer[wire.MethodCommandRun] = func(body []byte) (any, error) { return op, json.Unmarshal(body, &asked) }
	if later != nil {
		r.answer[wire.MethodOperationGet] = func([]byte) (any, error) { return later(), nil }
	}
	return &asked
}

func runOf(status s4t.OperationStatus, result string) s4t.Operation {
	op := s4t.Operation{ID: "o1", Kind: "command.run", Status: status, Steps: []s4t.Step{}, Run: &s4t.CommandRun{Board: "kitchen", BoardID: "b1", Command: "blink"}}
	if result != "" {
		op.Run.Result = json.RawMessage(result)
	}
	return op
}

// TestACommandIsAResource holds what a run asks of the conductor, and what each end
// of it is answered with.
func TestACommandIsAResource(t *testing.T) {
	r := newRig(t)
	failed := func(kind s4t.Kind, text string) s4t.Operation {
		op := runOf(s4t.OperationFailed, "")
		op.Error, op.ErrorKind = text, kind
		return op
	}
	const path = "/v1/boards/kitchen/commands/blink"
	for name, tt := range map[string]struct {
		path, body string
		header     http.Header
		op         s4t.Operation
		status     int
		answer     string // a part of it
	}{
		"a result":                      {path, `{"times": 3}`, nil, runOf(s4t.OperationSucceeded, `"done"`), 200, "\"done\"\n"},
		"no body":                       {path, ``, nil, runOf(s4t.OperationSucceeded, `null`), 200, "null\n"},
		"an integer that is long":       {path, `{"n": 9007199254740993}`, nil, runOf(s4t.OperationSucceeded, `9007199254740993`), 200, "9007199254740993\n"},
		"asynchronous":                  {path, `{}`, http.Header{"Prefer": {"respond-async"}}, runOf(s4t.OperationAccepted, ""), 202, `"status":"accepted"`},
		"queued":                        {path + "?queue=1h&deadline=5s", `{}`, http.Header{"Idempotency-Key": {"k1"}}, runOf(s4t.OperationQueued, ""), 202, `"status":"queued"`},
		"it failed":                     {path, `{}`, nil, failed(s4t.Internal, "exit status 3: no lamp"), 424, `run command \"blink\" on board \"kitchen\": exit status 3: no lamp`},
		"it lied":                       {path, `{}`, nil, failed(s4t.Invalid, "its result is not what it promised"), 424, `"kind":"failed"`},
		"it was late":                   {path, `{}`, nil, failed(s4t.Timeout, "it took more than 30s"), 504, `"kind":"timeout"`},
		"it was cancelled":              {path, `{}`, nil, runOf(s4t.OperationCancelled, ""), 424, "it was cancelled"},
		"it expired":                    {path, `{}`, nil, runOf(s4t.OperationExpired, ""), 503, `"kind":"offline"`},
		"parameters that are no object": {path, `[1]`, nil, runOf(s4t.OperationSucceeded, `1`), 400, "object"},
		"a deadline that is none":       {path + "?deadline=soon", `{}`, nil, runOf(s4t.OperationSucceeded, `1`), 400, "deadline"},
	} {
		asked := r.runs(tt.op, nil)
		res, body := r.ask(t, "POST", tt.path, tt.body, tt.header)
		if res.StatusCode != tt.status || !strings.Contains(body, tt.answer) {
			t.Errorf("%s: status %d, want %d: %s", name, res.StatusCode, tt.status, body)
		}
		if tt.status == 400 {
			continue
		}
		if res.Header.Get("Location") != "/v1/operations/o1" || res.Header.Get("X-Operation-Id") != "o1" {
			t.Errorf("%s: headers %v", name, res.Header)
		}
		if tt.status >= 400 && problem(t, body).Operation != "o1" {
			t.Errorf("%s: %s", name, body)
		}
		want := strings.ReplaceAll(tt.body, " ", "")
		if want == "" {
			want = "{}"
		}
		if strings.ReplaceAll(string(asked.Params), " ", "") != want || asked.Board != "kitchen" || asked.Command != "blink" || asked.Caller.User != "maria" {
			t.Errorf("%s: asked %+v", name, asked)
		}
		if name == "queued" && (asked.Queue != time.Hour || asked.Deadline != 5*time.Second || asked.Key != "k1" || asked.Async) {
			t.Errorf("queued: asked %+v", asked)
		}
		if name == "asynchronous" && (!asked.Async || res.Header.Get("Preference-Applied") != "respond-async") {
			t.Errorf("asynchronous: asked %+v, headers %v", asked, res.Header)
		}
	}
}

// TestARunIsWaitedFor: the answer comes when the operation has ended, and says where
// it is found while it has not.
func TestARunIsWaitedFor(t *testing.T) {
	r := newRig(t)
	var looks atomic.Int32
	r.runs(runOf(s4t.OperationStarted, ""), func() s4t.Operation {
		if looks.Add(1) < 3 {
			return runOf(s4t.OperationStarted, "")
		}
		return runOf(s4t.OperationSucceeded, `{"ok":true}`)
	})
	if res, body := r.ask(t, "POST", "/v1/boards/kitchen/commands/blink", `{}`, nil); res.StatusCode != 200 || body != "{\"ok\":true}\n" {
		t.Errorf("status %d: %s", res.StatusCode, body)
	}
	r.runs(runOf(s4t.OperationStarted, ""), func() s4t.Operation { return runOf(s4t.OperationStarted, "") })
	res, body := r.ask(t, "POST", "/v1/boards/kitchen/commands/blink", `{}`, http.Header{"Prefer": {"wait=2"}})
	if res.StatusCode != 202 || !strings.Contains(body, `"status":"started"`) || res.Header.Get("Preference-Applied") != "wait=2" {
		t.Errorf("status %d: %s", res.StatusCode, body)
	}
	looks.Store(0)
	r.runs(runOf(s4t.OperationStarted, ""), func() s4t.Operation {
		if looks.Add(1) < 3 {
			return runOf(s4t.OperationStarted, "")
		}
		return runOf(s4t.OperationSucceeded, `7`)
	})
	run, err := r.client(t, "member-secret").RunCommand(t.Context(), "kitchen", "blink", apiclient.RunOptions{})
	if err == nil && run.Pending != nil {
		var op s4t.Operation
		if op, err = r.client(t, "member-secret").WaitOperation(t.Context(), run.Operation, nil); err == nil {
			run.Result = op.Run.Result
		}
	}
	if err != nil || string(run.Result) != "7" {
		t.Errorf("the client: %s, %v", run.Result, err)
	}
}

// TestWhatACommandSaysIsStreamed sends lines as a board does, one message twice.
func TestWhatACommandSaysIsStreamed(t *testing.T) {
	r := newRig(t)
	var ended atomic.Bool
	feeds := make(chan wire.Feed, 1)
	started := runOf(s4t.OperationStarted, "")
	started.Steps = []s4t.Step{{Number: 1, Name: "accepted"}, {Number: 2, Name: "started"}}
	r.mu.Lock()
	r.answer[wire.MethodCommandRun] = func(body []byte) (any, error) {
		var req wire.CommandRun
		if err := json.Unmarshal(body, &req); err != nil || req.Feed == nil || !req.Async {
			return nil, s4t.Errorf(s4t.Internal, "run", "", "asked %+v, %v", req, err)
		}
		feeds <- *req.Feed
		return runOf(s4t.OperationAccepted, ""), nil
	}
	r.answer[wire.MethodOperationGet] = func([]byte) (any, error) {
		op := started
		if ended.Load() {
			op.Status = s4t.OperationSucceeded
			op.Run = &s4t.CommandRun{Board: "kitchen", Command: "blink", Result: json.RawMessage(`2`)}
		}
		return op, nil
	}
	r.mu.Unlock()
	s, err := r.client(t, "member-secret").StreamCommand(t.Context(), "kitchen", "blink", apiclient.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	feed := <-feeds
	send := func(end bool, lines ...s4t.LogLine) error {
		return r.q.Call(t.Context(), feed.Topic, wire.MethodFeedLines, wire.FeedLines{Feed: feed, Board: "b1", Lines: lines, End: end}, nil)
	}
	one, two := s4t.LogLine{Seq: 1, Stream: "output", Text: `{"lamp":1}`}, s4t.LogLine{Seq: 2, Stream: "output", Text: `"off"`}
	for _, err := range []error{send(false, one), send(false, one, two)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	ended.Store(true)
	if err := send(true); err != nil {
		t.Fatal(err)
	}
	var said []string
	for m := range s.All() {
		switch {
		case m.Output != nil:
			said = append(said, string(m.Output))
		case m.Ended:
			said = append(said, "result "+string(m.Operation.Run.Result))
		}
	}
	if want := []string{`{"lamp":1}`, `"off"`, "result 2"}; s.Err() != nil || !slices.Equal(said, want) || s.Operation != "o1" {
		t.Errorf("said %q, %v", said, s.Err())
	}
	for s4t.KindOf(send(false, one)) != s4t.NotFound { // nobody follows them any more, in a moment
		if t.Context().Err() != nil {
			t.Fatal("the feed stays")
		}
	}
}

// TestALogIsFollowed: lines of the board, without those that are too old and those
// that came before.
func TestALogIsFollowed(t *testing.T) {
	r := newRig(t)
	follows := make(chan wire.FeedFollow, 8)
	r.mu.Lock()
	r.answer[wire.MethodFeedFollow] = func(body []byte) (any, error) {
		var f wire.FeedFollow
		err := json.Unmarshal(body, &f)
		if !f.End {
			follows <- f
		}
		return wire.Empty{}, err
	}
	r.mu.Unlock()
	s, err := r.client(t, "member-secret").FollowPluginLog(t.Context(), "kitchen", "weather", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	f := <-follows
	if f.Plugin != "weather" || f.Board != "b1" {
		t.Errorf("followed %+v", f)
	}
	line := func(seq uint64, at time.Time) s4t.LogLine {
		return s4t.LogLine{Seq: seq, At: at, Stream: "stdout", Text: strconv.FormatUint(seq, 10)}
	}
	now := time.Now()
	for _, lines := range [][]s4t.LogLine{{line(1, now.Add(-2*time.Hour)), line(2, now)}, {line(2, now), line(3, now)}} {
		if err := r.q.Call(t.Context(), f.Feed.Topic, wire.MethodFeedLines, wire.FeedLines{Feed: f.Feed, Board: "b1", Lines: lines}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.q.Call(t.Context(), f.Feed.Topic, wire.MethodFeedLines, wire.FeedLines{Feed: f.Feed, Board: "b2", Lines: []s4t.LogLine{line(9, now)}}, nil); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("another board's lines: %v", err)
	}
	var got []string
	for m := range s.All() {
		if got = append(got, m.Text); len(got) == 2 {
			break
		}
	}
	s.Close()
	if !slices.Equal(got, []string{"2", "3"}) {
		t.Errorf("lines %q", got)
	}
}

// TestTheDocumentOfABoard: references within the schemas of commands still lead
// somewhere, and what is no schema is left alone.
func TestTheDocumentOfABoard(t *testing.T) {
	r := newRig(t)
	tricky := s4t.Command{
		Name: "relay-on", Timeout: "5s", Stream: true, Plugin: "relays", Source: s4t.CommandOfPlugin,
		Params: json.RawMessage(`{"$schema":"https://json-schema.org/draft/2020-12/schema","$id":"https://x/y","type":"object","required":["at"],
			"properties":{"at":{"$ref":"#/$defs/a~1b"},"again":{"$ref":"#"},"same":{"$ref":"#/properties/at"},"$ref":{"const":{"$ref":"#/left/alone"}},"named":{"$ref":"#here"}},
			"$defs":{"a/b":{"type":"integer","maximum":9007199254740993},"deep":{"$anchor":"here","properties":{"x":{"$ref":"#/$defs/deep/properties/y"},"y":{}}}}}`),
		Result: json.RawMessage(`true`),
	}
	r.mu.Lock()
	r.answer[wire.MethodCommandList] = func([]byte) (any, error) {
		return listOf(markerCommand, tricky, s4t.Command{Name: "relay.on", Timeout: "5s"}), nil
	}
	r.mu.Unlock()
	res, text := r.ask(t, "GET", "/v1/boards/kitchen/openapi.json", "", nil)
	var d map[string]any
	if err := json.Unmarshal([]byte(text), &d); err != nil || res.StatusCode != 200 {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, text)
	}
	var walk func(at string, v any)
	refs := 0
	walk = func(at string, v any) {
		switch v := v.(type) {
		case map[string]any:
			if to, ok := v["$ref"].(string); ok && to != "#/left/alone" {
				refs++
				var to any = d
				for key := range strings.SplitSeq(strings.TrimPrefix(v["$ref"].(string), "#/"), "/") {
					m, _ := to.(map[string]any)
					to = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(key)]
				}
				if to == nil {
					t.Errorf("%s leads nowhere: %s", at, v["$ref"])
				}
			}
			for k, sub := range v {
				walk(at+"/"+k, sub)
			}
		case []any:
			for i, sub := range v {
				walk(at+"/"+strconv.Itoa(i), sub)
			}
		}
	}
	walk("", d)
	for _, want := range []string{`"title": "marker-board"`, `"/commands/relay-on"`, `"RelayOnParamsAB"`, `"#/left/alone"`, `9007199254740993`, `"BlinkResult"`, `/v1/boards/b1"`} {
		if !strings.Contains(text, want) {
			t.Errorf("the document has no %s", want)
		}
	}
	for _, never := range []string{"$defs", "$anchor", "https://x/y"} {
		if strings.Contains(text, never) {
			t.Errorf("the document has %s", never)
		}
	}
	if refs < 40 {
		t.Errorf("%d references", refs)
	}
	if res, _ := r.ask(t, "GET", "/v1/boards/kitchen/openapi.json", "", http.Header{"If-None-Match": {res.Header.Get("ETag")}}); res.StatusCode != 304 {
		t.Errorf("the same again: status %d", res.StatusCode)
	}
}

// TestACommandOnManyBoards has a result for each.
func TestACommandOnManyBoards(t *testing.T) {
	r := newRig(t)
	slow := runOf(s4t.OperationStarted, "")
	away := s4t.Operation{Status: s4t.OperationFailed, Error: "it is offline", ErrorKind: s4t.Offline, Run: &s4t.CommandRun{Board: "away", Command: "blink"}}
	var asked wire.CommandFleet
	r.mu.Lock()
	r.answer[wire.MethodCommandFleet] = func(body []byte) (any, error) {
		return wire.CommandResults{Items: []s4t.Operation{away, slow}}, json.Unmarshal(body, &asked)
	}
	r.answer[wire.MethodOperationGet] = func([]byte) (any, error) { return runOf(s4t.OperationSucceeded, `1`), nil }
	r.mu.Unlock()
	l, err := r.client(t, "member-secret").RunCommands(t.Context(), "lamps", nil, "blink", apiclient.RunOptions{Params: json.RawMessage(`{"times":1}`)})
	if err != nil || asked.Fleet != "lamps" || string(asked.Params) != `{"times":1}` {
		t.Fatalf("asked %+v, %v", asked, err)
	}
	if len(l) != 2 || l[0].Board != "away" || l[0].ErrorKind != s4t.Offline || l[0].Operation != "" || l[1].Status != s4t.OperationSucceeded || string(l[1].Result) != "1" {
		t.Errorf("results %+v", l)
	}
	if _, err := r.client(t, "member-secret").RunCommands(t.Context(), "", []string{"a", "b"}, "blink", apiclient.RunOptions{}); err != nil || !slices.Equal(asked.Boards, []string{"a", "b"}) {
		t.Errorf("asked %+v, %v", asked, err)
	}
}
