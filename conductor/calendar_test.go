package conductor

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

func TestCalendarsAreReadWithTheirTokens(t *testing.T) {
	l := newLab(t)
	f := l.online("one")
	err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		for _, c := range []wire.Caller{l.member, l.foreign} {
			u := s4t.User{ID: s4t.UserID(s4t.NewID()), Name: c.User, Project: c.Project, Role: c.Role, CreatedAt: time.Now()}
			if err := tx.InsertUser(u, ""); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	owner := vouched(l.key, wire.Caller{User: "olga", Project: projectID, Role: s4t.RoleManager})
	call[s4t.Offer](l, wire.MethodOfferCreate, wire.OfferCreate{Caller: owner, Name: "all", Boards: []string{"one"}})
	held := call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.foreign, Name: "night", Boards: []string{"one"}, For: 3600})
	day := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	call[s4t.Lease](l, wire.MethodLeaseCreate, wire.LeaseCreate{Caller: l.member, Name: "upkeep", Boards: []string{"one"}, From: &day, For: 3600})

	address := func(c wire.Caller, req wire.CalendarCreate) wire.CalendarRead {
		t.Helper()
		req.Caller = c
		made := call[s4t.Calendar](l, wire.MethodCalendarCreate, req)
		u, err := url.Parse(made.URL)
		if err != nil || !strings.HasSuffix(u.Path, ".ics") {
			t.Fatal(made, err)
		}
		return wire.CalendarRead{Token: u.Query().Get("token"), Board: string(made.Board)}
	}
	read := func(req wire.CalendarRead) string {
		t.Helper()
		return strings.ReplaceAll(call[wire.CalendarText](l, wire.MethodCalendarRead, req).Text, "\r\n ", "")
	}
	has := func(what, text string, wants bool, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if strings.Contains(text, p) != wants {
				t.Errorf("%s: has %q: %v\n%s", what, p, !wants, text)
			}
		}
	}
	ofOwner := address(l.member, wire.CalendarCreate{Board: "one"})
	has("the owner's", read(ofOwner), true, "SUMMARY:night (other)", "SUMMARY:upkeep (default)", "DTSTART:"+day.Format("20060102T150405Z"), "UID:"+string(held.ID)+"."+string(f.id)+"@s4t", "SEQUENCE:0")
	ofLessee := address(l.foreign, wire.CalendarCreate{Board: "one"})
	has("who has a lease's", read(ofLessee), true, "SUMMARY:night (other)", "SUMMARY:Booked")
	has("who has a lease's", read(ofLessee), false, "upkeep")
	ofLeases := address(l.foreign, wire.CalendarCreate{})
	has("the project's", read(ofLeases), true, "SUMMARY:night\r\n", `boards: one`, "UID:"+string(held.ID)+"@s4t")
	has("the project's", read(ofLeases), false, "upkeep")

	refused := func(what string, req wire.CalendarRead) {
		t.Helper()
		if got, err := try[wire.CalendarText](l, wire.MethodCalendarRead, req); s4t.KindOf(err) != s4t.Unauthenticated {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	refused("no token", wire.CalendarRead{})
	refused("a token of another calendar", wire.CalendarRead{Token: ofLeases.Token, Board: string(f.id)})
	refused("a token of a board, for the leases", wire.CalendarRead{Token: ofOwner.Token})
	call[s4t.Lease](l, wire.MethodLeaseExtend, wire.LeaseExtend{Caller: l.foreign, Ref: "night", For: 60})
	has("after it was extended", read(ofLeases), false, "SEQUENCE:0")
	renewed := address(l.member, wire.CalendarCreate{Board: "one", Reset: true})
	refused("after others were reset", ofOwner)
	read(renewed)
	call[s4t.Lease](l, wire.MethodLeaseRelease, wire.RefRequest{Caller: l.foreign, Ref: "night"})
	refused("of a board that is not leased any more", ofLessee)
	read(ofLeases)
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error {
		u, err := tx.User(l.foreign.User)
		if err != nil {
			return err
		}
		return tx.DeleteUser(u.ID)
	}); err != nil {
		t.Fatal(err)
	}
	refused("of a user who is gone", ofLeases)
}
