package conductor

import (
	"slices"
	"strings"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

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
