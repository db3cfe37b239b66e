package conductor

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// maxQuestions is how many boards one project asks at a time: each question holds
// a worker, for as long as the board likes.
const maxQuestions = 16

// questions counts those that are asked now, by project.
type questions struct {
	mu sync.Mutex // guards of
	of map[s4t.ProjectID]int
}

// ask asks a board itself, through the WAMP agent of its session. Where the
// caller's project asks too many already it is TooMany, at once.
func (c *Conductor) ask(ctx context.Context, project s4t.ProjectID, b store.Board, procedure string, args []byte) (json.RawMessage, error) {
	q := &c.questions
	q.mu.Lock()
	if q.of[project] >= maxQuestions {
		q.mu.Unlock()
		return nil, s4t.Errorf(s4t.TooMany, "ask board "+string(b.ID), "try again in a moment", "the project asks %d boards at this moment", maxQuestions).After(time.Second)
	}
	q.of[project]++
	q.mu.Unlock()
	defer func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.of[project]--; q.of[project] == 0 {
			delete(q.of, project)
		}
	}()
	var reply json.RawMessage
	err := c.cfg.Queue.Call(ctx, wire.TopicWAMPQuestions+"."+string(b.WAMPAgent), wire.MethodBoardCall, wire.BoardCall{Board: b.ID, Procedure: procedure, Args: args}, &reply)
	return reply, err
}
