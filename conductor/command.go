package conductor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/schema"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Commands are the board's: it runs each key once, and keeps what came of it until
// the cloud has heard. The conductor checks who asks and what goes in and comes out,
// and records each run before the board is told of it: whatever ends in between,
// the record is settled with the board later (command_settle.go).

const (
	// maxCommandQuestions is how many commands one project has boards asked for at a
	// time: a quarter of the workers of their topic.
	maxCommandQuestions = commandWorkers / 4
	commandWorkers      = 1024
	maxFleetRuns        = 2   // commands of whole fleets that one project has run at a time
	fleetTogether       = 256 // boards that one of them asks at a time

	codeAnswerTime = 2 * time.Second  // for a board to answer
	beginWithin    = 5 * time.Second  // a run that is not queued begins within it or never
	settleAfter    = 2 * time.Second  // a board is asked what became of a run, after it should have begun
	endWithin      = 30 * time.Second // a run has ended, and was heard of, so long after its time is over
	maxOpenRuns    = 1000             // of one board, where they are queued or nobody waits for them
	maxCodes       = 1024             // reports of boards that are kept decoded
	maxSchemas     = 2048             // that are kept compiled
)

// codes keeps what boards reported of their commands, decoded, and the schemas in
// it, compiled. Boards that have the same share it.
type codes struct {
	schemas *schema.Cache

	mu       sync.Mutex // guards the field below
	byDigest map[string]boardCode
}

func newCodes() codes {
	return codes{schemas: schema.NewCache(maxSchemas), byDigest: map[string]boardCode{}}
}

// code returns what a board reported last.
func (c *Conductor) code(tx *store.Tx, op string, r store.Route) (boardCode, error) {
	if r.Code == "" {
		return boardCode{}, nil
	}
	c.codes.mu.Lock()
	code, known := c.codes.byDigest[r.Code]
	c.codes.mu.Unlock()
	if known {
		return code, nil
	}
	kept, err := tx.BoardCode(r.ID)
	if err != nil {
		return boardCode{}, err
	}
	if code, err = codeOf(op, kept); err != nil {
		return code, err
	}
	c.codes.mu.Lock()
	defer c.codes.mu.Unlock()
	for some := range c.codes.byDigest {
		if len(c.codes.byDigest) < maxCodes {
			break
		}
		delete(c.codes.byDigest, some)
	}
	c.codes.byDigest[kept.Digest] = code
	return code, nil
}

// findCommand returns the way to a board and one of its commands.
func (c *Conductor) findCommand(tx *store.Tx, caller wire.Caller, op string, u use, board, name string) (r store.Route, by right, cmd s4t.Command, err error) {
	if r, by, err = findRoute(tx, caller, op, u, board); err != nil {
		return r, by, cmd, err
	}
	code, err := c.code(tx, op, r)
	if err != nil {
		return r, by, cmd, err
	}
	cmd, found := code.command(name)
	if !found && r.Code == "" && r.Status != s4t.BoardOnline {
		return r, by, cmd, s4t.Errorf(s4t.Offline, op, fmt.Sprintf("`s4t doctor %s` says what is known", r.Name), "the board is not online, and has not said yet which commands it has")
	}
	if !found {
		return r, by, cmd, noCommand(tx, op, r, name)
	}
	cmd.Board, cmd.BoardID = r.Name, r.ID
	return r, by, cmd, nil
}

// commandLookup asks for a command of a board.
type commandLookup struct {
	caller             wire.Caller
	op, board, command string
}

// foundCommand is a command, and the way to its board.
type foundCommand struct {
	route store.Route
	by    right
	cmd   s4t.Command
}

// findCommands finds commands that are asked for together.
func (c *Conductor) findCommands(ctx context.Context, reqs []commandLookup) []outcome[foundCommand] {
	out := make([]outcome[foundCommand], len(reqs))
	err := c.cfg.Store.View(ctx, func(tx *store.Tx) error {
		for i, req := range reqs {
			o := &out[i]
			o.reply.route, o.reply.by, o.reply.cmd, o.err = c.findCommand(tx, req.caller, req.op, wire.MethodCommandRun, req.board, req.command)
		}
		return nil
	})
	for i := range out {
		out[i].err = cmp.Or(out[i].err, err)
	}
	return out
}

// runOp is what is attempted.
func runOp(command, board string) string {
	text := fmt.Sprintf("run command %q", s4t.Line(command, s4t.MaxName))
	if board != "" {
		text += fmt.Sprintf(" on board %q", s4t.Line(board, s4t.MaxName))
	}
	return text
}

// commandRun has a board run a command.
func (c *Conductor) commandRun(ctx context.Context, req wire.CommandRun) (s4t.Operation, error) {
	op := runOp(req.Command, req.Board)
	if err := c.mayRun(ctx, op, &req); err != nil {
		return s4t.Operation{}, err
	}
	leave, err := c.commandQuestions.enter(op, req.Caller.Project)
	if err != nil {
		return s4t.Operation{}, err
	}
	defer leave()
	run, err := c.runCommand(ctx, op, req, waitOf(req))
	return run.Operation.Operation, err
}

// waitOf is how long a board is waited for to end a run.
func waitOf(req wire.CommandRun) time.Duration {
	if req.Async {
		return 0
	}
	return wire.RunWait
}

// mayRun checks what can be checked without a board, and makes the parameters what
// is kept of them.
func (c *Conductor) mayRun(ctx context.Context, op string, req *wire.CommandRun) error {
	if err := allow(req.Caller, op, s4t.RoleMember); err != nil {
		rec := s4t.AuditRecord{At: c.now(), User: req.Caller.User, Project: req.Caller.Project, Action: store.KindRun, Name: s4t.Line(req.Board, s4t.MaxName), Detail: s4t.Line(req.Command, s4t.MaxName)}
		c.refused(ctx, rec, s4t.Forbidden)
		return err
	}
	if err := s4t.ValidCommandName(req.Command); err != nil {
		return err
	}
	if len(req.Key) > s4t.MaxKey || s4t.Line(req.Key, s4t.MaxKey) != req.Key {
		return s4t.Errorf(s4t.Invalid, op, "", "the idempotency key is one line of at most %d bytes", s4t.MaxKey)
	}
	if req.Deadline < 0 || req.Queue < 0 || req.Queue > s4t.MaxCommandQueue {
		return s4t.Errorf(s4t.Invalid, op, "", "a deadline is more than 0, a command is queued for at most %v", s4t.MaxCommandQueue)
	}
	if f := req.Feed; f != nil && !validFeed(*f) {
		return s4t.Errorf(s4t.Invalid, op, "", "lines cannot be sent to %q", s4t.Line(f.Topic, s4t.MaxName))
	}
	if len(req.Params) == 0 {
		req.Params = json.RawMessage("{}")
	}
	if len(req.Params) > s4t.MaxCommandParams {
		return s4t.Errorf(s4t.Invalid, op, "give less, or put what is long elsewhere", "the parameters have %d bytes, at most %d are possible", len(req.Params), s4t.MaxCommandParams)
	}
	var text bytes.Buffer
	if err := json.Compact(&text, req.Params); err != nil || text.Bytes()[0] != '{' || !utf8.Valid(req.Params) {
		return s4t.Errorf(s4t.Invalid, op, `give them as {"name": value}`, "the parameters are no JSON object")
	}
	if err := wire.IJSON(text.Bytes()); err != nil {
		return s4t.Errorf(s4t.Invalid, op, "", "the parameters can be read in two ways: %w", err)
	}
	req.Params = text.Bytes()
	return nil
}

// checkParams checks parameters against what a command takes.
func (c *Conductor) checkParams(op string, cmd s4t.Command, params json.RawMessage) error {
	hint := fmt.Sprintf("`s4t command show %s %s` shows what it takes", cmd.Board, cmd.Name)
	if len(cmd.Params) == 0 {
		if string(params) != "{}" {
			return s4t.Errorf(s4t.Invalid, op, hint, "it takes no parameters")
		}
		return nil
	}
	s, err := c.codes.schemas.Get(cmd.Params)
	if err == nil {
		err = s.Validate(params)
	}
	if err != nil {
		return s4t.Errorf(s4t.Invalid, op, hint, "the parameters do not fit: %w", err)
	}
	return nil
}

// timeoutOf is how long a command may run.
func timeoutOf(cmd s4t.Command, deadline time.Duration) time.Duration {
	timeout, err := time.ParseDuration(cmd.Timeout)
	if err != nil || timeout <= 0 {
		timeout = s4t.CommandTimeout
	}
	if deadline > 0 {
		timeout = min(timeout, deadline)
	}
	return min(timeout, s4t.MaxCommandTimeout)
}

// runCommand records a run and has the board run it. The board is waited for so long
// to end it.
func (c *Conductor) runCommand(ctx context.Context, op string, req wire.CommandRun, wait time.Duration) (store.Run, error) {
	found, err := c.commandLookups.do(ctx, commandLookup{req.Caller, op, req.Board, req.Command})
	if err != nil {
		return store.Run{}, err
	}
	r, cmd := found.route, found.cmd
	req.Queue = found.by.within(req.Queue, c.now())
	if err := c.checkParams(op, cmd, req.Params); err != nil {
		return store.Run{}, err
	}
	if r.Status != s4t.BoardOnline && req.Queue == 0 {
		return store.Run{}, s4t.Errorf(s4t.Offline, op, fmt.Sprintf("`s4t doctor %s` says what is known; --queue 1h has it run when the board is back", r.Name), "the board is not online")
	}
	got, err := c.records.do(ctx, runRecord{fresh: c.newRun(req, r, found.by.within(timeoutOf(cmd, req.Deadline), c.now()))})
	if err != nil {
		return store.Run{}, err
	}
	run := got.run
	if got.before {
		if run.Run.Command != req.Command || !sameJSON(run.Run.Params, req.Params) {
			return store.Run{}, s4t.Errorf(s4t.Conflict, op, "use another key", "key %q is that of operation %s, which is another command or has other parameters", req.Key, run.ID)
		}
		return run, nil
	}
	// Whoever asked may have gone: it is recorded, and done.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), codeAnswerTime+gatherTimeout)
	defer cancel()
	if run.Status == s4t.OperationQueued {
		if r.Status != s4t.BoardOnline {
			c.settleLater(r.ID) // its session may have begun meanwhile
			return run, nil
		}
		sent, err := c.markSent(ctx, []store.Run{run})
		if err != nil || len(sent) == 0 {
			return run, nil // it is sent by who settles
		}
		run = sent[0]
	}
	now, err := c.sendRun(ctx, op, r, cmd, run, req.Feed, wait)
	if err != nil && req.Queue > 0 && away(err) {
		return run, nil // it waits for the board
	}
	return now, err
}

// sameJSON reports whether two JSON values are the same, however they are written.
func sameJSON(a, b json.RawMessage) bool {
	return bytes.Equal(a, b) || bytes.Equal(sorted(a), sorted(b))
}

// sorted writes JSON with the members of objects in order.
func sorted(text json.RawMessage) []byte {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil
	}
	return wire.Encode(v)
}

// sendRun sends a run to its board, and records what the board says of it. One that
// the board refuses has failed. Where it is not known whether the board has it, the
// error is Offline, and the run stays as it is until that is settled.
func (c *Conductor) sendRun(ctx context.Context, op string, r store.Route, cmd s4t.Command, run store.Run, feed *wire.Feed, wait time.Duration) (store.Run, error) {
	key := string(run.ID)
	if run.Run.Key != "" {
		key = string(run.Project) + ":" + run.Run.Key
	}
	a, err := c.askCode(ctx, op, r, wire.CodeAsk{Do: wire.CodeRun, Wait: wait, Run: &wire.Run{
		ID: run.ID, Key: key, Command: run.Run.Command, Project: run.Project, By: run.By, Params: run.Run.Params, Timeout: run.Timeout, Before: run.Before, Feed: feed,
	}})
	state := wire.RunState{ID: run.ID}
	switch kind := s4t.KindOf(err); {
	case err == nil:
		var ok bool
		if state, ok = stateOf(a, run.ID); !ok {
			return run, s4t.Errorf(s4t.Internal, op, "", "the board's answer does not speak of it (operation %s)", run.ID)
		}
	case kind == s4t.TooMany && run.Status == s4t.OperationQueued: // it is sent again
		return run, nil
	case refuses(kind):
		state.Status, state.Error, state.ErrorKind = s4t.OperationFailed, reasonOf(err), kind
	default:
		return run, s4t.Errorf(s4t.Offline, op, fmt.Sprintf("`s4t operation show %s` says later whether it ran", run.ID), "the board did not answer within %v; it runs operation %s in the next %v or never", codeAnswerTime, run.ID, beginWithin)
	}
	c.checkResult(cmd, &state)
	return c.hear(ctx, heardRun{board: r.ID, state: state, direct: true})
}

// refuses reports whether an error says that the board did not take a run, and will
// not.
func refuses(kind s4t.Kind) bool {
	switch kind {
	case s4t.Invalid, s4t.NotFound, s4t.Forbidden, s4t.Conflict, s4t.TooMany, s4t.Stale:
		return true
	}
	return false
}

// reasonOf is what is wrong, without what was attempted.
func reasonOf(err error) string {
	text := err.Error()
	if e, ok := err.(*s4t.Error); ok && e.Msg != "" {
		text = e.Msg
	}
	return s4t.Line(text, wire.MaxProblem)
}

// stateOf is what an answer says of a run.
func stateOf(a wire.CodeAnswer, id s4t.OperationID) (wire.RunState, bool) {
	for _, s := range a.Runs {
		if s.ID == id {
			return s, true
		}
	}
	return wire.RunState{}, false
}

// askCode asks a board about the code on it, through the WAMP agent of its session.
// One that is offline, or does not answer, is Offline.
func (c *Conductor) askCode(ctx context.Context, op string, r store.Route, ask wire.CodeAsk) (a wire.CodeAnswer, err error) {
	hint := fmt.Sprintf("`s4t doctor %s` says what is known", r.Name)
	if r.Status != s4t.BoardOnline {
		return a, s4t.Errorf(s4t.Offline, op, hint, "the board is not online")
	}
	called, cancel := context.WithTimeout(ctx, codeAnswerTime)
	defer cancel()
	err = c.cfg.Queue.Call(called, wire.TopicWAMPCommands+"."+string(r.WAMPAgent), wire.MethodCodeAsk, wire.BoardCodeAsk{Board: r.ID, Ask: ask}, &a)
	if s4t.KindOf(err) == s4t.Timeout && called.Err() != nil {
		err = s4t.Errorf(s4t.Offline, op, hint, "the board did not answer within %v", codeAnswerTime)
	}
	return a, err
}

// checkResult makes a run that says to have succeeded one that failed where its
// result is not what the command promised.
func (c *Conductor) checkResult(cmd s4t.Command, state *wire.RunState) {
	if state.Status != s4t.OperationSucceeded {
		state.Result = nil
		return
	}
	lie := func(why string) {
		*state = wire.RunState{ID: state.ID, Status: s4t.OperationFailed, AcceptedAt: state.AcceptedAt, StartedAt: state.StartedAt, EndedAt: state.EndedAt,
			Error: s4t.Line("its result is not what it promised: "+why, wire.MaxProblem), ErrorKind: s4t.Invalid}
	}
	if len(state.Result) == 0 {
		state.Result = json.RawMessage("null")
	}
	if len(state.Result) > s4t.MaxCommandResult {
		lie(fmt.Sprintf("it has %d bytes, at most %d are possible", len(state.Result), s4t.MaxCommandResult))
		return
	}
	if !utf8.Valid(state.Result) {
		lie("it is no UTF-8")
		return
	}
	if err := wire.IJSON(state.Result); err != nil {
		lie(err.Error())
		return
	}
	if len(cmd.Result) == 0 {
		return
	}
	s, err := c.codes.schemas.Get(cmd.Result)
	if err == nil {
		err = s.Validate(state.Result)
	}
	if err != nil {
		lie(err.Error())
	}
}

// validFeed reports whether lines can be sent there: to an API process.
func validFeed(f wire.Feed) bool {
	return strings.HasPrefix(f.Topic, wire.TopicAPIFeeds+".") && len(f.Topic) <= 2*s4t.MaxName && s4t.Line(f.Topic, 2*s4t.MaxName) == f.Topic && s4t.IsID(f.ID)
}
