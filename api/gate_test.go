package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/queue"
	"github.com/stack4things/s4t/wire"
)

// slowConductor knows the tokens of callers. What others than fred ask it holds
// until the test lets go.
type slowConductor struct {
	letGo  chan struct{}
	inWork atomic.Int32 // of those that it holds
	login  atomic.Pointer[wire.LoginRequest]
}

func (c *slowConductor) Call(ctx context.Context, _, method string, req, reply any) error {
	var caller wire.Caller
	switch req := req.(type) {
	case wire.VerifyRequest:
		caller, ok := callers[req.Secret]
		if !ok {
			return s4t.Errorf(s4t.Unauthenticated, "check the token", "", "it is not valid")
		}
		*reply.(*wire.Caller) = caller
		return nil
	case wire.LoginRequest:
		c.login.Store(&req)
		return nil
	case wire.RefRequest:
		caller = req.Caller
	case wire.BoardCreate:
		caller = req.Caller
	}
	if caller.User == "fred" {
		return nil
	}
	c.inWork.Add(1)
	defer c.inWork.Add(-1)
	select {
	case <-c.letGo:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *slowConductor) Serve(ctx context.Context, _, _ string, _ int, _ queue.Handler) error {
	<-ctx.Done()
	return nil
}

// gateRig is an API before a slow conductor, in the bubble of a test.
type gateRig struct {
	slowConductor
	handler http.Handler
}

func newGateRig(t *testing.T) *gateRig {
	t.Helper()
	r := &gateRig{slowConductor: slowConductor{letGo: make(chan struct{})}}
	a, err := api.New(api.Config{Queue: &r.slowConductor})
	if err != nil {
		t.Fatal(err)
	}
	r.handler = a.Handler()
	return r
}

func (r *gateRig) do(req *http.Request, token string) *httptest.ResponseRecorder {
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return w
}

// TestOneProjectsStormLeavesOthersServed is a reader with 600 requests at once,
// of the kind that is answered by the conductor and of the kind that waits for a
// board: row 3 and the storms of the security review.
func TestOneProjectsStormLeavesOthersServed(t *testing.T) {
	for path, most := range map[string]int32{"/v1/boards/mute": 8, "/v1/boards/mute/doctor": 8} {
		synctest.Test(t, func(t *testing.T) {
			r := newGateRig(t)
			var storm sync.WaitGroup
			var served, refused atomic.Int32
			began := time.Now()
			for range 600 {
				storm.Go(func() {
					switch w := r.do(httptest.NewRequest("GET", path, nil), "reader-secret"); {
					case w.Code == http.StatusOK:
						served.Add(1)
					case w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), "the project has too many requests at a time"):
						t.Errorf("%s: %d %s", path, w.Code, w.Body)
					default:
						refused.Add(1)
					}
				})
			}
			synctest.Wait()
			if n := r.inWork.Load(); n != most {
				t.Errorf("%s: %d are in work", path, n)
			}
			if w := r.do(httptest.NewRequest("GET", path, nil), "foreign-token"); w.Code != http.StatusOK || time.Since(began) != 0 {
				t.Errorf("%s: another project's was answered %d after %v", path, w.Code, time.Since(began))
			}
			time.Sleep(10 * time.Second)
			close(r.letGo)
			storm.Wait()
			if served.Load() != most || refused.Load() != 600-most {
				t.Errorf("%s: %d were served, %d refused", path, served.Load(), refused.Load())
			}
			if w := r.do(httptest.NewRequest("GET", path, nil), "reader-secret"); w.Code != http.StatusOK {
				t.Errorf("%s: after the storm: %d", path, w.Code)
			}
		})
	}
}

// TestStrangersDoNotTakeThePlacesOfThoseWhoAreKnown has tokens that are none
// wait at the conductor.
func TestStrangersDoNotTakeThePlacesOfThoseWhoAreKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newGateRig(t)
		for range 1000 {
			if w := r.do(httptest.NewRequest("GET", "/v1/boards/b", nil), "s4t_made_up"); w.Code != http.StatusUnauthorized {
				t.Fatal(w.Code)
			}
		}
		if w := r.do(httptest.NewRequest("GET", "/v1/boards/b", nil), "foreign-token"); w.Code != http.StatusOK {
			t.Errorf("a member's: %d", w.Code)
		}
	})
}

// unfinished is a body whose end does not come until its sender goes.
type unfinished struct {
	reading *atomic.Int64 // bytes of room that were taken for such bodies
	n       int64
	gone    chan struct{}
}

func (u *unfinished) Read([]byte) (int, error) {
	u.reading.Add(u.n)
	<-u.gone
	u.reading.Add(-u.n)
	return 0, errors.New("the client has gone")
}

func (u *unfinished) Close() error { return nil }

// TestUnfinishedBodiesDoNotTakeTheMemory is row 2: a stranger's 480 logins whose
// bodies do not end, and then a reader's.
func TestUnfinishedBodiesDoNotTakeTheMemory(t *testing.T) {
	for _, tt := range []struct {
		name, path, token string
		length            int64 // of the body; -1: it does not say
		most              int64 // bytes
	}{
		{"a stranger's logins", "/v1/login", "", 8000, 64 << 10},
		{"a stranger's logins that do not say how long", "/v1/login", "", -1, 64 << 10},
		{"a stranger's logins that say 1 MB", "/v1/login", "", s4t.MaxMessage, 64 << 10},
		{"a reader's", "/v1/boards", "reader-secret", 1 << 20, 2 << 20},
		{"a reader's that do not say how long", "/v1/boards", "reader-secret", -1, 2 << 20},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newGateRig(t)
			gone := make(chan struct{})
			var reading atomic.Int64
			var storm sync.WaitGroup
			each := tt.length
			if each < 0 || tt.token == "" {
				each = map[bool]int64{true: 8 << 10, false: 1 << 20}[tt.token == ""]
			}
			for range 480 {
				storm.Go(func() {
					req := httptest.NewRequest("POST", tt.path, &unfinished{&reading, each, gone})
					req.ContentLength = tt.length
					req.RemoteAddr = "203.0.113.9:4711"
					w := r.do(req, tt.token)
					if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
						t.Errorf("%s: no Retry-After", tt.name)
					}
				})
			}
			synctest.Wait()
			if n := reading.Load(); n == 0 || n > tt.most {
				t.Errorf("%s: %d bytes of bodies are waited for", tt.name, n)
			}
			login := httptest.NewRequest("POST", "/v1/login", strings.NewReader(`{"user":"maria","password":"correct horse"}`))
			login.RemoteAddr = "198.51.100.7:4711"
			if w := r.do(login, ""); w.Code != http.StatusOK || r.login.Load().Source != "198.51.100.7" {
				t.Errorf("%s: a login from elsewhere: %d, %+v", tt.name, w.Code, r.login.Load())
			}
			if w := r.do(httptest.NewRequest("POST", "/v1/boards", strings.NewReader(`{"name":"kitchen"}`)), "foreign-token"); w.Code != http.StatusCreated {
				t.Errorf("%s: another project's: %d %s", tt.name, w.Code, w.Body)
			}
			close(gone)
			storm.Wait()
			if reading.Load() != 0 {
				t.Errorf("%s: %d bytes are left", tt.name, reading.Load())
			}
		})
	}
}

func TestALoginIsShort(t *testing.T) {
	r := newRig(t)
	res, body := r.do(t, "POST", "/v1/login", "", `{"user":"maria","password":"`+strings.Repeat("x", 9<<10)+`"}`)
	if res.StatusCode != http.StatusRequestEntityTooLarge || problem(t, body).Kind != s4t.Invalid {
		t.Errorf("%d %s", res.StatusCode, body)
	}
}

// TestRetryAfterCrosses says when to come again, as the conductor said it.
func TestRetryAfterCrosses(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.answer[wire.MethodBoardGet] = func([]byte) (any, error) {
		return nil, s4t.Errorf(s4t.TooMany, "look", "", "too many").After(1500 * time.Millisecond)
	}
	r.mu.Unlock()
	res, body := r.do(t, "GET", "/v1/boards/b", "member-secret", "")
	if res.StatusCode != http.StatusTooManyRequests || res.Header.Get("Retry-After") != "2" {
		t.Errorf("%d, Retry-After %q: %s", res.StatusCode, res.Header.Get("Retry-After"), body)
	}
}

// TestAProjectShowsItsWatchers adds what only the API knows.
func TestAProjectShowsItsWatchers(t *testing.T) {
	r := newRig(t)
	r.mu.Lock()
	r.answer[wire.MethodProjectGet] = func([]byte) (any, error) {
		return s4t.Project{ID: home, Name: "home", Quota: map[s4t.QuotaKey]s4t.Quota{s4t.QuotaWatchers: {Limit: 1}}}, nil
	}
	r.mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", r.url+"/v1/events", nil)
	req.Header.Set("Authorization", "Bearer reader-secret")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	var p s4t.Project
	if _, body := r.do(t, "GET", "/v1/projects/home", "member-secret", ""); json.Unmarshal([]byte(body), &p) != nil || p.Quota[s4t.QuotaWatchers] != (s4t.Quota{Used: 1, Limit: 1}) {
		t.Errorf("%s", body)
	}
	if res, body := r.do(t, "GET", "/v1/events?after=0", "member-secret", ""); res.StatusCode != http.StatusConflict || !strings.Contains(body, "s4t project update home --quota watchers=N") {
		t.Errorf("one more stream: %d %s", res.StatusCode, body)
	}
}
