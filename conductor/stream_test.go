package conductor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestNoStreamInClosedHours: who asks for one hears when the hours begin, not that the
// board has no rtunnel.
func TestNoStreamInClosedHours(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	open := wire.StreamOpen{Caller: l.member, Board: "one", TCPPort: 22}
	hours := func(p s4t.BoardProfile) {
		t.Helper()
		call[wire.Empty](l, wire.MethodBoardCode, wire.CodeReport{Board: f.id, Epoch: f.epochNow(l), Profile: p})
	}
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	hours(s4t.BoardProfile{ChangesAt: &later})
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, open, s4t.Forbidden, "it opens at "+later.UTC().Format(time.RFC3339))
	hours(s4t.BoardProfile{})
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, open, s4t.Forbidden, "does not know the time")
	for _, p := range []s4t.BoardProfile{{ChangesAt: &before}, {Open: true, ChangesAt: &later}} {
		hours(p)
		call[wire.StreamGrant](l, wire.MethodStreamOpen, open)
	}
}

// TestABoardIsNotAskedForHostKeysThatItTold: sshd punishes who only looks. And
// the audit tells the address that the board's services see of a user.
func TestABoardIsNotAskedForHostKeysThatItTold(t *testing.T) {
	l := newLab(t)
	l.online("one")
	for tcpPort, want := range map[int]string{22: "ssh-ed25519 AAAA one", 2222: "ssh-ed25519 AAAA"} {
		grant, err := try[wire.StreamGrant](l, wire.MethodStreamOpen, wire.StreamOpen{Caller: l.member, Board: "one", TCPPort: tcpPort, HostKeys: true})
		if err != nil || !slices.Equal(grant.HostKeys, []string{want}) {
			t.Errorf("port %d: %+v, %v, want %q", tcpPort, grant, err, want)
		}
	}
	from := "from " + s4t.LoopbackFor(l.member.User).String()
	var records wire.List[s4t.AuditRecord]
	err := l.db.View(t.Context(), func(tx *store.Tx) (err error) {
		records, err = tx.AuditRecords(store.AuditFilter{Project: projectID}, wire.Page{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(records.Items, func(r s4t.AuditRecord) bool { return r.Action == "stream.open" && strings.HasSuffix(r.Detail, from) }) {
		t.Errorf("no record says %q: %+v", from, records)
	}
}

// TestATerminalNeedsTheOwnersWord: and a member, and a name to be resumed by.
func TestATerminalNeedsTheOwnersWord(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	open := wire.StreamOpen{Caller: l.member, Board: "one", Terminal: true, Resumable: strings.Repeat("0a", 16), Origin: "https://cloud.test"}
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, open, s4t.Forbidden, "allows no terminals")
	err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		b, err := tx.Board(f.id)
		if err != nil {
			return err
		}
		b.Info.Terminal, b.Info.Resumes = "pi", true
		return tx.SetBoardSays(b)
	})
	if err != nil {
		t.Fatal(err)
	}
	reader, port, once := open, open, open
	reader.Caller, port.TCPPort, once.Resumable = l.reader, 22, ""
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, reader, s4t.Forbidden, "")
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, port, s4t.Invalid, "no port")
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, once, s4t.Invalid, "can be resumed")
	grant := call[wire.StreamGrant](l, wire.MethodStreamOpen, open)
	ticket, err := wire.VerifyTicket(l.c.ticketKey(), grant.Ticket, time.Now())
	if err != nil || ticket.Target != wire.TargetTerminal || ticket.User != l.member.User || !grant.Resumable {
		t.Errorf("the grant is %+v, its ticket %+v, %v", grant, ticket, err)
	}
}
