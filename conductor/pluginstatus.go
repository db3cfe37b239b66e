package conductor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// pluginStatus returns the plugins of a board, as the board says they are now; where
// it cannot be asked, as it said last.
func (c *Conductor) pluginStatus(ctx context.Context, req wire.PluginStatus) (wire.List[s4t.BoardPlugin], error) {
	op := fmt.Sprintf("show the plugins of board %q", req.Board)
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return wire.List[s4t.BoardPlugin]{}, err
	}
	leave, err := c.commandQuestions.enter(op, req.Caller.Project)
	if err != nil {
		return wire.List[s4t.BoardPlugin]{}, err
	}
	defer leave()
	type known struct {
		route store.Route
		all   []store.Injection
		event int64
	}
	k, err := view(ctx, c, func(tx *store.Tx) (k known, err error) {
		var by right
		if k.route, by, err = findRoute(tx, req.Caller, op, wire.MethodPluginStatus, req.Board); err != nil {
			return k, err
		}
		if k.event, err = tx.LastEvent(); err != nil {
			return k, err
		}
		k.all, err = tx.InjectionsOf(k.route.ID)
		if by.lent() {
			k.all = slices.DeleteFunc(k.all, func(i store.Injection) bool { return i.Project != by.Project })
		}
		return k, err
	})
	if err != nil {
		return wire.List[s4t.BoardPlugin]{}, err
	}
	if req.Plugin != "" {
		k.all = slices.DeleteFunc(k.all, func(i store.Injection) bool {
			return i.Plugin != req.Plugin && i.ID != req.Plugin && string(i.PluginID) != req.Plugin
		})
		if len(k.all) == 0 {
			return wire.List[s4t.BoardPlugin]{}, s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t plugin status %s` lists them", k.route.Name), "it has no plugin %q", s4t.Line(req.Plugin, s4t.MaxName))
		}
	}
	var says map[string]s4t.PluginState
	if len(k.all) > 0 && k.route.Status == s4t.BoardOnline {
		if a, err := c.askCode(ctx, op, k.route, wire.CodeAsk{Do: wire.CodePlugins}); err == nil {
			says = a.Plugins
		}
	}
	list := wire.List[s4t.BoardPlugin]{Items: make([]s4t.BoardPlugin, len(k.all)), EventID: k.event}
	for n, i := range k.all {
		if s, ok := says[i.ID]; ok {
			i.PluginState = cleanState(s)
		} else if k.route.Status != s4t.BoardOnline {
			i.State = s4t.PluginPending
		}
		list.Items[n] = i.BoardPlugin
	}
	return list, nil
}

// pluginName returns the name of a plugin on a board of which the id is given, as the
// board knows it.
func pluginName(tx *store.Tx, board s4t.BoardID, id string) (string, error) {
	all, err := tx.InjectionsOf(board)
	for _, i := range all {
		if i.ID == id || string(i.PluginID) == id {
			return i.Plugin, nil
		}
	}
	return id, err
}

// ownPlugin refuses a plugin of a leased board that is not of the project that has the lease.
func ownPlugin(tx *store.Tx, op string, r store.Route, by right, ref string) error {
	all, err := tx.InjectionsOf(r.ID)
	if err != nil {
		return err
	}
	for _, i := range all {
		if i.Project == by.Project && (i.Plugin == ref || i.ID == ref || string(i.PluginID) == ref) {
			return nil
		}
	}
	return s4t.Errorf(s4t.NotFound, op, fmt.Sprintf("`s4t plugin status %s` lists them", r.Name), "it has no plugin %q", s4t.Line(ref, s4t.MaxName))
}

// cleanState leaves in what a board says of a plugin only what can be shown.
func cleanState(s s4t.PluginState) s4t.PluginState {
	for text, most := range map[*string]int{&s.State: s4t.MaxName, &s.Running: s4t.MaxName, &s.Exit: wire.MaxProblem, &s.Health: wire.MaxProblem, &s.Problem: wire.MaxProblem} {
		*text = s4t.Line(*text, most)
	}
	s.Unlimited = slices.Clone(s.Unlimited[:min(len(s.Unlimited), 16)])
	for n, line := range s.Unlimited {
		s.Unlimited[n] = s4t.Line(line, wire.MaxProblem)
	}
	return s
}

const (
	// pluginTokenLife is how long a plugin may use a token: it gets the next before.
	pluginTokenLife = time.Hour
	// pluginTokens is how many a plugin on a board has at most: one more ends the oldest.
	pluginTokens = 4
)

// pluginToken gives a plugin on a board a token for the API: in the project of the
// plugin, for who injected it, with the role that it asks for, the injector had
// when it did and has now, whichever is the weakest.
func (c *Conductor) pluginToken(ctx context.Context, req wire.PluginTokenAsk) (wire.PluginToken, error) {
	op := fmt.Sprintf("give a plugin of board %q a token", req.Board)
	secret := store.NewSecret()
	var t store.TokenRow
	err := c.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		b, err := tx.Board(req.Board)
		if err == nil {
			err = current(op, &b, req.Epoch)
		}
		if err != nil {
			return err
		}
		i, err := tx.Injection(req.Plugin)
		if s4t.KindOf(err) == s4t.NotFound || err == nil && i.BoardID != b.ID {
			return s4t.Errorf(s4t.Forbidden, op, "", "it should not have a plugin %q", s4t.Line(req.Plugin, s4t.MaxName))
		}
		if err != nil {
			return err
		}
		if i.API == "" {
			return s4t.Errorf(s4t.Forbidden, op, `say api = "reader" in its plugin.toml`, "plugin %s does not ask for the API", i.Plugin)
		}
		u, err := tx.User(string(i.Injector))
		if s4t.KindOf(err) == s4t.NotFound {
			return s4t.Errorf(s4t.Forbidden, op, "inject it again", "the user who injected plugin %s is gone", i.Plugin)
		}
		if err != nil {
			return err
		}
		expires := c.now().Add(pluginTokenLife)
		t = store.TokenRow{
			Token:  s4t.Token{ID: s4t.TokenID(s4t.NewID()), User: u.Name, Project: i.Project, Role: i.API.Weaker(i.Role), ExpiresAt: &expires, CreatedAt: c.now()},
			UserID: u.ID, Injection: i.ID,
		}
		if err := tx.InsertToken(t, store.HashSecret(secret)); err != nil {
			return err
		}
		return tx.TrimInjectionTokens(i.ID, pluginTokens)
	})
	if err != nil {
		return wire.PluginToken{}, err
	}
	return wire.PluginToken{Token: secret, ExpiresAt: *t.ExpiresAt, URL: c.cfg.APIURL}, nil
}
