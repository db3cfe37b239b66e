package cloud

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t/dashboard"
	"github.com/stack4things/s4t/wire"
)

func TestOriginsThatGoIntoAPolicy(t *testing.T) {
	for raw, want := range map[string]string{
		"https://agent.example:8813":     "wss://agent.example:8813",
		"https://agent.example:8813/s4t": "wss://agent.example:8813",
		"https://Agent.Example":          "wss://agent.example",
		"https://agent.example:443":      "wss://agent.example",
		"https://192.0.2.1:8812":         "wss://192.0.2.1:8812",
		"http://agent.example":           "", "https://": "", "": "", "agent.example": "", "https://agent.example:0": "", "https://agent.example:65536": "", "https://agent.example:": "",
		"https://a;script-src *": "", "https://a b": "", "https://a,b": "", "https://*": "", "https://*.example": "", "https://a'b": "", "https://x@a": "", "https://[2001:db8::1]:8812": "", "https://é.example": "",
		"https://a\r\nb": "", "https://a%20b": "", "https://" + strings.Repeat("a", 300): "",
	} {
		if got, ok := wssOrigin(raw); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v, want %q", raw, got, ok, want)
		}
	}
	var many []string
	for i := range 3 * wire.MaxAgentsAt {
		many = append(many, fmt.Sprintf("https://agent%d.example", i/2))
	}
	l := wssOrigins(many, "wss://agent0.example")
	if len(l) != wire.MaxAgentsAt || l[0] != "wss://agent1.example" || l[1] != "wss://agent2.example" {
		t.Errorf("%d: %v", len(l), l)
	}
}

// FuzzWSSOrigin: whatever an agent says its URL is, it ends no directive of a policy.
func FuzzWSSOrigin(f *testing.F) {
	for _, s := range []string{"https://agent.example:8813", "https://a;b", "https://[::1]:1", "https://a\r\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if o, ok := wssOrigin(raw); ok && (!strings.HasPrefix(o, "wss://") || strings.Trim(o, "abcdefghijklmnopqrstuvwxyz0123456789.-:/") != "") {
			t.Errorf("%q: %q", raw, o)
		}
	})
}

// askedQueue answers where agents are, when it is let.
type askedQueue struct {
	Queue
	answers chan []string // closed: nobody answers
}

func (q *askedQueue) Call(ctx context.Context, topic, method string, _, reply any) error {
	if topic != wire.TopicConductor || method != wire.MethodAgentsReach {
		return errors.New(method)
	}
	select {
	case l, ok := <-q.answers:
		if !ok {
			return errors.New("nobody answers")
		}
		reply.(*wire.AgentsAt).URLs = l
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// TestNoPageWaitsForWhereAgentsAre: a page is served with what is known, and the next one with
// what was learnt meanwhile.
func TestNoPageWaitsForWhereAgentsAre(t *testing.T) {
	q := &askedQueue{answers: make(chan []string)}
	r := newReach(q, "https://cloud.example:8812")
	pages, err := dashboard.New(dashboard.Config{URL: "https://cloud.example:8812", Connect: r.origins})
	if err != nil {
		t.Fatal(err)
	}
	policy := func() string {
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		_, rest, _ := strings.Cut(w.Header().Get("Content-Security-Policy"), "connect-src ")
		sources, _, _ := strings.Cut(rest, ";")
		return sources
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.run(ctx) }()
	if got := policy(); got != "'self'" { // the conductor has not answered
		t.Errorf("at first: %q", got)
	}
	q.answers <- []string{"https://one.example:8813", "https://cloud.example:8812"}
	waitUntil(t, func() bool { return policy() == "'self' wss://one.example:8813" })

	r.mu.Lock()
	r.old = time.Time{} // it is long ago
	r.mu.Unlock()
	if got := policy(); got != "'self' wss://one.example:8813" {
		t.Errorf("while it is asked again: %q", got)
	}
	q.answers <- []string{"https://one.example:8813", "https://two.example:8813"}
	waitUntil(t, func() bool {
		return slices.Equal(strings.Fields(policy()), []string{"'self'", "wss://one.example:8813", "wss://two.example:8813"})
	})

	close(q.answers) // what is known stays
	r.mu.Lock()
	r.old = time.Time{}
	r.mu.Unlock()
	policy()
	waitUntil(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return !r.old.IsZero()
	})
	if got := policy(); !strings.Contains(got, "wss://two.example:8813") {
		t.Errorf("after an outage: %q", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func waitUntil(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it did not come to be")
		}
	}
}
