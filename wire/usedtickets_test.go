package wire

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

func TestTicketsAreUsedOnceAndForgottenWhenTheyHaveExpired(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ticket := func(id string, expires time.Time) Ticket { return Ticket{ID: id, Expires: expires.Unix()} }
	u := NewUsedTickets(3)
	for _, tt := range []struct {
		name string
		t    Ticket
		at   time.Time
		kind s4t.Kind
	}{
		{"without an id", ticket("", now.Add(time.Minute)), now, s4t.Forbidden},
		{"without an end", Ticket{ID: "x"}, now, s4t.Forbidden},
		{"the first", ticket("a", now.Add(time.Minute)), now, ""},
		{"the first again", ticket("a", now.Add(time.Minute)), now, s4t.Forbidden},
		{"the second", ticket("b", now.Add(10*time.Second)), now, ""},
		{"the third", ticket("c", now.Add(time.Minute)), now, ""},
		{"one too many", ticket("d", now.Add(time.Minute)), now, s4t.TooMany},
		{"on the second's last second", ticket("d", now.Add(time.Minute)), now.Add(10 * time.Second), s4t.TooMany},
		{"when the second has expired", ticket("d", now.Add(time.Minute)), now.Add(11 * time.Second), ""},
		{"the third again", ticket("c", now.Add(time.Minute)), now.Add(11 * time.Second), s4t.Forbidden},
	} {
		if err := u.Use(tt.t, tt.at); s4t.KindOf(err) != tt.kind {
			t.Errorf("%s: %v, want kind %q", tt.name, err, tt.kind)
		}
	}
}

func TestOfManyUsesAtTheSameTimeOneSucceeds(t *testing.T) {
	u := NewUsedTickets(10_000)
	now := time.Now()
	var good atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				if u.Use(Ticket{ID: strconv.Itoa(i), Expires: now.Unix() + 60}, now) == nil {
					good.Add(1)
				}
			}
		})
	}
	all.Wait()
	if n := good.Load(); n != 2000 {
		t.Errorf("%d uses of 2000 tickets", n)
	}
}
