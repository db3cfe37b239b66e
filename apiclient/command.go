package apiclient

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/stack4things/s4t"
)

// OperationHeader has the id of the operation that an answer about a command is
// about.
const OperationHeader = "X-Operation-Id"

// Names of the events of a stream of a command: what it says, its operation when
// that has changed, and at the end the operation as it stays.
const (
	EventOutput = "output"
	EventState  = "state"
	EventResult = "result"
)

// How long one request waits for a command, or for those of many boards; then the
// operation is asked, so that who gives up knows its id.
const (
	patience     = 2 * time.Second
	patienceMany = 20 * time.Second
)

// CommandResult is what became of a command on one board of many.
type CommandResult struct {
	Board     string              `json:"board"`
	BoardID   s4t.BoardID         `json:"board_id,omitempty"`
	Operation s4t.OperationID     `json:"operation,omitempty" doc:"None where it could not begin"`
	Status    s4t.OperationStatus `json:"status"`
	Result    json.RawMessage     `json:"result,omitempty" doc:"Of one that succeeded"`
	Error     string              `json:"error,omitempty"`
	ErrorKind s4t.Kind            `json:"error_kind,omitempty"`
}

// ResultOf is the result of one board, of its operation.
func ResultOf(o s4t.Operation) CommandResult {
	r := CommandResult{Operation: o.ID, Status: o.Status, Error: o.Error, ErrorKind: o.ErrorKind}
	if o.Run != nil {
		r.Board, r.BoardID, r.Result = o.Run.Board, o.Run.BoardID, o.Run.Result
	}
	if e, ok := Failed(o).(*s4t.Error); ok {
		r.Error, r.ErrorKind = e.Msg, e.Kind
	}
	return r
}

// RunOptions of a command.
type RunOptions struct {
	Params   json.RawMessage // an object; none: {}
	Deadline time.Duration   // of the run; 0: the command's own
	Queue    time.Duration   // how long a board that is away has to come; 0: Offline at once
	Key      string          // idempotency key
	Async    bool            // do not wait for the end
	Wait     time.Duration   // wait for the end so long at most, in whole seconds; 0: as long as is usual
}

// Run is a command that was run, or runs.
type Run struct {
	Operation s4t.OperationID
	Result    json.RawMessage // of one that has ended, and succeeded
	Pending   *s4t.Operation  // of one that has not ended
}

// Commands lists the commands of a board, or with "" of all.
func (c *Client) Commands(ctx context.Context, board string) ([]s4t.Command, error) {
	return c.CommandList(board).All(ctx)
}

// CommandList is the list behind [Client.Commands].
func (c *Client) CommandList(board string) List[s4t.Command] {
	if board == "" {
		return List[s4t.Command]{c, "list commands", path("commands")}
	}
	return List[s4t.Command]{c, "list commands of board " + board, path("boards", board, "commands")}
}

// Command of a board.
func (c *Client) Command(ctx context.Context, board, name string) (cmd s4t.Command, err error) {
	return cmd, c.do(ctx, "show command "+name+" of board "+board, "GET", path("boards", board, "commands", name), nil, &cmd)
}

// RunCommand has a board run a command. It returns when the command has ended, or
// as Pending after a while; that the command failed is an error of the kind
// Failed. The command goes on when ctx ends.
func (c *Client) RunCommand(ctx context.Context, board, name string, o RunOptions) (r Run, err error) {
	what := "run command " + name + " on board " + board
	res, cancel, err := c.openRun(ctx, what, path("boards", board, "commands", name), o, "", nil, http.Header{})
	if err != nil {
		return r, err
	}
	defer cancel()
	defer res.Body.Close()
	r.Operation = s4t.OperationID(res.Header.Get(OperationHeader))
	if res.StatusCode == http.StatusAccepted {
		r.Pending = &s4t.Operation{}
		return r, c.decode(ctx, what, res, r.Pending)
	}
	return r, c.decode(ctx, what, res, &r.Result)
}

// RunCommands has the boards of a fleet, or with "" those named, run a command.
// The results are in the order of the boards' names; that of one that takes long
// has not ended.
func (c *Client) RunCommands(ctx context.Context, fleet string, boards []string, name string, o RunOptions) (l []CommandResult, err error) {
	what, p := "run command "+name+" on boards", path("commands", name)
	if fleet != "" {
		what, p = "run command "+name+" on fleet "+fleet, path("fleets", fleet, "commands", name)
	}
	res, cancel, err := c.openRun(ctx, what, p, o, fleet, boards, http.Header{})
	if err != nil {
		return nil, err
	}
	defer cancel()
	defer res.Body.Close()
	return l, c.decode(ctx, what, res, &l)
}

// prefer is the header Prefer (RFC 7240) of a run.
func (o RunOptions) prefer(many bool) string {
	wait := patience
	if many {
		wait = patienceMany
	}
	if o.Wait > 0 {
		wait = min(wait, o.Wait)
	}
	if o.Async || wait < time.Second {
		return "respond-async"
	}
	return "wait=" + strconv.Itoa(int(wait/time.Second))
}

// openRun sends the request of a run, once: sent again it would be another one.
func (c *Client) openRun(ctx context.Context, what, path string, o RunOptions, fleet string, boards []string, header http.Header) (*http.Response, context.CancelFunc, error) {
	q := url.Values{}
	for _, b := range boards {
		q.Add("board", b)
	}
	if o.Deadline > 0 {
		q.Set("deadline", o.Deadline.String())
	}
	if o.Queue > 0 {
		q.Set("queue", o.Queue.String())
	}
	if len(q) > 0 {
		path += "?" + q.Encode()
	}
	if o.Key != "" {
		header.Set("Idempotency-Key", o.Key)
	}
	header.Set("Prefer", o.prefer(len(boards) > 0 || fleet != ""))
	if len(o.Params) == 0 {
		o.Params = json.RawMessage("{}")
	}
	ctx, cancel := context.WithCancel(ctx)
	dog := time.AfterFunc(c.timeout+30*time.Second, cancel)
	res, err := c.openOnce(ctx, what, "POST", path, o.Params, header)
	if late := !dog.Stop() || errors.Is(ctx.Err(), context.DeadlineExceeded); late && err != nil {
		err = s4t.Errorf(s4t.Timeout, what, "it may run: see `s4t operation list`", "no answer of %s in time", c.URL())
	}
	if err != nil {
		cancel()
		return nil, nil, err
	}
	return res, cancel, nil
}

// CancelCommand ends a command that has not ended: by its operation.
func (c *Client) CancelCommand(ctx context.Context, id s4t.OperationID) (o s4t.Operation, err error) {
	return o, c.do(ctx, "cancel operation "+string(id), "POST", path("operations", string(id), "cancel"), nil, &o)
}
