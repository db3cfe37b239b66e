package lightningrod

import (
	"context"
	"maps"
	"sort"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/plugin"
	"github.com/stack4things/s4t/wire"
)

// pluginManager is what the engine needs of [plugin.Manager].
type pluginManager interface {
	Run(ctx context.Context) error
	Set(want []plugin.Wanted)
	Pause(on bool)
	Changed() <-chan struct{}
	Runtimes() map[string]string
	pluginCommands
}

// plugins realise the kind plugin. What is wanted outlives lightning-rod's end, as its
// state does: only the guests end with it.
type plugins struct {
	manager pluginManager
	note    func(id string) string // what is to be told of a plugin though it is up
	changed func()                 // a state may be another; must not block

	mu    sync.Mutex // guards the fields below
	want  map[string]wire.DesiredPlugin
	order []string // of their IDs
	over  bool     // lightning-rod ends: what is wanted stays so
}

// Apply implements reconciler.
func (p *plugins) Apply(want []wire.Resource) (refused []wire.ResourceState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return nil
	}
	p.want, p.order = map[string]wire.DesiredPlugin{}, nil
	var list []plugin.Wanted
	names := map[string]bool{}
	for _, r := range want {
		var d wire.DesiredPlugin
		state, ok := decode(r, &d)
		switch {
		case !ok:
		case names[d.Name]:
			state, ok = refuse(r, wire.PluginRefused, "the board has another plugin of the name "+s4t.Line(d.Name, s4t.MaxName)), false
		case len(list) == s4t.MaxPlugins:
			state, ok = refuse(r, wire.PluginRefused, "the board has too many plugins"), false
		}
		if !ok {
			refused = append(refused, state)
			continue
		}
		names[d.Name] = true
		p.want[r.ID] = d
		p.order = append(p.order, r.ID)
		list = append(list, plugin.Wanted{
			ID: r.ID, Name: d.Name, Version: d.Version, Digest: d.Digest, Size: d.Size, Key: d.Key, Signature: d.Signature,
			Params: d.Params, OnBoot: d.OnBoot, Running: d.Running, Start: d.Start, Project: string(d.Project),
		})
	}
	p.manager.Set(list)
	return refused
}

// States implements reconciler.
func (p *plugins) States() (states []wire.ResourceState, settled bool) {
	now := p.states()
	p.mu.Lock()
	defer p.mu.Unlock()
	settled = true
	for _, id := range p.order {
		s := now[id] // zero where the manager has not begun with it
		states = append(states, wire.ResourceState{Kind: wire.KindPlugin, ID: id, Up: s.Up, ProblemID: s.ProblemID, Problem: s.Problem})
		settled = settled && s.Settled
	}
	return states, settled
}

// states are those of the manager, with what is to be told besides.
func (p *plugins) states() map[string]plugin.State {
	now := p.manager.States()
	for id, s := range now {
		if note := p.note(id); note != "" && s.Problem == "" {
			s.Problem = note
			now[id] = s
		}
	}
	return now
}

// Run implements runner: it tells that states have changed.
func (p *plugins) Run(ctx context.Context) error {
	for {
		changed := p.manager.Changed()
		p.changed()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// end says that lightning-rod ends.
func (p *plugins) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
}

// wanted returns a plugin as it is wanted, zero where it is not (any more).
func (p *plugins) wanted(id string) wire.DesiredPlugin {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want[id]
}

// status lists them for the board's owner, by name.
func (p *plugins) status() []PluginStatus {
	now := p.states()
	p.mu.Lock()
	want := maps.Clone(p.want)
	p.mu.Unlock()
	list := []PluginStatus{}
	for id, d := range want {
		list = append(list, pluginStatus(id, d, now[id].ProblemID, now[id].PluginState))
	}
	sortPlugins(list)
	return list
}

// PluginStatus is a plugin that the board has, or should have.
type PluginStatus struct {
	ID      string        `json:"id"`
	Name    string        `json:"name"`
	Project s4t.ProjectID `json:"project"`
	Version string        `json:"version"` // that is wanted

	ProblemID string `json:"problem_id,omitempty"` // of a [wire.Diagnosis]
	s4t.PluginState
}

func pluginStatus(id string, d wire.DesiredPlugin, problemID string, now s4t.PluginState) PluginStatus {
	if now.State == "" {
		now.State = s4t.PluginPending
	}
	return PluginStatus{ID: id, Name: d.Name, Project: d.Project, Version: d.Version, ProblemID: problemID, PluginState: now}
}

func sortPlugins(list []PluginStatus) {
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })
}
