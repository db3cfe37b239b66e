package hal

import (
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

func TestWhoMayWriteAndClaim(t *testing.T) {
	claimed := func(priority int, fence int64) seat {
		var s seat
		s.sit(Claim{Holder: "a", Priority: priority, Fence: fence}, time.Minute)
		return s
	}
	acting := seat{fence: 3, act: &lease{holder: "a", priority: 5, until: time.Minute}}
	for _, x := range []struct {
		what string
		seat seat
		as   any
		take bool
		kind s4t.Kind
	}{
		{"anybody writes a free pin", seat{}, Order{Holder: "b"}, false, ""},
		{"a free pin knows no claim", seat{fence: 7}, Order{Holder: "a", Fence: 7}, false, s4t.Stale},
		{"the holder writes", claimed(5, 7), Order{Holder: "a"}, false, ""},
		{"the holder writes under its claim", claimed(5, 7), Order{Holder: "a", Fence: 7}, false, ""},
		{"an older claim of the holder", claimed(5, 7), Order{Holder: "a", Fence: 6}, false, s4t.Stale},
		{"somebody else with the number", claimed(5, 7), Order{Holder: "b", Fence: 7, Priority: 9}, false, s4t.Stale},
		{"a lower priority", claimed(5, 7), Order{Holder: "b", Priority: 4}, false, s4t.Conflict},
		{"the same priority", claimed(5, 7), Order{Holder: "b", Priority: 5}, false, s4t.Conflict},
		{"a higher priority", claimed(5, 7), Order{Holder: "b", Priority: 6}, true, ""},
		{"a pending value holds the pin", acting, Order{Holder: "b", Priority: 5}, false, s4t.Conflict},
		{"a pending value is no claim", acting, Order{Holder: "a", Fence: 3}, false, s4t.Stale},
		{"a pending value yields", acting, Order{Holder: "b", Priority: 6}, true, ""},
		{"a first claim", seat{}, Claim{Holder: "a", Fence: 1}, false, ""},
		{"a claim of an older number", seat{fence: 7}, Claim{Holder: "a", Fence: 6, Priority: 9}, false, s4t.Stale},
		{"a claim of a number that was there", seat{fence: 7}, Claim{Holder: "a", Fence: 7}, false, s4t.Stale},
		{"a claim that is told twice", claimed(5, 7), Claim{Holder: "a", Fence: 7}, false, ""},
		{"a claim that is renewed", claimed(5, 7), Claim{Holder: "a", Fence: 8}, false, ""},
		{"a claim of the board itself", seat{fence: 7}, Claim{Holder: "local"}, false, ""},
		{"a claim of a claimed pin", claimed(5, 7), Claim{Holder: "b", Fence: 8, Priority: 5}, false, s4t.Conflict},
		{"a claim that reaps", claimed(5, 7), Claim{Holder: "b", Fence: 8, Priority: 6}, true, ""},
		{"a claim that reaps a pending value", acting, Claim{Holder: "b", Fence: 8, Priority: 6}, true, ""},
		{"a claim over one's own pending value", acting, Claim{Holder: "a", Fence: 8}, false, ""},
	} {
		var take bool
		var err error
		switch as := x.as.(type) {
		case Order:
			take, err = x.seat.write(as)
		case Claim:
			take, err = x.seat.admit(as)
		}
		if take != x.take || s4t.KindOf(err) != x.kind {
			t.Errorf("%s: takes %v, %v", x.what, take, err)
		}
	}
}

func TestAnActuationEndsWithItsClaim(t *testing.T) {
	var s seat
	s.sit(Claim{Holder: "a", Fence: 1}, 10)
	s.act = &lease{holder: "a", until: 20}
	if at, any := s.next(); at != 10 || !any {
		t.Errorf("the next end is at %v", at)
	}
	if ended := s.over(9); len(ended) != 0 {
		t.Errorf("%d are over", len(ended))
	}
	if ended := s.over(10); len(ended) != 2 || s.held() != nil {
		t.Errorf("%d are over, %v is left", len(ended), s.held())
	}
	s.sit(Claim{Holder: "a", Fence: 2}, 30)
	s.act = &lease{holder: "a", until: 20}
	if ended := s.over(20); len(ended) != 1 || s.held() != s.claim {
		t.Errorf("%d are over, %v is left", len(ended), s.held())
	}
}
