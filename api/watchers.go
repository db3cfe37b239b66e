package api

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/wire"
)

// maxWatchers bounds the streams of events and the long polls of one process.
const maxWatchers = 1024

// watchers are the streams of events and the long polls that are open: each
// project has a share (s4t.QuotaWatchers), and where all places are taken, who
// has the most makes room for who has fewer.
type watchers struct {
	mu       sync.Mutex // guards what follows; a leaf
	n        int
	projects map[s4t.ProjectID][]*place
}

// place is one of them.
type place struct {
	project s4t.ProjectID
	gone    chan struct{} // closed when it had to make room: the stream, or the wait, ends
}

// enter takes a place of at most limit of the project; leave gives it back. It
// is not ok where the project has that many (full is false), or all are taken by
// projects that have no more than this one (full is true).
func (w *watchers) enter(project s4t.ProjectID, limit int64) (p *place, full, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if limit != s4t.Unlimited && int64(len(w.projects[project])) >= limit {
		return nil, false, false
	}
	if w.n >= maxWatchers && !w.makeRoom(len(w.projects[project])+1) {
		return nil, true, false
	}
	if w.projects == nil {
		w.projects = map[s4t.ProjectID][]*place{}
	}
	p = &place{project, make(chan struct{})}
	w.projects[project] = append(w.projects[project], p)
	w.n++
	return p, false, true
}

// some reports whether there is one.
func (w *watchers) some() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.n > 0
}

// makeRoom ends the newest of the project with the most, where those are more
// than n. mu is held.
func (w *watchers) makeRoom(n int) bool {
	var most s4t.ProjectID
	for project, l := range w.projects {
		if len(l) > n {
			most, n = project, len(l)
		}
	}
	l := w.projects[most]
	if len(l) == 0 {
		return false
	}
	close(l[len(l)-1].gone)
	w.projects[most] = l[:len(l)-1]
	w.n--
	return true
}

// leave gives a place back, unless it had to make room.
func (w *watchers) leave(p *place) {
	w.mu.Lock()
	defer w.mu.Unlock()
	l := w.projects[p.project]
	for i := range l {
		if l[i] != p {
			continue
		}
		l[i] = l[len(l)-1]
		l[len(l)-1] = nil
		w.n--
		if l = l[:len(l)-1]; len(l) == 0 {
			delete(w.projects, p.project)
		} else {
			w.projects[p.project] = l
		}
		return
	}
}

// used is how many a project has.
func (w *watchers) used(project s4t.ProjectID) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.projects[project]))
}

const (
	// quotaAge is how long what the conductor said of a project's quota is
	// believed.
	quotaAge = 10 * time.Second
	// maxQuotas bounds the projects whose quota is remembered.
	maxQuotas = 4096
)

// quotas remembers how many may watch, project by project.
type quotas struct {
	mu sync.Mutex // guards known; a leaf
	// known by project; what is too old is asked for again.
	known map[s4t.ProjectID]knownQuota
}

type knownQuota struct {
	name  string // of the project
	limit int64
	until time.Time
}

// watchQuota is how many of the caller's project may watch. Where the conductor
// does not say, it is the default.
func (a *API) watchQuota(ctx context.Context, caller wire.Caller) knownQuota {
	now := time.Now()
	a.quotas.mu.Lock()
	k, ok := a.quotas.known[caller.Project]
	a.quotas.mu.Unlock()
	if ok && now.Before(k.until) {
		return k
	}
	k = knownQuota{string(caller.Project), s4t.DefaultQuota[s4t.QuotaWatchers], now.Add(quotaAge)}
	var p s4t.Project
	if err := a.ask(ctx, wire.MethodProjectGet, wire.RefRequest{Caller: caller, Ref: string(caller.Project)}, &p); err == nil {
		k.name = p.Name
		if q, ok := p.Quota[s4t.QuotaWatchers]; ok {
			k.limit = q.Limit
		}
	}
	a.quotas.mu.Lock()
	defer a.quotas.mu.Unlock()
	if a.quotas.known == nil || len(a.quotas.known) >= maxQuotas {
		a.quotas.known = map[s4t.ProjectID]knownQuota{}
	}
	a.quotas.known[caller.Project] = k
	return k
}

// watch takes a place for who asks.
func (a *API) watch(ctx context.Context) (*place, error) {
	const op = "watch events"
	caller := callerOf(ctx)
	quota := a.watchQuota(ctx, caller)
	p, full, ok := a.watchers.enter(caller.Project, quota.limit)
	switch {
	case ok:
		return p, nil
	case full:
		return nil, s4t.Errorf(s4t.TooMany, op, "try again later", "%d watch already", maxWatchers).After(5 * time.Second)
	}
	return nil, s4t.OverQuota(op, s4t.QuotaWatchers, quota.name, s4t.Quota{Used: a.watchers.used(caller.Project), Limit: quota.limit}, 1)
}
