package conductor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

func TestAGREEndpointComesAndGoes(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "g", Boards: []string{"one"}}))
	network := func() s4t.Network {
		return call[s4t.Network](l, wire.MethodNetworkGet, wire.RefRequest{Caller: l.reader, Ref: "g"})
	}
	key := network().Key
	op := l.done(call[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "g", Remote: "192.0.2.7", Guards: s4t.PortGuards{AllowDHCP: true, StormLimit: 9, Outward: s4t.OutwardGuards{AllowDHCP: true}}}))
	n := network()
	if op.Object != string(n.ID) || len(n.AttachGRE) != 1 {
		t.Fatalf("operation on %s, network %+v", op.Object, n)
	}
	e := n.AttachGRE[0]
	if e.Remote != "192.0.2.7" || e.Key != key || e.Status != s4t.PortUp || (e.Guards != s4t.PortGuards{AllowAnySource: true, AllowDHCP: true, Outward: s4t.OutwardGuards{AllowDHCP: true}}) {
		t.Errorf("endpoint %+v", e)
	}
	type attachment struct {
		ID s4t.EndpointID
		wire.GREAttachment
	}
	told := tunnelWants[attachment](l, wire.KindGRE)
	if len(told) != 1 || told[0].ID != e.ID || told[0].Key != key {
		t.Errorf("the tunnel agent is told %+v", told)
	}
	l.await("gre.up", "g")

	// Another incarnation of the tunnel agent has not got it until it says so.
	l.mu.Lock()
	l.tunnel.deaf = true
	l.mu.Unlock()
	l.tunnelHello("t2")
	if got := network().AttachGRE[0].Status; got != s4t.PortDown {
		t.Errorf("after the restart of the tunnel agent: %s", got)
	}
	l.await("gre.down", "g")
	l.mu.Lock()
	l.tunnel.deaf = false
	l.mu.Unlock()
	l.tunnelApply()
	if got := network().AttachGRE[0].Status; got != s4t.PortUp {
		t.Errorf("when it has it again: %s", got)
	}

	l.done(call[s4t.Operation](l, wire.MethodDetachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "g", Remote: "192.0.2.7"}))
	if n := network(); len(n.AttachGRE) != 0 {
		t.Errorf("after detach: %+v", n.AttachGRE)
	}
	records := items[s4t.Network](l, wire.MethodNetworkList, wire.ListRequest{Caller: l.reader})
	if len(records) != 1 {
		t.Errorf("networks %+v", records)
	}
}

func TestAGREEndpointThatCannotBeAttachedSaysWhy(t *testing.T) {
	l := newLab(t)
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, wire.BridgeCreate{Caller: l.member, Name: "g", Boards: []string{"one"}}))
	l.mu.Lock()
	l.tunnel.problems["192.0.2.7"] = "needs root"
	l.mu.Unlock()
	op := l.ended(call[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "g", Remote: "192.0.2.7"}))
	if op.Status != s4t.OperationFailed || !strings.Contains(op.Error, "needs root") {
		t.Errorf("operation %+v", op)
	}
	l.mu.Lock()
	clear(l.tunnel.problems)
	l.mu.Unlock()
	l.tunnelApply()
	n := call[s4t.Network](l, wire.MethodNetworkGet, wire.RefRequest{Caller: l.reader, Ref: "g"})
	if e := n.AttachGRE[0]; e.Status != s4t.PortUp || e.Problem != "" {
		t.Errorf("once it can: %+v", e)
	}
}

func TestWhichGREEndpointsAreRefused(t *testing.T) {
	l := newLab(t)
	l.online("one")
	for _, b := range []wire.BridgeCreate{{Name: "two", Layer: 2}, {Name: "other", Layer: 2}, {Name: "three", Layer: 3}} {
		b.Caller, b.Boards = l.member, []string{"one"}
		l.done(call[s4t.Operation](l, wire.MethodBridgeCreate, b))
	}
	l.done(call[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "two", Remote: "192.0.2.7", Key: 5}))
	for _, tt := range []struct {
		name   string
		method string
		req    wire.NetworkGRE
		kind   s4t.Kind
		says   string
	}{
		{"by a member", wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.member, Ref: "two", Remote: "192.0.2.8"}, s4t.Forbidden, "admin"},
		{"detached by a member", wire.MethodDetachGRE, wire.NetworkGRE{Caller: l.member, Ref: "two", Remote: "192.0.2.7"}, s4t.Forbidden, "admin"},
		{"on layer 3", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "three", Remote: "192.0.2.8"}, s4t.Invalid, "--layer 2"},
		{"on no network", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "nowhere", Remote: "192.0.2.8"}, s4t.NotFound, "does not exist"},
		{"the cloud host itself", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "two", Remote: "127.0.0.1"}, s4t.Invalid, "--remote"},
		{"a group", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "two", Remote: "224.0.0.1"}, s4t.Invalid, "--remote"},
		{"IPv6", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "two", Remote: "fd00::1"}, s4t.Invalid, "IPv4"},
		{"a name", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "two", Remote: "router"}, s4t.Invalid, "IPv4"},
		{"from nowhere", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "two", Remote: "192.0.2.8", Local: "0.0.0.0"}, s4t.Invalid, "--local"},
		{"to itself", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "two", Remote: "192.0.2.8", Local: "192.0.2.8"}, s4t.Invalid, "both ends"},
		{"with a key that is in use there, by another network", wire.MethodAttachGRE, wire.NetworkGRE{Ref: "other", Remote: "192.0.2.7", Key: 5, Local: "192.0.2.1"}, s4t.Conflict, "--key"},
		{"that is not attached", wire.MethodDetachGRE, wire.NetworkGRE{Ref: "two", Remote: "192.0.2.8"}, s4t.NotFound, "not attached"},
		{"attached with another key", wire.MethodDetachGRE, wire.NetworkGRE{Ref: "two", Remote: "192.0.2.7", Key: 6}, s4t.NotFound, "not attached"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.req.Caller.User == "" {
				tt.req.Caller = l.operator
			}
			_, err := try[s4t.Operation](l, tt.method, tt.req)
			if s4t.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.says) {
				t.Errorf("%v (%q), want %q saying %q", err, s4t.KindOf(err), tt.kind, tt.says)
			}
		})
	}
	l.done(call[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "other", Remote: "192.0.2.7", Key: 6}))
	for i := range s4t.MaxGREEndpoints - 1 {
		l.done(call[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "two", Remote: fmt.Sprintf("192.0.3.%d", i)}))
	}
	if _, err := try[s4t.Operation](l, wire.MethodAttachGRE, wire.NetworkGRE{Caller: l.operator, Ref: "two", Remote: "192.0.4.1"}); s4t.KindOf(err) != s4t.TooMany {
		t.Errorf("one too many: %v", err)
	}
}
