package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// begin begins a session and returns its halves: the cookie as it is sent, and the header's value.
func (r *rig) begin(t *testing.T) (cookie, half string) {
	t.Helper()
	res, body := r.send(t, "POST", "/v1/session", `{"user":"maria","password":"right-password"}`, nil)
	var s s4t.Session
	if err := json.Unmarshal([]byte(body), &s); err != nil || res.StatusCode != 200 || s.Half == "" || s.User != "maria" {
		t.Fatal(res.Status, body, err)
	}
	c := res.Cookies()
	if len(c) != 1 {
		t.Fatal(res.Header)
	}
	if !strings.HasPrefix(c[0].Name, "__Host-") || !c[0].Secure || !c[0].HttpOnly || c[0].SameSite != http.SameSiteStrictMode || c[0].Path != "/" || c[0].Domain != "" {
		t.Errorf("the cookie is %v", c[0])
	}
	if strings.Contains(body, c[0].Value) {
		t.Error("scripts are told the cookie")
	}
	return c[0].Name + "=" + c[0].Value, s.Half
}

func TestASessionTakesBothHalves(t *testing.T) {
	r := newRig(t)
	cookie, half := r.begin(t)
	other, otherHalf := r.begin(t) // the fake conductor knows the newest only
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"both", http.Header{"Cookie": {other}, apiclient.SessionHeader: {otherHalf}}, 200},
		{"the cookie alone, as other servers on the host are sent it", http.Header{"Cookie": {other}}, 401},
		{"the header alone", http.Header{apiclient.SessionHeader: {otherHalf}}, 401},
		{"halves of two sessions", http.Header{"Cookie": {cookie}, apiclient.SessionHeader: {otherHalf}}, 401},
		{"halves of two sessions, the other way", http.Header{"Cookie": {other}, apiclient.SessionHeader: {half}}, 401},
		{"a very long half", http.Header{"Cookie": {other}, apiclient.SessionHeader: {strings.Repeat("x", 4096)}}, 401},
		{"a token besides: it counts", http.Header{"Cookie": {other}, apiclient.SessionHeader: {otherHalf}, "Authorization": {"Bearer foreign-token"}}, 200},
	} {
		if res, body := r.send(t, "GET", "/v1/boards", "", tt.header); res.StatusCode != tt.status {
			t.Errorf("%s: %d %s", tt.name, res.StatusCode, body)
		}
	}
	if strings.Contains(r.log.String(), half) || strings.Contains(r.log.String(), strings.SplitN(cookie, "=", 2)[1]) {
		t.Error("a half is in the log")
	}
}

func TestASessionBegins(t *testing.T) {
	r := newRig(t)
	for _, tt := range []struct {
		body   string
		status int
	}{
		{`{"code":"right-code"}`, 200},
		{`{"code":"wrong"}`, 401},
		{`{"user":"maria","password":"wrong"}`, 401},
		{`{"user":"maria","password":"right-password","code":"right-code"}`, 400},
		{`{}`, 400},
		{`{"user":"maria","password":"` + strings.Repeat("x", 9000) + `"}`, 413},
	} {
		res, body := r.send(t, "POST", "/v1/session", tt.body, nil)
		if res.StatusCode != tt.status || (len(res.Cookies()) > 0) != (tt.status == 200) {
			t.Errorf("%.60s: %d %s %v", tt.body, res.StatusCode, body, res.Cookies())
		}
	}
}

func TestLoggingOut(t *testing.T) {
	r := newRig(t)
	cookie, half := r.begin(t)
	res, body := r.send(t, "DELETE", "/v1/session", "", http.Header{"Cookie": {cookie}, apiclient.SessionHeader: {half}})
	if res.StatusCode != 204 || len(res.Cookies()) != 1 || res.Cookies()[0].MaxAge >= 0 || res.Cookies()[0].Value != "" {
		t.Errorf("%d %s %v", res.StatusCode, body, res.Cookies())
	}
	if last := r.calls[len(r.calls)-1]; last != wire.MethodTokenRevoke+" by maria" {
		t.Error(last)
	}
}

func TestPagesOfOthersMakeNoRequests(t *testing.T) {
	r := newRig(t)
	host := strings.TrimPrefix(r.url, "http://")
	login := `{"user":"maria","password":"right-password"}`
	for _, tt := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"the cloud's own page", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"http://" + host}}, 200},
		{"its page behind a proxy that changes Host", http.Header{"Sec-Fetch-Site": {"same-origin"}, "Origin": {"https://cloud.example"}}, 200},
		{"no browser", nil, 200},
		{"a board's page, on another port of the host", http.Header{"Sec-Fetch-Site": {"same-site"}, "Origin": {"http://" + host + "0"}}, 403},
		{"another site", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://evil.example"}}, 403},
		{"another site, of an old browser", http.Header{"Origin": {"https://evil.example"}}, 403},
	} {
		res, body := r.send(t, "POST", "/v1/session", login, tt.header)
		if res.StatusCode != tt.status {
			t.Errorf("%s: %d %s", tt.name, res.StatusCode, body)
		}
		if tt.status == 403 && len(res.Cookies()) > 0 {
			t.Errorf("%s: logged in", tt.name)
		}
	}
	before := r.changes
	if res, _ := r.send(t, "POST", "/v1/boards", `{"name":"x"}`, http.Header{"Authorization": {"Bearer member-secret"}, "Sec-Fetch-Site": {"cross-site"}}); res.StatusCode != 403 || r.changes != before {
		t.Error(res.Status)
	}
}

func TestTheTicketOfAPageIsForItsOrigin(t *testing.T) {
	r := newRig(t)
	var asked wire.StreamOpen
	r.answer[wire.MethodStreamOpen] = func(body []byte) (any, error) {
		return wire.StreamGrant{Ticket: "x"}, json.Unmarshal(body, &asked)
	}
	r.send(t, "POST", "/v1/boards/kitchen/streams", `{"port":22}`, http.Header{"Authorization": {"Bearer member-secret"}, "Origin": {"https://cloud.example"}, "Sec-Fetch-Site": {"same-origin"}})
	if asked.Origin != "https://cloud.example" {
		t.Errorf("%+v", asked)
	}
	asked = wire.StreamOpen{}
	r.send(t, "POST", "/v1/boards/kitchen/streams", `{"port":22}`, http.Header{"Authorization": {"Bearer member-secret"}})
	if asked.Origin != "" {
		t.Errorf("%+v", asked)
	}
}
