package lightningrod

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// problem is why something is not up.
type problem struct {
	id   string // of a [wire.Diagnosis], where it has one
	text string // empty: nothing is wrong
}

// portState is how a port is.
type portState struct {
	device  problem // what is wrong with the device; zero if it is up with its addresses
	stream  problem // what is wrong with the data rtunnel; zero if it is open
	lacks   problem // what an up device does without
	fought  problem // who keeps changing the device
	settled bool    // device and rtunnel were tried
}

func (s portState) up() bool { return s.settled && s.problem().text == "" }

func (s portState) problem() problem {
	if s.device.text != "" {
		return s.device
	}
	return s.stream
}

// note is what is to be told of a port that is up.
func (s portState) note() problem {
	if s.fought.text != "" {
		return s.fought
	}
	return s.lacks
}

// port owns a device and the data rtunnel that carries its frames. The device
// stays up while the rtunnel is away: addresses and routes stay, and what the
// kernel sends meanwhile is dropped.
type port struct {
	id        s4t.PortID
	cfg       portsConfig
	cancel    context.CancelFunc
	done      chan struct{}                  // closed when device and rtunnel are gone
	updated   chan struct{}                  // want has changed
	redial    chan struct{}                  // the cloud is back: dial now
	rerouted  chan struct{}                  // want has another tunnel agent
	disturbed chan struct{}                  // somebody may have changed the device
	moved     chan struct{}                  // what is around the board has changed
	out       atomic.Pointer[vswitch.Egress] // where frames of the device go; nil: nowhere

	mu   sync.Mutex // guards the fields below
	want wire.DesiredPort
	now  portState
}

// newPort returns a port that does nothing until start.
func newPort(cfg portsConfig, id s4t.PortID, want wire.DesiredPort) *port {
	return &port{
		id: id, cfg: cfg, want: want,
		done: make(chan struct{}), updated: make(chan struct{}, 1), redial: make(chan struct{}, 1), rerouted: make(chan struct{}, 1),
		disturbed: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		now: portState{device: problem{text: "is being made"}, stream: problem{text: "is being opened"}},
	}
}

// start starts it; its cancel and done end it.
func (p *port) start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() {
		defer close(p.done)
		defer cancel()
		p.run(ctx)
	}()
}

func (p *port) desired() wire.DesiredPort {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.want
}

func (p *port) state() portState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

// set changes the state and tells of it.
func (p *port) set(change func(*portState)) {
	p.mu.Lock()
	was := p.now
	change(&p.now)
	changed := was != p.now
	p.mu.Unlock()
	if changed {
		p.cfg.Changed()
	}
}

// update gives the port another desired state for the same device.
func (p *port) update(want wire.DesiredPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if reflect.DeepEqual(want, p.want) {
		return
	}
	if p.want.URL != want.URL {
		notify(p.rerouted)
	}
	p.want = want
	notify(p.updated)
}

// redialNow makes a port whose data rtunnel is away dial at once.
func (p *port) redialNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.stream.text != "" && p.now.device.text == "" {
		p.now.settled = false
		notify(p.redial)
	}
}

// notify leaves a token in a channel that holds one.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// concerns reports whether a change of an interface may be one of the port's.
func (p *port) concerns(name string) bool {
	d := p.desired()
	return name == d.Interface || d.Guards.BridgeTo != "" && (name == d.Guards.BridgeTo || name == vnet.BridgeName(p.id))
}

// run makes the device again whenever it cannot be made or is taken away.
func (p *port) run(ctx context.Context) {
	retry := backoff{min: 250 * time.Millisecond, max: 5 * time.Second}
	for ctx.Err() == nil {
		start := time.Now()
		why := p.life(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > settledAfter {
			retry.reset()
		}
		var after <-chan time.Time
		if why.id == wire.AddressOverlap || why.id == wire.BridgeNotAllowed { // until something changes
			p.cfg.Log.Warn("port is refused", "port", p.id, "err", why.text)
		} else {
			wait := retry.wait()
			after = time.After(wait)
			p.cfg.Log.Warn("port has no device", "port", p.id, "err", why.text, "retry_in", wait.Round(time.Millisecond))
		}
		p.set(func(s *portState) {
			*s = portState{device: why, stream: problem{text: "is being opened"}, settled: true}
		})
		select {
		case <-ctx.Done():
		case <-p.updated:
		case <-p.moved:
		case <-after:
		}
	}
}

// life is one device, from its making to its end, and says why it ended.
func (p *port) life(ctx context.Context) problem {
	want := p.desired()
	encap, err := newEncap(p.id, want)
	if err != nil {
		return problem{text: err.Error()}
	}
	if why := p.forbidden(want); why.text != "" {
		return why
	}
	ops, why := p.plan(want)
	if ops == nil {
		return why
	}
	dev, err := p.cfg.Open(link.Config{Name: want.Interface, Layer: want.Layer, Log: p.cfg.Log})
	if err != nil {
		return problem{p.noDevice(err), err.Error()}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	closing := make(chan struct{})
	context.AfterFunc(ctx, func() { dev.Close(); close(closing) }) // ends the pump
	var running sync.WaitGroup
	defer func() {
		cancel(nil)
		running.Wait()
		<-closing
		p.unbridge(want)
	}()
	out, why := p.configure(ops)
	if why.text != "" {
		return why
	}
	p.set(func(s *portState) { s.device, s.lacks = problem{}, lack(out) })
	running.Go(func() { cancel(p.pump(dev)) })
	running.Go(func() { p.keepStream(ctx, dev, encap) })
	return p.keepDevice(ctx, ops)
}

// keepDevice keeps the device as it should be until ctx ends or it may not be
// there any more, and says why that is.
func (p *port) keepDevice(ctx context.Context, ops []vnet.Op) problem {
	var (
		fight contest
		undo  <-chan time.Time // when to undo what others did
		calm  <-chan time.Time // when a fight is over
	)
	for {
		select {
		case <-ctx.Done():
			return problem{text: context.Cause(ctx).Error()}
		case <-p.disturbed:
			if undo == nil {
				undo = time.After(undoAfter)
			}
		case <-undo:
			undo = nil
			out, why := p.configure(shared(ops))
			p.set(func(s *portState) { s.device, s.lacks = why, lack(out) })
			if len(out.Changed) == 0 {
				continue
			}
			p.cfg.Log.Warn("another program has changed the device of a port; it is put back", "port", p.id, "changed", vnet.Render(out.Changed))
			if wait, contested := fight.undone(time.Now()); contested {
				undo, calm = time.After(wait), time.After(contestTime)
				why := contestProblem(p.desired().Interface, out.Changed)
				p.set(func(s *portState) { s.fought = why })
			}
		case <-calm:
			calm = nil
			p.set(func(s *portState) { s.fought = problem{} })
		case <-p.moved:
			if why := p.forbidden(p.desired()); why.text != "" {
				return why
			}
		case <-p.updated:
			want := p.desired()
			if why := p.forbidden(want); why.text != "" {
				return why
			}
			newer, why := p.plan(want)
			var out link.Outcome
			if newer != nil {
				ops = newer
				out, why = p.configure(ops)
			}
			p.set(func(s *portState) { s.device, s.lacks = why, lack(out) })
		}
	}
}

// shared are the ops to put a device back with: what another program added to
// its addresses stays.
func shared(ops []vnet.Op) []vnet.Op {
	ops = slices.Clone(ops)
	for i, op := range ops {
		if a, ok := op.(vnet.Addresses); ok {
			a.Shared = true
			ops[i] = a
		}
	}
	return ops
}

// forbidden says why the port may not be on this board, zero if it may.
func (p *port) forbidden(d wire.DesiredPort) problem {
	if to := d.Guards.BridgeTo; to != "" && !slices.Contains(p.cfg.Allow, to) {
		return problem{wire.BridgeNotAllowed, "the board's owner does not let networks bridge " + to + "; its owner can allow it: `lightning-rod run --allow-bridge " + to + "`"}
	}
	if p.cfg.Overlap == nil {
		return problem{}
	}
	if text := p.cfg.Overlap(d.Addresses); text != "" {
		return problem{wire.AddressOverlap, text}
	}
	return problem{}
}

// plan is what the kernel has to be told for the port, nil with the reason
// where there is no such plan.
func (p *port) plan(d wire.DesiredPort) ([]vnet.Op, problem) {
	ops, err := plan(p.id, d)
	if err == nil {
		return ops, problem{}
	}
	why := problem{text: err.Error()}
	if d.Guards.BridgeTo != "" {
		d.Guards.BridgeTo = ""
		if _, err := plan(p.id, d); err == nil {
			why.id = wire.BridgeToFails
		}
	}
	return nil, why
}

func plan(id s4t.PortID, d wire.DesiredPort) ([]vnet.Op, error) {
	return vnet.BoardPort(vnet.Port{
		ID: id, Layer: d.Layer, Encapsulation: d.Encapsulation, Interface: d.Interface,
		MAC: d.MAC, Addresses: d.Addresses, MTU: d.MTU, Guards: d.Guards,
	})
}

// configure tells the kernel.
func (p *port) configure(ops []vnet.Op) (link.Outcome, problem) {
	out, err := p.cfg.Apply(ops)
	if err == nil {
		return out, problem{}
	}
	why := problem{text: err.Error()}
	bridged := slices.IndexFunc(ops, func(op vnet.Op) bool { _, ok := op.(vnet.Bridge); return ok })
	if bridged >= 0 {
		if _, err := p.cfg.Apply(ops[:bridged]); err == nil {
			why.id = wire.BridgeToFails // what comes before it, the device, is as it should be
		}
	}
	return out, why
}

// noDevice is the diagnosis of an error of Open, empty for none.
func (p *port) noDevice(err error) string {
	switch kind := s4t.KindOf(err); {
	case kind == s4t.Unavailable:
		return wire.NoTun
	case kind == s4t.Forbidden:
		return wire.NoNetAdmin
	case kind == s4t.Conflict:
		return wire.DeviceNameTaken
	case p.cfg.Incapable != "":
		return wire.NoNetworks
	}
	return ""
}

// unbridge removes the kernel bridge of a port whose device is gone: devices
// go by themselves, bridges do not.
func (p *port) unbridge(want wire.DesiredPort) {
	if want.Guards.BridgeTo == "" {
		return
	}
	own := vnet.BridgeName(p.id)
	if err := p.cfg.Sweep(func(name string) bool { return name != own }); err != nil {
		p.cfg.Log.Warn("the kernel bridge of a port stays", "port", p.id, "err", err)
	}
}
