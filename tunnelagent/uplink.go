package tunnelagent

import (
	"context"
	"net"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vnet"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// An uplink is a TAP of a network in a Linux bridge of this host: a port of
// the switch that is no rtunnel. Super-frames stay whole through it.

// device is a TAP (*link.Device).
type device interface {
	ReadFrames(next func() []byte, done func(n int)) (int, error)
	Write(packet []byte) error
	Flush() error
	Close() error
}

// uplinks are those that are made.
type uplinks struct {
	agent *Agent

	mu  sync.Mutex // guards the fields below, and uplink.out; only apply changes them
	all map[s4t.NetworkID]*uplink
}

// uplink owns its TAP. Its fields do not change but out.
type uplink struct {
	network *network
	bridge  string
	mtu     int
	ops     []vnet.Op
	dev     device
	port    *vswitch.Port
	out     bool          // the TAP is not in the bridge any more
	done    chan struct{} // closed when nothing of it runs and the TAP is gone
}

// batchFrames is how many frames are taken from a TAP before the writers they
// are for are woken.
const batchFrames = 64

func newUplinks(a *Agent) *uplinks { return &uplinks{agent: a, all: map[s4t.NetworkID]*uplink{}} }

func uplinkKey(id s4t.NetworkID) wire.ResourceKey {
	return wire.ResourceKey{Kind: wire.KindUplink, ID: string(id)}
}

// apply implements reconciler. An uplink that is up is looked after every few
// seconds: others may take its bridge away, or make it anew.
func (us *uplinks) apply(rd *round, changed []wire.Resource) {
	each(rd, changed, func(id string) { us.remove(s4t.NetworkID(id)) }, func(text string, want wire.TunnelUplink) error {
		id := s4t.NetworkID(text)
		n, err := us.agent.networks.of(rd, id, uplinkKey(id))
		if err != nil {
			us.remove(id)
			return err
		}
		u := us.all[id]
		if u != nil && (u.network != n || u.bridge != want.Bridge || u.mtu != n.want.MTU || u.ended()) {
			us.remove(id)
			u = nil
		}
		if u == nil {
			if u, err = us.agent.newUplink(n, id, want); err != nil {
				return err
			}
			n.members[uplinkKey(id)] = struct{}{}
		} else if err = us.agent.cfg.Apply(u.ops); err == nil {
			err = u.port.Update(uplinkConfig(id, want))
		}
		us.mu.Lock()
		us.all[id], u.out = u, err != nil
		us.mu.Unlock()
		rd.recheck(uplinkKey(id), uplinkInterval)
		return err
	})
}

// remove ends an uplink, if it is there, and returns when its TAP is gone.
func (us *uplinks) remove(id s4t.NetworkID) {
	u := us.all[id]
	if u == nil {
		return
	}
	us.mu.Lock()
	delete(us.all, id)
	us.mu.Unlock()
	delete(u.network.members, uplinkKey(id))
	u.close()
}

// state implements reconciler: up while the TAP is in the bridge.
func (us *uplinks) state(id string) (up bool, problem error) {
	us.mu.Lock()
	defer us.mu.Unlock()
	u := us.all[s4t.NetworkID(id)]
	return u != nil && !u.out && !u.ended(), nil
}

// counters returns those of an uplink that is there.
func (us *uplinks) counters(id s4t.NetworkID) (s4t.PortCounters, bool) {
	us.mu.Lock()
	defer us.mu.Unlock()
	if u := us.all[id]; u != nil {
		return u.port.Counters(), true
	}
	return s4t.PortCounters{}, false
}

// uplinkConfig is what the switch is told of an uplink. Its id is the
// network's.
func uplinkConfig(id s4t.NetworkID, w wire.TunnelUplink) vswitch.PortConfig {
	cfg := vswitch.PortConfig{ID: string(id), Guards: w.Guards, Outward: true}
	cfg.Guards.AllowAnySource = true
	return cfg
}

// newUplink makes the TAP, puts it into the bridge and onto the switch.
func (a *Agent) newUplink(n *network, id s4t.NetworkID, w wire.TunnelUplink) (*uplink, error) {
	name := vnet.UplinkName(id)
	ops, err := vnet.Uplink(name, w.Bridge, n.want.MTU)
	if err != nil {
		return nil, err
	}
	mac, err := net.ParseMAC(vnet.UplinkMAC(id))
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, "make device "+name, "", "%w", err)
	}
	dev, err := a.cfg.Open(link.Config{Name: name, Layer: 2, MAC: mac, Log: a.cfg.Log})
	if err != nil {
		return nil, err
	}
	if err := a.cfg.Apply(ops); err != nil {
		dev.Close()
		return nil, err
	}
	cfg := uplinkConfig(id, w)
	cfg.Device = deviceWriter{dev}
	port, err := n.sw.Add(cfg)
	if err != nil {
		dev.Close()
		return nil, err
	}
	u := &uplink{network: n, bridge: w.Bridge, mtu: n.want.MTU, ops: ops, dev: dev, port: port, done: make(chan struct{})}
	a.handlers.Go(func() {
		defer close(u.done)
		err := u.run(context.Background())
		a.cfg.Log.Info("uplink ended", "network", id, "bridge", u.bridge, "err", err)
		a.again(uplinkKey(id)) // where it is still wanted
	})
	a.cfg.Log.Info("uplink is up", "network", id, "device", name, "bridge", w.Bridge)
	return u, nil
}

// ended reports whether its TAP was taken away.
func (u *uplink) ended() bool {
	select {
	case <-u.done:
		return true
	default:
		return false
	}
}

// close takes it off the switch, and returns when its TAP is gone.
func (u *uplink) close() {
	u.port.Close()
	u.dev.Close()
	<-u.done
}

// run lets frames flow until the TAP is closed or taken away, or the port is
// closed.
func (u *uplink) run(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	defer u.port.Close()
	defer u.dev.Close()
	writing.Go(func() {
		u.port.Run(ctx)
		u.dev.Close() // ends the reading
	})
	buf := make([]byte, link.MaxPacket)
	taken := 0
	next := func() []byte {
		if taken == batchFrames {
			return nil
		}
		return buf // each frame is copied before the next is read
	}
	done := func(n int) {
		taken++
		u.port.Input(buf[:n])
	}
	for {
		taken = 0
		_, err := u.dev.ReadFrames(next, done)
		u.port.Flush()
		u.port.Throttle(ctx)
		if err != nil {
			return err
		}
	}
}

// deviceWriter writes what the switch sends to a TAP.
type deviceWriter struct{ dev device }

// WriteFrame ends the port where the TAP is gone; a frame that the kernel
// refuses is lost, as on any wire.
func (w deviceWriter) WriteFrame(pkt []byte) error { return link.OnlyGone(w.dev.Write(pkt)) }

// Flush ends the port where the TAP is gone, too.
func (w deviceWriter) Flush() error { return link.OnlyGone(w.dev.Flush()) }
