package lightningrod

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/stack4things/s4t/wire"
)

// What the cloud wants may cut off the very path by which it came: a network
// that hides the way to the cloud. So a new spec is on trial (commit-confirm).
// It is written down when a call to the cloud was answered with it in place,
// and confirmed a minute after it was applied. Where it costs the session
// within that minute, and none comes back within another, what was before is
// put in its place; if that brings the session back, it stays taken back until
// its spec changes.

// trialTime is how long a spec is on trial, how long a lost session may stay
// away before it is taken back, and how soon one must come then for the spec to
// be blamed.
const trialTime = time.Minute

// verdict is what is known of a spec that is not confirmed.
type verdict int

const (
	tried     verdict = iota // it is applied, and on trial
	suspected                // it was taken back; no session has come since
	guilty                   // it was taken back, and that brought the session back
)

// suspect is a resource whose spec is not confirmed.
type suspect struct {
	Key     wire.ResourceKey `json:"key"`
	Sum     wire.Sum         `json:"sum"`              // of the resource with that spec
	Before  *wire.Resource   `json:"before,omitempty"` // with the spec that was confirmed last; nil: it is new
	Back    bool             `json:"back,omitempty"`   // it was taken back
	verdict verdict
}

// trial decides about specs. It applies and writes nothing.
type trial struct {
	onTrial func(wire.Kind) bool // may a resource of the kind cut the board off
	changed chan struct{}        // holds a token when due may answer otherwise

	mu       sync.Mutex // guards the fields below
	suspects map[wire.ResourceKey]suspect
	known    map[wire.ResourceKey]wire.Resource // that are wanted, as far as they may be on trial
	answered bool                               // a call was answered since the last spec was applied
	since    time.Time                          // when the last spec was applied
	lost     time.Time                          // when the session was lost; zero: there is one
	backAt   time.Time                          // when the last specs were taken back
	spread   time.Duration                      // over which boards spread their return
}

func newTrial(onTrial func(wire.Kind) bool) *trial {
	return &trial{onTrial: onTrial, changed: make(chan struct{}, 1), suspects: map[wire.ResourceKey]suspect{}, known: map[wire.ResourceKey]wire.Resource{}, lost: time.Now()}
}

// restore begins with what was saved. What was on trial then is so anew.
func (t *trial) restore(want []wire.Resource, saved []suspect) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.know(want)
	t.since, t.lost, t.answered = time.Now(), time.Now(), true
	for _, s := range saved {
		if s.Back {
			s.verdict = guilty
		}
		t.suspects[s.Key] = s
	}
	notify(t.changed)
}

// know notes what is wanted. The caller holds mu.
func (t *trial) know(want []wire.Resource) {
	t.known = map[wire.ResourceKey]wire.Resource{}
	for _, r := range want {
		if t.onTrial(r.Kind) && !r.Gone {
			t.known[r.Key()] = r
		}
	}
}

// want takes what is wanted now: what is new in it is on trial, and what was
// before it, if a call was answered with that, is not any more. What was taken
// back is judged where there is a session.
func (t *trial) want(want []wire.Resource) {
	t.mu.Lock()
	defer t.mu.Unlock()
	before := t.known
	t.know(want)
	for key := range t.suspects {
		if _, ok := t.known[key]; !ok {
			delete(t.suspects, key)
		}
	}
	now := time.Now()
	var fresh []suspect
	for key, r := range t.known {
		s, isSuspect := t.suspects[key]
		old, wasThere := before[key]
		same := isSuspect && s.Sum == r.Sum()
		switch {
		case isSuspect && s.Before != nil && s.Before.Sum() == r.Sum():
			delete(t.suspects, key) // as it was confirmed
			continue
		case same && (s.verdict != suspected || !t.lost.IsZero()):
			continue
		case same && now.Sub(t.backAt) <= trialTime+t.spread:
			s.verdict = guilty
			t.suspects[key] = s
			continue
		case isSuspect && (same || s.verdict != tried || !t.answered): // not to blame, or another spec
			s = suspect{Key: key, Before: s.Before}
		case !isSuspect && wasThere && old.Sum() == r.Sum():
			continue
		case wasThere:
			s = suspect{Key: key, Before: &old}
		default:
			s = suspect{Key: key}
		}
		s.Sum = r.Sum()
		fresh = append(fresh, s)
	}
	if len(fresh) > 0 {
		if t.answered {
			t.confirm()
		}
		for _, s := range fresh {
			t.suspects[s.Key] = s
		}
		t.since, t.answered = now, false
	}
	notify(t.changed)
}

// confirm ends all trials well. The caller holds mu.
func (t *trial) confirm() {
	maps.DeleteFunc(t.suspects, func(_ wire.ResourceKey, s suspect) bool { return s.verdict == tried })
}

// effective returns what is to be applied of what is wanted, and the states of
// what is not.
func (t *trial) effective(want []wire.Resource) (apply []wire.Resource, held []wire.ResourceState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, r := range want {
		s, ok := t.suspects[r.Key()]
		if !ok || s.verdict == tried || r.Gone {
			apply = append(apply, r)
			continue
		}
		why := "it cost this board its session with the cloud, which came back when it was taken back; change it (a bridge with another --cidr), or remove it"
		if s.verdict == suspected {
			why = "it was taken back, as the session with the cloud was lost within a minute of applying it; it is tried again, unless that was the cause"
		}
		held = append(held, refuse(r, wire.StateTakenBack, why))
		if s.Before != nil {
			apply = append(apply, *s.Before)
		}
	}
	return apply, held
}

// saved returns what has to be written down with what is wanted. ok is false
// while that must not be written: no call was answered since it was applied, and
// the next boot is better off with what is written.
func (t *trial) saved() (list []suspect, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, key := range slices.SortedFunc(maps.Keys(t.suspects), wire.ResourceKey.Compare) {
		s := t.suspects[key]
		if s.verdict == tried && !t.answered {
			return nil, false
		}
		list = append(list, s)
	}
	return list, true
}

// session says that there is a session now, or none.
func (t *trial) session(up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case up:
		t.lost = time.Time{}
	case t.lost.IsZero():
		t.lost = time.Now()
	}
	notify(t.changed)
}

// returns says over how long boards that lose their sessions spread their
// return.
func (t *trial) returns(within time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spread = max(within, 0)
}

// answer says that the cloud answered a call with all in place, and reports
// whether that is news.
func (t *trial) answer() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := !t.answered && t.trying()
	t.answered = true
	return news
}

// trying reports whether something is on trial. The caller holds mu.
func (t *trial) trying() bool {
	for _, s := range t.suspects {
		if s.verdict == tried {
			return true
		}
	}
	return false
}

// due ends what has been on trial for long enough: confirmed says that there is
// something to write, back what was taken back. Else wait is when to ask again;
// 0: after a change.
func (t *trial) due() (confirmed bool, back []wire.ResourceKey, wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.trying() {
		return false, nil, 0
	}
	now, end := time.Now(), t.since.Add(trialTime)
	cost := !t.lost.IsZero() && !t.lost.After(end)
	if cost {
		end = t.lost.Add(trialTime + t.spread)
	}
	if now.Before(end) {
		return false, nil, end.Sub(now)
	}
	if !cost {
		t.confirm()
		return true, nil, 0
	}
	for key, s := range t.suspects {
		if s.verdict != tried {
			continue
		}
		s.verdict, s.Back = suspected, true
		t.suspects[key] = s
		back = append(back, key)
		t.backAt = now
	}
	return false, back, 0
}

// judge ends trials, until ctx ends.
func (e *Engine) judge(ctx context.Context) {
	for ctx.Err() == nil {
		confirmed, back, wait := e.trial.due()
		var again <-chan time.Time
		switch {
		case len(back) > 0:
			e.cfg.Log.Warn("the session was lost within a minute of applying what is new; it is taken back", "resources", fmt.Sprint(back))
			e.apply(e.wanted())
			e.save()
			e.markDirty()
		case confirmed:
			e.save()
		case wait > 0:
			again = time.After(wait)
		}
		if confirmed || len(back) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
		case <-e.trial.changed:
		case <-again:
		}
	}
}
