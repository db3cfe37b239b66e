package conductor

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// Bounds of the cloud's copy of what a board says of its code.
const (
	maxCodeReport = s4t.MaxMessage * 15 / 16 // bytes of JSON
	maxUsage      = 64                       // projects whose use of a board is told
)

// boardCode is what the cloud keeps of the code that a board can run, see
// [store.BoardCode].
type boardCode struct {
	Runtimes map[string]string `json:"runtimes"`
	Commands []s4t.Command     `json:"commands"` // by name
}

// codeOf decodes the copy of a board's code.
func codeOf(op string, c store.BoardCode) (code boardCode, err error) {
	if c.Code == nil {
		return code, nil
	}
	if err := json.Unmarshal(c.Code, &code); err != nil {
		return code, s4t.Errorf(s4t.Internal, op, "", "the copy of its commands is not understood: %w", err)
	}
	return code, nil
}

// command returns one of the commands, by name.
func (b boardCode) command(name string) (s4t.Command, bool) {
	i, found := slices.BinarySearchFunc(b.Commands, name, func(c s4t.Command, name string) int { return cmp.Compare(c.Name, name) })
	if !found {
		return s4t.Command{}, false
	}
	return b.Commands[i], true
}

// takeCode takes what a board says of the code that it can run. A report of what the
// cloud knows writes nothing.
func (c *Conductor) takeCode(ctx context.Context, req wire.CodeReport) (wire.Empty, error) {
	op := fmt.Sprintf("take the commands of board %q", req.Board)
	code, dropped := c.cleanCode(req)
	for _, why := range dropped {
		c.cfg.Log.Warn("a command of a board is left out", "board", req.Board, "err", why)
	}
	cleanProfile(&req.Profile)
	text, err := json.Marshal(code)
	if err != nil {
		return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "they cannot be written: %w", err)
	}
	profile, err := json.Marshal(req.Profile)
	if err != nil {
		return wire.Empty{}, s4t.Errorf(s4t.Invalid, op, "", "its profile cannot be written: %w", err)
	}
	if n := len(text) + len(profile); n > maxCodeReport {
		return wire.Empty{}, s4t.Errorf(s4t.TooMany, op, "remove plugins, or shorten the schemas of their commands", "they have %d bytes, at most %d are possible", n, maxCodeReport)
	}
	defer c.settleLater(req.Board) // a command that was not there may be queued
	return wire.Empty{}, c.change(ctx, func(ch *change) error {
		b, err := ch.LockBoard(req.Board)
		if err != nil {
			return err
		}
		if err := current(op, &b, req.Epoch); err != nil {
			return err
		}
		digest, err := ch.CodeDigest(b.ID)
		if err != nil {
			return err
		}
		known, _, err := ch.BoardProfile(b.ID)
		if err != nil {
			return err
		}
		var was s4t.BoardProfile
		json.Unmarshal(known, &was) // of a board that never said: the zero value
		if event, detail := windowEvent(was, req.Profile); known != nil && event != "" || event == "board.closing" {
			ch.boardEvent(event, b, detail)
		}
		switch {
		case digest != store.DigestCode(text):
			ch.event(s4t.Event{Kind: "commands.changed", Project: b.Project, Object: string(b.ID), Name: b.Name, Board: b.Name,
				Detail: fmt.Sprintf("%d commands", len(code.Commands)), Data: map[string]int{"commands": len(code.Commands)}})
			return ch.SetBoardCode(b.ID, text, profile, ch.now)
		case !bytes.Equal(known, profile):
			return ch.SetBoardProfile(b.ID, profile, ch.now)
		}
		return nil
	})
}

// windowEvent is the event of a change of the hours in which others may use a
// board, empty where there is none.
func windowEvent(was, is s4t.BoardProfile) (kind, detail string) {
	closing := func(p s4t.BoardProfile) bool { return p.Open && p.Closing != nil }
	switch {
	case closing(is) && !closing(was):
		return "board.closing", "its owner's hours end at " + is.Closing.UTC().Format(time.RFC3339)
	case !is.Open && was.Open:
		if is.ChangesAt != nil {
			detail = "its owner's hours begin at " + is.ChangesAt.UTC().Format(time.RFC3339)
		}
		return "board.closed", detail
	case is.Open && !closing(is) && (!was.Open || closing(was)):
		return "board.open", ""
	}
	return "", ""
}

// ownerAllows is an error in the hours in which the owner of a board does not give it,
// as the board said last: it has nothing open then on which a stream could come, and
// cannot say why itself.
func (ch *change) ownerAllows(op string, board s4t.BoardID) error {
	text, _, err := ch.BoardProfile(board)
	if err != nil || text == nil {
		return err
	}
	var p s4t.BoardProfile
	if err := json.Unmarshal(text, &p); err != nil {
		return s4t.Errorf(s4t.Internal, op, "", "the copy of its owner's profile is not understood: %w", err)
	}
	switch {
	case p.Open || p.ChangesAt != nil && !p.ChangesAt.After(ch.now): // where it has just opened, its word is on the way
		return nil
	case p.ChangesAt == nil:
		return s4t.Errorf(s4t.Forbidden, op, "ask the owner of the board", "the board's owner gives it for certain hours only, and the board does not know the time")
	}
	return s4t.Errorf(s4t.Forbidden, op, "ask the owner of the board", "the board's owner gives it for certain hours only: it opens at %s", p.ChangesAt.UTC().Format(time.RFC3339))
}

// cleanCode makes of what a board says of its code what the cloud keeps, and says
// what it leaves out.
func (c *Conductor) cleanCode(req wire.CodeReport) (code boardCode, dropped []error) {
	code = boardCode{Runtimes: map[string]string{}, Commands: []s4t.Command{}}
	for _, r := range []s4t.Runtime{s4t.RuntimeExec, s4t.RuntimePython, s4t.RuntimeWASI} {
		if says, ok := req.Runtimes[string(r)]; ok {
			code.Runtimes[string(r)] = s4t.Line(says, wire.MaxProblem)
		}
	}
	for _, cmd := range req.Commands {
		if err := c.cleanCommand(&cmd); err != nil {
			dropped = append(dropped, err)
			continue
		}
		code.Commands = append(code.Commands, cmd)
	}
	slices.SortStableFunc(code.Commands, func(a, b s4t.Command) int { return cmp.Compare(a.Name, b.Name) })
	code.Commands = slices.CompactFunc(code.Commands, func(a, b s4t.Command) bool { return a.Name == b.Name })
	if n := len(code.Commands); n > s4t.MaxCommands {
		dropped = append(dropped, s4t.Errorf(s4t.TooMany, "take the commands of a board", "", "it has %d, at most %d are possible", n, s4t.MaxCommands))
		code.Commands = code.Commands[:s4t.MaxCommands]
	}
	return code, dropped
}

// cleanCommand leaves in what a board says of a command only what can be shown; one
// that cannot be used is an error.
func (c *Conductor) cleanCommand(cmd *s4t.Command) error {
	if err := s4t.ValidCommandName(cmd.Name); err != nil {
		return err
	}
	op := fmt.Sprintf("take the command %q", cmd.Name)
	if cmd.Source != s4t.CommandOfPlugin && cmd.Source != s4t.CommandOfOwner {
		return s4t.Errorf(s4t.Invalid, op, "", "it is of %q", s4t.Line(cmd.Source, s4t.MaxName))
	}
	cmd.Board, cmd.BoardID = "", ""
	cmd.Plugin, cmd.Description = s4t.Line(cmd.Plugin, s4t.MaxName), s4t.Line(cmd.Description, wire.MaxProblem)
	switch d, err := time.ParseDuration(cmd.Timeout); {
	case cmd.Timeout == "":
		cmd.Timeout = s4t.CommandTimeout.String()
	case err != nil || d <= 0 || d > s4t.MaxCommandTimeout:
		return s4t.Errorf(s4t.Invalid, op, "", "its timeout is %q", s4t.Line(cmd.Timeout, s4t.MaxName))
	}
	for what, schema := range map[string]json.RawMessage{"parameters": cmd.Params, "result": cmd.Result} {
		if len(schema) > s4t.MaxCommandSchema {
			return s4t.Errorf(s4t.TooMany, op, "", "the schema of its %s has %d bytes, at most %d are possible", what, len(schema), s4t.MaxCommandSchema)
		}
		if err := c.checkSchema(schema); err != nil {
			return s4t.Errorf(s4t.Invalid, op, "", "the schema of its %s: %w", what, err)
		}
	}
	return nil
}

// checkSchema checks that a schema can be used; none is possible. It is kept compiled
// for the runs to come.
func (c *Conductor) checkSchema(schema json.RawMessage) error {
	if len(schema) == 0 {
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(schema, &object); err != nil {
		return err
	}
	_, err := c.codes.schemas.Get(schema)
	return err
}

// cleanProfile leaves in what a board says of its profile only what can be shown.
func cleanProfile(p *s4t.BoardProfile) {
	p.ReportedAt = nil // not the board's to say
	for _, text := range []*string{&p.CPU, &p.Memory, &p.Disk, &p.Bandwidth, &p.Zone} {
		*text = s4t.Line(*text, s4t.MaxName)
	}
	p.Hours = s4t.Line(p.Hours, s4t.MaxHours)
	says := map[string]string{}
	for _, what := range slices.Sorted(maps.Keys(p.Enforced)) {
		if len(says) < 16 {
			says[s4t.Line(what, s4t.MaxName)] = s4t.Line(p.Enforced[what], wire.MaxProblem)
		}
	}
	p.Enforced = says
	p.Usage = slices.DeleteFunc(p.Usage, func(u s4t.Usage) bool { return !s4t.IsID(string(u.Project)) })
	p.Usage = p.Usage[:min(len(p.Usage), maxUsage)]
	for i := range p.Usage {
		p.Usage[i].ProjectName = "" // not the board's to say either
	}
	if p.Usage == nil {
		p.Usage = []s4t.Usage{}
	}
}

// boardProfile answers with what the owner of a board gives, as the board said it
// last.
func (c *Conductor) boardProfile(ctx context.Context, req wire.RefRequest) (s4t.BoardProfile, error) {
	op := fmt.Sprintf("show the profile of board %q", s4t.Line(req.Ref, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.BoardProfile{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (p s4t.BoardProfile, err error) {
		r, by, err := findRoute(tx, req.Caller, op, wire.MethodBoardProfile, req.Ref)
		if err != nil {
			return p, err
		}
		text, at, err := tx.BoardProfile(r.ID)
		if err != nil {
			return p, err
		}
		if text == nil {
			return p, s4t.Errorf(s4t.Unavailable, op, "bring its lightning-rod to the version of the cloud, and have it connect", "the board has never said what its owner gives")
		}
		if err := json.Unmarshal(text, &p); err != nil {
			return p, s4t.Errorf(s4t.Internal, op, "", "the copy of it is not understood: %w", err)
		}
		p.ReportedAt = &at
		if by.lent() {
			p.Usage = slices.DeleteFunc(p.Usage, func(u s4t.Usage) bool { return u.Project != by.Project })
		}
		for i, u := range p.Usage {
			if !req.Caller.Sees(u.Project) {
				continue
			}
			switch of, err := tx.Project(string(u.Project)); {
			case err == nil:
				p.Usage[i].ProjectName = of.Name
			case s4t.KindOf(err) != s4t.NotFound: // it may be gone
				return p, err
			}
		}
		return p, nil
	})
}
