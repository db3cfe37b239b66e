package conductor

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestFieldsOfBoardsAreTheSameHoweverTheyAreRead lists boards with fields that are written from the
// database's texts, and with the same fields beside one for which boards are decoded.
func TestFieldsOfBoardsAreTheSameHoweverTheyAreRead(t *testing.T) {
	l := newLab(t)
	l.online("kitchen")
	b := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "attic", Type: `<pi> "4" é`, Labels: map[string]string{"site": "a&b", "é": `"`}, Location: &s4t.Location{Latitude: 38.1, Longitude: 15}})
	call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "roof"})
	err := l.c.cfg.Store.Tx(t.Context(), func(tx *store.Tx) error {
		row, err := tx.Board(b.ID)
		if err != nil {
			return err
		}
		row.Problems = []string{"port lab: <no> /dev/net/tun"}
		row.Info = s4t.BoardInfo{Version: "1.4", OS: "linux", Arch: "arm64", Kernel: "6.6", Hostname: "attic", Networks: true, HostKeys: []string{"ssh-ed25519 AAAA"}, PublicAddress: "203.0.113.7"}
		return tx.SetBoardSays(row)
	})
	if err != nil {
		t.Fatal(err)
	}
	list := func(fields, query string) []map[string]any {
		t.Helper()
		return call[wire.List[map[string]any]](l, wire.MethodBoardList, wire.BoardList{Caller: l.reader, Fields: fields, Query: query}).Items
	}
	fields := []string{"name", "project", "type", "labels", "problems", "status", "wamp_agent", "tunnel_agent", "created_at", "code_expires_at", "location", "last_seen",
		"info.version", "info.version,info.networks,info.public_address", "info.public_address", "name,status,labels,info.os,info.arch,info.kernel,info.resumes"}
	for _, f := range append(fields, strings.Join(fields, ",")) {
		p, err := wire.ProjectionOf[s4t.Board]("test", f)
		if err != nil || newBoardTexts(p, l.c.now()) == nil {
			t.Errorf("%s is not written from texts: %v", f, err)
		}
		got, want := list(f, ""), list(f+",generation", "")
		for i := range want {
			delete(want[i], "generation")
			if want[i]["name"] == nil || want[i]["name"] == "kitchen" { // it is online, and seen now
				for _, b := range []map[string]any{got[i], want[i]} {
					if _, seen := b["last_seen"]; seen {
						b["last_seen"] = "now"
					}
				}
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%v\n%v", f, got, want)
		}
	}
	for _, f := range []string{"info", "info.host_keys", "location.latitude", "epoch"} {
		if p, err := wire.ProjectionOf[s4t.Board]("test", f); err != nil || newBoardTexts(p, l.c.now()) != nil {
			t.Errorf("%s is written from texts: %v", f, err)
		}
		if got := list(f, ""); len(got) != 3 {
			t.Errorf("%s: %v", f, got)
		}
	}
}

func TestBoardsAreSearched(t *testing.T) {
	l := newLab(t)
	kitchen, garden := l.online("kitchen"), l.online("garden")
	for _, name := range []string{"attic", "cellar", "roof"} {
		call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name, Labels: map[string]string{"floor": name}})
	}
	call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{kitchen.name, garden.name}})
	for _, tt := range []struct{ query, want string }{
		{"", "attic cellar garden kitchen roof"},
		{"status:online", "garden kitchen"},
		{"bridge:lab", "garden kitchen"},
		{"!bridge:lab !floor=roof", "attic cellar"},
		{"label:floor", "attic cellar roof"},
		{"nowhere", ""},
	} {
		for _, fields := range []string{"", "name", "created_at,name"} {
			for _, limit := range []int{0, 1, 2} {
				var names []string
				for p := (wire.Page{Limit: limit}); ; {
					page := call[wire.RawList](l, wire.MethodBoardList, wire.BoardList{Caller: l.reader, Query: tt.query, Fields: fields, Page: p})
					var boards []s4t.Board
					if err := json.Unmarshal(page.Items, &boards); err != nil {
						t.Fatal(err)
					}
					for _, b := range boards {
						names = append(names, b.Name)
					}
					if p.After = page.Next; page.Next == "" {
						break
					}
				}
				if got := strings.Join(names, " "); got != tt.want {
					t.Errorf("%q, fields %q, limit %d: %q, want %q", tt.query, fields, limit, got, tt.want)
				}
			}
		}
	}
	if _, err := l.c.boardList(t.Context(), wire.BoardList{Caller: l.reader, Query: strings.Repeat("x ", 100)}); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("too many words: %v", err)
	}
}
