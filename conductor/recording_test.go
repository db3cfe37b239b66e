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

// saysOfTerminals is what a board tells of itself.
func saysOfTerminals(l *lab, f *fakeBoard, records bool) {
	l.t.Helper()
	err := l.db.Tx(l.t.Context(), func(tx *store.Tx) error {
		b, err := tx.Board(f.id)
		if err != nil {
			return err
		}
		b.Info.Terminal, b.Info.Resumes, b.Info.Records = "pi", true, records
		return tx.SetBoardSays(b)
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

func TestATerminalIsRecordedWhereTheProjectSaysSo(t *testing.T) {
	l := newLab(t)
	one, two := l.online("one"), l.online("two")
	saysOfTerminals(l, one, false)
	manager := l.member
	manager.Role = s4t.RoleManager
	manager = vouched(l.c.cfg.TicketKey, manager)
	open := wire.StreamOpen{Caller: l.member, Board: "one", Terminal: true, Resumable: strings.Repeat("0a", 16), Origin: "https://cloud.test"}
	if grant := call[wire.StreamGrant](l, wire.MethodStreamOpen, open); grant.Recorded {
		t.Error("a terminal is recorded though nobody said so")
	}
	on := true
	set := wire.ProjectUpdate{Caller: l.member, Ref: string(projectID), RecordTerminals: &on}
	refusedAs[s4t.Project](l, wire.MethodProjectUpdate, set, s4t.Forbidden, "")
	set.Caller = manager
	weight := 7
	refusedAs[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: manager, Ref: string(projectID), RecordTerminals: &on, Weight: &weight}, s4t.Forbidden, "")
	if p := call[s4t.Project](l, wire.MethodProjectUpdate, set); !p.RecordTerminals {
		t.Errorf("the project is %+v", p)
	}
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, open, s4t.Forbidden, "too old")
	saysOfTerminals(l, one, true)
	grant := call[wire.StreamGrant](l, wire.MethodStreamOpen, open)
	ticket, err := wire.VerifyTicket(l.c.ticketKey(), grant.Ticket, time.Now())
	if err != nil || !grant.Recorded || ticket.Recording == "" {
		t.Fatalf("the grant is %+v, its ticket %+v, %v", grant, ticket, err)
	}
	again := open
	again.Again = true
	if grant := call[wire.StreamGrant](l, wire.MethodStreamOpen, again); grant.Recorded {
		t.Error("one that is resumed is recorded anew")
	}

	id := ticket.Recording
	line := func(c string) string { return strings.Repeat(c, 15) + "\n" }
	part := func(f *fakeBoard, offset int64, data string, ended bool) wire.RecordingPart {
		return wire.RecordingPart{Board: f.id, Epoch: f.epochNow(l), ID: id, Offset: offset, Data: data, Ended: ended}
	}
	add := func(p wire.RecordingPart) { t.Helper(); call[wire.Empty](l, wire.MethodBoardRecording, p) }
	refuse := func(p wire.RecordingPart, kind s4t.Kind) {
		t.Helper()
		refusedAs[wire.Empty](l, wire.MethodBoardRecording, p, kind, "")
	}
	add(part(one, 0, line("h"), false))
	add(part(one, 0, line("h"), false)) // told twice
	refuse(part(two, 16, line("x"), false), s4t.NotFound)
	refuse(part(one, 17, line("x"), false), s4t.Invalid)
	refuse(part(one, 8, line("x"), false), s4t.Invalid)
	refuse(part(one, 16, strings.Repeat("x", s4t.MaxRecordingPart)+"\n", false), s4t.Invalid)
	refuse(part(one, 16, strings.Repeat("\x00", 20)+"\n", false), s4t.Invalid)
	refuse(part(one, 16, "", false), s4t.Invalid)
	refuse(part(one, 16, "x\n", false), s4t.Invalid)
	old := part(one, 16, line("x"), false)
	old.Epoch--
	refuse(old, s4t.Unavailable)
	for n := range int64(10) {
		add(part(one, 16+n*16, line("x"), false))
	}
	add(part(one, 176, line("y"), true))
	add(part(one, 176, line("y"), true))
	refuse(part(one, 192, line("z"), false), s4t.Conflict)

	refusedAs[wire.List[s4t.Recording]](l, wire.MethodRecordingList, wire.ListRequest{Caller: l.member}, s4t.Forbidden, "")
	all := items[s4t.Recording](l, wire.MethodRecordingList, wire.ListRequest{Caller: manager})
	if len(all) != 1 || all[0].Bytes != 192 || all[0].EndedAt == nil || all[0].Board != "one" || all[0].User != l.member.User || all[0].ShellOf != "pi" || all[0].Origin != "https://cloud.test" {
		t.Errorf("the recordings are %+v", all)
	}
	read := wire.RecordingRead{Caller: l.member, ID: string(id)}
	refusedAs[wire.RecordingText](l, wire.MethodRecordingRead, read, s4t.Forbidden, "")
	stranger := manager
	stranger.Project = otherID
	read.Caller = vouched(l.c.cfg.TicketKey, stranger)
	refusedAs[wire.RecordingText](l, wire.MethodRecordingRead, read, s4t.NotFound, "does not exist")
	read.Caller = manager
	text := ""
	for more := true; more; more = read.Offset > 0 {
		got := call[wire.RecordingText](l, wire.MethodRecordingRead, read)
		text += got.Data
		read.Offset = got.Next
	}
	if want := line("h") + strings.Repeat(line("x"), 10) + line("y"); text != want {
		t.Errorf("it is %q, not %q", text, want)
	}
	call[wire.Empty](l, wire.MethodRecordingDelete, wire.RefRequest{Caller: manager, Ref: string(id)})
	refuse(part(one, 192, line("z"), false), s4t.NotFound)

	var records wire.List[s4t.AuditRecord]
	if err := l.db.View(t.Context(), func(tx *store.Tx) (err error) {
		records, err = tx.AuditRecords(store.AuditFilter{Project: projectID}, wire.Page{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for action, detail := range map[string]string{"project.update": "terminals are recorded", "terminal.open": "recorded as " + string(id), "recording.read": "terminal of " + l.member.User, "recording.delete": "terminal of " + l.member.User} {
		if !slices.ContainsFunc(records.Items, func(r s4t.AuditRecord) bool {
			return r.Action == action && r.Outcome == "ok" && strings.Contains(r.Detail, detail)
		}) {
			t.Errorf("no record of %s says %q", action, detail)
		}
	}
}

// TestRecordingsOfAProjectAreBounded: the oldest that have ended go, and one that goes on does not.
func TestRecordingsOfAProjectAreBounded(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	saysOfTerminals(l, f, true)
	ended := time.Now()
	begin := func(bytes int64, end *time.Time) s4t.RecordingID {
		r := s4t.Recording{ID: s4t.RecordingID(s4t.NewID()), Project: projectID, BoardID: f.id, Board: "one", StartedAt: time.Now(), Bytes: bytes}
		if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
			if err := tx.InsertRecording(r); err != nil {
				return err
			}
			return tx.AddToRecording(r, "", end)
		}); err != nil {
			t.Fatal(err)
		}
		return r.ID
	}
	const most = int64(s4t.MaxRecordings)
	goesOn := begin(s4t.MaxRecording-16, nil)
	begin(most/2, &ended)
	newer := begin(most/2, &ended)
	part := wire.RecordingPart{Board: f.id, Epoch: f.epochNow(l), ID: goesOn, Offset: s4t.MaxRecording - 16, Data: strings.Repeat("x", 15) + "\n"}
	call[wire.Empty](l, wire.MethodBoardRecording, part)
	all := items[s4t.Recording](l, wire.MethodRecordingList, wire.ListRequest{Caller: l.admin})
	if len(all) != 2 || all[0].ID != goesOn || all[1].ID != newer {
		t.Errorf("left are %+v", all)
	}
	part.Offset += 16
	refusedAs[wire.Empty](l, wire.MethodBoardRecording, part, s4t.Conflict, "at most")
	begin(most, nil)
	on := true
	call[s4t.Project](l, wire.MethodProjectUpdate, wire.ProjectUpdate{Caller: l.admin, Ref: string(projectID), RecordTerminals: &on})
	open := wire.StreamOpen{Caller: l.member, Board: "one", Terminal: true, Resumable: strings.Repeat("0a", 16)}
	refusedAs[wire.StreamGrant](l, wire.MethodStreamOpen, open, s4t.Conflict, "end some")
}
