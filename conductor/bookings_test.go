package conductor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// TestACalendarTellsWhoseToWhoSeesIt: an offered board shows when it is taken, and not by whom.
func TestACalendarTellsWhoseToWhoSeesIt(t *testing.T) {
	l := newLab(t)
	owner, offer := lend(t, l, "lamp-1", "lamp-2")
	call[s4t.Board](l, wire.MethodBoardCreate, wire.BoardCreate{Caller: l.member, Name: "hidden"})
	const thirdID s4t.ProjectID = "33333333-3333-4333-8333-333333333333"
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		return tx.InsertProject(s4t.Project{ID: thirdID, Name: "third", Weight: 1, CreatedAt: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	stranger := vouched(l.key, wire.Caller{User: "stan", Project: thirdID, Role: s4t.RoleReader})
	night := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "night", Boards: []string{"lamp-1"}, For: 3600})
	// Another one touches it: to a stranger the two are one.
	call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "later", Boards: []string{"lamp-1"}, From: &night.Until, For: 60})

	list := func(c wire.Caller) []s4t.BoardCalendar {
		return items[s4t.BoardCalendar](l, wire.MethodBookingList, wire.BookingList{Caller: c})
	}
	whole := list(owner)
	if len(whole) != 3 || whole[1].Name != "lamp-1" || len(whole[1].Booked) != 2 {
		t.Fatalf("the owner sees %+v", whole)
	}
	if b := whole[1].Booked[0]; b.Lease != night.ID || b.Name != "night" || b.ProjectName == "" || b.User != "eve" || strings.Join(b.Allow, ",") != "ssh,pins" {
		t.Errorf("the owner sees %+v", b)
	}
	if len(whole[1].Open) != 1 || whole[1].Open[0].Until.Sub(whole[1].Open[0].From) != 7*24*time.Hour || len(whole[1].Offers) != 0 {
		t.Errorf("its own board may be booked %+v", whole[1])
	}
	mine := list(l.foreign)
	if len(mine) != 2 || mine[0].Booked[0].Lease != night.ID || !slices.Equal(mine[0].Offers, []s4t.OfferID{offer.ID}) || strings.Join(mine[0].Allow, ",") != "ssh,pins" {
		t.Errorf("who has the lease sees %+v", mine)
	}
	theirs := list(stranger)
	if len(theirs) != 2 || len(theirs[0].Booked) != 1 {
		t.Fatalf("a stranger sees %+v", theirs)
	}
	if text, _ := json.Marshal(theirs[0].Booked[0]); strings.Count(string(text), ":\"") != 2 { // from and until
		t.Errorf("a stranger is told %s", text)
	}
	if got := theirs[0].Booked[0].Window; !got.From.Equal(night.From) || !got.Until.Equal(night.Until.Add(time.Minute)) {
		t.Errorf("a stranger sees it taken %+v", got)
	}
	// Who was told of it is told when it is over, strangers are not.
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "later"})
	from, until := night.From.Add(-time.Hour), night.Until.Add(time.Hour)
	page := wire.BookingList{Caller: stranger, From: &from, Until: &until, Page: wire.Page{Limit: 1}}
	first := call[wire.List[s4t.BoardCalendar]](l, wire.MethodBookingList, page)
	page.Page.After = first.Next
	second := call[wire.List[s4t.BoardCalendar]](l, wire.MethodBookingList, page)
	if len(first.Items) != 1 || first.Items[0].Name != "lamp-1" || len(second.Items) != 1 || second.Items[0].Name != "lamp-2" || second.Next != "" {
		t.Errorf("by pages: %+v, %+v", first, second)
	}
	// What is not offered any more is there while it is booked.
	call[wire.Empty](l, wire.MethodOfferDelete, wire.RefRequest{Caller: owner, Ref: "lamps"})
	if got := list(l.foreign); len(got) != 1 || got[0].Name != "lamp-1" || len(got[0].Open) != 0 {
		t.Errorf("without the offer: %+v", got)
	}
	if got := list(stranger); len(got) != 0 {
		t.Errorf("without the offer a stranger sees %+v", got)
	}
	for _, bad := range []wire.BookingList{{From: &until, Until: &from}, {From: &from, Until: ref(from.Add(94 * 24 * time.Hour))}} {
		bad.Caller = l.foreign
		if _, err := try[wire.List[s4t.BoardCalendar]](l, wire.MethodBookingList, bad); s4t.KindOf(err) != s4t.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestHoursOfOffersAreOpenInACalendar(t *testing.T) {
	rome, err := time.LoadLocation("Europe/Rome")
	if err != nil {
		t.Fatal(err)
	}
	h, err := s4t.ParseHours("Mon-Fri 18:00-08:00", rome)
	if err != nil {
		t.Fatal(err)
	}
	// Summer time ends in the night to Sunday 2026-10-25.
	w := lease.Window{From: time.Date(2026, 10, 23, 12, 0, 0, 0, time.UTC), Until: time.Date(2026, 10, 27, 12, 0, 0, 0, time.UTC)}
	var got []string
	for _, o := range openIn(h, w) {
		got = append(got, o.From.UTC().Format("02T15:04")+" "+o.Until.UTC().Format("02T15:04"))
	}
	if want := []string{"23T16:00 24T06:00", "26T17:00 27T07:00"}; !slices.Equal(got, want) {
		t.Errorf("open %q, want %q", got, want)
	}
	at := func(h int) time.Time { return time.Date(2026, 1, 1, h, 0, 0, 0, time.UTC) }
	both := union([]s4t.Window{{From: at(1), Until: at(3)}, {From: at(8), Until: at(9)}}, []s4t.Window{{From: at(3), Until: at(4)}, {From: at(7), Until: at(10)}})
	if want := []s4t.Window{{From: at(1), Until: at(4)}, {From: at(7), Until: at(10)}}; !slices.Equal(both, want) {
		t.Errorf("the union is %v", both)
	}
}

// TestLeasedBoardsAreListed: a project sees the boards that it has by leases, with until when, and hears of
// them, as long as it has them.
func TestLeasedBoardsAreListed(t *testing.T) {
	l := newLab(t)
	owner, _ := lend(t, l, "lamp-1", "lamp-2")
	night := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "night", Boards: []string{"lamp-1"}, For: 3600})
	later := night.Until
	call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "not-yet", Boards: []string{"lamp-2"}, From: &later, For: 60})
	own := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: owner, Name: "own", Boards: []string{"lamp-2"}, For: 60})

	for _, fields := range []string{"", "name,lease"} {
		got := items[s4t.Board](l, wire.MethodBoardList, wire.BoardList{Caller: l.foreign, Leased: true, Fields: fields})
		if len(got) != 1 || got[0].Name != "lamp-1" || got[0].Lease == nil || got[0].Lease.ID != night.ID || !got[0].Lease.Until.Equal(night.Until) || strings.Join(got[0].Lease.Allow, ",") != "ssh,pins" {
			t.Errorf("leased: %+v", got)
		}
	}
	for _, req := range []wire.BoardList{{Labels: map[string]string{"kind": "other"}}, {Query: "name:lamp-2"}, {Status: s4t.BoardOnline}} {
		req.Caller, req.Leased = l.foreign, true
		if got := items[s4t.Board](l, wire.MethodBoardList, req); len(got) != 0 {
			t.Errorf("%+v: %+v", req, got)
		}
	}
	if got := items[s4t.Board](l, wire.MethodBoardList, wire.BoardList{Caller: l.foreign}); len(got) != 0 {
		t.Errorf("its own: %+v", got)
	}
	if got := items[s4t.Board](l, wire.MethodBoardList, wire.BoardList{Caller: owner, Leased: true}); len(got) != 0 {
		t.Errorf("the owner's by %q: %+v", own.Name, got)
	}
	if got := call[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: l.foreign, Ref: "lamp-1"}); got.Lease == nil || got.Lease.ID != night.ID {
		t.Errorf("shown: %+v", got)
	}
	if got := call[s4t.Board](l, wire.MethodBoardGet, wire.RefRequest{Caller: owner, Ref: "lamp-1"}); got.Lease != nil {
		t.Errorf("shown to the owner: %+v", got)
	}

	heard := func() (kinds []string) {
		err := l.db.View(t.Context(), func(tx *store.Tx) error {
			all, err := tx.Events(l.foreign.Project, "", 0, 100)
			for _, e := range all {
				if strings.HasPrefix(e.Kind, "board.") {
					kinds = append(kinds, e.Kind+" "+e.Name)
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return kinds
	}
	for _, name := range []string{"lamp-1", "lamp-2"} {
		call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: name, Type: ref("yun")})
	}
	if got := heard(); !slices.Equal(got, []string{"board.updated lamp-1"}) {
		t.Errorf("heard %q", got)
	}
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "night"})
	call[s4t.Board](l, wire.MethodBoardUpdate, wire.BoardUpdate{Caller: l.member, Ref: "lamp-1", Type: ref("pi")})
	if got := heard(); len(got) != 1 {
		t.Errorf("after the lease it hears %q", got)
	}
	if got := items[s4t.Board](l, wire.MethodBoardList, wire.BoardList{Caller: l.foreign, Leased: true}); len(got) != 0 {
		t.Errorf("after the lease: %+v", got)
	}
}
