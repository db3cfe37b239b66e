package tunnelagent

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"sync"
	"time"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/rtunnel/sockopt"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

const (
	offloadHeader = 10               // bytes of virtio_net_hdr before each frame
	shareStep     = 16 << 10         // bytes after which a CPU slot may be given back within a batch
	portUnacked   = 10 * time.Second // a data rtunnel whose bytes are not acknowledged for this long is dead
)

// ports are the cloud halves of ports.
type ports struct {
	agent *Agent

	mu  sync.Mutex // guards the fields below and those of each port; Switch.mu may be taken with it held
	all map[s4t.PortID]*port
}

// port is the cloud half of a port. Another network, board, MAC or tunnel makes
// another one of it.
type port struct {
	want     wire.TunnelPort
	network  *network
	attached *attachment // nil: the board's data rtunnel is not there
	problem  error       // why the last one could not be attached

	attachMu sync.Mutex // held while one data rtunnel takes the place of another; taken before ports.mu
}

// attachment is a data rtunnel on a switch.
type attachment struct {
	project s4t.ProjectID
	conn    *rtunnel.Conn
	port    *vswitch.Port
	tunnel  *gre.Tunnel   // nil: frames come as they are
	done    chan struct{} // closed when it is off the switch
}

// cut takes the attachment off the switch at once, tells the board why, and
// waits until nothing of it runs.
func (at *attachment) cut(reason string) {
	at.port.Close()
	at.conn.CloseWithStatus(rtunnel.StatusPolicy, reason)
	<-at.done
}

func newPorts(a *Agent) *ports { return &ports{agent: a, all: map[s4t.PortID]*port{}} }

func portKey(id s4t.PortID) wire.ResourceKey {
	return wire.ResourceKey{Kind: wire.KindPort, ID: string(id)}
}

// apply implements reconciler.
func (ps *ports) apply(rd *round, changed []wire.Resource) {
	each(rd, changed, func(id string) { ps.replace(rd, s4t.PortID(id), nil) }, func(text string, want wire.TunnelPort) error {
		id := s4t.PortID(text)
		n, err := ps.agent.networks.of(rd, want.Network, portKey(id))
		if err != nil {
			ps.replace(rd, id, nil)
			return err
		}
		p := ps.all[id]
		if p == nil || p.network != n || p.want.Board != want.Board || p.want.MAC != want.MAC || !reflect.DeepEqual(p.want.GRE, want.GRE) {
			p = &port{want: want, network: n}
			ps.replace(rd, id, p)
			n.members[portKey(id)] = struct{}{}
		}
		ps.mu.Lock()
		defer ps.mu.Unlock()
		return p.update(id, want)
	})
}

// replace puts p, which may be nil, in the place of a port. The rtunnel of the
// one before is cut.
func (ps *ports) replace(rd *round, id s4t.PortID, p *port) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	old := ps.all[id]
	delete(ps.all, id)
	if p != nil {
		ps.all[id] = p
	}
	if old == nil {
		return
	}
	delete(old.network.members, portKey(id))
	if at := old.attached; at != nil {
		old.attached = nil
		at.port.Close() // its place on the switch is free for another at once
		rd.end(func() { at.cut("the port was removed or changed") })
	}
}

// update gives a port new addresses and guards, in place. ports.mu is held.
func (p *port) update(id s4t.PortID, want wire.TunnelPort) error {
	if reflect.DeepEqual(p.want, want) {
		return nil
	}
	p.want = want
	if p.attached == nil {
		return nil
	}
	cfg, err := portConfig(id, want)
	if err != nil {
		return err
	}
	cfg.Out = p.attached.conn
	return p.attached.port.Update(cfg)
}

// state implements reconciler: up while the board's data rtunnel is attached.
func (ps *ports) state(id string) (up bool, problem error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	p := ps.all[s4t.PortID(id)]
	if p == nil {
		return false, nil
	}
	return p.attached != nil, p.problem
}

// wanted reports whether desired state has the port for the board.
func (ps *ports) wanted(id s4t.PortID, board s4t.BoardID) bool {
	return board != "" && ps.board(id) == board
}

// board returns whose port it is, "" where it is not known.
func (ps *ports) board(id s4t.PortID) s4t.BoardID {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[id]; p != nil {
		return p.want.Board
	}
	return ""
}

// counters returns those of an attached port.
func (ps *ports) counters(id s4t.PortID) (s4t.PortCounters, bool) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if p := ps.all[id]; p != nil && p.attached != nil {
		return p.attached.port.Counters(), true
	}
	return s4t.PortCounters{}, false
}

// portConfig is what the switch is told of a port.
func portConfig(id s4t.PortID, w wire.TunnelPort) (vswitch.PortConfig, error) {
	cfg := vswitch.PortConfig{ID: string(id), Guards: w.Guards, Leaving: w.Leaving, Twin: string(w.Twin)}
	if w.MAC != "" {
		mac, err := net.ParseMAC(w.MAC)
		if err != nil {
			return cfg, s4t.Errorf(s4t.Internal, "attach port "+cfg.ID, "", "%w", err)
		}
		cfg.MAC = mac
	}
	for _, text := range w.Addresses {
		address, err := netip.ParsePrefix(text)
		if err != nil {
			return cfg, s4t.Errorf(s4t.Internal, "attach port "+cfg.ID, "", "%w", err)
		}
		cfg.Addresses = append(cfg.Addresses, address)
	}
	return cfg, nil
}

// serve keeps conn as the data rtunnel of a port until it ends. It takes the
// place of an older one, for the board knows best which of them lives.
func (ps *ports) serve(ctx context.Context, id s4t.PortID, conn *rtunnel.Conn) {
	a := ps.agent
	p, at, err := ps.attach(id, conn)
	if err != nil {
		a.cfg.Log.Warn("a port cannot be attached", "port", id, "err", err)
		conn.CloseWithStatus(rtunnel.StatusPolicy, err.Error())
		return
	}
	a.changed(portKey(id))
	a.cfg.Log.Debug("port attached", "port", id)

	err = a.carry(ctx, at, 0, func(pkt []byte) {
		if at.tunnel != nil {
			pkt, _ = at.tunnel.Unwrap(pkt) // nil is counted as an invalid frame
		}
		at.port.Input(pkt)
	})
	ps.mu.Lock()
	if p.attached == at {
		p.attached = nil
	}
	ps.mu.Unlock()
	close(at.done)
	a.changed(portKey(id))
	a.cfg.Log.Debug("port detached", "port", id, "err", err)
}

// carry lets the frames of an rtunnel flow from and to its port of a switch until
// either ends. Before each frame may be so many bytes more; input takes it from
// there.
func (a *Agent) carry(ctx context.Context, at *attachment, before int, input func(pkt []byte)) error {
	conn := at.conn
	sockopt.SetUserTimeout(conn.NetConn(), portUnacked)
	conn.CarryFrames()
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if at.port.Run(ctx) != nil { // the reader meets the same cause
			conn.Close()
		}
	})
	running.Go(func() { conn.Keepalive(ctx, s4t.PresenceInterval, s4t.PresenceTimeout) })
	brought, looked := 0, 0 // bytes since the slot was taken; and when it was last asked whether that is enough
	end := func() {
		if brought > 0 {
			at.port.Flush()
			a.cpu.done(at.project, brought)
			brought, looked = 0, 0
		}
	}
	err := conn.ReadFrames(before+offloadHeader+s4t.MaxFrame,
		func(pkt []byte) error {
			if brought-looked >= shareStep {
				if looked = brought; a.cpu.over(at.project, brought) {
					end()
				}
			}
			if brought == 0 {
				a.cpu.take(at.project)
			}
			brought += len(pkt) + 1
			input(pkt)
			return nil
		},
		func() error {
			end()
			at.port.Throttle(ctx) // the path fills, and then the board's own queue
			return nil
		})
	cancel()
	at.port.Close()
	conn.Close()
	running.Wait()
	return err
}

// attach puts conn on the switch of a port.
func (ps *ports) attach(id s4t.PortID, conn *rtunnel.Conn) (*port, *attachment, error) {
	gone := s4t.Errorf(s4t.Forbidden, "attach port "+string(id), "", "the port was removed")
	ps.mu.Lock()
	p := ps.all[id]
	ps.mu.Unlock()
	if p == nil {
		return nil, nil, gone
	}
	p.attachMu.Lock()
	defer p.attachMu.Unlock()
	ps.mu.Lock()
	older := p.attached
	ps.mu.Unlock()
	if older != nil {
		older.cut("a newer data rtunnel took its place")
	}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.all[id] != p {
		return nil, nil, gone
	}
	cfg, err := portConfig(id, p.want)
	var tunnel *gre.Tunnel
	if err == nil {
		tunnel, err = newTunnel(p.network.encapsulation, p.want)
	}
	if err == nil {
		cfg.Out, cfg.Wrap = conn, newWrapper(tunnel)
		var vp *vswitch.Port
		if vp, err = p.network.sw.Add(cfg); err == nil {
			p.attached = &attachment{project: p.want.Project, conn: conn, port: vp, tunnel: tunnel, done: make(chan struct{})}
			p.problem = nil
			return p, p.attached, nil
		}
	}
	p.problem = err
	ps.agent.changed(portKey(id))
	return nil, nil, err
}
