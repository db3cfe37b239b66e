package conductor

import (
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// says has a board say something of a plugin, from its next report on.
func (l *lab) says(f *fakeBoard, id string, s wire.ResourceState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f.fails == nil {
		f.fails = map[string]wire.ResourceState{}
	}
	if s.Problem == "" {
		delete(f.fails, id)
	} else {
		f.fails[id] = s
	}
}

// wants is what is wanted of a board's one plugin.
func (l *lab) wants(f *fakeBoard) (d wire.DesiredPlugin, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := wire.Specs[wire.DesiredPlugin](wire.KindPlugin, f.desired.Resources)
	if len(all) > 0 {
		d = all[0]
	}
	return d, len(all)
}

func (l *lab) inject(version string) wire.PluginInject {
	return wire.PluginInject{Caller: l.member, Board: "one", Plugin: "hello", Version: version}
}

func (l *lab) injection(plugin string) s4t.BoardPlugin {
	l.t.Helper()
	return items[s4t.BoardPlugin](l, wire.MethodPluginStatus, wire.PluginStatus{Caller: l.reader, Board: "one", Plugin: plugin})[0]
}

func TestAPluginsWholeLifeOnABoard(t *testing.T) {
	l := newLab(t)
	l.plugin("hello", "1")
	f := l.online("one")
	req := l.inject("")
	on := true
	req.OnBoot, req.Params = &on, map[string]string{"city": "Messina"}
	op := l.done(call[s4t.Operation](l, wire.MethodPluginInject, req))
	d, n := l.wants(f)
	if n != 1 || d.Version != "1" || !d.Running || !d.OnBoot || d.Start != 1 || d.URL != tunnelURL || d.Params["city"] != "Messina" || d.Digest == "" || d.Size == 0 || len(d.Key) != 32 || len(d.Signature) != 64 {
		t.Errorf("%+v", d)
	}
	if p := l.injection("hello"); p.ID != op.Object || p.State != s4t.PluginRunning || p.Board != "one" || p.Wanted != s4t.PluginRunning {
		t.Errorf("%+v", p)
	}
	l.await("plugin.injected", "one")
	l.await("plugin.up", "one")

	l.done(call[s4t.Operation](l, wire.MethodPluginInject, l.inject("")))
	if d, _ := l.wants(f); d.Start != 1 || d.Params["city"] != "Messina" {
		t.Errorf("the same again started it anew: %+v", d)
	}
	act := func(do string) {
		l.done(call[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: "one", Plugin: "hello", Do: do}))
	}
	act(wire.PluginStop)
	if d, _ := l.wants(f); d.Running || l.injection("hello").State != s4t.PluginStopped {
		t.Errorf("stopped: %+v", d)
	}
	act(wire.PluginStart)
	act(wire.PluginRestart)
	if d, _ := l.wants(f); !d.Running || d.Start != 3 {
		t.Errorf("started twice: %+v", d)
	}
	refusedAs[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.reader, Board: "one", Plugin: "hello", Do: wire.PluginStop}, s4t.Forbidden, "member")
	refusedAs[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: "one", Plugin: "hello", Do: "dance"}, s4t.Invalid, "dance")
	refusedAs[s4t.Operation](l, wire.MethodPluginInject, l.inject("7"), s4t.NotFound, "no version")
	refusedAs[s4t.Operation](l, wire.MethodPluginInject, wire.PluginInject{Caller: l.foreign, Board: string(f.id), Plugin: "hello"}, s4t.NotFound, "")
	act(wire.PluginRemove)
	if _, n := l.wants(f); n != 0 {
		t.Error("it is still wanted")
	}
	l.await("plugin.removed", "one")
	refusedAs[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: "one", Plugin: "hello", Do: wire.PluginStart}, s4t.NotFound, "has no plugin")
	upgrade := l.inject("1")
	upgrade.Upgrade = true
	refusedAs[s4t.Operation](l, wire.MethodPluginInject, upgrade, s4t.NotFound, "has no plugin")
}

func TestAnUpgradeThatFailsGoesBack(t *testing.T) {
	l := newLab(t)
	l.plugin("hello", "1")
	l.plugin("hello", "2")
	f := l.online("one")
	op := l.done(call[s4t.Operation](l, wire.MethodPluginInject, l.inject("1")))
	l.says(f, op.Object, wire.ResourceState{ProblemID: wire.PluginFellBack, Problem: "version 2 did not become healthy"})
	req := l.inject("2")
	req.Upgrade = true
	for range 2 { // again before the board has the old one up
		failed := l.ended(call[s4t.Operation](l, wire.MethodPluginInject, req))
		if failed.Status != s4t.OperationFailed || !strings.Contains(failed.Error, "did not become healthy") {
			t.Errorf("%+v", failed)
		}
		l.await("plugin.fell-back", "one")
		if p := l.injection("hello"); p.Version != "1" {
			t.Errorf("what is wanted is not what runs: %+v", p)
		}
	}
	l.says(f, op.Object, wire.ResourceState{})
	l.done(call[s4t.Operation](l, wire.MethodPluginInject, req))
	if d, _ := l.wants(f); d.Version != "2" {
		t.Errorf("%+v", d)
	}
}

func TestAnUpgradeThatNobodyWaitsForGoesBackToo(t *testing.T) {
	l := newLab(t)
	l.plugin("hello", "1")
	l.plugin("hello", "2")
	f := l.online("one")
	op := l.done(call[s4t.Operation](l, wire.MethodPluginInject, l.inject("1")))
	l.disconnect(f)
	req := l.inject("2")
	req.Upgrade = true
	// The board was up with 1 when it went; nobody knows now, so it is upgraded while it is there.
	l.connect(f, "i1")
	l.says(f, op.Object, wire.ResourceState{ProblemID: wire.PluginFailed, Problem: "exit status 3"})
	crashed := l.ended(call[s4t.Operation](l, wire.MethodPluginInject, req))
	if crashed.Status != s4t.OperationFailed || !strings.Contains(crashed.Error, "plugin logs one hello") {
		t.Errorf("%+v", crashed)
	}
	if p := l.injection("hello"); p.Version != "2" || p.State != s4t.PluginFailed || p.Problem != "exit status 3" {
		t.Errorf("one that crashes stays: %+v", p)
	}
	l.says(f, op.Object, wire.ResourceState{ProblemID: wire.PluginFellBack, Problem: "version 2 was not healthy"})
	l.report(f)
	l.await("plugin.fell-back", "one")
	if p := l.injection("hello"); p.Version != "1" {
		t.Errorf("%+v", p)
	}
}

func TestAPluginThatTheBoardRefusesGoes(t *testing.T) {
	l := newLab(t)
	l.plugin("hello", "1")
	f := l.online("one")
	l.mu.Lock()
	f.deaf = true
	l.mu.Unlock()
	op := call[s4t.Operation](l, wire.MethodPluginInject, l.inject("1"))
	l.says(f, op.Object, wire.ResourceState{ProblemID: wire.PluginRefused, Problem: "its key is not taken"})
	l.mu.Lock()
	f.deaf = false
	l.mu.Unlock()
	l.boardWake(t.Context(), wire.BoardWake{Board: f.id})
	op = l.ended(op)
	if op.Status != s4t.OperationFailed || op.ErrorKind != s4t.Conflict || !strings.Contains(op.Error, "its key is not taken") {
		t.Errorf("%+v", op)
	}
	if all := items[s4t.BoardPlugin](l, wire.MethodPluginStatus, wire.PluginStatus{Caller: l.reader, Board: "one"}); len(all) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestAnOfflineBoardsPluginWaitsForIt(t *testing.T) {
	l := newLab(t)
	l.plugin("hello", "1")
	f := l.board("one")
	l.done(call[s4t.Operation](l, wire.MethodPluginInject, l.inject("")))
	if p := l.injection("hello"); p.State != s4t.PluginPending {
		t.Errorf("%+v", p)
	}
	l.connect(f, "i1")
	l.await("plugin.up", "one")
	call[wire.Empty](l, wire.MethodBoardDelete, wire.RefRequest{Caller: l.member, Ref: "one"})
	call[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello"})
}

func TestAPluginsToken(t *testing.T) {
	l := newLab(t)
	l.plugin("hello", "1", `api = "member"`)
	l.plugin("quiet", "1")
	user := s4t.User{ID: s4t.UserID(s4t.NewID()), Name: "rita", Project: projectID, Role: s4t.RoleMember, CreatedAt: time.Now()}
	if err := l.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.InsertUser(user, "") }); err != nil {
		t.Fatal(err)
	}
	f := l.online("one")
	req := l.inject("")
	req.Caller = vouched(l.key, wire.Caller{User: "rita", UserID: user.ID, Project: projectID, Role: s4t.RoleMember})
	op := l.done(call[s4t.Operation](l, wire.MethodPluginInject, req))
	quiet := wire.PluginInject{Caller: l.member, Board: "one", Plugin: "quiet"}
	silent := l.done(call[s4t.Operation](l, wire.MethodPluginInject, quiet))
	ask := wire.PluginTokenAsk{Board: f.id, Epoch: f.epochNow(l), Plugin: op.Object}
	token := call[wire.PluginToken](l, wire.MethodBoardPluginToken, ask)
	if token.URL != apiURL {
		t.Errorf("it is told that the API is at %q", token.URL)
	}
	row := func() (t store.TokenRow, err error) {
		err = l.db.View(l.t.Context(), func(tx *store.Tx) (err error) {
			t, err = tx.TokenByHash(store.HashSecret(token.Token))
			return err
		})
		return t, err
	}
	if got, err := row(); err != nil || got.Role != s4t.RoleMember || got.UserID != user.ID || got.Project != projectID || got.ExpiresAt == nil || got.ExpiresAt.After(time.Now().Add(pluginTokenLife+time.Minute)) {
		t.Errorf("%+v, %v", got, err)
	}
	ask.Plugin = silent.Object
	refusedAs[wire.PluginToken](l, wire.MethodBoardPluginToken, ask, s4t.Forbidden, "does not ask")
	ask.Plugin, ask.Epoch = op.Object, ask.Epoch-1
	refusedAs[wire.PluginToken](l, wire.MethodBoardPluginToken, ask, s4t.Conflict, "session is over")
	l.done(call[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: "one", Plugin: "hello", Do: wire.PluginRemove}))
	if _, err := row(); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("the token outlives the plugin: %v", err)
	}
}

// TestTheCommandOfAPluginThatIsNotUp: a plugin that should run is away for a moment, which is
// not that there is no such command.
func TestTheCommandOfAPluginThatIsNotUp(t *testing.T) {
	l := newLab(t)
	packed, digest := pack(t, strings.Replace(manifest("1", "[[commands]]", `name = "greet"`), "service", "callable", 1), 10)
	l.put(l.member, packed, digest)
	call[s4t.Plugin](l, wire.MethodPluginCreate, signed(l.member, "hello", digest, 1))
	l.online("one")
	l.done(call[s4t.Operation](l, wire.MethodPluginInject, l.inject("")))
	run := func(command string) wire.CommandRun {
		return wire.CommandRun{Caller: l.member, Board: "one", Command: command}
	}
	refusedAs[s4t.Operation](l, wire.MethodCommandRun, run("greet"), s4t.Unavailable, "plugin hello")
	refusedAs[s4t.Operation](l, wire.MethodCommandRun, run("none"), s4t.NotFound, "has no command")
	l.done(call[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: "one", Plugin: "hello", Do: wire.PluginStop}))
	refusedAs[s4t.Operation](l, wire.MethodCommandRun, run("greet"), s4t.NotFound, "has no command")
}
