package api

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestWhatIsCompressed(t *testing.T) {
	long := "[" + strings.Repeat(`"x",`, 1000) + `"x"]`
	for _, tt := range []struct {
		name, method, accept, kind, etag, body string
		status                                 int
		zipped                                 bool
	}{
		{"a long list", "GET", "gzip", "application/json", "", long, 200, true},
		{"without a status", "GET", "br, gzip;q=0.5", "application/json", "", long, 0, true},
		{"for who takes none", "GET", "", "application/json", "", long, 200, false},
		{"for who wants none", "GET", "gzip;q=0", "application/json", "", long, 200, false},
		{"a short one", "GET", "gzip", "application/json", "", "[]", 200, false},
		{"a stream", "GET", "gzip", "text/event-stream", "", long, 200, false},
		{"one with an ETag", "GET", "gzip", "application/json", `"1"`, long, 200, false},
		{"an answer with a secret", "POST", "gzip", "application/json", "", long, 200, false},
		{"an error", "GET", "gzip", "application/problem+json", "", long, 404, false},
		{"nothing", "GET", "gzip", "application/json", "", "", 200, false},
	} {
		r := httptest.NewRequest(tt.method, "/v1/boards", nil)
		r.Header.Set("Accept-Encoding", tt.accept)
		rec := httptest.NewRecorder()
		w, finish := compress(rec, r)
		w.Header().Set("Content-Type", tt.kind)
		if tt.etag != "" {
			w.Header().Set("ETag", tt.etag)
		}
		if tt.status != 0 {
			w.WriteHeader(tt.status)
		}
		for part := range strings.SplitSeq(tt.body, "§") {
			if part != "" {
				io.WriteString(w, part)
			}
		}
		finish()
		res := rec.Result()
		want := tt.status
		if want == 0 {
			want = http.StatusOK
		}
		got := io.Reader(res.Body)
		if zipped := res.Header.Get("Content-Encoding") == "gzip"; zipped != tt.zipped || res.StatusCode != want {
			t.Errorf("%s: status %d, compressed %v", tt.name, res.StatusCode, zipped)
			continue
		}
		if tt.zipped {
			z, err := gzip.NewReader(res.Body)
			if err != nil {
				t.Errorf("%s: %v", tt.name, err)
				continue
			}
			got = z
		}
		if b, err := io.ReadAll(got); err != nil || string(b) != tt.body {
			t.Errorf("%s: %d bytes, %v", tt.name, len(b), err)
		}
	}
}
