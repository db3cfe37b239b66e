package lightningrod

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/wire"
)

// Step 6 of the paper's Fig. 3, on the board: the ports of the desired state
// are compared with those that are here. Each port is then on its own, see
// port.go.

// rtunnelDialer opens WebSockets to the cloud (*dial.Dialer).
type rtunnelDialer interface {
	Dial(ctx context.Context, url, path, subprotocol, bearer string) (*rtunnel.Conn, error)
}

// portsConfig configures ports. All fields are required.
type portsConfig struct {
	Dial    rtunnelDialer
	Ticket  func(ctx context.Context, port s4t.PortID) (string, error)
	Online  func() (online bool, changed <-chan struct{}) // is there a session; changed is closed when that may have changed
	Changed func()                                        // called when a report of a port may be another; must not block
	Open    func(link.Config) (Device, error)             // link.Open
	Apply   func([]vnet.Op) error                         // link.Apply
	Sweep   func(keep func(bridge string) bool) error     // link.Sweep
	Log     *slog.Logger
}

// ports are the ports of a board. apply is called from one goroutine; the rest
// from any.
type ports struct {
	cfg portsConfig

	mu   sync.Mutex // guards the map
	byID map[s4t.PortID]*port
}

func newPorts(cfg portsConfig) *ports {
	return &ports{cfg: cfg, byID: map[s4t.PortID]*port{}}
}

// apply makes the ports be those of want. When it returns, the devices of all
// others are gone; new ones are on their way. A port whose device stays the
// same keeps its data rtunnel.
func (s *ports) apply(want []wire.DesiredPort) {
	desired := make(map[s4t.PortID]wire.DesiredPort, len(want))
	for _, d := range want {
		desired[d.ID] = d
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var gone []*port
	for id, p := range s.byID {
		if d, ok := desired[id]; ok && sameDevice(p.desired(), d) {
			p.update(d)
			continue
		}
		delete(s.byID, id)
		gone = append(gone, p)
	}
	closePorts(gone)
	for id, d := range desired {
		if s.byID[id] == nil {
			s.byID[id] = startPort(s.cfg, d)
		}
	}
}

// sameDevice reports whether a port can go from a to b with its device and
// data rtunnel in place.
func sameDevice(a, b wire.DesiredPort) bool {
	return a.Layer == b.Layer && a.Interface == b.Interface && a.Encapsulation == b.Encapsulation && a.URL == b.URL &&
		a.Network == b.Network && a.Guards.BridgeTo == b.Guards.BridgeTo && reflect.DeepEqual(a.GRE, b.GRE)
}

// closePorts ends ports side by side, and waits for all.
func closePorts(gone []*port) {
	for _, p := range gone {
		p.cancel()
	}
	for _, p := range gone {
		<-p.done
	}
}

// sweepBridges removes the kernel bridges that an earlier lightning-rod left
// behind (a kill -9): those without the device of their port. sweep is
// link.Sweep.
func sweepBridges(sweep func(keep func(bridge string) bool) error) error {
	return sweep(func(bridge string) bool {
		_, err := net.InterfaceByName(vnet.DevicePrefix + strings.TrimPrefix(bridge, vnet.BridgePrefix))
		return err == nil
	})
}

// close ends every port and waits until its device is gone.
func (s *ports) close() { s.apply(nil) }

// retry makes ports that are not up try at once, and their reports wait for
// how that goes: a session has just begun.
func (s *ports) retry() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.byID {
		p.unsettle()
	}
}

// reports returns a report of each port, in order of their ids. settled is
// false while a port is on its way for the first time.
func (s *ports) reports() (reports []wire.PortReport, settled bool) {
	settled = true
	for _, p := range s.sorted() {
		st := p.state()
		settled = settled && st.settled
		reports = append(reports, wire.PortReport{ID: p.id, Up: st.up(), Problem: clampLine(st.problem())})
	}
	return reports, settled
}

// status returns the ports for `lightning-rod status`.
func (s *ports) status() []PortStatus {
	out := []PortStatus{}
	for _, p := range s.sorted() {
		d, st := p.desired(), p.state()
		out = append(out, PortStatus{
			ID: p.id, Interface: d.Interface, MAC: d.MAC, Addresses: d.Addresses, MTU: d.MTU,
			Up: st.up(), Problem: st.problem(),
		})
	}
	return out
}

func (s *ports) sorted() []*port {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*port, 0, len(s.byID))
	for _, p := range s.byID {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *port) int { return cmp.Compare(a.id, b.id) })
	return all
}
