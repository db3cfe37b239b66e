package conductor

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestWhoMayDoWhat(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.online("two")
	created := l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	exposed := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
	b := l.bridgeNow("lab")
	network := call[s4t.Network](l, wire.MethodNetworkGet, wire.RefRequest{Caller: l.reader, Ref: string(b.Network)})
	boardName := "renamed"
	type makeReq func(c wire.Caller) any
	ref := func(r string) makeReq { return func(c wire.Caller) any { return wire.RefRequest{Caller: c, Ref: r} } }
	for _, tt := range []struct {
		method  string
		req     makeReq
		changes bool
	}{
		{wire.MethodBoardGet, ref("one"), false},
		{wire.MethodBoardGet, ref(string(f.id)), false},
		{wire.MethodBoardDoctor, ref("one"), false},
		{wire.MethodBoardUpdate, func(c wire.Caller) any { return wire.BoardUpdate{Caller: c, Ref: "one", Name: &boardName} }, true},
		{wire.MethodBoardDelete, ref("one"), true},
		{wire.MethodBridgeGet, ref("lab"), false},
		{wire.MethodBridgeGet, ref(string(b.ID)), false},
		{wire.MethodBridgeCreate, func(c wire.Caller) any { return wire.BridgeCreate{Caller: c, Name: "x", Boards: []string{"one"}} }, true},
		{wire.MethodBridgeAdd, func(c wire.Caller) any { return wire.BridgeChange{Caller: c, Ref: "lab", Boards: []string{"two"}} }, true},
		{wire.MethodBridgeRemove, func(c wire.Caller) any { return wire.BridgeChange{Caller: c, Ref: "lab", Boards: []string{"one"}} }, true},
		{wire.MethodBridgeDelete, ref("lab"), true},
		{wire.MethodNetworkGet, ref(string(b.Network)), false},
		{wire.MethodSubnetGet, ref(string(network.Subnets[0].ID)), false},
		{wire.MethodPortGet, ref(string(b.Ports[0].ID)), false},
		{wire.MethodServiceGet, ref(exposed.Object), false},
		{wire.MethodServiceList, func(c wire.Caller) any { return wire.ServiceList{Caller: c, Board: "one"} }, false},
		{wire.MethodServiceExpose, func(c wire.Caller) any { return wire.ServiceExpose{Caller: c, Board: "one", Service: "http"} }, true},
		{wire.MethodServiceUpdate, func(c wire.Caller) any {
			return wire.ServiceUpdate{Caller: c, Board: "one", Service: "ssh", DNSName: &boardName}
		}, true},
		{wire.MethodServiceHide, func(c wire.Caller) any { return wire.ServiceHide{Caller: c, Board: "one", Service: "ssh"} }, true},
		{wire.MethodStreamOpen, func(c wire.Caller) any { return wire.StreamOpen{Caller: c, Board: "one", TCPPort: 22} }, true},
		{wire.MethodOperationGet, func(c wire.Caller) any { return wire.OperationGet{Caller: c, ID: created.ID} }, false},
	} {
		t.Run(tt.method, func(t *testing.T) {
			if _, err := try[any](l, tt.method, tt.req(l.foreign)); s4t.KindOf(err) != s4t.NotFound {
				t.Errorf("a foreign member: %v", err)
			}
			var want s4t.Kind
			if tt.changes {
				want = s4t.Forbidden
			}
			if _, err := try[any](l, tt.method, tt.req(l.reader)); s4t.KindOf(err) != want {
				t.Errorf("a reader: %v, want %q", err, want)
			}
			if _, err := try[any](l, tt.method, tt.req(wire.Caller{})); err == nil {
				t.Error("nobody at all may")
			}
		})
	}
	for _, method := range []string{wire.MethodBoardList, wire.MethodBridgeList, wire.MethodNetworkList, wire.MethodSubnetList, wire.MethodPortList, wire.MethodServiceList, wire.MethodOperationList} {
		if got := items[any](l, method, wire.ListRequest{Caller: l.foreign}); len(got) != 0 {
			t.Errorf("%s shows a foreign member %v", method, got)
		}
		if got := items[any](l, method, wire.ListRequest{Caller: l.admin}); len(got) == 0 {
			t.Errorf("%s shows an admin nothing", method)
		}
		if _, err := try[any](l, method, wire.ListRequest{}); s4t.KindOf(err) != s4t.Unauthenticated {
			t.Errorf("%s by nobody: %v", method, err)
		}
	}
	if b := l.boardNow("one"); b.Name != "one" {
		t.Error("somebody changed it")
	}
}

func TestBoards(t *testing.T) {
	l := newLab(t)
	create := func(c wire.Caller, name string) (s4t.Board, error) {
		return try[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: c, Name: name, Labels: map[string]string{"room": name}, Location: &s4t.Location{Latitude: 38.2}})
	}
	for _, name := range []string{"one", "two"} {
		if _, err := create(l.member, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := create(l.member, "one"); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a name twice: %v", err)
	}
	if _, err := create(l.foreign, "one"); err != nil {
		t.Errorf("the same name in another project: %v", err)
	}
	// An admin of the other project has a board "one" there: that one is meant.
	if b := call[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: l.admin, Ref: "one"}); b.Project != otherID {
		t.Errorf("%+v", b)
	}
	lost := l.admin
	lost.Project = "33333333-3333-4333-8333-333333333333"
	lost = vouched(l.key, lost)
	if _, err := try[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: lost, Ref: "one"}); s4t.KindOf(err) != s4t.NotFound || !strings.Contains(err.Error(), "of project default") || !strings.Contains(err.Error(), "of project other") {
		t.Errorf("a name that only other projects have: %v", err)
	}
	list := func(req wire.BoardList) int {
		req.Caller = l.reader
		return len(items[s4t.Board](l, wire.MethodBoardList, req))
	}
	if n := list(wire.BoardList{}); n != 2 {
		t.Errorf("%d boards", n)
	}
	if n := list(wire.BoardList{Labels: map[string]string{"room": "two"}}); n != 1 {
		t.Errorf("%d boards with the label", n)
	}
	if n := list(wire.BoardList{Status: s4t.BoardOnline}); n != 0 {
		t.Errorf("%d boards online", n)
	}
	name, typ := "three", "gateway"
	b := call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "two", Name: &name, Type: &typ, Labels: map[string]string{}})
	if b.Name != "three" || b.Type != "gateway" || len(b.Labels) != 0 || b.Location == nil {
		t.Errorf("%+v", b)
	}
	name = "one"
	if _, err := try[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "three", Name: &name}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("renamed to a name that exists: %v", err)
	}
	for _, bad := range []wire.BoardCreate{
		{Name: "-x"}, {Name: ""}, {Name: "a", Type: strings.Repeat("x", 64)}, {Name: "a", Labels: map[string]string{"": "x"}},
		{Name: "a", Labels: map[string]string{"a=b": "x"}}, {Name: "a", Location: &s4t.Location{Latitude: 91}},
	} {
		bad.Caller = l.member
		if _, err := try[s4t.Board](l, wire.MethodBoardCreate, bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	f := l.online("four")
	call[wire.Empty](l, wire.MethodBoardDelete, wire.RefRequest{Caller: l.member, Ref: "four"})
	l.await("board.deleted", "four")
	if _, err := try[wire.Empty](l, wire.MethodBoardReport, wire.BoardReport{Board: f.id, Epoch: f.epoch}); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("a report of a deleted board: %v", err)
	}
}
