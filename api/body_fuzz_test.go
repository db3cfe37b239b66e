package api_test

import (
	"context"
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stack4things/s4t/api"
	"github.com/stack4things/s4t/queue"
)

// direct calls a fake conductor without a queue between.
type direct struct{ *fakeConductor }

func (d direct) Call(ctx context.Context, _, method string, req, reply any) error {
	body, err := json.Marshal(req)
	if err != nil {
		return err
	}
	answer, err := d.handle(ctx, method, body)
	if err != nil || reply == nil {
		return err
	}
	return json.Unmarshal(answer, reply)
}

func (direct) Serve(ctx context.Context, _, _ string, _ int, _ queue.Handler) error {
	<-ctx.Done()
	return nil
}

// FuzzBody sends arbitrary bodies to every route that takes one. Each is
// answered with success or with a problem that says what is wrong with the
// request: it is never the cloud's own fault, and no long text is echoed.
func FuzzBody(f *testing.F) {
	routes := []string{"POST /v1/boards", "PATCH /v1/boards/b", "POST /v1/boards/b/streams", "POST /v1/boards/b/services", "POST /v1/bridges",
		"POST /v1/bridges/b/boards", "POST /v1/bridges/b/boards/remove", "POST /v1/projects", "POST /v1/users", "POST /v1/tokens", "POST /v1/login", "PUT /v1/users/u/password"}
	for i, body := range []string{
		`{"name":"x","labels":{"a":"b"},"location":{"latitude":1,"longitude":2}}`, `{"name":"y","location":{"latitude":1e308}}`, `{"port":22,"target":"127.0.0.1"}`,
		`{"service":"ssh","public_port":50000}`, `{"name":"lab","boards":["a","b"],"cidr":"10.0.0.0/24","mtu":1400,"guards":{"allow_ra":true}}`,
		`{"boards":["a"]}`, `{"boards":[]}`, `{"name":"p"}`, `{"name":"u","project":"p","role":"reader","password":"secret"}`,
		`{"role":"reader","expires":"24h"}`, `{"user":"u","password":"x"}`, `{"password":"x"}`,
	} {
		f.Add(uint8(i), body)
	}
	a, err := api.New(api.Config{Queue: direct{&fakeConductor{revoked: map[string]bool{}, answer: map[string]func([]byte) (any, error){}}}})
	if err != nil {
		f.Fatal(err)
	}
	h := a.Handler()
	f.Fuzz(func(t *testing.T, route uint8, body string) {
		method, path, _ := strings.Cut(routes[int(route)%len(routes)], " ")
		req := httptest.NewRequest(method, path, strings.NewReader(body))
		req.Header.Set("Authorization", "Bearer member-secret")
		req.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, req)
		switch {
		case w.Code >= 500:
			t.Errorf("%s %s %q: %d %s", method, path, body, w.Code, w.Body)
		case w.Code >= 400 && (w.Body.Len() > 2000 || w.Header().Get("Content-Type") != "application/problem+json"):
			t.Errorf("%s %s %q: %d %s %.300s", method, path, body, w.Code, w.Header(), w.Body)
		}
	})
}
