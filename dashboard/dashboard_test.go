package dashboard

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

func handler(t *testing.T, c Config) http.Handler {
	t.Helper()
	h, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func ask(h http.Handler, method, path string, header map[string]string) *http.Response {
	r := httptest.NewRequest(method, path, nil)
	for k, v := range header {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, res *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestFilesAndViews(t *testing.T) {
	h := handler(t, Config{URL: "https://cloud.example:8812"})
	for _, tt := range []struct {
		path   string
		status int
		kind   string
	}{
		{"/", 200, "text/html; charset=utf-8"},
		{"/boards/gate.1/pins", 200, "text/html; charset=utf-8"}, // a view: its script reads the URL
		{"/icon.svg", 200, "image/svg+xml"},
		{"/a/index.js", 200, "text/javascript; charset=utf-8"},
		{"/a/of-another-version.js", 404, "text/plain; charset=utf-8"},
		{"/a/../../etc/passwd", 200, "text/html; charset=utf-8"},
	} {
		res := ask(h, "GET", tt.path, nil)
		if res.StatusCode != tt.status || res.Header.Get("Content-Type") != tt.kind {
			t.Errorf("%s: %d %s, want %d %s", tt.path, res.StatusCode, res.Header.Get("Content-Type"), tt.status, tt.kind)
		}
	}
	if res := ask(h, "POST", "/", nil); res.StatusCode != 405 || res.Header.Get("Allow") == "" {
		t.Errorf("POST: %d", res.StatusCode)
	}
	if res := ask(h, "HEAD", "/", nil); res.StatusCode != 200 || body(t, res) != "" || res.Header.Get("Content-Length") == "" {
		t.Errorf("HEAD: %d %v", res.StatusCode, res.Header)
	}
}

// TestWhatThePagesAskForIsKept holds that all that HTML names is served, and asked for once.
func TestWhatThePagesAskForIsKept(t *testing.T) {
	h := handler(t, Config{URL: "https://cloud.example"})
	for _, page := range []string{"/", "/term.html"} {
		res := ask(h, "GET", page, nil)
		if got := res.Header.Get("Cache-Control"); got != "no-cache" {
			t.Errorf("%s: %s", page, got)
		}
		named := regexp.MustCompile(`(?:src|href)="(\./[^"]+|theme\.js)"`).FindAllStringSubmatch(body(t, res), -1)
		if len(named) < 3 {
			t.Errorf("%s names %v", page, named)
		}
		for _, n := range named {
			res := ask(h, "GET", "/"+strings.TrimPrefix(n[1], "./"), nil)
			if res.StatusCode != 200 || !strings.Contains(res.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("%s names %s: %d, %s", page, n[1], res.StatusCode, res.Header.Get("Cache-Control"))
			}
		}
	}
	if res := ask(h, "GET", "/a/0123456789ab/index.js", nil); res.StatusCode != 404 || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("of another version: %d, %s", res.StatusCode, res.Header.Get("Cache-Control"))
	}
}

func TestUnderAPath(t *testing.T) {
	h := handler(t, Config{URL: `https://example.org/"things"/`})
	if page := body(t, ask(h, "GET", "/", nil)); !strings.Contains(page, `<base href="/%22things%22/">`) {
		t.Error(page)
	}
}

func TestCompressionAndValidation(t *testing.T) {
	h := handler(t, Config{URL: "https://cloud.example"})
	plain := ask(h, "GET", "/a/index.js", nil)
	text := body(t, plain)
	zipped := ask(h, "GET", "/a/index.js", map[string]string{"Accept-Encoding": "br, gzip;q=0.8"})
	if zipped.Header.Get("Content-Encoding") != "gzip" || zipped.Header.Get("ETag") == plain.Header.Get("ETag") {
		t.Fatal(zipped.Header)
	}
	z, err := gzip.NewReader(zipped.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != text {
		t.Error("gzip is another file", err)
	}
	if res := ask(h, "GET", "/a/index.js", map[string]string{"Accept-Encoding": "gzip;q=0"}); res.Header.Get("Content-Encoding") != "" {
		t.Error("gzip was refused, and came")
	}
	for _, tag := range []string{zipped.Header.Get("ETag"), `"x", W/` + zipped.Header.Get("ETag"), "*"} {
		res := ask(h, "GET", "/a/index.js", map[string]string{"Accept-Encoding": "gzip", "If-None-Match": tag})
		if res.StatusCode != 304 || body(t, res) != "" {
			t.Errorf("If-None-Match %s: %d", tag, res.StatusCode)
		}
	}
}

func TestWhatAPageMay(t *testing.T) {
	h := handler(t, Config{URL: "https://cloud.example", Connect: func() []string { return []string{"wss://agent.example:8813"} }})
	csp := ask(h, "GET", "/", nil).Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self' wss://agent.example:8813;", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(csp, part) {
			t.Errorf("%q is not in %q", part, csp)
		}
	}
	if strings.Contains(csp, "'unsafe-inline'; style-src-attr") || strings.Contains(csp, "script-src 'self' ") {
		t.Error(csp)
	}
}

// TestWhatNobodyLooksAtTakesNoMemory: a cloud whose pages nobody asks for does not hold them.
func TestWhatNobodyLooksAtTakesNoMemory(t *testing.T) {
	r := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := New(Config{URL: "https://cloud.example"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	if n := r.AllocedBytesPerOp(); n > 64<<10 {
		t.Errorf("pages that nobody has asked for take %d bytes", n)
	}
}
