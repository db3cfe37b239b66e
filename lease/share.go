package lease

import (
	"slices"
	"time"

	"github.com/stack4things/s4t"
)

// Grant is what somebody may do with boards for a time: what an offer gives, what a lease
// has, what a share of one passes on.
type Grant struct {
	Boards   []s4t.BoardID
	Window   Window
	Allow    Set
	Priority int
}

// Attenuate returns the grant that is passed on of one: never more than it is. What want
// leaves empty (boards, allow, a zero time) is as in the grant. What would be more is an
// error that says what, and how much there is.
func (g Grant) Attenuate(op string, want Grant) (Grant, error) {
	bad := func(hint, format string, args ...any) (Grant, error) {
		return Grant{}, s4t.Errorf(s4t.Forbidden, op, hint, format, args...)
	}
	out := want
	if len(out.Boards) == 0 {
		out.Boards = slices.Clone(g.Boards)
	}
	for _, b := range out.Boards {
		if !slices.Contains(g.Boards, b) {
			return bad("", "board %s is not in it", b)
		}
	}
	if len(out.Allow) == 0 {
		out.Allow = slices.Clone(g.Allow)
	}
	if !out.Allow.Within(g.Allow) {
		return bad("it allows "+g.Allow.String(), "%s is more than it allows", out.Allow)
	}
	if out.Window.From.IsZero() {
		out.Window.From = g.Window.From
	}
	if out.Window.Until.IsZero() {
		out.Window.Until = g.Window.Until
	}
	if !out.Window.Within(g.Window) {
		return bad("it is from "+clock(g.Window.From)+" until "+clock(g.Window.Until), "%s until %s is longer than it", clock(out.Window.From), clock(out.Window.Until))
	}
	if !out.Window.From.Before(out.Window.Until) {
		return Grant{}, s4t.Errorf(s4t.Invalid, op, "let it end after it begins", "it would end before it begins")
	}
	if out.Priority > g.Priority {
		return bad("", "a priority of %d is more than its %d", out.Priority, g.Priority)
	}
	return out, nil
}

func clock(t time.Time) string { return t.UTC().Format(time.RFC3339) }
