package conductor

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestLabelsAreBoundedTogether does row 4 again: what boards are called by does
// not make a list too long for anybody.
func TestLabelsAreBoundedTogether(t *testing.T) {
	l := newLab(t)
	labels := func(n, size int) map[string]string {
		m := map[string]string{}
		for i := range n {
			m[fmt.Sprintf("k%02d", i)] = strings.Repeat("v", size-3)
		}
		return m
	}
	create := func(name, typ string, m map[string]string) error {
		_, err := try[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: name, Type: typ, Labels: m})
		return err
	}
	if err := create("most", "rpi4", labels(33, 124)); err != nil { // 4096
		t.Errorf("so much as is allowed: %v", err)
	}
	for name, m := range map[string]map[string]string{"more": labels(33, 125), "control": {"a": "x\x01"}, "bidi": {"a": "x\u202e"}} {
		if err := create(name, "rpi4", m); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := try[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "most", Type: ref("rpi45")}); s4t.KindOf(err) != s4t.Invalid || !strings.Contains(err.Error(), "4097 bytes together, 4096 are allowed") {
		t.Errorf("a longer type: %v", err)
	}
	// Boards of before, of whom 170 were too many for one answer.
	err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		old := map[string]string{}
		for i := range s4t.MaxLabels {
			old[fmt.Sprint(i)] = strings.Repeat("\x01", s4t.MaxLabelText)
		}
		for i := range 170 {
			b := store.Board{Board: s4t.Board{ID: s4t.BoardID(s4t.NewID()), Name: fmt.Sprintf("old%03d", i), Project: projectID, Labels: old, CreatedAt: time.Now()}}
			if err := tx.InsertBoard(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for page := (wire.Page{}); ; {
		list := call[wire.List[s4t.Board]](l, wire.MethodBoardList, wire.BoardList{Caller: l.admin, Page: page})
		n += len(list.Items)
		if page.After = list.Next; page.After == "" {
			break
		}
	}
	if n != 171 {
		t.Errorf("%d boards are listed", n)
	}
	if b := call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "old007", Name: ref("new007")}); b.Name != "new007" {
		t.Errorf("one of before cannot be renamed: %+v", b)
	}
}

func TestACodeThatNobodyUsesEnds(t *testing.T) {
	l := newLab(t)
	b := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "one"})
	if b.CodeExpiresAt == nil || b.CodeExpiresAt.Sub(b.CreatedAt) != s4t.CodeLifetime {
		t.Fatalf("%+v", b)
	}
	l.skew.Add(int64(s4t.CodeLifetime + time.Minute))
	err := l.joinWith(b.Join, 1)
	if s4t.KindOf(err) != s4t.Forbidden || !strings.Contains(err.Error(), "has expired") || !strings.Contains(err.Error(), "s4t board update one --new-code") {
		t.Errorf("an old code: %v", err)
	}
	b = call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "one", NewCode: true})
	if err := l.joinWith(b.Join, 1); err != nil {
		t.Fatal(err)
	}
	if err := l.joinWith(b.Join, 1); err != nil { // its answer was lost
		t.Errorf("the same key again: %v", err)
	}
	if b := l.boardNow("one"); b.CodeExpiresAt != nil {
		t.Errorf("a code that was used ends at %v", b.CodeExpiresAt)
	}
}

// TestAReflashedBoardKeepsItsPlace does row F4 again: its card is new, its state
// lost, and what it has stays.
func TestAReflashedBoardKeepsItsPlace(t *testing.T) {
	l := newLab(t)
	b := call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "one"})
	if err := l.joinWith(b.Join, 1); err != nil {
		t.Fatal(err)
	}
	f := &fakeBoard{id: b.ID, name: "one"}
	l.mu.Lock()
	l.boards[b.ID] = f
	l.mu.Unlock()
	l.connect(f, "i1")
	l.online("two")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one", "two"}}))
	exposed := l.done(call[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: "ssh"}))
	before := l.bridgeNow("lab").Ports[0]

	update := func(caller wire.Caller, newCode, replace bool) (s4t.Board, error) {
		return try[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: caller, Ref: "one", NewCode: newCode, Replace: replace})
	}
	if _, err := update(l.member, true, false); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), "--replace") {
		t.Errorf("without the word for it: %v", err)
	}
	if _, err := update(l.reader, true, true); s4t.KindOf(err) != s4t.Forbidden {
		t.Errorf("by a reader: %v", err)
	}
	if _, err := update(l.member, false, true); s4t.KindOf(err) != s4t.Invalid {
		t.Errorf("without a new code: %v", err)
	}
	made, err := update(l.member, true, true)
	if err != nil {
		t.Fatal(err)
	}
	// The old one is told, and works on until the code is used.
	key := func() byte {
		id, err := try[wire.BoardIdentity](l, wire.MethodBoardAuthenticate, wire.BoardAuthenticate{Board: b.ID})
		if err != nil {
			t.Fatal(err)
		}
		return id.PublicKey[0]
	}
	if d := call[wire.BoardDesired](l, wire.MethodBoardDesired, wire.BoardAsk{Board: b.ID, Epoch: f.epochNow(l)}); len(d.Notices) != 1 || !strings.Contains(d.Notices[0], "another device") || key() != 1 {
		t.Errorf("the old one is told %q; the key is %d", d.Notices, key())
	}
	l.forget()
	if err := l.joinWith(made.Join, 2); err != nil {
		t.Fatal(err)
	}
	l.await("board.replaced", "one")
	select {
	case kick := <-l.kicks:
		if kick.Reason != wire.KickLeft || !strings.Contains(kick.Message, "taken this board's place") {
			t.Errorf("the old one's session is ended with %+v", kick)
		}
	case <-time.After(time.Minute):
		t.Error("the old one's session is not ended")
	}
	if key() != 2 {
		t.Errorf("the key is %d", key())
	}
	if _, err := try[wire.Empty](l, wire.MethodBoardReport, wire.BoardReport{Board: b.ID, Epoch: f.epoch}); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("a report of the old one: %v", err)
	}
	// What the old one opened at the tunnel agent serves the new one no more.
	l.tunnelApply()
	for _, r := range tunnelWants[tunnelPort](l, wire.KindPort) {
		if r.Board == b.ID {
			t.Errorf("the tunnel agent is to have %+v", r)
		}
	}
	fresh := &fakeBoard{id: b.ID, name: "one"}
	l.mu.Lock()
	l.boards[b.ID] = fresh
	l.mu.Unlock()
	l.connect(fresh, "i2")
	l.await("port.up", "one")
	l.await("service.up", "one")
	after := l.bridgeNow("lab")
	if p := after.Ports[0]; p.ID != before.ID || p.MAC != before.MAC || p.Addresses[0] != before.Addresses[0] || after.Status != s4t.BridgeUp {
		t.Errorf("%+v, and before %+v", p, before)
	}
	if s := call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: exposed.Object}); s.Status != s4t.ServiceUp {
		t.Errorf("%+v", s)
	}
	if n := len(fresh.desired.Notices); n != 0 {
		t.Errorf("the new one is told %q", fresh.desired.Notices)
	}
	var records wire.List[s4t.AuditRecord]
	if err := l.db.View(t.Context(), func(tx *store.Tx) (err error) {
		records, err = tx.AuditRecords(store.AuditFilter{Board: string(b.ID)}, wire.Page{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	var details []string
	for _, r := range records.Items {
		if r.Outcome == "ok" && r.Detail != "" {
			details = append(details, r.Action+": "+r.Detail)
		}
	}
	for _, want := range []string{"board.update: new code; the present key ends when it is used", "board.join: in place of an earlier key"} {
		if !strings.Contains(strings.Join(details, "\n"), want) {
			t.Errorf("the audit does not say %q: %q", want, details)
		}
	}
}

func TestABoardTellsWhatHasChangedOfIt(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	l.mu.Lock()
	r := l.reportOf(f)
	f.seq++
	r.Seq, r.Info = f.seq, &s4t.BoardInfo{Networks: true, Routes: []string{"192.168.1.0/24"}, Resolvers: []string{"192.168.1.1"}}
	l.mu.Unlock()
	call[wire.Empty](l, wire.MethodBoardReport, r)
	if i := l.boardNow("one").Info; len(i.Routes) != 1 || len(i.Resolvers) != 1 || !i.Networks {
		t.Errorf("%+v", i)
	}
	l.report(f) // which says nothing of it
	if i := l.boardNow("one").Info; len(i.Routes) != 1 {
		t.Errorf("%+v", i)
	}
}

// TestANameIsOfOnesOwnProject does row 18 again: an admin who names what only
// another project has is told whose it is, and nothing is done to it.
func TestANameIsOfOnesOwnProject(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "lab", Boards: []string{"one"}}))
	b := l.bridgeNow("lab")
	for method, req := range map[string]any{
		wire.MethodBoardGet: wire.RefRequest{Caller: l.admin, Ref: "one"}, wire.MethodBoardDelete: wire.RefRequest{Caller: l.admin, Ref: "one"},
		wire.MethodBoardUpdate: wire.BoardUpdate{Caller: l.admin, Ref: "one", Type: ref("x")}, wire.MethodBoardDoctor: wire.RefRequest{Caller: l.admin, Ref: "one"},
		wire.MethodStreamOpen:    wire.StreamOpen{Caller: l.admin, Board: "one", TCPPort: 22},
		wire.MethodServiceExpose: wire.ServiceExpose{Caller: l.admin, Board: "one", Service: "ssh"}, wire.MethodServiceList: wire.ServiceList{Caller: l.admin, Board: "one"},
		wire.MethodBridgeGet: wire.RefRequest{Caller: l.admin, Ref: "lab"}, wire.MethodBridgeDelete: wire.RefRequest{Caller: l.admin, Ref: "lab"},
		wire.MethodBridgeAdd:  wire.BridgeChange{Caller: l.admin, Ref: "lab", Boards: []string{"one"}},
		wire.MethodNetworkGet: wire.RefRequest{Caller: l.admin, Ref: "lab"}, wire.MethodUplinkSet: wire.UplinkSet{Caller: l.admin, Ref: "lab", Bridge: "br0"},
	} {
		_, err := try[any](l, method, req)
		if s4t.KindOf(err) != s4t.NotFound || !strings.Contains(err.Error(), "of project default") || !strings.Contains(err.Error(), "--project") {
			t.Errorf("%s: %v", method, err)
		}
		if err != nil && !strings.Contains(err.Error(), string(b.Ports[0].BoardID)) && !strings.Contains(err.Error(), string(b.ID)) && !strings.Contains(err.Error(), string(b.Network)) {
			t.Errorf("%s names no id: %v", method, err)
		}
	}
	// By id all is there; names beside it are of its project.
	l.online("two")
	l.done(call[s4t.Operation](l, wire.MethodBridgeAdd, wire.BridgeChange{Caller: l.admin, Ref: string(b.ID), Boards: []string{"two"}}))
	l.done(call[s4t.Operation](l, wire.MethodBridgeDelete, wire.RefRequest{Caller: l.admin, Ref: string(b.ID)}))
}
