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

// uplink owns its TAP. Its fields do not change but problem, which Agent.mu
// guards.
type uplink struct {
	bridge  string
	mtu     int
	ops     []vnet.Op
	dev     device
	port    *vswitch.Port
	problem string        // why the TAP is not in the bridge
	done    chan struct{} // closed when nothing of it runs and the TAP is gone
}

// batchFrames is how many frames are taken from a TAP before the writers they
// are for are woken.
const batchFrames = 64

// uplinkConfig is what the switch is told of an uplink. Its id is the
// network's.
func uplinkConfig(w wire.TunnelNetwork) vswitch.PortConfig {
	cfg := vswitch.PortConfig{ID: string(w.ID), Guards: w.UplinkGuards}
	cfg.Guards.AllowAnySource = true
	return cfg
}

// applyUplink makes the uplink of a network the one that w says, or tries
// again. a.mu is held.
func (a *Agent) applyUplink(n *network, w wire.TunnelNetwork, problems map[string]string) {
	if u := n.uplink; u != nil && (u.bridge != w.Uplink || u.mtu != w.MTU || u.ended()) {
		u.close()
		n.uplink = nil
	}
	if w.Uplink == "" {
		return
	}
	var err error
	if u := n.uplink; u == nil {
		n.uplink, err = a.newUplink(n, w)
	} else {
		if err = a.cfg.Apply(u.ops); err == nil { // the bridge may have been made anew
			err = u.port.Update(uplinkConfig(w))
		}
		u.problem = ""
		if err != nil {
			u.problem = err.Error()
		}
	}
	if err != nil {
		problems[string(w.ID)] = err.Error()
	}
}

// newUplink makes the TAP, puts it into the bridge and onto the switch.
func (a *Agent) newUplink(n *network, w wire.TunnelNetwork) (*uplink, error) {
	name := vnet.UplinkName(w.ID)
	ops, err := vnet.Uplink(name, w.Uplink, w.MTU)
	if err != nil {
		return nil, err
	}
	mac, err := net.ParseMAC(vnet.UplinkMAC(w.ID))
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
	cfg := uplinkConfig(w)
	cfg.Device = deviceWriter{dev}
	port, err := n.sw.Add(cfg)
	if err != nil {
		dev.Close()
		return nil, err
	}
	u := &uplink{bridge: w.Uplink, mtu: w.MTU, ops: ops, dev: dev, port: port, done: make(chan struct{})}
	a.doors.Go(func() {
		defer close(u.done)
		err := u.run(context.Background())
		a.cfg.Log.Info("uplink ended", "network", w.ID, "bridge", u.bridge, "err", err)
		poke(a.wake) // where it is still wanted, it is made anew
		poke(a.report)
	})
	a.cfg.Log.Info("uplink is up", "network", w.ID, "device", name, "bridge", w.Uplink)
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

// uplinks returns the networks that are in their bridge. a.mu is held.
func (a *Agent) uplinks() (up []s4t.NetworkID) {
	for id, n := range a.networks {
		if u := n.uplink; u != nil && u.problem == "" && !u.ended() {
			up = append(up, id)
		}
	}
	return up
}
