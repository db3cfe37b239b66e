package lightningrod

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// portState is how a port is.
type portState struct {
	device  string // what is wrong with the device; "" if it is up with its addresses
	stream  string // what is wrong with the data rtunnel; "" if it is open
	settled bool   // both were tried
}

func (s portState) up() bool { return s.settled && s.device == "" && s.stream == "" }

func (s portState) problem() string {
	if s.device != "" {
		return s.device
	}
	return s.stream
}

// port owns a device and the data rtunnel that carries its frames. The device
// stays up while the rtunnel is away: addresses and routes stay, and what the
// kernel sends meanwhile is dropped.
type port struct {
	id      s4t.PortID
	cfg     portsConfig
	cancel  context.CancelFunc
	done    chan struct{}                  // closed when device and rtunnel are gone
	updated chan struct{}                  // want has changed
	hurry   chan struct{}                  // the cloud is back: dial now
	out     atomic.Pointer[vswitch.Egress] // where frames of the device go; nil: nowhere

	mu   sync.Mutex // guards the fields below
	want wire.DesiredPort
	now  portState
}

// startPort starts a port; its cancel and done end it.
func startPort(cfg portsConfig, want wire.DesiredPort) *port {
	ctx, cancel := context.WithCancel(context.Background())
	p := &port{
		id: want.ID, cfg: cfg, cancel: cancel, want: want,
		done: make(chan struct{}), updated: make(chan struct{}, 1), hurry: make(chan struct{}, 1),
		now: portState{device: "is being made", stream: "is being opened"},
	}
	go func() {
		defer close(p.done)
		defer cancel()
		p.run(ctx)
	}()
	return p
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
	if fmt.Sprint(want) == fmt.Sprint(p.want) { // values only, but for GRE, which is the same for the same device
		return
	}
	p.want = want
	notify(p.updated)
}

// unsettle makes a port whose data rtunnel is away dial at once.
func (p *port) unsettle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now.stream != "" && p.now.device == "" {
		p.now.settled = false
		notify(p.hurry)
	}
}

// notify leaves a token in a channel of one place.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run makes the device again whenever it cannot be made or is taken away.
func (p *port) run(ctx context.Context) {
	retry := backoff{min: 250 * time.Millisecond, max: 5 * time.Second}
	for ctx.Err() == nil {
		start := time.Now()
		err := p.life(ctx)
		if ctx.Err() != nil {
			return
		}
		if time.Since(start) > settledAfter {
			retry.reset()
		}
		wait := retry.wait()
		p.cfg.Log.Warn("port has no device", "port", p.id, "err", err, "retry_in", wait.Round(time.Millisecond))
		p.set(func(s *portState) { s.device, s.settled = err.Error(), true })
		select {
		case <-ctx.Done():
		case <-p.updated:
		case <-time.After(wait):
		}
	}
}

// life is one device, from its making to its end.
func (p *port) life(ctx context.Context) error {
	want := p.desired()
	capsule, err := newCapsule(want)
	if err != nil {
		return err
	}
	ops, err := plan(want)
	if err != nil {
		return err
	}
	dev, err := p.cfg.Open(link.Config{Name: want.Interface, Layer: want.Layer, Log: p.cfg.Log})
	if err != nil {
		return err
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
	if err := p.cfg.Apply(ops); err != nil {
		return err
	}
	p.set(func(s *portState) { s.device = "" })
	running.Go(func() { cancel(p.pump(dev)) })
	running.Go(func() { p.keepStream(ctx, dev, capsule, want) })
	var check <-chan time.Time
	if want.Guards.BridgeTo != "" {
		tick := time.NewTicker(bridgeCheck)
		defer tick.Stop()
		check = tick.C
	}
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-check: // the interface may have been unplugged and come back
			err := p.cfg.Apply(ops)
			p.set(func(s *portState) { s.device = text(err) })
		case <-p.updated:
			newer, err := plan(p.desired())
			if err == nil {
				ops = newer
				err = p.cfg.Apply(ops)
			}
			p.set(func(s *portState) { s.device = text(err) })
		}
	}
}

// bridgeCheck is how often it is looked whether a bridged interface still is
// in the port's kernel bridge.
const bridgeCheck = 5 * time.Second

// unbridge removes the kernel bridge of a port whose device is gone: devices
// go by themselves, bridges do not.
func (p *port) unbridge(want wire.DesiredPort) {
	if want.Guards.BridgeTo == "" {
		return
	}
	own := vnet.BridgeName(want.ID)
	if err := p.cfg.Sweep(func(bridge string) bool { return bridge != own }); err != nil {
		p.cfg.Log.Warn("the kernel bridge of a port stays", "port", p.id, "err", err)
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// plan is what the kernel has to be told for a port.
func plan(d wire.DesiredPort) ([]vnet.Op, error) {
	return vnet.BoardPort(vnet.Port{
		ID: d.ID, Layer: d.Layer, Encapsulation: d.Encapsulation, Interface: d.Interface,
		MAC: d.MAC, Addresses: d.Addresses, MTU: d.MTU, Guards: d.Guards,
	})
}

// keepStream is step 7 of the paper's Fig. 3: a ticket, a data rtunnel, again
// and again.
func (p *port) keepStream(ctx context.Context, dev Device, capsule *capsule, want wire.DesiredPort) {
	retry := portBackoff()
	for ctx.Err() == nil {
		online, changed := p.cfg.Online()
		if !online {
			p.set(func(s *portState) { s.stream, s.settled = "waits for a session with the cloud", true })
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		var lived time.Duration
		conn, err := p.dial(ctx, want)
		if err == nil {
			start := time.Now()
			err = p.carry(ctx, dev, capsule, conn)
			lived = time.Since(start)
		}
		if ctx.Err() != nil {
			return
		}
		wait := retry.wait()
		if lived > 5*time.Second {
			retry.reset()
			wait = rand.N(100 * time.Millisecond)
		}
		p.cfg.Log.Info("port has no data rtunnel", "port", p.id, "err", err, "retry_in", wait.Round(time.Millisecond))
		p.set(func(s *portState) { s.stream, s.settled = text(err), true })
		select {
		case <-ctx.Done():
		case <-p.hurry:
		case <-time.After(wait):
		}
	}
}

func (p *port) dial(ctx context.Context, want wire.DesiredPort) (*rtunnel.Conn, error) {
	ticket, err := p.cfg.Ticket(ctx, p.id)
	if err != nil {
		return nil, err
	}
	return p.cfg.Dial.Dial(ctx, want.URL, rtunnel.Path, rtunnel.SubprotocolPort, ticket)
}

var errClosedByAgent = errors.New("the tunnel agent closed the data rtunnel")

// carry lets frames flow until the data rtunnel or ctx ends.
func (p *port) carry(ctx context.Context, dev Device, capsule *capsule, conn *rtunnel.Conn) error {
	conn.CarryFrames()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { conn.Keepalive(ctx, s4t.PresenceInterval, s4t.PresenceTimeout) })
	running.Go(func() { <-ctx.Done(); conn.Close() })
	defer running.Wait()
	defer cancel()

	running.Go(func() {
		for _, packet := range announcements(p.desired()) {
			conn.WriteMessage(rtunnel.OpBinary, capsule.copyWrapped(packet)) // an error ends the reading below too
		}
	})
	layer := p.desired().Layer
	out, err := vswitch.NewEgress(vswitch.EgressConfig{Layer: layer, Out: conn, Wrap: capsule.wrapper(conn.NewLayout())})
	if err != nil {
		return err
	}
	running.Go(func() {
		if out.Run(ctx) != nil { // the reading side ends with it and dials again
			conn.Close()
		}
	})
	defer out.Close()
	p.out.Store(out)
	defer p.out.CompareAndSwap(out, nil)
	p.set(func(s *portState) { s.stream, s.settled = "", true })
	p.cfg.Log.Info("port is up", "port", p.id)

	err = conn.ReadFrames(link.MaxPacket, func(packet []byte) error {
		packet = capsule.unwrap(packet)
		if link.Validate(packet, layer) != nil {
			return nil // the switch let through what this kernel might choke on
		}
		return link.OnlyGone(dev.Write(packet))
	}, func() error { return link.OnlyGone(dev.Flush()) })
	if err == nil {
		err = errClosedByAgent
	}
	return err
}

// burst is how many bytes are read from the device before some are sent.
const burst = 256 << 10

// pump takes frames from the device to whatever data rtunnel there is, and
// drops them where there is none, until the device ends. It never waits for
// the rtunnel: what a full path does not take waits in the egress queue, where a ping
// overtakes a file and too much is dropped, and not in the device's own queue,
// which is first come, first served.
func (p *port) pump(dev Device) error {
	var (
		place = make([]byte, link.MaxPacket)
		out   *vswitch.Egress
		read  int
	)
	next := func() []byte {
		switch {
		case read == 0: // also after a wait
			out = p.out.Load()
		case read >= burst:
			return nil
		}
		return place
	}
	done := func(n int) {
		read += n
		if out != nil {
			out.Put(place[:n])
		}
	}
	for {
		read = 0
		_, err := dev.ReadFrames(next, done)
		if err != nil {
			return err
		}
		if out != nil {
			out.Flush()
		}
		if read >= burst/4 {
			runtime.Gosched() // the control channel has its turn, also on a slow CPU
		}
	}
}
