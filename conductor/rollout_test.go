package conductor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// rollLab is a lab with a fleet "all" of boards that are online and have version 1 of hello, and with
// version 2 of it. It returns the boards, by name, and the ids of the plugin on them.
func rollLab(t *testing.T, n int) (l *lab, boards []*fakeBoard, ids []string) {
	t.Helper()
	l = newLab(t)
	l.plugin("hello", "1")
	var names []string
	for i := range n {
		name := fmt.Sprintf("b%d", i)
		names = append(names, name)
		boards = append(boards, l.online(name))
		op := l.done(call[s4t.Operation](l, wire.MethodPluginInject, wire.PluginInject{Caller: l.member, Board: name, Plugin: "hello"}))
		ids = append(ids, op.Object)
	}
	l.plugin("hello", "2")
	call[s4t.Fleet](l, wire.MethodFleetCreate, wire.FleetCreate{Caller: l.member, Name: "all", Boards: names})
	return l, boards, ids
}

func (l *lab) rolls(waves, maxFailed string, pause s4t.Seconds) s4t.Rollout {
	l.t.Helper()
	return call[s4t.Rollout](l, wire.MethodRolloutCreate, wire.RolloutCreate{Caller: l.member, Fleet: "all", Plugin: "hello", Waves: waves, MaxFailed: maxFailed, Pause: &pause})
}

func (l *lab) rollout(id s4t.RolloutID) s4t.Rollout {
	l.t.Helper()
	return call[s4t.Rollout](l, wire.MethodRolloutGet, wire.RefRequest{Caller: l.reader, Ref: string(id)})
}

// steps are how the boards of a rollout stand, in its order.
func steps(r s4t.Rollout) string {
	var words []string
	for _, b := range r.Boards {
		words = append(words, fmt.Sprintf("%s/%d %s", b.Name, b.Wave, b.Status))
	}
	return strings.Join(words, ", ")
}

func versions(l *lab, boards []*fakeBoard) (all []string) {
	for _, f := range boards {
		d, _ := l.wants(f)
		all = append(all, d.Version)
	}
	return all
}

func TestARolloutGoesFromWaveToWave(t *testing.T) {
	l, boards, _ := rollLab(t, 5)
	r := l.rolls("1,40%", "", 1)
	if got := steps(r); got != "b0/1 waiting, b1/2 waiting, b2/3 waiting, b3/3 waiting, b4/3 waiting" || len(r.Waves) != 3 || r.Waves[2].Size != "100%" || r.MaxFailed != "5%" || r.Version != "2" {
		t.Errorf("%s: %+v", got, r)
	}
	refusedAs[s4t.Rollout](l, wire.MethodRolloutCreate, wire.RolloutCreate{Caller: l.member, Fleet: "all", Plugin: "hello"}, s4t.Conflict, "rollout list")
	refusedAs[wire.Empty](l, wire.MethodPluginDelete, wire.PluginDelete{Caller: l.member, Ref: "hello", Version: "2"}, s4t.Conflict, "has not ended")
	refusedAs[wire.Empty](l, wire.MethodFleetDelete, wire.RefRequest{Caller: l.member, Ref: "all"}, s4t.Conflict, "has not ended")
	l.await("rollout.paused", string(r.ID)) // goes on by itself after a second
	l.await("rollout.wave", string(r.ID))
	l.await("rollout.succeeded", string(r.ID))
	r = l.rollout(r.ID)
	if r.Status != s4t.RolloutSucceeded || r.EndedAt == nil || strings.Count(steps(r), "done") != 5 || r.Boards[0].Before != "1" {
		t.Errorf("%+v", r)
	}
	for _, w := range r.Waves {
		if w.Status != s4t.WaveDone || w.Done != w.Boards || w.BeganAt == nil || w.EndedAt == nil {
			t.Errorf("%+v", w)
		}
	}
	if got := versions(l, boards); !slices.Equal(got, []string{"2", "2", "2", "2", "2"}) {
		t.Error(got)
	}
	if all := items[s4t.Rollout](l, wire.MethodRolloutList, wire.ListRequest{Caller: l.reader}); len(all) != 1 || all[0].Boards != nil || all[0].Waves[2].Done != 3 {
		t.Errorf("%+v", all)
	}
	if all := items[s4t.Rollout](l, wire.MethodRolloutList, wire.ListRequest{Caller: l.foreign}); len(all) != 0 {
		t.Errorf("another project sees %+v", all)
	}
	refusedAs[s4t.Rollout](l, wire.MethodRolloutGet, wire.RefRequest{Caller: l.foreign, Ref: string(r.ID)}, s4t.NotFound, "")
	refusedAs[s4t.Rollout](l, wire.MethodRolloutResume, wire.RefRequest{Caller: l.member, Ref: string(r.ID)}, s4t.Conflict, "succeeded")
	refusedAs[s4t.Rollout](l, wire.MethodRolloutAbort, wire.RolloutAbort{Caller: l.member, Ref: string(r.ID)}, s4t.Conflict, "over")
	refusedAs[s4t.Rollout](l, wire.MethodRolloutAbort, wire.RolloutAbort{Caller: l.reader, Ref: string(r.ID)}, s4t.Forbidden, "")
	// What has the version already is done at once.
	again := l.rolls("100%", "0", 0)
	l.await("rollout.succeeded", string(again.ID))
	if got := l.rollout(again.ID); strings.Count(steps(got), "done") != 5 {
		t.Error(steps(got))
	}
}

func TestARolloutStopsByItselfAndResumes(t *testing.T) {
	l, boards, ids := rollLab(t, 4)
	l.says(boards[0], ids[0], wire.ResourceState{ProblemID: wire.PluginFellBack, Problem: "version 2 did not become healthy"})
	r := l.rolls("1,100%", "5%", 0)
	l.await("rollout.stopped", string(r.ID))
	r = l.rollout(r.ID)
	if got := steps(r); r.Status != s4t.RolloutStopped || r.Reason != "1 of 1 boards failed, 0 may" || got != "b0/1 failed, b1/2 waiting, b2/2 waiting, b3/2 waiting" ||
		!strings.Contains(r.Boards[0].Error, "did not become healthy") || r.Waves[0].Status != s4t.WaveFailed || r.EndedAt != nil {
		t.Errorf("%s: %+v", got, r)
	}
	if got := versions(l, boards); !slices.Equal(got[1:], []string{"1", "1", "1"}) {
		t.Error(got)
	}
	l.await("plugin.fell-back", "b0")
	l.says(boards[0], ids[0], wire.ResourceState{})
	call[s4t.Rollout](l, wire.MethodRolloutResume, wire.RefRequest{Caller: l.member, Ref: string(r.ID)})
	l.await("rollout.succeeded", string(r.ID))
	if got := versions(l, boards); !slices.Equal(got, []string{"2", "2", "2", "2"}) {
		t.Error(got)
	}
}

func TestSomeFailuresAreAllowed(t *testing.T) {
	l, boards, ids := rollLab(t, 4)
	l.says(boards[1], ids[1], wire.ResourceState{ProblemID: wire.PluginFailed, Problem: "exit status 3"})
	r := l.rolls("100%", "25%", 0)
	l.await("rollout.succeeded", string(r.ID))
	if got := steps(l.rollout(r.ID)); got != "b0/1 done, b1/1 failed, b2/1 done, b3/1 done" {
		t.Error(got)
	}
}

func TestARolloutGoesBack(t *testing.T) {
	l, boards, ids := rollLab(t, 3)
	l.done(call[s4t.Operation](l, wire.MethodPluginAct, wire.PluginAct{Caller: l.member, Board: "b1", Plugin: "hello", Do: wire.PluginRemove}))
	l.says(boards[2], ids[2], wire.ResourceState{ProblemID: wire.PluginFailed, Problem: "exit status 3"})
	r := l.rolls("100%", "0", 0)
	l.await("rollout.stopped", string(r.ID))
	l.says(boards[2], ids[2], wire.ResourceState{})
	call[s4t.Rollout](l, wire.MethodRolloutAbort, wire.RolloutAbort{Caller: l.member, Ref: string(r.ID), Back: true})
	l.await("rollout.back", string(r.ID))
	r = l.rollout(r.ID)
	if got := steps(r); r.Status != s4t.RolloutBack || r.EndedAt == nil || got != "b0/1 back, b1/1 back, b2/1 back" {
		t.Errorf("%s: %+v", got, r)
	}
	for board, want := range map[string]string{"b0": "1", "b1": "", "b2": "1"} {
		has := ""
		for _, p := range items[s4t.BoardPlugin](l, wire.MethodPluginStatus, wire.PluginStatus{Caller: l.reader, Board: board}) {
			has = p.Version
		}
		if has != want {
			t.Errorf("%s has version %q, want %q", board, has, want)
		}
	}
	// Another one is possible now, and an aborted one may go back later.
	l.mu.Lock()
	boards[1].deaf = true
	l.mu.Unlock()
	next := l.rolls("2,100%", "", 3600)
	l.await("rollout.board", string(next.ID))
	call[s4t.Rollout](l, wire.MethodRolloutAbort, wire.RolloutAbort{Caller: l.member, Ref: string(next.ID)})
	if got := l.rollout(next.ID); got.Status != s4t.RolloutAborted || got.Boards[2].Status != s4t.StepSkipped {
		t.Errorf("%+v", got)
	}
	call[s4t.Rollout](l, wire.MethodRolloutAbort, wire.RolloutAbort{Caller: l.member, Ref: string(next.ID), Back: true})
	l.await("rollout.back", string(next.ID))
	l.await("plugin.removed", "b1")
}

func TestBoardsThatAreAwayDoNotHoldARolloutUp(t *testing.T) {
	l, boards, _ := rollLab(t, 3)
	l.disconnect(boards[0])
	r := l.rolls("1,100%", "", 0)
	if got := steps(r); got != "b1/1 waiting, b0/2 waiting, b2/2 waiting" {
		t.Error(got)
	}
	l.await("rollout.succeeded", string(r.ID))
	if got := l.rollout(r.ID); steps(got) != "b1/1 done, b0/2 skipped, b2/2 done" || got.Boards[1].Error != "it was away" {
		t.Errorf("%+v", got.Boards)
	}
	// Where nobody is there it waits for somebody.
	for _, f := range boards[1:] {
		l.disconnect(f)
	}
	l.plugin("hello", "3")
	r = l.rolls("1,100%", "", 0)
	l.connect(boards[0], "i2")
	l.await("rollout.succeeded", string(r.ID))
	if got := steps(l.rollout(r.ID)); got != "b0/1 done, b1/2 skipped, b2/2 skipped" {
		t.Error(got)
	}
}

func TestABoardThatGoesAwayWhileItIsChangedIsToldAgain(t *testing.T) {
	l, boards, _ := rollLab(t, 1)
	l.mu.Lock()
	boards[0].deaf = true
	l.mu.Unlock()
	r := l.rolls("100%", "", 0)
	l.await("plugin.upgraded", "b0")
	l.disconnect(boards[0])
	if got := l.rollout(r.ID); got.Status != s4t.RolloutRunning || steps(got) != "b0/1 running" {
		t.Errorf("%+v", got)
	}
	l.mu.Lock()
	boards[0].deaf = false
	l.mu.Unlock()
	l.connect(boards[0], "i2")
	l.await("rollout.succeeded", string(r.ID))
	if got := steps(l.rollout(r.ID)); got != "b0/1 done" {
		t.Error(got)
	}
}

func TestABoardThatStaysAwayWhileItIsChangedHasFailed(t *testing.T) {
	needsClock(t)
	l, boards, _ := rollLab(t, 1)
	l.mu.Lock()
	boards[0].deaf = true
	l.mu.Unlock()
	r := l.rolls("100%", "0", 0)
	l.await("plugin.upgraded", "b0")
	l.disconnect(boards[0])
	l.ahead(s4t.RolloutPatience)
	l.await("rollout.stopped", string(r.ID))
	if got := l.rollout(r.ID); got.Boards[0].Status != s4t.StepFailed || !strings.Contains(got.Boards[0].Error, "within 10m") {
		t.Errorf("%+v", got)
	}
}

func TestARolloutOutlivesItsConductor(t *testing.T) {
	l, boards, _ := rollLab(t, 4)
	l.mu.Lock()
	boards[0].deaf, boards[1].deaf = true, true
	l.mu.Unlock()
	r := l.rolls("2,100%", "", 0)
	l.await("plugin.upgraded", "b1")
	l.stop()
	l.mu.Lock()
	boards[0].deaf, boards[1].deaf = false, false
	l.mu.Unlock()
	l.start()
	for _, f := range boards[:2] {
		l.boardWake(t.Context(), wire.BoardWake{Board: f.id})
	}
	l.await("rollout.succeeded", string(r.ID))
	if got := versions(l, boards); !slices.Equal(got, []string{"2", "2", "2", "2"}) {
		t.Error(got)
	}
}

func TestTwoConductorsRollOutOnce(t *testing.T) {
	l, boards, ids := rollLab(t, 12)
	l.startSecond()
	r := l.rolls("1,25%,100%", "", 0)
	l.await("rollout.succeeded", string(r.ID))
	if got := versions(l, boards); slices.ContainsFunc(got, func(v string) bool { return v != "2" }) {
		t.Error(got)
	}
	upgrades := map[string]int{}
	for _, op := range items[s4t.Operation](l, wire.MethodOperationList, wire.ListRequest{Caller: l.reader}) {
		if op.Kind == kindUpgrade {
			upgrades[op.Object]++
		}
	}
	for _, id := range ids {
		if upgrades[id] != 1 {
			t.Errorf("%d operations for one board", upgrades[id])
		}
	}
}

func TestOfManyRolloutsAtOnceOneBegins(t *testing.T) {
	l, boards, _ := rollLab(t, 1)
	var mu sync.Mutex
	var begun, refused int
	var all sync.WaitGroup
	l.mu.Lock()
	boards[0].deaf = true // it does not end
	l.mu.Unlock()
	for range 8 {
		all.Go(func() {
			_, err := try[s4t.Rollout](l, wire.MethodRolloutCreate, wire.RolloutCreate{Caller: l.member, Fleet: "all", Plugin: "hello"})
			mu.Lock()
			defer mu.Unlock()
			switch s4t.KindOf(err) {
			case "":
				begun++
			case s4t.Conflict:
				refused++
			default:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if begun != 1 || refused != 7 {
		t.Errorf("%d begun, %d refused", begun, refused)
	}
}
