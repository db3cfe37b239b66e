package conductor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/store"
	"github.com/stack4things/s4t/wire"
)

// A rollout is kept in the database with each of its boards; rollout_run.go is what moves it.

// findRollout returns the rollout with this id where the caller sees it.
func findRollout(caller wire.Caller, op, ref string, by func(s4t.RolloutID) (store.Rollout, error)) (store.Rollout, error) {
	r, err := by(s4t.RolloutID(ref))
	if s4t.KindOf(err) == s4t.NotFound || err == nil && !caller.Sees(r.Project) {
		return store.Rollout{}, s4t.Errorf(s4t.NotFound, op, "`s4t rollout list` shows what there is", "it does not exist")
	}
	return r, err
}

// withWaves fills in what is counted of a rollout.
func withWaves(tx *store.Tx, r *store.Rollout) error {
	counts, err := tx.CountRollout(r.ID)
	if err == nil {
		countWaves(r, counts)
	}
	return err
}

func countWaves(r *store.Rollout, counts []store.RolloutCount) {
	for i := range r.Waves {
		w := &r.Waves[i]
		w.Boards, w.Done, w.Failed = 0, 0, 0
	}
	for _, n := range counts {
		if n.Wave < 1 || n.Wave > len(r.Waves) {
			continue
		}
		w := &r.Waves[n.Wave-1]
		w.Boards += n.N
		switch n.Status {
		case s4t.StepDone:
			w.Done += n.N
		case s4t.StepFailed:
			w.Failed += n.N
		}
	}
}

// withMembers fills in its boards, too.
func withMembers(tx *store.Tx, r *store.Rollout) error {
	boards, err := tx.RolloutBoards(r.ID)
	for _, b := range boards {
		r.Boards = append(r.Boards, b.RolloutBoard)
	}
	if err != nil {
		return err
	}
	return withWaves(tx, r)
}

// rolloutEvent tells of a rollout, as lists show it.
func (ch *change) rolloutEvent(word string, r store.Rollout, detail string) error {
	if err := withWaves(ch.Tx, &r); err != nil {
		return err
	}
	r.Boards = nil
	ch.event(s4t.Event{Kind: "rollout." + word, Project: r.Project, Object: string(r.ID), Name: r.PluginName, Detail: detail, Data: r.Rollout})
	ch.rolled = true
	return nil
}

// rolloutCreate begins a rollout.
func (c *Conductor) rolloutCreate(ctx context.Context, req wire.RolloutCreate) (s4t.Rollout, error) {
	op := fmt.Sprintf("roll out plugin %q to fleet %q", s4t.Line(req.Plugin, s4t.MaxName), s4t.Line(req.Fleet, s4t.MaxName))
	sizes, err := s4t.ParseWaves(op, cmp.Or(req.Waves, s4t.DefaultWaves))
	if err != nil {
		return s4t.Rollout{}, err
	}
	failing, err := s4t.ParseShare(op, cmp.Or(req.MaxFailed, s4t.DefaultFailing))
	if err != nil {
		return s4t.Rollout{}, err
	}
	pause := s4t.Seconds(s4t.DefaultPause / time.Second)
	if req.Pause != nil {
		pause = *req.Pause
	}
	if pause < 0 || pause.Duration() > s4t.MaxWavePause {
		return s4t.Rollout{}, s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("use 0 to %v", s4t.MaxWavePause), "a pause of %v is not possible", pause.Duration())
	}
	var r store.Rollout
	err = c.request(ctx, req.Caller, "rollout.create", s4t.Line(req.Plugin, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) error {
		caller := req.Caller
		f, err := findFleet(ch.Tx, caller, op, req.Fleet)
		if err != nil {
			return err
		}
		if caller.Role.Covers(s4t.RoleAdmin) {
			caller.Project = f.Project // whose names are meant
		}
		p, err := findPlugin(ch.Tx, caller, op, req.Plugin)
		if err == nil {
			p, err = ch.LockPlugin(p.ID) // its versions stay
		}
		if err != nil {
			return err
		}
		if p.Project != f.Project {
			return s4t.Errorf(s4t.Invalid, op, "use one of the fleet's project", "plugin %q belongs to another project", req.Plugin)
		}
		version := cmp.Or(req.Version, p.Version)
		if !slices.ContainsFunc(p.Versions, func(v s4t.PluginVersion) bool { return v.Version == version }) {
			return noVersion(op, p, version)
		}
		r = store.Rollout{
			Rollout: s4t.Rollout{
				ID: s4t.RolloutID(s4t.NewID()), Fleet: f.ID, FleetName: f.Name, Project: f.Project, Plugin: p.ID, PluginName: p.Name, Version: version, User: req.Caller.User,
				MaxFailed: failing.String(), Pause: pause, Status: s4t.RolloutRunning, CreatedAt: ch.now,
			},
			Injector: req.Caller.UserID, Role: req.Caller.Role, Wave: 1,
		}
		rec.Object, rec.Name, rec.Project, rec.Detail = string(r.ID), p.Name, f.Project, fmt.Sprintf("version %s to fleet %s", version, f.Name)
		if err := ch.rolloutBoards(op, &r, &f, sizes); err != nil {
			return err
		}
		if err := ch.TrimRollouts(r.Project, s4t.MaxRollouts-1); err != nil {
			return err
		}
		if err := ch.InsertRollout(r); store.IsUnique(err, "rollouts.plugin") {
			return s4t.Errorf(s4t.Conflict, op, "`s4t rollout list` shows it: wait for it, or abort it", "a rollout of this plugin to this fleet has not ended")
		} else if err != nil {
			return err
		}
		if err := ch.rolloutEvent("created", r, fmt.Sprintf("version %s to %d boards of fleet %s", version, len(r.Boards), f.Name)); err != nil {
			return err
		}
		r.Boards = nil
		return withMembers(ch.Tx, &r)
	})
	return r.Rollout, err
}

// rolloutBoards puts the boards that a fleet has now into waves: those that are there first, so that
// the first waves find out something; each by name.
func (ch *change) rolloutBoards(op string, r *store.Rollout, f *s4t.Fleet, sizes []s4t.Share) error {
	members, err := ch.FleetBoards(f)
	if err != nil {
		return err
	}
	if len(members) == 0 {
		return s4t.Errorf(s4t.Invalid, op, fmt.Sprintf("`s4t fleet show %s` says who is a member", f.Name), "the fleet has no boards now")
	}
	ids := make([]s4t.BoardID, len(members))
	for i, b := range members {
		ids[i] = b.ID
	}
	online, err := ch.OnlineAmong(ids)
	if err != nil {
		return err
	}
	slices.SortStableFunc(members, func(a, b s4t.FleetBoard) int {
		switch {
		case online[a.ID] == online[b.ID]:
			return 0
		case online[a.ID]:
			return -1
		}
		return 1
	})
	r.Waves = s4t.WavesOf(sizes, len(members))
	began := ch.Now()
	r.Waves[0].Status, r.Waves[0].BeganAt = s4t.WaveRunning, &began
	at := 0
	for _, w := range r.Waves {
		for range w.Boards {
			r.Boards = append(r.Boards, s4t.RolloutBoard{ID: members[at].ID, Name: members[at].Name, Wave: w.Number, Status: s4t.StepWaiting})
			at++
		}
	}
	return nil
}

// rolloutList returns the rollouts that the caller sees, oldest first.
func (c *Conductor) rolloutList(ctx context.Context, req wire.ListRequest) (wire.List[s4t.Rollout], error) {
	return list(ctx, c, req.Caller, "list rollouts", req.Page, func(r store.Rollout) s4t.Rollout { return r.Rollout }, func(tx *store.Tx, p wire.Page) (wire.List[store.Rollout], error) {
		l, err := tx.Rollouts(scope(req.Caller), p)
		if err != nil {
			return l, err
		}
		for i := range l.Items {
			if err := withWaves(tx, &l.Items[i]); err != nil {
				return l, err
			}
		}
		return l, nil
	})
}

// rolloutGet returns a rollout with its boards.
func (c *Conductor) rolloutGet(ctx context.Context, req wire.RefRequest) (s4t.Rollout, error) {
	op := fmt.Sprintf("show rollout %q", s4t.Line(req.Ref, s4t.MaxName))
	if err := allow(req.Caller, op, s4t.RoleReader); err != nil {
		return s4t.Rollout{}, err
	}
	return view(ctx, c, func(tx *store.Tx) (s4t.Rollout, error) {
		r, err := findRollout(req.Caller, op, req.Ref, tx.Rollout)
		if err != nil {
			return s4t.Rollout{}, err
		}
		err = withMembers(tx, &r)
		return r.Rollout, err
	})
}

// changeRollout is a request that changes a rollout, which is held.
func (c *Conductor) changeRollout(ctx context.Context, caller wire.Caller, action, op, ref string, fn func(ch *change, r *store.Rollout, rec *s4t.AuditRecord) error) (s4t.Rollout, error) {
	var r store.Rollout
	err := c.request(ctx, caller, action, s4t.Line(ref, s4t.MaxName), func(ch *change, rec *s4t.AuditRecord) (err error) {
		if r, err = findRollout(caller, op, ref, ch.LockRollout); err != nil {
			return err
		}
		rec.Object, rec.Name, rec.Project = string(r.ID), r.PluginName, r.Project
		if err := fn(ch, &r, rec); err != nil {
			return err
		}
		return withMembers(ch.Tx, &r)
	})
	return r.Rollout, err
}

// rolloutResume goes on with a rollout that stopped, and tries again what failed.
func (c *Conductor) rolloutResume(ctx context.Context, req wire.RefRequest) (s4t.Rollout, error) {
	op := fmt.Sprintf("resume rollout %q", s4t.Line(req.Ref, s4t.MaxName))
	return c.changeRollout(ctx, req.Caller, "rollout.resume", op, req.Ref, func(ch *change, r *store.Rollout, rec *s4t.AuditRecord) error {
		switch r.Status {
		case s4t.RolloutStopped:
			if err := ch.RetryRolloutBoards(r.ID); err != nil {
				return err
			}
			w := &r.Waves[r.Wave-1]
			w.Status, w.EndedAt = s4t.WaveRunning, nil
			r.Status, r.Reason = s4t.RolloutRunning, ""
		case s4t.RolloutPaused:
			ch.nextWave(r)
		default:
			return s4t.Errorf(s4t.Conflict, op, "", "it is %s: one that stopped, or is paused, can be resumed", r.Status)
		}
		if err := ch.SetRollout(*r); err != nil {
			return err
		}
		return ch.rolloutEvent("resumed", *r, "by "+req.Caller.User)
	})
}

// rolloutAbort ends a rollout: nothing more is started. With back, what it changed goes back.
func (c *Conductor) rolloutAbort(ctx context.Context, req wire.RolloutAbort) (s4t.Rollout, error) {
	op := fmt.Sprintf("abort rollout %q", s4t.Line(req.Ref, s4t.MaxName))
	return c.changeRollout(ctx, req.Caller, "rollout.abort", op, req.Ref, func(ch *change, r *store.Rollout, rec *s4t.AuditRecord) error {
		switch {
		case r.Status == s4t.RolloutSucceeded || r.Status == s4t.RolloutBack:
			return s4t.Errorf(s4t.Conflict, op, "roll out the version that is to be there", "it is over: %s", r.Status)
		case r.Status == s4t.RolloutAborted && !req.Back:
			return s4t.Errorf(s4t.Conflict, op, "to take back what it changed, add --back", "it is aborted")
		}
		if err := ch.SkipRolloutBoards(r.ID, "the rollout was aborted"); err != nil {
			return err
		}
		now := ch.Now()
		for i := range r.Waves {
			if w := &r.Waves[i]; w.Status == s4t.WaveRunning || w.Status == s4t.WavePause {
				w.Status, w.EndedAt = s4t.WaveDone, cmp.Or(w.EndedAt, &now)
			}
		}
		r.GoesOn, r.EndedAt, r.Status = nil, &now, s4t.RolloutAborted
		word := "aborted"
		if req.Back {
			word, rec.Detail = "back", "back"
			r.EndedAt, r.Status = nil, s4t.RolloutBack
		}
		if err := ch.SetRollout(*r); store.IsUnique(err, "rollouts.plugin") {
			return s4t.Errorf(s4t.Conflict, op, "`s4t rollout list` shows it: wait for it, or abort it", "another rollout of this plugin to this fleet has not ended")
		} else if err != nil {
			return err
		}
		if req.Back {
			word = "going-back"
		}
		return ch.rolloutEvent(word, *r, "by "+req.Caller.User)
	})
}
