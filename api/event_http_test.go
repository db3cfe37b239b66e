package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/apiclient"
	"github.com/stack4things/s4t/wire"
)

// happen records an event and fans out news of it, as the conductor does.
func (r *rig) happen(t *testing.T, e s4t.Event) {
	t.Helper()
	r.mu.Lock()
	r.events = append(r.events, e)
	r.mu.Unlock()
	if err := r.q.Fanout(context.Background(), wire.TopicEvents, wire.MethodNews, wire.News{Events: e.ID}); err != nil {
		t.Error(err)
	}
}

func take(t *testing.T, s *apiclient.EventStream, n int) (ids []int64) {
	t.Helper()
	for e := range s.All() {
		if ids = append(ids, e.ID); len(ids) == n {
			break
		}
	}
	return ids
}

func TestEventsAreFilteredByProjectAndResume(t *testing.T) {
	r := newRig(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The API has subscribed when Events returns.
	member, err := r.client(t, "member-secret").Events(ctx, apiclient.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer member.Close()
	r.happen(t, s4t.Event{ID: 1, Kind: "board.online", Project: "22222222-2222-4222-8222-222222222222"})
	r.happen(t, s4t.Event{ID: 2, Kind: "board.online", Project: home, Object: "b1"})
	r.happen(t, s4t.Event{ID: 3, Kind: "agent.gone"})
	r.happen(t, s4t.Event{ID: 4, Kind: "board.offline", Project: home})
	if got := take(t, member, 2); got[0] != 2 || got[1] != 4 {
		t.Errorf("a member saw %v", got)
	}

	resumed, err := r.client(t, "member-secret").Events(ctx, apiclient.EventsOptions{After: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer resumed.Close()
	if got := take(t, resumed, 1); got[0] != 4 {
		t.Errorf("resumed after 2: %v", got)
	}

	admin, err := r.client(t, "admin-secret").Events(ctx, apiclient.EventsOptions{After: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	r.happen(t, s4t.Event{ID: 5, Kind: "board.online", Project: home})
	if got := take(t, admin, 4); got[0] != 2 || got[1] != 3 || got[2] != 4 || got[3] != 5 {
		t.Errorf("an admin saw %v", got)
	}
}

func TestWaitBoardIsToldByAnEvent(t *testing.T) {
	r := newRig(t)
	status := s4t.BoardOffline
	r.mu.Lock()
	r.answer[wire.MethodBoardGet] = func([]byte) (any, error) {
		b := s4t.Board{ID: "b1", Name: "kitchen", Status: status}
		if status == s4t.BoardOffline { // it comes online right after it was looked at
			status = s4t.BoardOnline
			go r.happen(t, s4t.Event{ID: 7, Kind: "board.online", Project: home, Object: "b1"})
		}
		return b, nil
	}
	r.mu.Unlock()
	b, err := r.client(t, "reader-secret").WaitBoard(t.Context(), "kitchen", s4t.BoardOnline)
	if err != nil || b.Status != s4t.BoardOnline {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestWaitBoardLooksAgainAfterAReset(t *testing.T) {
	r := newRig(t)
	c := r.client(t, "admin-secret")
	events, err := c.Events(t.Context(), apiclient.EventsOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.happen(t, s4t.Event{ID: 7, Kind: "x"})
	take(t, events, 1) // the API knows event 7
	n := 0
	r.mu.Lock()
	r.answer[wire.MethodBoardGet] = func([]byte) (any, error) {
		b := s4t.Board{ID: "b1", Name: "kitchen", Status: s4t.BoardOffline}
		if n++; n > 1 {
			b.Status = s4t.BoardOnline
		}
		r.events = nil // the database is an older one
		go r.q.Fanout(context.Background(), wire.TopicEvents, wire.MethodNews, wire.News{Events: 1})
		return b, nil
	}
	r.mu.Unlock()
	b, err := c.WaitBoard(t.Context(), "kitchen", s4t.BoardOnline)
	if err != nil || b.Status != s4t.BoardOnline {
		t.Errorf("%+v, %v", b, err)
	}
}

func TestEventsAsAnArray(t *testing.T) {
	r := newRig(t)
	for id := range int64(5) {
		r.happen(t, s4t.Event{ID: id + 1, Kind: "board.online", Project: home})
	}
	path, ids := "/v1/events?limit=2", ""
	for path != "" {
		res, body := r.do(t, "GET", path, "member-secret", "")
		var page []s4t.Event
		if err := json.Unmarshal([]byte(body), &page); err != nil || res.Header.Get("X-Event-Id") != "5" {
			t.Fatalf("%v: %v %s", err, res.Header, body)
		}
		for _, e := range page {
			ids += fmt.Sprint(e.ID)
		}
		ids += ","
		path = nextPath(t, res)
	}
	if ids != "12,34,5," {
		t.Errorf("pages of %s", ids)
	}
}
