package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/stack4things/s4t"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	c, err := New(Config{URL: srv.URL + "/", Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestConfigurationsThatCannotWorkAreRefused(t *testing.T) {
	for _, tt := range []struct {
		name string
		c    Config
	}{
		{"no URL", Config{}},
		{"a URL without a scheme", Config{URL: "cloud.example.org:8812"}},
		{"a URL that is no http", Config{URL: "ftp://cloud"}},
		{"a token with a line end", Config{URL: "https://x", Token: "a\nb"}},
		{"a CA that is none", Config{URL: "https://x", CA: "hello"}},
	} {
		if _, err := New(tt.c); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

func TestErrorsSayWhatCanBeDone(t *testing.T) {
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   s4t.Kind
		text   string
	}{
		{"a problem is what the cloud said", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(409)
			json.NewEncoder(w).Encode(Problem{Kind: s4t.Conflict, Detail: "create board x: there is one", Hint: "choose another name"})
		}, s4t.Conflict, "create board x: there is one; choose another name"},
		{"a captive portal is named", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://portal.example/login", http.StatusFound)
		},
			s4t.Unavailable, "captive portal"},
		{"a proxy's page is not an answer of a cloud", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
			s4t.Unavailable, "not as an IoTronic does"},
		{"a page of another program is not understood", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") },
			s4t.Internal, "not understood"},
	} {
		c := serve(t, tt.answer)
		_, err := c.Board(t.Context(), "x")
		if s4t.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.text) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	c, _ := New(Config{URL: "http://127.0.0.1:1"})
	_, err := c.Boards(t.Context(), nil, "")
	if s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), "connection refused; check the URL and that iotronic runs") {
		t.Errorf("nobody there: %v", err)
	}
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := slow.Boards(ctx, nil, ""); s4t.KindOf(err) != s4t.Timeout {
		t.Errorf("no answer: %v", err)
	}
}

func TestTheTLSOfAnotherCloudIsRefusedWithTheReason(t *testing.T) {
	srv := httptest.NewTLSServer(http.NotFoundHandler())
	srv.Config.ErrorLog = nil
	defer srv.Close()
	c, err := New(Config{URL: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, err = c.Version(t.Context())
	if s4t.KindOf(err) != s4t.Unavailable || !strings.Contains(err.Error(), "not of the CA of this context") {
		t.Error(err)
	}
}

func TestRequestsCarryTokenAndEscapedNames(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Errorf("authorization %q", r.Header.Get("Authorization"))
		}
		if r.RequestURI != "/v1/boards/a%2F..%2Fb%3Fc" && r.RequestURI != "/v1/boards?label=k%3Dv&status=online" {
			t.Errorf("asked %s", r.RequestURI)
		}
		if r.URL.Query().Has("status") {
			fmt.Fprint(w, "[]")
			return
		}
		fmt.Fprint(w, `{"name":"x"}`)
	})
	if b, err := c.Board(t.Context(), "a/../b?c"); err != nil || b.Name != "x" {
		t.Error(b, err)
	}
	if _, err := c.Boards(t.Context(), map[string]string{"k": "v"}, s4t.BoardOnline); err != nil {
		t.Error(err)
	}
}

func TestWaitOperationTellsEachStepOnceAndOutlivesARestart(t *testing.T) {
	var n atomic.Int32
	step := func(numbers ...int) (l []s4t.Step) {
		for _, i := range numbers {
			l = append(l, s4t.Step{Number: i})
		}
		return l
	}
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		op := s4t.Operation{ID: "o", Status: s4t.OperationRunning}
		switch n.Add(1) {
		case 1:
			op.Steps = step(1, 2, 3)
		case 2:
			if r.URL.Query().Get("steps") != "3" {
				t.Errorf("asked %s", r.RequestURI)
			}
			w.WriteHeader(503)
			json.NewEncoder(w).Encode(Problem{Kind: s4t.Unavailable, Detail: "restarting"})
			return
		case 3:
			op.Steps = step(1, 2, 3, 4)
		default:
			op.Steps, op.Status, op.Error, op.ErrorKind = step(1, 2, 3, 4, 9), s4t.OperationFailed, "it did not work", s4t.Offline
		}
		json.NewEncoder(w).Encode(op)
	})
	var told []int
	op, err := c.WaitOperation(t.Context(), "o", func(s s4t.Step) { told = append(told, s.Number) })
	if err != nil || fmt.Sprint(told) != "[1 2 3 4 9]" {
		t.Errorf("told %v, %v", told, err)
	}
	if err := Failed(op); s4t.KindOf(err) != s4t.Offline || err.Error() != "it did not work" {
		t.Errorf("failed: %v", err)
	}
	if Failed(s4t.Operation{Status: s4t.OperationSucceeded}) != nil {
		t.Error("success is a failure")
	}
}

func TestWaitOperationSaysHowFarItCame(t *testing.T) {
	var n atomic.Int32
	ctx, end := context.WithCancelCause(t.Context())
	defer end(nil)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) > 1 {
			end(context.DeadlineExceeded)
			<-r.Context().Done()
			return
		}
		json.NewEncoder(w).Encode(s4t.Operation{Status: s4t.OperationRunning, Steps: []s4t.Step{{Number: 6, Name: "received"}}})
	})
	_, err := c.WaitOperation(ctx, "o", nil)
	if s4t.KindOf(err) != s4t.Timeout || !strings.Contains(err.Error(), "the last step was 6 (received)") {
		t.Error(err)
	}
	gone := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(404)
		json.NewEncoder(w).Encode(Problem{Kind: s4t.NotFound, Detail: "no such operation"})
	})
	if _, err := gone.WaitOperation(t.Context(), "o", nil); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("an operation that does not exist: %v", err)
	}
}

func TestEventsResumeWhereTheyWere(t *testing.T) {
	var n atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		last := r.Header.Get("Last-Event-Id")
		switch n.Add(1) {
		case 1:
			if last != "" {
				t.Errorf("began after %q", last)
			}
			fmt.Fprint(w, ": hello\n\nid: 4\nevent: k\ndata: {\"id\":4,\ndata: \"kind\":\"a\"}\n\n:\n\nid: 5\ndata: {\"id\":5}\n\ndata: {\"id\":6") // cut
		case 2:
			if last != "5" {
				t.Errorf("resumed after %q", last)
			}
			fmt.Fprint(w, "data: {\"id\":6}\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})
	s, err := c.Events(t.Context(), EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var ids []int64
	for e := range s.All() {
		if ids = append(ids, e.ID); len(ids) == 3 {
			break
		}
	}
	if fmt.Sprint(ids) != "[4 5 6]" || s.Err() != nil {
		t.Errorf("%v, %v", ids, s.Err())
	}
}

// TestEventsResumeWhereTheyBegan: the connection ends before the first event,
// and what happens until the next is not missed.
func TestEventsResumeWhereTheyBegan(t *testing.T) {
	for _, newest := range []string{"0", "7"} {
		var n atomic.Int32
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				w.Header().Set("X-Event-Id", newest)
				return
			}
			if last := r.Header.Get("Last-Event-Id"); last != newest {
				t.Errorf("resumed after %q, want %s", last, newest)
			}
			fmt.Fprint(w, "id: 8\ndata: {\"id\":8}\n\n")
		})
		s, err := c.Events(t.Context(), EventsOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for e := range s.All() {
			if e.ID != 8 {
				t.Errorf("event %d", e.ID)
			}
			break
		}
		s.Close()
	}
}

func TestEventsEndWithTheContextAndOnce(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.NewResponseController(w).Flush()
		if r.URL.Path == "/v1/events" && r.Header.Get("Last-Event-Id") == "" {
			<-r.Context().Done()
		}
	})
	ctx, cancel := context.WithCancel(t.Context())
	s, err := c.Events(ctx, EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	for range s.All() {
		t.Error("an event")
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
	once, err := c.Events(t.Context(), EventsOptions{Once: true, After: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range once.All() {
		t.Error("an event")
	}
	if _, err := c.Events(ctx, EventsOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that ended: %v", err)
	}
}

func TestAResetIsToldAndTheStreamGoesOnAfterIt(t *testing.T) {
	var n atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		last := r.Header.Get("Last-Event-Id")
		switch n.Add(1) {
		case 1:
			if last != "400" {
				t.Errorf("began after %q", last)
			}
			fmt.Fprint(w, "id: 60\nevent: reset\ndata: {\"id\":60,\"kind\":\"reset\"}\n\n:\nid: 72\n\n") // cut
		case 2:
			if last != "72" {
				t.Errorf("resumed after %q", last)
			}
			fmt.Fprint(w, "id: 73\ndata: {\"id\":73,\"kind\":\"k\"}\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})
	s, err := c.Events(t.Context(), EventsOptions{After: 400})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var got []string
	for e := range s.All() {
		if got = append(got, fmt.Sprint(e.ID, e.Kind)); len(got) == 2 {
			break
		}
	}
	if fmt.Sprint(got) != "[60reset 73k]" {
		t.Errorf("%v, %v", got, s.Err())
	}
}

// pages serves a list of n boards, size a page.
func pages(t *testing.T, n, size int, asked *[]string) *Client {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.RequestURI)
		if limit, err := strconv.Atoi(r.URL.Query().Get("limit")); err == nil {
			size = min(size, limit)
		}
		from, _ := strconv.Atoi(r.URL.Query().Get("after"))
		to := min(from+size, n)
		var l []s4t.Board
		for i := from; i < to; i++ {
			l = append(l, s4t.Board{Name: strconv.Itoa(i)})
		}
		if to < n {
			q := r.URL.Query()
			q.Set("after", strconv.Itoa(to))
			w.Header().Set("Link", "<"+r.URL.Path+"?"+q.Encode()+`>; rel="next"`)
		}
		json.NewEncoder(w).Encode(l)
	})
}

func TestListsAreReadPageByPage(t *testing.T) {
	for _, tt := range []struct {
		boards, first int
		want          string // requests
	}{
		{0, 0, "[/v1/boards?label=a%3Db]"},
		{7, 0, "[/v1/boards?label=a%3Db /v1/boards?after=3&label=a%3Db /v1/boards?after=6&label=a%3Db]"},
		{6, 0, "[/v1/boards?label=a%3Db /v1/boards?after=3&label=a%3Db]"},
		{7, 2, "[/v1/boards?label=a%3Db&limit=2]"},
		{7, 3, "[/v1/boards?label=a%3Db&limit=3]"},
		{7, 4, "[/v1/boards?label=a%3Db&limit=4 /v1/boards?after=3&label=a%3Db&limit=4]"}, // a page may be shorter
	} {
		var asked []string
		l, err := pages(t, tt.boards, 3, &asked).BoardList(map[string]string{"a": "b"}, "", "").First(t.Context(), tt.first)
		want := tt.boards
		if tt.first > 0 {
			want = min(want, tt.first)
		}
		if err != nil || l == nil || len(l) != want || fmt.Sprint(asked) != tt.want {
			t.Errorf("first %d of %d: %d boards, %v, asked %v", tt.first, tt.boards, len(l), err, asked)
		}
		for i, b := range l {
			if b.Name != strconv.Itoa(i) {
				t.Errorf("board %d is %s", i, b.Name)
			}
		}
	}
	var asked []string
	for b, err := range pages(t, 100, 10, &asked).BoardList(nil, "", "").Each(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if b.Name == "12" {
			break
		}
	}
	if len(asked) != 2 {
		t.Errorf("asked %v for 13 boards", asked)
	}
}

func TestAListThatCannotBeReadIsAnError(t *testing.T) {
	for name, link := range map[string]string{
		"a page leads to itself":                                  "</v1/boards>; rel=\"next\"",
		"the second page is no list":                              "</v1/version>; rel=\"next\"",
		"the second page says that the token is not valid (here)": "</v1/tokens>; rel=\"next\"",
	} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/v1/boards":
				w.Header().Set("Link", link)
				fmt.Fprint(w, `[{"name":"x"}]`)
			case "/v1/version":
				fmt.Fprint(w, `{}`)
			default:
				w.WriteHeader(401)
			}
		})
		if l, err := c.Boards(t.Context(), nil, ""); err == nil || l != nil {
			t.Errorf("%s: %v, %v", name, l, err)
		}
	}
}

func TestTheTokenGoesToNoOtherHost(t *testing.T) {
	for _, link := range []string{`<https://evil.example/v1/boards>; rel="next"`, `<//evil.example/v1/boards>; rel="next"`, `<@evil.example/v1/>; rel="next"`, `</v1/boards>; rel="prev"`, `nonsense`} {
		c := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Link", link)
			fmt.Fprint(w, `[]`)
		})
		if l, err := c.Boards(t.Context(), nil, ""); err != nil || len(l) != 0 {
			t.Errorf("%s: %v, %v", link, l, err)
		}
	}
}

func TestWaitOperationDoesNotSpin(t *testing.T) {
	var n atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) { // too many wait: it is answered at once
		n.Add(1)
		json.NewEncoder(w).Encode(s4t.Operation{Status: s4t.OperationRunning, Steps: []s4t.Step{{Number: 1}}})
	})
	ctx, cancel := context.WithTimeout(t.Context(), 3*betweenPolls)
	defer cancel()
	if _, err := c.WaitOperation(ctx, "o", nil); s4t.KindOf(err) != s4t.Timeout {
		t.Error(err)
	}
	if n.Load() > 5 { // the first, with a step, and one a pause
		t.Errorf("asked %d times", n.Load())
	}
}

// FuzzEvents holds that no stream, of events or of samples, makes the reader
// panic or run on.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{"id: 1\ndata: {\"id\":1}\n\n", ": x\n\n", "data\n\n", "data:\n\n", "data: [\n\n", "\n\n\n", "data: {\"id\":9223372036854775807}\r\n\r\n", "id: 7\n\n", "event: board\ndata: {\"status\":\"offline\"}\n\nid: 3\ndata: {\"pin\":\"a/b/c\",\"seq\":3,\"value\":1}\n\n", "id: x\nid: -1\nevent: reset\ndata: {\"kind\":\"reset\"}\n\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ctx, cancel := context.WithCancel(context.Background())
		open := func() stream {
			return stream{c: &Client{}, ctx: ctx, cancel: cancel, hangUp: cancel, once: true, body: body{strings.NewReader(text)}}
		}
		for range (&EventStream{stream: open()}).All() {
		}
		for range (&PinStream{stream: open(), last: map[string]s4t.Sample{}}).All() {
		}
	})
}

type body struct{ *strings.Reader }

// Close does nothing.
func (body) Close() error { return nil }
