package cloud

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestACloudBelowAPath(t *testing.T) {
	h := below(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.EscapedPath()) }), "https://host.example/s4t", "https://host.example")
	for _, tt := range []struct {
		path   string
		status int
		seen   string
	}{
		{"/s4t/v1/boards/a%2Fb?x=1", 200, "/v1/boards/a%2Fb"},
		{"/v1/boards", 200, "/v1/boards"},
		{"/s4t/", 200, "/"},
		{"/s4t/s4t/", 200, "/s4t/"},
		{"/s4tx", 200, "/s4tx"},
		{"/s4t", 308, ""},
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", tt.path, nil))
		if w.Code != tt.status || tt.seen != "" && w.Body.String() != tt.seen {
			t.Errorf("%s: %d, the handler saw %q", tt.path, w.Code, w.Body)
		}
		if to := w.Header().Get("Location"); tt.status == 308 && to != "/s4t/" {
			t.Errorf("%s leads to %q", tt.path, to)
		}
	}
}
