package conductor

import (
	"cmp"
	"context"
	"hash/fnv"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Boards are given WAMP agents by place and room: the list that each is told, and
// the word to move where one is drained or has much more than its part. What is
// known of agents here is some seconds old: a list that was better a moment ago
// still is a good one.

const (
	lookInterval = 5 * time.Second // how often this conductor looks at the WAMP agents
	maxURLs      = 3               // that a board is told
	agentRoom    = 16_384          // sessions that an agent takes
	overPart     = 4               // an agent has too much with a quarter more than its part ...
	overSome     = 32              // ... and so many boards
)

// around are the WAMP agents as they were a moment ago.
type around struct {
	again chan struct{} // one has come: it is looked at once; of capacity 1

	mu     sync.Mutex          // guards the fields below
	agents []store.Agent       // that are online
	away   []store.Agent       // that are not, who was heard last first: they may be back before a board needs them
	boards map[s4t.AgentID]int // and those that were sent there since
}

// lookAround looks at the agents until ctx ends.
func (c *Conductor) lookAround(ctx context.Context) {
	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	for {
		if err := c.look(ctx); err != nil && ctx.Err() == nil {
			c.cfg.Log.Warn("boards are told of WAMP agents as they were", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.around.again:
		}
	}
}

// agentsCame hears that a WAMP agent has come: boards that come from now on are to be told of it.
func (c *Conductor) agentsCame(context.Context, wire.Empty) (wire.Empty, error) {
	select {
	case c.around.again <- struct{}{}:
	default:
	}
	return wire.Empty{}, nil
}

// look does so once.
func (c *Conductor) look(ctx context.Context) error {
	// A question that is under way is waited for when the conductor ends: what
	// breaks it off takes its connection to the database.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookInterval)
	defer cancel()
	boards := map[s4t.AgentID]int{}
	var away []store.Agent
	agents, err := view(ctx, c, func(tx *store.Tx) ([]store.Agent, error) {
		agents, err := tx.Agents()
		away = slices.DeleteFunc(slices.Clone(agents), func(a store.Agent) bool { return a.Kind != wire.AgentWAMP || a.Online })
		agents = slices.DeleteFunc(agents, func(a store.Agent) bool { return a.Kind != wire.AgentWAMP || !a.Online })
		if err != nil || len(agents) < 2 {
			return agents, err
		}
		carried, err := tx.Carried()
		for _, a := range agents {
			boards[a.ID] = carried[a.ID].Boards
		}
		return agents, err
	})
	if err != nil {
		return err
	}
	slices.SortFunc(away, func(a, b store.Agent) int { return b.SeenAt.Compare(a.SeenAt) })
	c.around.mu.Lock()
	defer c.around.mu.Unlock()
	c.around.agents, c.around.away, c.around.boards = agents, away, boards
	return nil
}

// online is how many agents there are.
func (r *around) online() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.agents)
}

// open are the agents that take boards. mu is held.
func (r *around) open() []store.Agent {
	return slices.DeleteFunc(slices.Clone(r.agents), func(a store.Agent) bool { return !a.Takes(wire.AgentWAMP) })
}

// room is how much more an agent takes. mu is held.
func (r *around) room(a store.Agent) int { return max(1, agentRoom-r.boards[a.ID]) }

// ranked are the agents that take boards in the order that is a board's own: those
// of its place first, and then by chance, weighted by room, but the same each time.
// mu is held.
func (r *around) ranked(b store.Board) []store.Agent {
	agents := r.open()
	score := make(map[s4t.AgentID]float64, len(agents))
	for _, a := range agents {
		h := fnv.New64a()
		h.Write([]byte(string(b.ID) + "\x00" + string(a.ID)))
		x := h.Sum64() // its last bits differ little: mix them
		x ^= x >> 33
		x *= 0xff51afd7ed558ccd
		x ^= x >> 33
		u := (float64(x>>11) + 0.5) / (1 << 53)
		score[a.ID] = -math.Log(u) / float64(r.room(a))
		if place := b.Labels[placeLabel]; place != "" && a.Place != place {
			score[a.ID] += 1e6
		}
	}
	slices.SortFunc(agents, func(a, b store.Agent) int { return cmp.Compare(score[a.ID], score[b.ID]) })
	return agents
}

// urls are where a board finds the cloud: the agent that has its session, then
// others, and where there is room those that are silent now: a board may read the list when they are back
// and the others are not. With one agent it is what the operator says, where they do.
func (r *around) urls(b store.Board, otherwise []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.agents) < 2 && len(otherwise) > 0 {
		return otherwise
	}
	ranked := r.ranked(b)
	if i := slices.IndexFunc(ranked, func(a store.Agent) bool { return a.ID == b.WAMPAgent }); i > 0 {
		own := ranked[i]
		ranked = slices.Insert(slices.Delete(ranked, i, i+1), 0, own)
	}
	if len(ranked) == 0 && len(otherwise) > 0 {
		return otherwise
	}
	if len(ranked) == 0 {
		ranked = r.agents // all are drained: they serve, nevertheless
	}
	if len(ranked) > 0 {
		ranked = append(slices.Clip(ranked), r.away...)
	}
	urls := make([]string, 0, maxURLs)
	for _, a := range ranked {
		if len(urls) < maxURLs && !slices.Contains(urls, a.URL) {
			urls = append(urls, a.URL)
		}
	}
	return urls
}

// joinURLs are those of a join string: what the operator says, else the agents that
// there are.
func (c *Conductor) joinURLs(ctx context.Context, op string, b store.Board) ([]string, error) {
	if len(c.cfg.URLs) > 0 {
		return c.cfg.URLs, nil
	}
	urls := c.around.urls(b, nil)
	if len(urls) == 0 { // one may have said hello since
		if err := c.look(ctx); err != nil {
			return nil, err
		}
		urls = c.around.urls(b, nil)
	}
	if len(urls) == 0 {
		return nil, s4t.Errorf(s4t.Unavailable, op, "start `iotronic serve --role wamp-agent`, or say with --board-url where one will be", "no WAMP agent is online: there is nowhere to send a board")
	}
	return urls, nil
}

// better is where a board should rather be than at its agent: empty where it is
// right there.
// now is its agent as it is: where that takes boards again, which is not known here yet, it stays.
func (r *around) better(b store.Board, now store.Agent) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := slices.IndexFunc(r.agents, func(a store.Agent) bool { return a.ID == b.WAMPAgent })
	ranked := r.ranked(b)
	if at < 0 || len(ranked) == 0 {
		return ""
	}
	own, place := r.agents[at], b.Labels[placeLabel]
	stays := own.Takes(wire.AgentWAMP)
	if !stays && now.Takes(wire.AgentWAMP) {
		return ""
	}
	if stays && place != "" && own.Place != place && ranked[0].Place == place {
		stays = false
	} else if stays {
		all, n := 0, 0
		for _, a := range ranked {
			if a.Place == own.Place {
				all, n = all+r.boards[a.ID], n+1
			}
		}
		part := all / n
		stays = r.boards[own.ID] <= part+part/overPart+overSome
		if !stays { // to who has least
			ranked = slices.DeleteFunc(ranked, func(a store.Agent) bool { return a.Place != own.Place })
			slices.SortStableFunc(ranked, func(a, b store.Agent) int { return r.boards[a.ID] - r.boards[b.ID] })
		}
	}
	if stays || ranked[0].ID == own.ID {
		return ""
	}
	r.boards[own.ID]--
	r.boards[ranked[0].ID]++
	return ranked[0].URL
}

// elsewhereOf are the agents that boards of a drained one are to go to.
func elsewhereOf(agents []store.Agent, carried map[s4t.AgentID]store.Carried, drained store.Agent) []wire.Elsewhere {
	var all []wire.Elsewhere
	for _, near := range []bool{true, false} {
		for _, a := range agents {
			if a.Takes(drained.Kind) && a.ID != drained.ID && (a.Place == drained.Place || !near) {
				all = append(all, wire.Elsewhere{URL: a.URL, Weight: max(1, agentRoom-carried[a.ID].Boards)})
			}
		}
		if len(all) > 0 {
			break
		}
	}
	return all
}
