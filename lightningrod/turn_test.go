package lightningrod

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/rtunnel/dial"
)

// TestATurnIsAskedForInOnePlace: a board that is told a turn asks nobody else for another one,
// comes back to where it has it, and asks elsewhere after two in one place.
func TestATurnIsAskedForInOnePlace(t *testing.T) {
	asked := make(chan string, 16)
	sendsAway := func() string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		url := "https://" + l.Addr().String()
		ended := make(chan struct{})
		t.Cleanup(func() { l.Close(); <-ended })
		go func() {
			defer close(ended)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				asked <- url
				c.SetDeadline(time.Now().Add(time.Minute))
				c.Read(make([]byte, 4096))
				io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 7\r\nConnection: close\r\n\r\n")
				c.Close()
			}
		}()
		return url
	}
	gone, a, b := "https://127.0.0.1:1", sendsAway(), sendsAway()
	dialer, err := dial.New(dial.Config{Env: func(string) string { return "" }, Stall: time.Minute, OneTry: true})
	if err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	c := &connector{cfg: connectorConfig{Identity: Identity{Board: boardA, Key: key}}, dialer: dialer}
	var got []string
	for range 5 {
		_, err := c.connect(t.Context(), []string{gone, a, b})
		e, ok := errors.AsType[*s4t.Error](err)
		if !ok || !errors.Is(err, dial.ErrTurn) || e.RetryAfter != 7*time.Second {
			t.Fatalf("it is told: %v", err)
		}
		got = append(got, <-asked)
	}
	if want := []string{a, a, b, b, gone}; !slices.Equal(got[:4], want[:4]) || got[4] != a {
		t.Errorf("it asks at %q, want %q and then %q", got[:4], want[:4], a)
	}
	if len(asked) > 0 {
		t.Errorf("it asks elsewhere, too: %q", <-asked)
	}
}
