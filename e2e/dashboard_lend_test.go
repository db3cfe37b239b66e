package e2e

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/internal/cloudlab"
)

// lends offers boards to two projects, which book them in the calendar: by the pointer over two boards
// at once, where the other one was before, and by the keyboard.
func (l *dashboardLab) lends(t *testing.T) {
	for _, name := range []string{"orchard", "belfry"} {
		runS4T(t, l.Cloud, "board", "update", name, "--label", "kind=lamp")
	}
	for user, project := range map[string]string{"bea": "borrowers", "cora": "lookers"} {
		runS4T(t, l.Cloud, "project", "create", project)
		l.user(t, user, project, "manager")
		l.do(nil, "login", step{"as": user, "url": cloudlab.URL, "user": user, "password": password})
	}
	l.do(nil, "offer", step{"as": "admin", "name": "lamps", "label": "kind=lamp", "to": "borrowers lookers"})

	var said struct {
		Boards      []string
		From, Until string
	}
	l.do(&said, "book", step{"as": "bea", "from": "belfry", "to": "orchard", "begin": 10, "end": 12, "name": "morning"})
	if len(said.Boards) != 2 || !strings.HasSuffix(said.From, "T10:00") || !strings.HasSuffix(said.Until, "T12:00") {
		t.Errorf("by a drag over two boards the page would book %+v", said)
	}
	var told string
	l.do(&told, "instead", step{"as": "cora", "board": "belfry", "begin": 11, "end": 13, "name": "noon"})
	if strings.Contains(told, "morning") || strings.Contains(told, "borrowers") {
		t.Errorf("a stranger is told %q", told)
	}
	var until string
	l.do(&until, "extend", step{"as": "cora", "board": "belfry", "name": "noon", "end": 15})
	if !strings.HasSuffix(until, "T15:00") {
		t.Errorf("by a drag of its end the lease would last until %s", until)
	}
	var bars []string
	l.do(&bars, "bars", step{"as": "admin", "board": "belfry", "until": "noon"})
	for _, name := range []string{"morning, borrowers", "noon, lookers"} {
		if !slices.ContainsFunc(bars, func(b string) bool { return strings.Contains(b, name) }) {
			t.Errorf("the owner sees %q", bars)
		}
	}
	var by string
	l.do(&by, "bookByKeys", step{"as": "bea", "rows": 1, "name": "keyed"})
	if !strings.HasPrefix(by, "orchard, ") {
		t.Errorf("by the keyboard one comes to %q", by)
	}
	l.do(nil, "share", step{"as": "cora", "name": "noon", "to": "borrowers"})

	// A board that one has now is among one's boards, by itself.
	l.do(nil, "text", step{"as": "bea", "path": "boards"})
	var answer struct {
		Status int
		Body   json.RawMessage
	}
	l.do(&answer, "ask", step{"as": "bea", "method": "POST", "path": "leases", "body": step{"name": "now", "boards": []string{"belfry"}, "for_seconds": 1800}})
	if answer.Status != 201 {
		t.Fatalf("bea's lease: %d %s", answer.Status, answer.Body)
	}
	l.do(nil, "shows", step{"as": "bea", "text": "leased until"})
	var text string
	l.do(&text, "text", step{"as": "bea", "path": "boards/belfry/access"})
	for _, want := range []string{"This project has it by a lease", "morning", "ssh, service, bridge, pins, commands"} {
		if !strings.Contains(text, want) {
			t.Errorf("the board's page does not say %q:\n%s", want, text)
		}
	}
	l.do(nil, "release", step{"as": "bea", "board": "orchard", "name": "morning", "watch": "admin"})
	var leases []s4t.Lease
	s4tJSON(t, l.Cloud, &leases, "lease", "list")
	left := map[string]s4t.LeaseStatus{}
	for _, lease := range leases {
		left[lease.Name+" "+lease.User] = lease.Status
	}
	for name, want := range map[string]s4t.LeaseStatus{"morning bea": s4t.LeaseReleased, "keyed bea": s4t.LeaseReleased, "noon cora": s4t.LeasePending, "now bea": s4t.LeaseActive} {
		if left[name] != want {
			t.Errorf("lease %q is %q, want %q", name, left[name], want)
		}
	}
	for _, as := range []string{"bea", "cora"} {
		l.do(nil, "close", step{"as": as})
	}
}
