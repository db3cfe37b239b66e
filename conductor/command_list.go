package conductor

import (
	"context"
	"fmt"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// commandList answers with the commands of a board, or with those of some boards: a
// page has all commands of as many boards as were asked for, and fit.
func (c *Conductor) commandList(ctx context.Context, req wire.CommandList) (wire.List[s4t.Command], error) {
	const op = "list commands"
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.List[s4t.Command]{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (list wire.List[s4t.Command], err error) {
		list.Items = []s4t.Command{}
		if req.Board != "" {
			r, _, err := findRoute(tx, req.Caller, op, wire.MethodCommandList, req.Board)
			if err != nil {
				return list, err
			}
			code, err := c.code(tx, op, r)
			if err != nil {
				return list, err
			}
			list.Items = commandsOf(code, r.ID, r.Name)
			list.EventID, err = tx.LastEvent()
			return list, err
		}
		if len(req.Boards) > 0 {
			return c.commandsOfSome(tx, op, req)
		}
		page := req.Page
		page.Limit = min(page.Limit, store.MaxCommandBoards)
		for size := 0; ; {
			one := page
			one.Limit = 1
			boards, err := tx.CommandBoards(scope(req.Caller), one)
			if err != nil {
				return list, err
			}
			list.EventID = boards.EventID
			for _, b := range boards.Items {
				if size += len(b.Code); size > maxPinPage && len(list.Items) > 0 {
					list.Next = page.After
					return list, nil
				}
				code, err := codeOf(op, store.BoardCode{Code: b.Code})
				if err != nil {
					return list, err
				}
				list.Items = append(list.Items, commandsOf(code, b.ID, b.Name)...)
			}
			if page.After = boards.Next; page.After == "" {
				return list, nil
			}
			if page.Limit > 0 {
				if page.Limit--; page.Limit == 0 {
					list.Next = page.After
					return list, nil
				}
			}
		}
	})
}

// commandsOfSome are those of the boards that were asked for: of as many as fit, and of
// one at least.
func (c *Conductor) commandsOfSome(tx *store.Tx, op string, req wire.CommandList) (wire.List[s4t.Command], error) {
	list := wire.List[s4t.Command]{Items: []s4t.Command{}}
	if len(req.Boards) > wire.MaxPage {
		return list, s4t.Errorf(s4t.Invalid, op, "", "%d boards are asked for, at most %d are possible", len(req.Boards), wire.MaxPage)
	}
	size := 0
	for _, id := range req.Boards {
		r, _, err := findRoute(tx, req.Caller, op, wire.MethodCommandList, string(id))
		if s4t.KindOf(err) == s4t.NotFound {
			continue
		}
		if err != nil {
			return list, err
		}
		code, err := c.code(tx, op, r)
		if err != nil {
			return list, err
		}
		for _, cmd := range code.Commands {
			size += len(cmd.Params) + len(cmd.Result) + len(cmd.Description) + maxCommandRest
		}
		if size > maxPinPage && len(list.Items) > 0 {
			list.Next = string(id)
			break
		}
		list.Items = append(list.Items, commandsOf(code, r.ID, r.Name)...)
	}
	return list, nil
}

// maxCommandRest is about what the JSON of a command has besides its schemas.
const maxCommandRest = 512

// commandsOf are the commands of a board, as they are shown.
func commandsOf(code boardCode, id s4t.BoardID, name string) []s4t.Command {
	all := make([]s4t.Command, len(code.Commands))
	for i, cmd := range code.Commands {
		cmd.Board, cmd.BoardID = name, id
		all[i] = cmd
	}
	return all
}

// commandGet answers with one command.
func (c *Conductor) commandGet(ctx context.Context, req wire.CommandGet) (s4t.Command, error) {
	op := fmt.Sprintf("show command %q of board %q", s4t.Line(req.Command, s4t.MaxName), s4t.Line(req.Board, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Command{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (s4t.Command, error) {
		_, _, cmd, err := c.findCommand(tx, req.Caller, op, wire.MethodCommandGet, req.Board, req.Command)
		return cmd, err
	})
}

// commandCancel cancels the run of a command. One that no board was told of is
// cancelled at once; the others are their board's to cancel, which may take as long
// as a process takes to end.
func (c *Conductor) commandCancel(ctx context.Context, req wire.RefRequest) (s4t.Operation, error) {
	op := fmt.Sprintf("cancel operation %q", s4t.Line(req.Ref, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleMember); err != nil {
		return s4t.Operation{}, err
	}
	id := s4t.OperationID(req.Ref)
	var run store.Run
	var r store.Route
	err := c.change(ctx, func(ch *change) error {
		found, err := ch.LockRuns([]s4t.OperationID{id})
		if err != nil {
			return err
		}
		if len(found) == 0 || !req.Caller.Sees(found[0].Project) {
			return s4t.Errorf(s4t.NotFound, op, "`s4t operation list` shows what there is", "there is no such run of a command")
		}
		if run = found[0]; run.Status.Ended() {
			return s4t.Errorf(s4t.Conflict, op, "", "it has ended already: %s", run.Status)
		}
		if r, err = ch.Route(run.Run.BoardID); err != nil {
			return err
		}
		rec := s4t.AuditRecord{At: ch.now, User: req.Caller.User, Project: run.Project, Action: "command.cancel", Object: string(run.ID), Name: run.Name, Board: run.Run.BoardID, Outcome: "ok", Detail: run.Run.Command}
		if err := ch.InsertAudits(told(rec, r.Project)); err != nil { // of the board
			return err
		}
		return ch.hearRun(&run, heardRun{board: r.ID, unsent: true, state: wire.RunState{ID: id, Status: s4t.OperationCancelled, Error: "cancelled by " + req.Caller.User}})
	})
	if err != nil || run.Status.Ended() {
		return run.Operation.Operation, err
	}
	leave, err := c.commandQuestions.enter(op, req.Caller.Project)
	if err != nil {
		return s4t.Operation{}, err
	}
	defer leave()
	a, err := c.askCode(ctx, op, r, wire.CodeAsk{Do: wire.CodeCancel, IDs: []s4t.OperationID{id}, Wait: wire.RunWait})
	if err != nil {
		return s4t.Operation{}, err
	}
	state, ok := stateOf(a, id)
	if !ok {
		return s4t.Operation{}, s4t.Errorf(s4t.Conflict, op, fmt.Sprintf("`s4t operation show %s` says later whether it ran", id), "the board does not know it")
	}
	if state.Status == s4t.OperationSucceeded { // it was faster; its result is checked when it is told in full
		c.settleLater(r.ID)
		return run.Operation.Operation, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), gatherTimeout)
	defer cancel()
	now, err := c.hear(ctx, heardRun{board: r.ID, state: state})
	return now.Operation.Operation, err
}

// boardAsk asks a board for a plugin's log.
func (c *Conductor) boardAsk(ctx context.Context, req wire.BoardQuestion) (wire.CodeAnswer, error) {
	op := fmt.Sprintf("ask board %q", s4t.Line(req.Board, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.CodeAnswer{}, err
	}
	if req.Ask.Do != wire.CodeLogs || req.Ask.Run != nil || req.Ask.Feed != nil || len(req.Ask.IDs) > 0 {
		return wire.CodeAnswer{}, s4t.Errorf(s4t.Invalid, op, "bring both sides to the same version", "it cannot be asked %q", s4t.Line(req.Ask.Do, s4t.MaxName))
	}
	return c.askPlugin(ctx, op, wire.MethodBoardAsk, req.Caller, req.Board, req.Ask)
}

// askPlugin asks a board about one of its plugins.
func (c *Conductor) askPlugin(ctx context.Context, op string, u use, caller wire.Caller, board string, ask wire.CodeAsk) (wire.CodeAnswer, error) {
	if ask.Plugin == "" || s4t.Line(ask.Plugin, s4t.MaxName) != ask.Plugin {
		return wire.CodeAnswer{}, s4t.Errorf(s4t.Invalid, op, "", "%q is no name of a plugin", s4t.Line(ask.Plugin, s4t.MaxName))
	}
	leave, err := c.commandQuestions.enter(op, caller.Project)
	if err != nil {
		return wire.CodeAnswer{}, err
	}
	defer leave()
	r, err := view(ctx, c, func(tx *store.Tx) (store.Route, error) {
		r, by, err := findRoute(tx, caller, op, u, board)
		if err == nil && by.lent() {
			err = ownPlugin(tx, op, r, by, ask.Plugin)
		}
		if err == nil && s4t.IsID(ask.Plugin) {
			ask.Plugin, err = pluginName(tx, r.ID, ask.Plugin)
		}
		return r, err
	})
	if err != nil {
		return wire.CodeAnswer{}, err
	}
	return c.askCode(ctx, op, r, ask)
}

// feedFollow has the log of a plugin sent to an API process.
func (c *Conductor) feedFollow(ctx context.Context, req wire.FeedFollow) (wire.Empty, error) {
	op := fmt.Sprintf("follow plugin %q of board %q", s4t.Line(req.Plugin, s4t.MaxName), s4t.Line(req.Board, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.Empty{}, err
	}
	if !validFeed(req.Feed) {
		return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "lines cannot be sent to %q", s4t.Line(req.Feed.Topic, s4t.MaxName))
	}
	_, err := c.askPlugin(ctx, op, wire.MethodFeedFollow, req.Caller, req.Board, wire.CodeAsk{Do: wire.CodeFollow, Plugin: req.Plugin, After: req.After, Feed: &req.Feed, Term: wire.FeedTerm, End: req.End})
	return wire.Empty{}, err
}

// noCommand says why a board has no such command: a plugin of it that should run has its
// commands only while it is well, so one that is away for a moment, as in an upgrade, is no NotFound.
func noCommand(tx *store.Tx, op string, r store.Route, name string) error {
	all, err := tx.InjectionsOf(r.ID)
	if err != nil {
		return err
	}
	for _, i := range all {
		if !i.ShouldRun() {
			continue
		}
		v, err := tx.PluginVersion(i.PluginID, i.Version)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(v.Commands, func(c s4t.Command) bool { return c.Name == name }) {
			why := ""
			if i.Problem != "" {
				why = ": " + i.Problem
			}
			return s4t.Errorf(s4t.Unavailable, op, fmt.Sprintf("try again when it runs; `s4t plugin status %s %s` shows how it is", r.Name, i.Plugin),
				"plugin %s, which has the command %q, is not up on the board now%s", i.Plugin, s4t.Line(name, s4t.MaxName), why)
		}
	}
	return s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t command list %s` shows what there is", r.Name), "the board has no command %q", s4t.Line(name, s4t.MaxName))
}
