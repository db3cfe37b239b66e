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
	most int // of one project

	mu sync.Mutex // guards of
	of map[s4t.ProjectID]int
}

func newQuestions(most int) *questions { return &questions{most: most, of: map[s4t.ProjectID]int{}} }

// enter counts one more of a project, until leave is called. Where the project
// asks too many already it is TooMany, at once.
func (q *questions) enter(op string, project s4t.ProjectID) (leave func(), err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.of[project] >= q.most {
		return nil, s4t.Errorf(s4t.TooMany, op, "try again in a moment", "the project asks %d boards at this moment", q.most).After(time.Second)
	}
	q.of[project]++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if q.of[project]--; q.of[project] == 0 {
			delete(q.of, project)
		}
	}, nil
}

// ask asks a board itself, through the WAMP agent of its session.
func (c *Conductor) ask(ctx context.Context, project s4t.ProjectID, b store.Board, procedure string, args []byte) (json.RawMessage, error) {
	leave, err := c.questions.enter("ask board "+string(b.ID), project)
	if err != nil {
		return nil, err
	}
	defer leave()
	var reply json.RawMessage
	err = c.cfg.Queue.Call(ctx, wire.TopicWAMPQuestions+"."+string(b.WAMPAgent), wire.MethodBoardCall, wire.BoardCall{Board: b.ID, Procedure: procedure, Args: args}, &reply)
	return reply, err
}
