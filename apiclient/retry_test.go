package apiclient

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// TestWhoIsToldToComeAgainDoes refuses the first requests.
func TestWhoIsToldToComeAgainDoes(t *testing.T) {
	var asked, refuse atomic.Int32
	var after atomic.Value
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if refuse.Add(-1) >= 0 {
			w.Header().Set("Retry-After", after.Load().(string))
			w.WriteHeader(http.StatusTooManyRequests)
			io.WriteString(w, `{"kind":"too_many","detail":"too many","status":429}`)
			return
		}
		io.WriteString(w, `{"id":"b1"}`)
	}))
	defer srv.Close()
	c, err := New(Config{URL: srv.URL, Token: "x"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, tt := range []struct {
		name   string
		refuse int32
		after  string // seconds
		do     func(context.Context) error
		asked  int32
		kind   s4t.Kind
	}{
		{"once", 1, "1", func(ctx context.Context) error { _, err := c.Board(ctx, "b"); return err }, 2, ""},
		{"three times", 3, "1", func(ctx context.Context) error { _, err := c.Board(ctx, "b"); return err }, 3, s4t.TooMany},
		{"no time is left", 1, "3600", func(ctx context.Context) error { _, err := c.Board(ctx, "b"); return err }, 1, s4t.TooMany},
		{"what might be done twice", 1, "1", func(ctx context.Context) error { _, err := c.CreateBoard(ctx, BoardCreate{Name: "b"}); return err }, 1, s4t.TooMany},
	} {
		asked.Store(0)
		refuse.Store(tt.refuse)
		after.Store(tt.after)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := tt.do(ctx); s4t.KindOf(err) != tt.kind || asked.Load() != tt.asked {
			t.Errorf("%s: asked %d times: %v", tt.name, asked.Load(), err)
		}
		cancel()
	}
}
