package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
)

// TestAProjectHasItsManagersAndItsQuotas goes through HTTP, as a cloud ships.
func TestAProjectHasItsManagersAndItsQuotas(t *testing.T) {
	r, admin := newCloud(t)
	ask := func(token, method, path, body string, want int) string {
		t.Helper()
		res, text := r.do(t, method, path, token, body)
		if res.StatusCode != want {
			t.Fatalf("%s %s %s: status %d, want %d: %s", method, path, body, res.StatusCode, want, text)
		}
		return text
	}
	login := func(user string) string {
		t.Helper()
		var token s4t.Token
		if err := json.Unmarshal([]byte(ask("", "POST", "/v1/login", `{"user":"`+user+`","password":"`+user+`-password"}`, http.StatusOK)), &token); err != nil {
			t.Fatal(err)
		}
		return token.Secret
	}
	user := func(token, name, project, role string, want int) {
		t.Helper()
		ask(token, "POST", "/v1/users", `{"name":"`+name+`","project":"`+project+`","role":"`+role+`","password":"`+name+`-password"}`, want)
	}
	for _, p := range []string{"lab", "other"} {
		ask(admin, "POST", "/v1/projects", `{"name":"`+p+`"}`, http.StatusCreated)
	}
	user(admin, "manfred", "lab", "manager", http.StatusCreated)
	user(admin, "stranger", "other", "member", http.StatusCreated)
	manager := login("manfred")
	user(manager, "maria-of-lab", "lab", "member", http.StatusCreated)
	user(manager, "maria-of-all", "lab", "admin", http.StatusForbidden)
	user(manager, "maria-of-other", "other", "reader", http.StatusNotFound)
	if text := ask(manager, "POST", "/v1/users", `{"name":"mini","project":"lab","role":"reader","password":"elevenbytes"}`, http.StatusBadRequest); !strings.Contains(text, "12 to 1024 bytes") {
		t.Error(text)
	}
	maria := login("maria-of-lab")
	user(maria, "x", "lab", "reader", http.StatusForbidden)
	ask(manager, "GET", "/v1/users/maria-of-lab", "", http.StatusOK)
	ask(manager, "GET", "/v1/users/stranger", "", http.StatusNotFound)
	ask(manager, "PUT", "/v1/users/stranger/password", `{"password":"another password"}`, http.StatusNotFound)
	ask(manager, "DELETE", "/v1/users/stranger", "", http.StatusNotFound)

	const lab = "/v1/projects/lab"
	ask(manager, "PATCH", lab, `{"quota":{"tokens":9}}`, http.StatusForbidden)
	ask(admin, "PATCH", lab, `{"quota":{"cups":9}}`, http.StatusBadRequest)
	ask(admin, "PATCH", lab, `{"quota":{"tokens":-2}}`, http.StatusBadRequest)
	quota := func(text string) map[s4t.QuotaKey]s4t.Quota {
		t.Helper()
		var p s4t.Project
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatal(err)
		}
		return p.Quota
	}
	if q := quota(ask(admin, "PATCH", lab, `{"quota":{"tokens":1,"boards":-1}}`, http.StatusOK)); q["tokens"] != (s4t.Quota{Limit: 1}) || q["boards"] != (s4t.Quota{Limit: s4t.Unlimited}) {
		t.Errorf("%+v", q)
	}
	ask(maria, "POST", "/v1/tokens", `{}`, http.StatusCreated)
	text := ask(maria, "POST", "/v1/tokens", `{}`, http.StatusConflict)
	for _, want := range []string{`uses 1 of its 1 tokens`, "s4t project update lab --quota tokens=N"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q: %s", want, text)
		}
	}
	if q := quota(ask(maria, "GET", lab, "", http.StatusOK)); q["tokens"] != (s4t.Quota{Used: 1, Limit: 1}) || q["users"].Used != 2 {
		t.Errorf("%+v", q)
	}
	if q := quota(ask(admin, "PATCH", lab, `{"quota":{"tokens":null}}`, http.StatusOK)); q["tokens"].Limit != s4t.DefaultQuota["tokens"] || q["boards"].Limit != s4t.Unlimited {
		t.Errorf("%+v", q)
	}
	ask(maria, "POST", "/v1/tokens", `{}`, http.StatusCreated)
	ask(manager, "DELETE", "/v1/users/maria-of-lab", "", http.StatusNoContent)
	ask(maria, "GET", lab, "", http.StatusUnauthorized)
}
