package conductor

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/ical"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

const (
	maxCalendarTokens = 16                  // of one calendar that a project has
	calendarBack      = 31 * 24 * time.Hour // how long a calendar shows what is over
	maxCalendar       = 1000                // leases of it
	calendarRefresh   = 15 * time.Minute    // how often those who subscribed are to look
)

// calendarCreate makes a token that opens one calendar and nothing else, and says where that is: programs
// that show calendars take an address, and have no other way to say who they are.
func (c *Conductor) calendarCreate(ctx context.Context, req wire.CalendarCreate) (s4t.Calendar, error) {
	op := "make the address of a calendar"
	var secret [24]byte
	rand.Read(secret[:])
	token := "cal_" + base64.RawURLEncoding.EncodeToString(secret[:])
	made := s4t.Calendar{}
	err := c.request(ctx, req.Caller, "calendar.create", req.Board, func(ch *change, rec *s4t.AuditRecord) error {
		path := "/v1/leases.ics"
		t := store.CalendarToken{Hash: codeHash(token), Project: req.Caller.Project, User: req.Caller.User}
		if req.Board != "" {
			b, by, err := ch.findBoard(req.Caller, op, wire.MethodCalendarCreate, req.Board)
			if err != nil {
				return err
			}
			t.Board, t.Project = b.ID, by.Project
			rec.Object, rec.Name, rec.Board = string(b.ID), b.Name, b.ID
			path = "/v1/boards/" + string(b.ID) + "/calendar.ics"
			made.Board = b.ID
		}
		made.URL = strings.TrimSuffix(c.cfg.APIURL, "/") + path + "?token=" + token
		if req.Reset {
			rec.Detail = "those before are worth nothing any more"
			if err := ch.DeleteCalendarTokens(t.Project, t.Board); err != nil {
				return err
			}
		}
		return ch.InsertCalendarToken(t, ch.now, maxCalendarTokens)
	})
	return made, err
}

// calendarRead is a calendar for who has its token.
func (c *Conductor) calendarRead(ctx context.Context, req wire.CalendarRead) (wire.CalendarText, error) {
	const op = "read a calendar"
	none := s4t.Errorf(s4t.Unauthenticated, op, "make a new address: `s4t lease calendar`", "the address of the calendar is not good (any more)")
	shown, err := view(ctx, c, func(tx *store.Tx) (ical.Calendar, error) {
		t, err := tx.CalendarToken(codeHash(req.Token))
		if s4t.KindOf(err) == s4t.NotFound || err == nil && string(t.Board) != req.Board {
			return ical.Calendar{}, none
		}
		if err != nil {
			return ical.Calendar{}, err
		}
		since := tx.Now().Add(-calendarBack)
		if t.Board == "" {
			leases, err := tx.ProjectCalendar(t.Project, since, maxCalendar)
			if err != nil {
				return ical.Calendar{}, err
			}
			return calendarOf(tx, "leases of project "+projectName(tx, t.Project), leases, t, false)
		}
		b, by, err := findBoard(tx, wire.Caller{Project: t.Project, Role: s4t.RoleReader}, op, wire.MethodCalendarCreate, string(t.Board))
		if kind := s4t.KindOf(err); kind == s4t.NotFound || kind == s4t.Forbidden { // no lease of it any more
			return ical.Calendar{}, none
		}
		if err != nil {
			return ical.Calendar{}, err
		}
		leases, err := tx.BoardCalendar(b.ID, since, maxCalendar)
		if err != nil {
			return ical.Calendar{}, err
		}
		return calendarOf(tx, "board "+b.Name, leases, t, by.lent())
	})
	if err != nil {
		return wire.CalendarText{}, err
	}
	shown.Refresh = calendarRefresh
	return wire.CalendarText{Text: ical.Encode(shown)}, nil
}

// calendarOf are leases as a calendar. veiled: of those of other projects it shows that they are, and no
// more.
func calendarOf(tx *store.Tx, name string, leases []store.CalendarLease, t store.CalendarToken, veiled bool) (ical.Calendar, error) {
	cal := ical.Calendar{Name: name}
	ids := make([]s4t.LeaseID, len(leases))
	for i, l := range leases {
		ids[i] = l.ID
	}
	boards, err := tx.LeaseBoards(ids)
	if err != nil {
		return cal, err
	}
	names := map[s4t.ProjectID]string{}
	for _, l := range leases {
		e := ical.Event{UID: string(l.ID) + "@s4t", Sequence: l.Revision, Stamp: l.CreatedAt, From: l.From, Until: l.Until, Summary: "Booked"}
		if t.Board != "" {
			e.UID = fmt.Sprintf("%s.%s@s4t", l.ID, t.Board)
		}
		if l.Project == t.Project || !veiled {
			if _, known := names[l.Project]; !known {
				names[l.Project] = projectName(tx, l.Project)
			}
			e.Summary = l.Name
			if t.Board != "" {
				e.Summary += " (" + names[l.Project] + ")"
			}
			lines := []string{"project: " + names[l.Project], "by: " + l.User, "allows: " + strings.Join(l.Allow, ", "), "status: " + string(l.Status)}
			if t.Board == "" {
				var of []string
				for _, b := range boards[l.ID][:min(len(boards[l.ID]), 50)] {
					of = append(of, b.Name)
				}
				lines = append(lines, "boards: "+strings.Join(of, ", "))
			}
			e.Description = strings.Join(lines, "\n")
		}
		cal.Events = append(cal.Events, e)
	}
	return cal, nil
}

// projectName is the name of a project for people; its id where it is gone.
func projectName(tx *store.Tx, id s4t.ProjectID) string {
	if p, err := tx.Project(string(id)); err == nil {
		return p.Name
	}
	return string(id)
}
