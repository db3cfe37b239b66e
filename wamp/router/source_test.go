package router

import (
	"net/http"
	"testing"
)

func TestJoinsAreCountedBySource(t *testing.T) {
	for remote, want := range map[string]string{
		"192.0.2.1:4711": "192.0.2.1", "[::ffff:192.0.2.1]:4711": "192.0.2.1", "[2001:db8:1:2:3:4:5:6]:4711": "2001:db8:1:2::/64", "pipe": "pipe",
	} {
		if got := sourceOf(&http.Request{RemoteAddr: remote}); got != want {
			t.Errorf("%s counts as %s, want %s", remote, got, want)
		}
	}
}
