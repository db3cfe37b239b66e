package conductor

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// agentsAround are WAMP agents w1, w2, ... that take boards, with so many each.
func agentsAround(boards ...int) *around {
	r := &around{boards: map[s4t.AgentID]int{}}
	for i, n := range boards {
		id := s4t.AgentID(fmt.Sprintf("w%d", i+1))
		r.agents = append(r.agents, store.Agent{ID: id, Kind: wire.AgentWAMP, Online: true, URL: "https://" + string(id)})
		r.boards[id] = n
	}
	return r
}

func boardAt(id, agent, place string) store.Board {
	var b store.Board
	b.WAMPAgent = s4t.AgentID(agent)
	b.ID = s4t.BoardID(id)
	if place != "" {
		b.Labels = map[string]string{placeLabel: place}
	}
	return b
}

func TestBoardsAreToldTheirOwnAgentFirstAndOthersEvenly(t *testing.T) {
	r := agentsAround(0, 0, 0, 0)
	operators := []string{"https://cloud"}
	second := map[string]int{}
	for i := range 3000 {
		b := boardAt(fmt.Sprint("board", i), "w1", "")
		urls := r.urls(b, operators)
		if len(urls) != maxURLs || urls[0] != "https://w1" || !slices.Equal(urls, r.urls(b, operators)) {
			t.Fatalf("%s is told %v", b.ID, urls)
		}
		second[urls[1]]++
	}
	for _, url := range []string{"https://w2", "https://w3", "https://w4"} {
		if n := second[url]; n < 900 || n > 1100 {
			t.Errorf("%d of 3000 have %s second", n, url)
		}
	}
	r.boards["w4"] = agentRoom - 100 // nearly full
	second = map[string]int{}
	for i := range 3000 {
		second[r.urls(boardAt(fmt.Sprint("board", i), "w1", ""), operators)[1]]++
	}
	if n := second["https://w4"]; n > 100 {
		t.Errorf("%d of 3000 have the one second that is nearly full", n)
	}
	r.agents[0].Drain = store.DrainBegun
	if urls := r.urls(boardAt("b", "w1", ""), operators); slices.Contains(urls, "https://w1") || len(urls) != 3 {
		t.Errorf("boards of one that is drained are told %v", urls)
	}
	r.agents[2].Place = "messina"
	if urls := r.urls(boardAt("b", "w1", "messina"), operators); urls[0] != "https://w3" {
		t.Errorf("boards of a place are told %v", urls)
	}
	for _, few := range []*around{agentsAround(), agentsAround(7)} {
		if urls := few.urls(boardAt("b", "w1", ""), operators); !slices.Equal(urls, operators) {
			t.Errorf("with %d agents boards are told %v", len(few.agents), urls)
		}
	}
}

func TestWithoutOperatorsURLsBoardsAreToldTheAgentsThatThereAre(t *testing.T) {
	for _, tt := range []struct {
		agents  int
		drained bool
	}{{0, false}, {1, false}, {1, true}, {2, true}, {2, false}} {
		r := agentsAround(make([]int, tt.agents)...)
		for i := range r.agents {
			if tt.drained {
				r.agents[i].Drain = store.DrainBegun
			}
		}
		if urls := r.urls(boardAt("b", "", ""), nil); len(urls) != tt.agents {
			t.Errorf("with %d agents (drained: %v) boards are told %v", tt.agents, tt.drained, urls)
		}
	}
}

func TestABoardStaysWhereItsAgentTakesBoardsAgain(t *testing.T) {
	r := agentsAround(1, 1)
	r.agents[0].Drain = store.DrainDone // as it was a moment ago
	now := r.agents[0]
	now.Drain = store.DrainNot
	if to := r.better(boardAt("b", "w1", ""), now); to != "" {
		t.Errorf("it is sent to %s", to)
	}
}

func TestBoardsAreToldSilentAgentsLast(t *testing.T) {
	r := agentsAround(0)
	r.away = []store.Agent{{ID: "w2", URL: "https://w2"}, {ID: "w3", URL: "https://w3"}, {ID: "w4", URL: "https://w4"}}
	want := []string{"https://w1", "https://w2", "https://w3"}
	if urls := r.urls(boardAt("b", "w2", ""), nil); !slices.Equal(urls, want) {
		t.Errorf("boards are told %v, want %v", urls, want)
	}
	r.agents = nil
	if urls := r.urls(boardAt("b", "w2", ""), nil); len(urls) > 0 {
		t.Errorf("where no agent is online boards are told %v", urls)
	}
}

func TestAJoinStringNamesAgentsThatSaidHello(t *testing.T) {
	l := newLab(t)
	l.c.cfg.URLs = nil
	b, err := l.c.boardCreate(t.Context(), wire.BoardCreate{Caller: l.member, Name: "one"})
	if err != nil {
		t.Fatal(err)
	}
	j, err := s4t.ParseJoin(b.Join)
	if err != nil || !slices.Equal(j.URLs, []string{cloudURL}) { // the lab's agent is there
		t.Errorf("it names %v, %v", j.URLs, err)
	}
}

func TestABoardMovesWhereItsAgentHasTooMuchOrIsNotTheRightOne(t *testing.T) {
	for _, tt := range []struct {
		name   string
		boards []int
		change func(*around)
		place  string
		want   string
	}{
		{"alone", []int{500}, nil, "", ""},
		{"evenly", []int{100, 100, 100}, nil, "", ""},
		{"a little more", []int{130, 90, 80}, nil, "", ""},
		{"much more", []int{300, 10, 20}, nil, "", "https://w2"},
		{"drained", []int{1, 100}, func(r *around) { r.agents[0].Drain = store.DrainDone }, "", "https://w2"},
		{"all are drained", []int{1, 1}, func(r *around) { r.agents[0].Drain, r.agents[1].Drain = store.DrainDone, store.DrainDone }, "", ""},
		{"another place", []int{1, 1, 1}, func(r *around) { r.agents[2].Place = "messina" }, "messina", "https://w3"},
		{"a place that no agent is at", []int{1, 1, 1}, func(r *around) { r.agents[2].Place = "messina" }, "catania", ""},
		{"much more, at a place", []int{300, 10, 20}, func(r *around) { r.agents[0].Place, r.agents[2].Place = "messina", "messina" }, "messina", "https://w3"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := agentsAround(tt.boards...)
			if tt.change != nil {
				tt.change(r)
			}
			if got := r.better(boardAt("b", "w1", tt.place), r.agents[0]); got != tt.want {
				t.Errorf("it goes to %q, want %q", got, tt.want)
			}
		})
	}
	r := agentsAround(1000, 0)
	moved := 0
	for i := range 1000 { // what is sent away counts before anybody looks again
		if r.better(boardAt(fmt.Sprint(i), "w1", ""), r.agents[0]) != "" {
			moved++
		}
	}
	if moved < 300 || moved > 400 {
		t.Errorf("%d of 1000 boards move", moved)
	}
	drained := store.Agent{ID: "w1", Kind: wire.AgentWAMP, Place: "messina"}
	agents := agentsAround(0, 0, 0).agents
	agents[2].Place = "messina"
	if to := elsewhereOf(agents, nil, drained); len(to) != 1 || to[0].URL != "https://w3" {
		t.Errorf("boards of a place go to %+v", to)
	}
	agents[2].Online = false
	if to := elsewhereOf(agents, map[s4t.AgentID]store.Carried{"w2": {Boards: 2 * agentRoom}}, drained); len(to) != 1 || to[0].Weight != 1 {
		t.Errorf("where nobody of the place is left boards go to %+v", to)
	}
}
