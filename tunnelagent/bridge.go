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

// Step 8 of the paper's Fig. 3: a network is a switch, and the cloud half of a
// port is put on it for as long as the board's data rtunnel is there.

const (
	offloadHeader = 10               // bytes of virtio_net_hdr before each frame
	turnStep      = 16 << 10         // bytes after which a turn may end within a batch
	portUnacked   = 10 * time.Second // a data rtunnel whose bytes are not acknowledged for this long is dead
)

// network is the switch of one network.
type network struct {
	want   wire.TunnelNetwork // but for the ports
	sw     *vswitch.Switch
	uplink *uplink // nil: it is in no Linux bridge; guarded by Agent.mu

	endpoints map[s4t.EndpointID]*endpoint // of GRE that are attached; guarded by Agent.mu
}

// port is the cloud half of a port. Its fields are guarded by Agent.mu, but
// turn.
type port struct {
	want     wire.TunnelPort
	network  *network
	attached *attachment // nil: the board's data rtunnel is not there
	problem  string      // why the last one could not be attached

	turn sync.Mutex // held while one data rtunnel takes the place of another
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

// applyNetworks makes the networks and ports those of want. What has to end is
// returned, to be called without a.mu, which is held.
func (a *Agent) applyNetworks(want []wire.TunnelNetwork, problems map[string]string) (ended []func()) {
	networks := make(map[s4t.NetworkID]*network, len(want))
	ports := make(map[s4t.PortID]*port)
	for _, w := range want {
		listed := w.Ports
		w.Ports = nil
		n := a.networks[w.ID]
		if n == nil || n.want.Layer != w.Layer || n.want.Encapsulation != w.Encapsulation {
			var err error
			if n, err = a.newNetwork(w); err != nil {
				problems[string(w.ID)] = err.Error()
				for _, p := range listed {
					problems[string(p.ID)] = err.Error()
				}
				continue
			}
		}
		n.want = w
		networks[w.ID] = n
		for _, pw := range listed {
			p := a.ports[pw.ID]
			if p == nil || p.network != n || p.want.Board != pw.Board || p.want.MAC != pw.MAC || !reflect.DeepEqual(p.want.GRE, pw.GRE) {
				p = &port{want: pw, network: n}
			}
			if err := p.update(pw); err != nil {
				problems[string(pw.ID)] = err.Error()
			}
			ports[pw.ID] = p
		}
	}
	for id, p := range a.ports {
		if ports[id] != p && p.attached != nil {
			at := p.attached
			p.attached = nil
			ended = append(ended, func() { at.cut("the port was removed or changed") })
		}
	}
	for id, n := range a.networks {
		if networks[id] != n {
			n.close()
		}
	}
	for _, w := range want {
		if n := networks[w.ID]; n != nil {
			a.applyUplink(n, w, problems)
			a.applyEndpoints(n, w.AttachGRE, w.MTU, problems)
		}
	}
	a.networks, a.ports = networks, ports
	return ended
}

// newNetwork makes the switch of a network.
func (a *Agent) newNetwork(w wire.TunnelNetwork) (*network, error) {
	if w.Encapsulation != s4t.EncapEthernet && (w.Encapsulation != s4t.EncapGRE || w.Layer != 2) {
		return nil, s4t.Errorf(s4t.Unavailable, "make network "+string(w.ID), "use the encapsulation ethernet", "this tunnel agent does not carry the encapsulation %s on layer %d", w.Encapsulation, w.Layer)
	}
	sw, err := vswitch.New(vswitch.Config{
		Layer: w.Layer, Validate: a.cfg.Validate, Header: rtunnel.PutHeader,
		OnEvent: a.switchEvent, Log: a.cfg.Log.With("network", w.ID),
	})
	if err != nil {
		return nil, err
	}
	return &network{sw: sw, endpoints: map[s4t.EndpointID]*endpoint{}}, nil
}

// close ends what is on the switch besides ports. Agent.mu is held.
func (n *network) close() {
	if n.uplink != nil {
		n.uplink.close()
		n.uplink = nil
	}
	for id, e := range n.endpoints {
		e.close()
		delete(n.endpoints, id)
	}
}

// update gives a port new addresses and guards, in place.
func (p *port) update(want wire.TunnelPort) error {
	if reflect.DeepEqual(p.want, want) {
		return nil
	}
	p.want = want
	if p.attached == nil {
		return nil
	}
	cfg, err := portConfig(want)
	if err != nil {
		return err
	}
	cfg.Out = p.attached.conn
	return p.attached.port.Update(cfg)
}

// portConfig is what the switch is told of a port.
func portConfig(w wire.TunnelPort) (vswitch.PortConfig, error) {
	cfg := vswitch.PortConfig{ID: string(w.ID), Guards: w.Guards}
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

// servePort keeps conn as the data rtunnel of a port until it ends. It takes
// the place of an older one, for the board knows best which of them lives.
func (a *Agent) servePort(ctx context.Context, id s4t.PortID, conn *rtunnel.Conn) {
	sockopt.SetUserTimeout(conn.NetConn(), portUnacked)
	conn.CarryFrames()
	p, at, err := a.attach(id, conn)
	if err != nil {
		a.cfg.Log.Warn("a port cannot be attached", "port", id, "err", err)
		conn.CloseWithStatus(rtunnel.StatusPolicy, err.Error())
		return
	}
	poke(a.report)
	a.cfg.Log.Debug("port attached", "port", id)

	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() {
		if at.port.Run(ctx) != nil { // the reader meets the same cause
			conn.Close()
		}
	})
	running.Go(func() { conn.Keepalive(ctx, s4t.PresenceInterval, s4t.PresenceTimeout) })
	brought, looked := 0, 0 // bytes of this turn; and when it was last asked whether that is enough
	end := func() {
		if brought > 0 {
			at.port.Flush()
			a.turns.done(at.project, brought)
			brought, looked = 0, 0
		}
	}
	err = conn.ReadFrames(offloadHeader+s4t.MaxFrame,
		func(pkt []byte) error {
			if brought-looked >= turnStep {
				if looked = brought; a.turns.over(at.project, brought) {
					end()
				}
			}
			if brought == 0 {
				a.turns.take(at.project)
			}
			brought += len(pkt) + 1
			if at.tunnel != nil {
				pkt, _ = at.tunnel.Unwrap(pkt) // nil is counted as an invalid frame
			}
			at.port.Input(pkt)
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

	a.mu.Lock()
	if p.attached == at {
		p.attached = nil
	}
	a.mu.Unlock()
	close(at.done)
	poke(a.report)
	a.cfg.Log.Debug("port detached", "port", id, "err", err)
}

// attach puts conn on the switch of a port.
func (a *Agent) attach(id s4t.PortID, conn *rtunnel.Conn) (*port, *attachment, error) {
	gone := s4t.Errorf(s4t.Forbidden, "attach port "+string(id), "", "the port was removed")
	a.mu.Lock()
	p := a.ports[id]
	a.mu.Unlock()
	if p == nil {
		return nil, nil, gone
	}
	p.turn.Lock()
	defer p.turn.Unlock()
	a.mu.Lock()
	older := p.attached
	a.mu.Unlock()
	if older != nil {
		older.cut("a newer data rtunnel took its place")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ports[id] != p {
		return nil, nil, gone
	}
	cfg, err := portConfig(p.want)
	var tunnel *gre.Tunnel
	if err == nil {
		tunnel, err = newTunnel(p.network.want.Encapsulation, p.want)
	}
	if err == nil {
		cfg.Out, cfg.Wrap = conn, newWrapper(tunnel)
		var vp *vswitch.Port
		if vp, err = p.network.sw.Add(cfg); err == nil {
			p.attached = &attachment{project: p.want.Project, conn: conn, port: vp, tunnel: tunnel, done: make(chan struct{})}
			p.problem = ""
			return p, p.attached, nil
		}
	}
	p.problem = err.Error()
	poke(a.report)
	return nil, nil, err
}
