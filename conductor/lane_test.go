package conductor

import (
	"fmt"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
)

func TestLanesOfBoards(t *testing.T) {
	at := func(s int) time.Time { return time.Unix(int64(s), 0) }
	board := func(id string, f func(*store.Await)) store.Await {
		a := store.Await{Holder: id, HolderName: "board " + id, OnBoard: true, Kind: "port", Generation: 2, There: true, Online: true, Wanted: true}
		if f != nil {
			f(&a)
		}
		return a
	}
	agent := func(id string, up bool) store.Await {
		a := store.Await{Holder: "tunnel-agent-1", Board: s4t.BoardID(id), BoardName: "board " + id, Kind: "port", Generation: 1, Applied: 1, There: true, Online: true, Wanted: true, Up: up}
		return a
	}
	say := func(lanes []s4t.Lane) string {
		text := ""
		for _, l := range lanes {
			text += l.Board + ":"
			for _, s := range l.Steps {
				text += fmt.Sprintf(" %d@%d", s.Number, s.At.Unix())
			}
			if l.Problem != "" {
				text += " (" + l.Problem + ")"
			}
			text += "; "
		}
		return text
	}
	var lanes []s4t.Lane
	for i, tt := range []struct {
		awaits []store.Await
		want   string
		moved  bool
	}{
		{[]store.Await{board("1", nil), board("2", nil), agent("1", false), {Holder: "tunnel-agent-1", Kind: "network"}}, "board 1:; board 2:; ", true},
		{[]store.Await{board("1", nil), board("2", nil), agent("1", false)}, "board 1:; board 2:; ", false},
		{[]store.Await{board("1", func(a *store.Await) { a.ToldAt, a.ReceivedAt = at(1), at(2) }), board("2", func(a *store.Await) { a.Problem = "no tun" })}, "board 1: 5@1 6@2; board 2: (no tun); ", true},
		{[]store.Await{board("1", func(a *store.Await) { a.ToldAt, a.ReceivedAt, a.Applied, a.Up = at(1), at(2), 2, true }), agent("1", false), board("2", func(a *store.Await) { a.There = false })},
			"board 1: 5@1 6@2 7@3; board 2: (it is away, and gets it when it comes); ", true},
		{[]store.Await{board("1", func(a *store.Await) { a.Applied, a.Up = 2, true }), agent("1", true)}, "board 1: 5@1 6@2 7@3 8@4; board 2:; ", true},
	} {
		var moved bool
		lanes, moved = lanesOf(lanes, tt.awaits, at(i))
		if got := say(lanes); got != tt.want || moved != tt.moved {
			t.Errorf("%d: %q, moved %v; want %q, %v", i, got, moved, tt.want, tt.moved)
		}
	}
	var many []store.Await
	for i := range 100 {
		many = append(many, board(fmt.Sprint(i), nil))
	}
	if lanes, _ := lanesOf(nil, many, at(0)); len(lanes) != s4t.MaxLanes {
		t.Errorf("%d lanes", len(lanes))
	}
}
