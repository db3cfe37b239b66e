package lightningrod

import (
	"context"
	"log/slog"
	"net"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// Step 7 of the paper's Fig. 3: the ports that are wanted are compared with
// those that are here. Each is then on its own, see port.go: it makes its
// device, opens its data rtunnel, and tells how it is.

// rtunnelDialer opens WebSockets to the cloud (*dial.Dialer).
type rtunnelDialer interface {
	Dial(ctx context.Context, url, path, subprotocol, bearer string) (*rtunnel.Conn, error)
}

// portsConfig configures ports. All fields but Overlap, Watch, Allow and Incapable are
// required.
type portsConfig struct {
	Dial      rtunnelDialer
	Ticket    func(ctx context.Context, port s4t.PortID) (string, error)
	Online    func() (online bool, changed <-chan struct{})  // is there a session; changed is closed when that may have changed
	Changed   func()                                         // called when a state of a port may be another; must not block
	Open      func(link.Config) (Device, error)              // link.Open
	Apply     func([]vnet.Op) (link.Outcome, error)          // link.Restore
	Sweep     func(keep func(name string) bool) error        // link.Sweep
	Overlap   func(addresses []string) string                // what of the board's own a network would hide; empty: nothing
	Traffic   *traffic                                       // of all that others move
	Watch     func(context.Context, func(link.Change)) error // link.Watch
	Moved     func(link.Change)                              // called for each change of the host's network; must not block
	Allow     []string                                       // interfaces that may be bridged
	Incapable string                                         // why no device can be made on this board; empty: they can
	Log       *slog.Logger
}

// ports realise the kind port.
type ports struct {
	cfg portsConfig

	mu   sync.Mutex // guards the list; held while a port's own is taken
	list []*port    // in the order in which they are wanted
}

// newPorts makes the kind port of a board.
func (e *Engine) newPorts(dial rtunnelDialer) *ports {
	cfg := portsConfig{
		Dial: dial, Ticket: e.portTicket, Online: e.isOnline, Changed: e.markDirty,
		Open: e.cfg.Devices.Open, Apply: e.cfg.Devices.Apply, Sweep: e.cfg.Devices.Sweep, Log: e.cfg.Log,
		Overlap: e.around.overlap, Watch: e.cfg.Devices.Watch, Moved: e.around.moved, Allow: e.cfg.AllowBridges,
		Traffic: &e.profile.traffic,
	}
	if !e.caps.Networks {
		cfg.Incapable = e.caps.Reason
	}
	s := &ports{cfg: cfg}
	e.around.changed = func() { s.reconsider(); e.markDirty() }
	return s
}

// MayCutOff implements risky: a network may hide the way to the cloud.
func (*ports) MayCutOff() {}

// Run implements runner: it watches the host's network, so that what other
// programs do to devices of ports is undone.
func (s *ports) Run(ctx context.Context) error {
	if s.cfg.Watch == nil {
		return nil
	}
	retry := backoff{min: time.Second, max: time.Minute}
	for ctx.Err() == nil {
		if err := s.cfg.Watch(ctx, s.noticed); err != nil {
			wait := retry.wait()
			s.cfg.Log.Warn("devices are not watched", "err", err, "retry_in", wait.Round(time.Millisecond))
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
		}
	}
	return nil
}

// noticed tells the ports that it concerns of a change.
func (s *ports) noticed(c link.Change) {
	s.cfg.Moved(c)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.list {
		if c == (link.Change{}) || p.concerns(c.Interface) {
			notify(p.disturbed)
		}
	}
}

// reconsider makes all ports look whether their networks would hide something
// of the board's own.
func (s *ports) reconsider() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.list {
		notify(p.moved)
	}
}

// portTicket asks for a ticket for the data rtunnel of a port.
func (e *Engine) portTicket(ctx context.Context, port s4t.PortID) (string, error) {
	t, err := e.tickets(ctx, wire.BoardTicket{Purpose: wire.PurposePort, Port: port, Count: 1})
	if err != nil {
		return "", err
	}
	return t[0], nil
}

// Apply implements reconciler. A port whose device stays the same keeps its
// data rtunnel.
func (s *ports) Apply(want []wire.Resource) (refused []wire.ResourceState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	here := make(map[s4t.PortID]*port, len(s.list))
	for _, p := range s.list {
		here[p.id] = p
	}
	s.list = nil
	var begin []*port
	for _, r := range want {
		id, d := s4t.PortID(r.ID), wire.DesiredPort{}
		state, ok := decode(r, &d)
		if ok && len(s.list) == s4t.MaxBridgePorts {
			state, ok = refuse(r, "", "at most "+strconv.Itoa(s4t.MaxBridgePorts)+" ports are possible on one board"), false
		}
		if !ok {
			refused = append(refused, state)
			continue
		}
		p := here[id]
		if p != nil && sameDevice(p.desired(), d) {
			p.update(d)
			delete(here, id)
		} else {
			p = newPort(s.cfg, id, d)
			begin = append(begin, p)
		}
		s.list = append(s.list, p)
	}
	for _, p := range here { // side by side
		p.cancel()
	}
	gone := map[string]bool{}
	for _, p := range here {
		<-p.done
		gone[p.desired().Interface] = true
	}
	if len(gone) > 0 { // their routing rules are left
		if err := s.cfg.Sweep(func(name string) bool { return !gone[name] }); err != nil {
			s.cfg.Log.Warn("a routing rule of a port stays", "err", err)
		}
	}
	for _, p := range begin {
		p.start()
	}
	return refused
}

// sameDevice reports whether a port can go from a to b with its device in place.
// Another tunnel agent needs another data rtunnel only.
func sameDevice(a, b wire.DesiredPort) bool {
	return a.Layer == b.Layer && a.Interface == b.Interface && a.Encapsulation == b.Encapsulation &&
		a.Network == b.Network && a.Guards.BridgeTo == b.Guards.BridgeTo && reflect.DeepEqual(a.GRE, b.GRE)
}

// States implements reconciler.
func (s *ports) States() (states []wire.ResourceState, settled bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	settled = true
	for _, p := range s.list {
		st := p.state()
		problem := st.problem()
		if st.up() {
			problem = st.note()
		}
		settled = settled && st.settled
		states = append(states, wire.ResourceState{Kind: wire.KindPort, ID: string(p.id), Up: st.up(), ProblemID: problem.id, Problem: problem.text})
	}
	return states, settled
}

// Retry implements retrier: ports that are not up dial at once, and their
// states wait for how that goes.
func (s *ports) Retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.list {
		p.redialNow()
	}
}

// Problems implements complainer.
func (s *ports) Problems() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cfg.Incapable == "" || len(s.list) == 0 {
		return nil
	}
	return []string{"virtual networks are not possible here: " + s.cfg.Incapable}
}

// sweepHost removes the kernel bridges and routing rules that an earlier
// lightning-rod left behind (a kill -9): those without the device of their
// port. sweep is link.Sweep.
func sweepHost(sweep func(keep func(name string) bool) error) error {
	return sweep(func(name string) bool {
		if id, ok := strings.CutPrefix(name, vnet.BridgePrefix); ok {
			name = vnet.DevicePrefix + id
		}
		_, err := net.InterfaceByName(name)
		return err == nil
	})
}
