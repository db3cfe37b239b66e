package api

import (
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestFieldsOfAList(t *testing.T) {
	boards := []s4t.Board{
		{ID: "1", Name: "kitchen", Status: s4t.BoardOnline, Labels: map[string]string{"a": "b"}, Info: s4t.BoardInfo{Version: "1.2", Arch: "arm64", HostKeys: []string{"ssh-ed25519 AAAA"}}, CreatedAt: time.Unix(0, 0).UTC()},
		{ID: "2", Name: "attic"},
	}
	for _, tt := range []struct{ fields, want string }{
		{"name", `[{"id":"1","name":"kitchen"},{"id":"2","name":"attic"}]`},
		{"id, name", `[{"id":"1","name":"kitchen"},{"id":"2","name":"attic"}]`},
		{"labels,created_at", `[{"id":"1","labels":{"a":"b"},"created_at":"1970-01-01T00:00:00Z"},{"id":"2","created_at":"0001-01-01T00:00:00Z"}]`},
		{"info.version,info.arch", `[{"id":"1","info":{"version":"1.2","arch":"arm64"}},{"id":"2","info":{}}]`},
		{"location.latitude", `[{"id":"1"},{"id":"2"}]`},
	} {
		p, err := wire.ProjectionOf[s4t.Board]("list boards", tt.fields)
		if err != nil {
			t.Errorf("%s: %v", tt.fields, err)
			continue
		}
		var b strings.Builder
		if err := (items[s4t.Board]{list: boards, fields: p}).writeJSON(&b); err != nil || strings.TrimSpace(b.String()) != tt.want {
			t.Errorf("%s: %s, %v", tt.fields, b.String(), err)
		}
	}
	for _, bad := range []string{"nothing", "info.nothing", "name.x", "", "name,,status", strings.Repeat("name,", wire.MaxFields) + "name"} {
		if _, err := wire.ProjectionOf[s4t.Board]("list boards", bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
	var b strings.Builder
	if err := (items[s4t.Board]{}).writeJSON(&b); err != nil || b.String() != "[]\n" {
		t.Errorf("nothing: %q, %v", b.String(), err)
	}
}

func TestKindsOfEvents(t *testing.T) {
	for _, tt := range []struct {
		text, kind string
		has, steps bool
	}{
		{"", "board.online", true, false},
		{"*", "board.online", true, false},
		{"*,operation.step", "board.online", true, true},
		{"board.*", "board.online", true, false},
		{"board.*", "bridge.up", false, false},
		{"board.online,bridge.up", "bridge.up", true, false},
		{"board.online", "board.offline", false, false},
		{"board.online", "reset", true, false},
	} {
		f, err := parseKinds("watch events", tt.text)
		if err != nil || f.has(tt.kind) != tt.has || f.steps() != tt.steps {
			t.Errorf("%q, %s: %v, steps %v, %v", tt.text, tt.kind, f.has(tt.kind), f.steps(), err)
		}
	}
	for _, bad := range []string{"board", "board.on*", "a.b.c", ",", strings.Repeat("a.b,", maxKinds) + "a.b"} {
		if _, err := parseKinds("watch events", bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
