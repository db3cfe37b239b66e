package apiclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"

	"github.com/stack4things/s4t"
)

// CommandMessage is what a stream of a command says: Output, or how its Operation
// is now, for good where Ended.
type CommandMessage struct {
	Output    json.RawMessage
	Operation *s4t.Operation
	Ended     bool
}

// CommandStream is a command that runs, and what it says. One goroutine reads it.
type CommandStream struct {
	stream
	Operation s4t.OperationID
}

// StreamCommand has a board run a command and says what that says meanwhile.
func (c *Client) StreamCommand(ctx context.Context, board, name string, o RunOptions) (*CommandStream, error) {
	what := "run command " + name + " on board " + board
	ctx, cancel := context.WithCancel(ctx)
	res, hangUp, err := c.openRun(ctx, what, path("boards", board, "commands", name), o, "", nil, http.Header{"Accept": {"text/event-stream"}})
	if err != nil {
		cancel()
		return nil, err
	}
	s := &CommandStream{Operation: s4t.OperationID(res.Header.Get(OperationHeader))}
	s.stream = stream{c: c, what: what, ctx: ctx, cancel: cancel, once: true, body: res.Body, hangUp: hangUp}
	return s, nil
}

// All yields what comes until the command has ended, or the connection; see Err
// for why. The command goes on without it.
func (s *CommandStream) All() iter.Seq[CommandMessage] {
	return func(yield func(CommandMessage) bool) {
		s.messages(func(_, event string, data []byte) (bool, error) {
			var m CommandMessage
			switch event {
			case EventOutput:
				m.Output = append(m.Output, data...)
			case EventState, EventResult:
				m.Ended = event == EventResult
				if err := json.Unmarshal(data, &m.Operation); err != nil {
					return false, s4t.Errorf(s4t.Internal, s.what, "", "a state is not understood: %w", err)
				}
			default: // a heartbeat
				return true, nil
			}
			return yield(m) && !m.Ended, nil
		}, func(error) bool { return false })
	}
}
