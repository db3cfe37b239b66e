package conductor

import (
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// TestADNSNameIsOneServicesInTheCloud: who has it is told to nobody, and it is free again when it is
// taken away, or the service is hidden.
func TestADNSNameIsOneServicesInTheCloud(t *testing.T) {
	l := newLab(t)
	l.online("one")
	expose := func(service, name string) (s4t.Operation, error) {
		return try[s4t.Operation](l, wire.MethodServiceExpose, wire.ServiceExpose{Caller: l.member, Board: "one", Service: service, DNSName: name})
	}
	looked := func(name, host string, port int) {
		t.Helper()
		if p := call[wire.ServicePlace](l, wire.MethodServiceLookup, wire.ServiceLookup{Name: name}); p.Host != host || p.PublicPort != port {
			t.Errorf("%s is at %+v, want %s port %d", name, p, host, port)
		}
	}
	op, err := expose("ssh", "Kitchen-SSH")
	if err != nil {
		t.Fatal(err)
	}
	l.done(op)
	s := call[s4t.Service](l, wire.MethodServiceGet, wire.RefRequest{Caller: l.reader, Ref: op.Object})
	if s.DNSName != "kitchen-ssh" {
		t.Errorf("%+v", s)
	}
	looked("kitchen-ssh", "tunnel.example", s.PublicPort)
	looked("cellar", "", 0)

	update := func(caller wire.Caller, service, name string) (s4t.Service, error) {
		return try[s4t.Service](l, wire.MethodServiceUpdate, wire.ServiceUpdate{Caller: caller, Board: "one", Service: service, DNSName: &name})
	}
	web, err := expose("http", "")
	if err != nil {
		t.Fatal(err)
	}
	l.done(web)
	if _, err := expose("https", "kitchen-ssh"); s4t.KindOf(err) != s4t.Conflict || !strings.Contains(err.Error(), `"kitchen-ssh" is taken`) || strings.Contains(err.Error(), "one") && strings.Contains(err.Error(), string(s.ID)) {
		t.Errorf("%v", err)
	}
	if _, err := update(l.member, "http", "KITCHEN-ssh"); s4t.KindOf(err) != s4t.Conflict {
		t.Errorf("%v", err)
	}
	for _, name := range []string{"a.b", "-a", "a-", "a_b", "ns", "ä", strings.Repeat("a", 63)} {
		if _, err := update(l.member, "http", name); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := expose("https", name); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%q: %v", name, err)
		}
	}
	if s, err := update(l.member, "ssh", ""); err != nil || s.DNSName != "" {
		t.Errorf("%+v, %v", s, err)
	}
	looked("kitchen-ssh", "", 0)
	got, err := update(l.member, "80", "kitchen-ssh")
	if err != nil || got.DNSName != "kitchen-ssh" || string(got.ID) != web.Object {
		t.Errorf("%+v, %v", got, err)
	}
	looked("kitchen-ssh", "tunnel.example", got.PublicPort)
	l.await("service.updated", "one")
	l.done(call[s4t.Operation](l, wire.MethodServiceHide, wire.ServiceHide{Caller: l.member, Board: "one", Service: "http"}))
	looked("kitchen-ssh", "", 0)
	if op, err := expose("https", "kitchen-ssh"); err != nil {
		t.Error(err)
	} else {
		l.done(op)
	}
}
