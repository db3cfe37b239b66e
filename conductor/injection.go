package conductor

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A plugin on a board is wanted of it as a service is: the row in board_plugins says
// so, and comes with the desired state, which the board keeps.

// Kinds of the operations on plugins of boards.
const (
	kindInject  = "plugin.inject"
	kindUpgrade = "plugin.upgrade"
	kindPlugin  = "plugin." // and what is done
)

// maxBoardParams bounds the parameters of all plugins of a board, in bytes: with
// what else is wanted of it they go in one message.
const maxBoardParams = 8 * s4t.MaxParamsText

// pluginKind: the board has the plugin, and runs it, or not, as is wanted.
var pluginKind = kind{
	changed: func(ch *change, id string, halves []store.Realization, was, now s4t.PortStatus) error {
		word := "plugin.down"
		if now == s4t.PortUp {
			word = "plugin.up"
		}
		return ch.pluginEvent(word, id, problemOf(halves))
	},
	told: func(ch *change, id string, was, now store.Realization) error {
		if now.ProblemID != was.ProblemID && (now.ProblemID == wire.PluginFellBack || now.ProblemID == wire.PluginRefused) {
			ch.last(func() error { return ch.takeBack(id, false) }) // an operation that awaits it fails before
		}
		return nil
	},
	late: func(a store.Await) string {
		return fmt.Sprintf("plugin %s of board %s is not as wanted yet", pluginOf(a).Name, a.HolderName)
	},
	fails: func(a store.Await) (s4t.Kind, string) {
		name := pluginOf(a).Name
		switch a.ProblemID {
		case wire.PluginRefused:
			return s4t.Conflict, fmt.Sprintf("board %s does not take plugin %s: %s", a.HolderName, name, a.Problem)
		case wire.PluginFellBack:
			return s4t.Unavailable, fmt.Sprintf("board %s went back to what plugin %s was before: %s", a.HolderName, name, a.Problem)
		case wire.PluginFailed:
			return s4t.Unavailable, fmt.Sprintf("plugin %s does not run on board %s: %s", name, a.HolderName, a.Problem)
		}
		return "", ""
	},
	left: func(op store.Operation, a store.Await) string {
		if a.ProblemID != wire.PluginFailed {
			return ""
		}
		return fmt.Sprintf("; it stays injected: see `s4t plugin logs %s %s`", a.HolderName, pluginOf(a).Name)
	},
	withdraw: func(ch *change, op store.Operation, id string) error { return ch.takeBack(id, op.Kind == kindInject) },
}

func pluginOf(a store.Await) wire.DesiredPlugin {
	all := wire.Specs[wire.DesiredPlugin](a.Kind, []wire.Resource{{Kind: a.Kind, Spec: []byte(a.Spec)}})
	if len(all) == 0 {
		return wire.DesiredPlugin{} // it is ours; at worst the name is missing
	}
	return all[0]
}

// pluginEvent appends an event about a plugin on a board.
func (ch *change) pluginEvent(kind, id, detail string) error {
	i, err := ch.Injection(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil // it is gone since a moment
	}
	if err == nil {
		ch.tellPlugin(kind, i, detail)
	}
	return err
}

func (ch *change) tellPlugin(kind string, i store.Injection, detail string) {
	ch.event(s4t.Event{Kind: kind, Project: i.Project, Object: i.ID, Name: i.Plugin, Board: i.Board, Detail: detail})
}

// wantPlugin wants a plugin of its board; url is where the board's tunnel agent is.
func (ch *change) wantPlugin(i store.Injection, url string) {
	ch.want(boardOf(i.BoardID), wire.KindPlugin, i.ID, wire.DesiredPlugin{
		Plugin: i.PluginID, Name: i.Plugin, Project: i.Project, Version: i.Version, Digest: i.Digest, Size: i.Size, Key: i.Key, Signature: i.Signature,
		URL: url, Params: i.Params, OnBoot: i.OnBoot, Running: i.ShouldRun(), Start: i.Start,
	})
}

// wantPlugins wants those of a board that is placed.
func (ch *change) wantPlugins(b store.Board) error {
	if b.TunnelAgent == "" {
		return nil
	}
	all, err := ch.InjectionsOf(b.ID)
	if err != nil || len(all) == 0 {
		return err
	}
	agent, err := ch.Agent(b.TunnelAgent)
	for _, i := range all {
		ch.wantPlugin(i, agent.URL)
	}
	return err
}

// removePlugin takes a plugin off a board. Its tokens end.
func (ch *change) removePlugin(i store.Injection) error {
	ch.unwant(boardOf(i.BoardID), wire.KindPlugin, i.ID)
	ch.tellPlugin("plugin.removed", i, "")
	return ch.DeleteInjection(i.ID)
}

// takeBack undoes what a board would not take, or went back from by itself: what is
// wanted is what it has. remove: a plugin that it never had up goes.
func (ch *change) takeBack(id string, remove bool) error {
	i, err := ch.Injection(id)
	if s4t.KindOf(err) == s4t.NotFound {
		return nil
	}
	if err != nil {
		return err
	}
	b, err := ch.LockBoard(i.BoardID)
	if err != nil || i.ProblemID != wire.PluginFellBack && i.ProblemID != wire.PluginRefused || b.AppliedGeneration < i.Generation {
		return err // it says so of something else than what is wanted now
	}
	if i.Earlier == nil {
		if remove && i.ProblemID == wire.PluginRefused {
			return ch.removePlugin(i)
		}
		return nil
	}
	failed, e := i.Version, *i.Earlier
	if i.Version == e.Version && i.OnBoot == e.OnBoot && maps.Equal(i.Params, e.Params) {
		return nil // it has gone back already
	}
	if _, err := ch.PluginVersion(i.PluginID, e.Version); s4t.KindOf(err) == s4t.NotFound {
		return nil // deleted meanwhile
	} else if err != nil {
		return err
	}
	// Earlier stays: the next upgrade may come before the board has this up again.
	i.Version, i.OnBoot, i.Params = e.Version, e.OnBoot, e.Params
	if err := ch.SetInjection(i); err != nil {
		return err
	}
	ch.tellPlugin("plugin.fell-back", i, fmt.Sprintf("from version %s to %s: %s", failed, i.Version, i.Problem))
	return ch.wantPlugins(b)
}

// checkParams checks what a plugin is injected with.
func checkParams(op string, params map[string]string) error {
	size := 0
	for name, value := range params {
		size += len(name) + len(value)
		if s4t.ValidCommandName(name) != nil {
			return s4t.Errorf(s4t.Invalid, op, "use letters, digits, and . _ - within", "%q is no name of a parameter", s4t.Line(name, s4t.MaxName))
		}
	}
	if len(params) > s4t.MaxParams || size > s4t.MaxParamsText {
		return s4t.Errorf(s4t.Invalid, op, "put what is long into the bundle", "%d parameters of %d bytes, at most %d of %d bytes are possible", len(params), size, s4t.MaxParams, s4t.MaxParamsText)
	}
	return nil
}

// injected returns the board, the plugin of its project, and the plugins that the
// board has, for a request about one of them. The board is held.
func (ch *change) injected(caller wire.Caller, op string, u use, board, ref string, rec *s4t.AuditRecord) (b store.Board, by right, p s4t.Plugin, present []store.Injection, at int, err error) {
	if b, by, err = ch.lockBoard(caller, op, u, board); err != nil {
		return b, by, p, nil, -1, err
	}
	rec.Board, rec.Project = b.ID, by.Project
	if caller.Role.Covers(s4t.RoleAdmin) {
		caller.Project = by.Project // whose names are meant
	}
	if p, err = findPlugin(ch.Tx, caller, op, ref); err != nil {
		return b, by, p, nil, -1, err
	}
	rec.Name = p.Name
	if p.Project != by.Project {
		return b, by, p, nil, -1, s4t.Errorf(s4t.Invalid, op, "use one of the project that uses the board", "plugin %q belongs to another project", ref)
	}
	present, err = ch.InjectionsOf(b.ID)
	return b, by, p, present, slices.IndexFunc(present, func(i store.Injection) bool { return i.PluginID == p.ID }), err
}

// pluginInject puts a plugin on a board, or another version of one that is there.
func (c *Conductor) pluginInject(ctx context.Context, req wire.PluginInject) (s4t.Operation, error) {
	received := c.now()
	action, verb := kindInject, "inject"
	if req.Upgrade {
		action, verb = kindUpgrade, "upgrade"
	}
	op := fmt.Sprintf("%s plugin %q on board %q", verb, s4t.Line(req.Plugin, s4t.MaxName), req.Board)
	if err := checkParams(op, req.Params); err != nil {
		return s4t.Operation{}, err
	}
	return c.operate(ctx, req.Caller, action, req.Plugin, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, by, p, present, at, err := ch.injected(req.Caller, op, wire.MethodPluginInject, req.Board, req.Plugin, rec)
		if err != nil {
			return nil, err
		}
		version := req.Version
		if version == "" {
			version = p.Version
		}
		if !slices.ContainsFunc(p.Versions, func(v s4t.PluginVersion) bool { return v.Version == version }) {
			return nil, noVersion(op, p, version)
		}
		i, err := ch.putPlugin(op, b, p, present, at, req, version, by.Lease)
		if err != nil {
			return nil, err
		}
		rec.Object, rec.Detail = i.ID, "version "+version
		return ch.begin(action, by.Project, i.ID, p.Name, received, wire.ResourceKey{Kind: wire.KindPlugin, ID: i.ID}), nil
	})
}

// putPlugin makes a version of a plugin wanted of a board, which is held: at is where it is among
// those that the board has, -1 where it is not.
func (ch *change) putPlugin(op string, b store.Board, p s4t.Plugin, present []store.Injection, at int, req wire.PluginInject, version string, by s4t.LeaseID) (i store.Injection, err error) {
	agent, err := ch.placeBoard(op, &b)
	if err != nil {
		return i, err
	}
	switch {
	case at >= 0:
		i = changedTo(present[at], b, req, version)
	case req.Upgrade:
		return i, notInjected(op, p.Name, b)
	case slices.ContainsFunc(present, func(o store.Injection) bool { return o.Plugin == p.Name }):
		return i, s4t.Errorf(s4t.Conflict, op, "give it another name", "another project has a plugin of this name on board %q", b.Name)
	case len(present) >= s4t.MaxPlugins:
		return i, s4t.Errorf(s4t.TooMany, op, "remove one first", "board %q has %d plugins, which is the most", b.Name, len(present))
	default:
		i = store.Injection{BoardPlugin: s4t.BoardPlugin{
			ID: s4t.NewID(), Board: b.Name, BoardID: b.ID, Plugin: p.Name, PluginID: p.ID, Project: p.Project,
			Version: version, OnBoot: req.OnBoot != nil && *req.OnBoot, Wanted: s4t.PluginRunning, Params: req.Params, CreatedAt: ch.now,
		}, Start: 1, Lease: by}
	}
	if at < 0 || !req.Upgrade { // whose word it runs on
		i.Injector, i.Role = req.Caller.UserID, req.Caller.Role
	}
	if err := boundParams(op, b, present, i); err != nil {
		return i, err
	}
	write, event := ch.SetInjection, "plugin.upgraded"
	if at < 0 {
		write, event = ch.InsertInjection, "plugin.injected"
	}
	if err := write(i); err != nil {
		return i, err
	}
	if i, err = ch.Injection(i.ID); err != nil { // with what belongs to the version
		return i, err
	}
	if at < 0 || present[at].Version != i.Version {
		ch.tellPlugin(event, i, "version "+version)
	}
	ch.wantPlugin(i, agent.URL)
	return i, nil
}

// changedTo is what an injection becomes by a request.
func changedTo(i store.Injection, b store.Board, req wire.PluginInject, version string) store.Injection {
	was := store.Earlier{Version: i.Version, OnBoot: i.OnBoot, Params: i.Params}
	up := i.Up && b.AppliedGeneration >= i.Generation
	i.Version = version
	if req.OnBoot != nil {
		i.OnBoot = *req.OnBoot
	}
	if req.Params != nil {
		i.Params = req.Params
	}
	changed := i.Version != was.Version || i.OnBoot != was.OnBoot || !maps.Equal(i.Params, was.Params)
	if changed && up { // else the board goes back to what it had up before that
		i.Earlier = &was
	}
	if !req.Upgrade && (changed || !up || !i.ShouldRun()) { // what runs as it is asked for is left alone
		i.Start++
		i.SetWanted(true)
	}
	return i
}

// boundParams checks what all plugins of a board are injected with; i is one of them
// as it is to be.
func boundParams(op string, b store.Board, present []store.Injection, i store.Injection) error {
	size := paramsSize(i.Params)
	for _, o := range present {
		if o.ID != i.ID {
			size += paramsSize(o.Params)
		}
	}
	if size > maxBoardParams {
		return s4t.Errorf(s4t.TooMany, op, "put what is long into the bundle", "the parameters of all plugins of board %q have %d bytes, at most %d are possible", b.Name, size, maxBoardParams)
	}
	return nil
}

func paramsSize(params map[string]string) (size int) {
	for name, value := range params {
		size += len(name) + len(value)
	}
	return size
}

func notInjected(op, plugin string, b store.Board) error {
	return s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t plugin inject %s --board %s` puts it there", plugin, b.Name), "board %s has no plugin %s", b.Name, plugin)
}

// pluginAct starts, stops or removes a plugin of a board.
func (c *Conductor) pluginAct(ctx context.Context, req wire.PluginAct) (s4t.Operation, error) {
	received := c.now()
	op := fmt.Sprintf("%s plugin %q on board %q", s4t.Line(req.Do, s4t.MaxName), s4t.Line(req.Plugin, s4t.MaxName), req.Board)
	if !slices.Contains([]string{wire.PluginStart, wire.PluginStop, wire.PluginRestart, wire.PluginRemove}, req.Do) {
		return s4t.Operation{}, s4t.Errorf(s4t.Invalid, op, "use start, stop, restart or remove", "nothing like that can be done")
	}
	action := kindPlugin + req.Do
	return c.operate(ctx, req.Caller, action, req.Plugin, func(ch *change, rec *s4t.AuditRecord) (*s4t.Operation, error) {
		b, by, p, present, at, err := ch.injected(req.Caller, op, wire.MethodPluginAct, req.Board, req.Plugin, rec)
		if err != nil {
			return nil, err
		}
		if at < 0 {
			return nil, notInjected(op, p.Name, b)
		}
		i := present[at]
		rec.Object = i.ID
		if req.Do == wire.PluginRemove {
			return ch.begin(action, by.Project, i.ID, p.Name, received), ch.removePlugin(i)
		}
		agent, err := ch.placeBoard(op, &b)
		if err != nil {
			return nil, err
		}
		i.SetWanted(req.Do != wire.PluginStop)
		if i.ShouldRun() {
			i.Start++
		}
		if err := ch.SetInjection(i); err != nil {
			return nil, err
		}
		ch.wantPlugin(i, agent.URL)
		return ch.begin(action, by.Project, i.ID, p.Name, received, wire.ResourceKey{Kind: wire.KindPlugin, ID: i.ID}), nil
	})
}
