package lightningrod

import (
	"context"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/lease"
	"github.com/stack4things/s4t/plugin"
)

// openProfile reads what the board's owner gives. Nothing of it is enforced yet.
func (e *Engine) openProfile() {
	e.profile = newProfile(e.dir, &e.clock, e.cfg.Log)
	e.profile.turn, e.profile.changed = e.turn, e.markDirty
}

// profileGuests has the code of others keep to it.
func (e *Engine) profileGuests() {
	g, p := e.guests, e.profile
	p.guests = func() profileGuests { return g }
	p.changed = func() { e.markDirty(); g.mark() }
	g.profile, g.limits = p.now, p.limitsNow
	g.fetcher.pace = func(ctx context.Context, n int) error {
		p.traffic.bundle(n, ctx.Done())
		return ctx.Err()
	}
	g.runs.admit = func() error { return p.admit("run a command", true) }
	g.runs.may = func(ctx context.Context, op string, project s4t.ProjectID, id s4t.LeaseID, a lease.Action) (s4t.LeaseID, error) {
		return e.leases.may(ctx, op, project, id, a) // which is made after the guests
	}
	g.runs.count = func(project s4t.ProjectID) { p.traffic.usage.of(project).commands.Add(1) }
	g.manager.Pause(p.admit("run code", true) != nil)
	p.read()
}

// SetLimits implements profileGuests.
func (g *guests) SetLimits(l plugin.Limits) error { return g.sandbox.SetLimits(l) }

// Enforces implements profileGuests.
func (g *guests) Enforces() map[string]string { return g.sandbox.Enforces() }

// Pause implements profileGuests.
func (g *guests) Pause(on bool) { g.manager.Pause(on) }

// States implements profileGuests.
func (g *guests) States() map[string]plugin.State { return g.manager.States() }

// ProjectOf implements profileGuests.
func (g *guests) ProjectOf(id string) s4t.ProjectID {
	g.plugins.mu.Lock()
	defer g.plugins.mu.Unlock()
	return g.plugins.want[id].Project
}

// meter counts what guests use. The processor is counted to the end of each process,
// memory as it is when it is looked at.
type meter struct {
	mu      sync.Mutex               // guards the fields below
	counted map[string]time.Duration // of the processor, by plugin, of the process that runs
	at      time.Time                // of the last sample; zero: there was none
}

// sample adds what guests used since it was called last.
func (m *meter) sample(g profileGuests, u *usage) {
	if g == nil {
		return
	}
	states := g.States()
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	for id, st := range states {
		of := u.of(g.ProjectOf(id))
		m.count(of, id, time.Duration(st.CPU*float64(time.Second)))
		if !m.at.IsZero() {
			of.memory.Add(int64(float64(st.Memory) * now.Sub(m.at).Seconds()))
		}
	}
	m.at = now
}

// count adds what a process has used of the processor until now. m.mu is held.
func (m *meter) count(of *use, id string, cpu time.Duration) {
	if m.counted == nil {
		m.counted = map[string]time.Duration{}
	}
	if more := cpu - m.counted[id]; more > 0 {
		of.cpu.Add(int64(more))
		m.counted[id] = cpu
	}
}

// ended counts the rest of what a process of a plugin used.
func (p *profile) ended(w plugin.Wanted, used plugin.Used) {
	of := p.traffic.usage.of(s4t.ProjectID(w.Project))
	p.meter.mu.Lock()
	defer p.meter.mu.Unlock()
	p.meter.count(of, w.ID, used.CPU)
	delete(p.meter.counted, w.ID)
}
