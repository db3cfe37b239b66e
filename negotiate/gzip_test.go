package negotiate

import (
	"net/http"
	"testing"
)

func TestGzipIsTakenByWhoSaysSo(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{nil, false},
		{[]string{""}, false},
		{[]string{"gzip"}, true},
		{[]string{"GZip"}, true},
		{[]string{"x-gzip"}, true},
		{[]string{"gzip, deflate, br, zstd"}, true},
		{[]string{"br;q=1.0, gzip;q=0.8, *;q=0.1"}, true},
		{[]string{"br ; q=1 , gzip ; q = 0.001"}, true},
		{[]string{"gzip;q=0"}, false},
		{[]string{"gzip; Q=0.000"}, false},
		{[]string{"gzip;q=0, *"}, false},
		{[]string{"*, gzip;q=0"}, false},
		{[]string{"*"}, true},
		{[]string{"*;q=0"}, false},
		{[]string{"identity, *;q=0"}, false},
		{[]string{"br", "gzip"}, true},
		{[]string{"br", "deflate"}, false},
		{[]string{"gzipped"}, false},
		{[]string{"gzip;q=x"}, true}, // it names it
	} {
		if got := Gzip(&http.Request{Header: http.Header{"Accept-Encoding": c.lines}}); got != c.want {
			t.Errorf("%q: %v", c.lines, got)
		}
	}
}

// FuzzGzip: whatever else a client says, who says nothing gets nothing, and a refusal that
// comes first holds.
func FuzzGzip(f *testing.F) {
	f.Add("gzip, deflate, br")
	f.Add("*;q=0.5, gzip;q=0")
	f.Fuzz(func(t *testing.T, line string) {
		Gzip(&http.Request{Header: http.Header{"Accept-Encoding": {line}}})
		if Gzip(&http.Request{Header: http.Header{"Accept-Encoding": {"gzip;q=0", line}}}) {
			t.Errorf("%q overrules a refusal", line)
		}
	})
}
