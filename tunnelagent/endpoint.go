package tunnelagent

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"sync"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/link"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// A GRE endpoint of the data centre is a port of the switch that is no rtunnel:
// behind it is a raw socket of this host.

// greSocket exchanges GRE with one address (*link.GRESocket).
type greSocket interface {
	Local() netip.Addr
	ReadPackets(next func() []byte, done func(n int)) (int, error)
	Write(packet []byte) error
	Close() error
}

// openGRE is [link.OpenGRE], or what [Config] has in its place.
func openGRE(local, remote netip.Addr) (greSocket, error) {
	s, err := link.OpenGRE(local, remote)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// endpoints are those that are attached.
type endpoints struct {
	agent *Agent

	mu  sync.Mutex // guards the map; only apply changes it
	all map[s4t.EndpointID]*endpoint
}

// endpoint owns its socket. Its fields do not change.
type endpoint struct {
	want    wire.GREAttachment
	network *network
	mtu     int // of the network
	socket  greSocket
	tunnel  *gre.Tunnel
	port    *vswitch.Port
	done    chan struct{} // closed when nothing of it runs
}

func newEndpoints(a *Agent) *endpoints {
	return &endpoints{agent: a, all: map[s4t.EndpointID]*endpoint{}}
}

// apply implements reconciler. What is there and stays is not touched.
func (es *endpoints) apply(rd *round, changed []wire.Resource) {
	each(rd, changed, func(id string) { es.detach(s4t.EndpointID(id)) }, func(text string, want wire.GREAttachment) error {
		id, key := s4t.EndpointID(text), wire.ResourceKey{Kind: wire.KindGRE, ID: text}
		n, err := es.agent.networks.of(rd, want.Network, key)
		if err != nil {
			es.detach(id)
			return err
		}
		if e := es.all[id]; e != nil {
			if e.network == n && e.mtu == n.want.MTU && reflect.DeepEqual(e.want, want) && !e.ended() {
				return nil
			}
			es.detach(id)
		}
		e, err := es.agent.newEndpoint(n, key, want)
		if err != nil {
			return err
		}
		n.members[key] = struct{}{}
		es.mu.Lock()
		defer es.mu.Unlock()
		es.all[id] = e
		return nil
	})
}

// detach ends an endpoint, if it is there, and returns when its socket is
// closed.
func (es *endpoints) detach(id s4t.EndpointID) {
	e := es.all[id]
	if e == nil {
		return
	}
	es.mu.Lock()
	delete(es.all, id)
	es.mu.Unlock()
	delete(e.network.members, wire.ResourceKey{Kind: wire.KindGRE, ID: string(id)})
	e.close()
}

// state implements reconciler.
func (es *endpoints) state(id string) (up bool, problem error) {
	es.mu.Lock()
	defer es.mu.Unlock()
	e := es.all[s4t.EndpointID(id)]
	return e != nil && !e.ended(), nil
}

// newEndpoint opens the socket and puts it onto the switch.
func (a *Agent) newEndpoint(n *network, key wire.ResourceKey, w wire.GREAttachment) (*endpoint, error) {
	op := "attach GRE endpoint " + w.Remote
	remote, err := netip.ParseAddr(w.Remote)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	var local netip.Addr
	if w.Local != "" {
		if local, err = netip.ParseAddr(w.Local); err != nil {
			return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
		}
	}
	socket, err := a.cfg.OpenGRE(local, remote)
	if err != nil {
		return nil, err
	}
	e := &endpoint{want: w, network: n, mtu: n.want.MTU, socket: socket, done: make(chan struct{})}
	if e.tunnel, err = gre.NewTunnel(socket.Local(), remote, w.Key); err == nil {
		cfg := vswitch.PortConfig{ID: key.ID, Guards: w.Guards, Outward: n.want.Layer == 2, Device: newGREWriter(socket, w.Key)}
		cfg.Guards.AllowAnySource = true
		e.port, err = n.sw.Add(cfg)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	a.handlers.Go(func() {
		defer close(e.done)
		err := e.run(context.Background())
		a.cfg.Log.Info("GRE endpoint detached", "endpoint", key.ID, "remote", w.Remote, "key", w.Key, "err", err)
		a.again(key) // where it is still wanted
	})
	a.cfg.Log.Info("GRE endpoint attached", "endpoint", key.ID, "local", socket.Local(), "remote", w.Remote, "key", w.Key)
	return e, nil
}

// ended reports whether its socket has failed.
func (e *endpoint) ended() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

// close takes it off the switch, and returns when its socket is closed.
func (e *endpoint) close() {
	e.port.Close()
	e.socket.Close()
	<-e.done
}

// run lets frames flow until the socket or the port is closed.
func (e *endpoint) run(ctx context.Context) error {
	var writing sync.WaitGroup
	defer writing.Wait()
	defer e.port.Close()
	defer e.socket.Close()
	writing.Go(func() {
		e.port.Run(ctx)
		e.socket.Close() // ends the reading
	})
	buf := make([]byte, gre.OffloadLen+maxOuter)
	taken := 0
	next := func() []byte {
		if taken == batchFrames {
			return nil
		}
		return buf[gre.OffloadLen:] // each frame is copied before the next is read
	}
	done := func(n int) {
		taken++
		e.input(buf[:gre.OffloadLen+n])
	}
	for {
		taken = 0
		_, err := e.socket.ReadPackets(next, done)
		e.port.Flush()
		if err != nil {
			return err
		}
	}
}

// maxOuter is the longest IPv4 packet.
const maxOuter = 65535

// input takes one IPv4 packet behind room for an offload header. A packet of
// another key, or none, is of another endpoint at the same address.
func (e *endpoint) input(packet []byte) {
	clear(packet[:gre.OffloadLen])
	pkt, err := e.tunnel.Unwrap(packet)
	switch {
	case errors.Is(err, gre.ErrEndpoint):
		return
	case err == nil:
		link.Describe(pkt, 2, e.mtu)
	}
	e.port.Input(pkt) // nil is counted as an invalid frame
}

// greWriter writes what the switch sends as GRE: super-frames as the frames
// they stand for, for a gretap beyond a real wire takes none.
type greWriter struct {
	socket greSocket
	head   [gre.KeyHeaderLen]byte
	send   func(segment []byte) bool
	failed error
}

func newGREWriter(socket greSocket, key uint32) *greWriter {
	w := &greWriter{socket: socket}
	gre.Header{Proto: gre.ProtoTEB, Key: key, HasKey: true}.Append(w.head[:0])
	w.send = func(segment []byte) bool {
		// The GRE header takes the place of the offload header, which is used up.
		packet := segment[gre.OffloadLen-gre.KeyHeaderLen:]
		copy(packet, w.head[:])
		w.failed = w.socket.Write(packet)
		return w.failed == nil
	}
	return w
}

// WriteFrame implements [vswitch.FrameWriter].
func (w *greWriter) WriteFrame(pkt []byte) error {
	w.failed = nil
	if link.Segment(pkt, 2, w.send) != nil {
		return nil // a frame lost; the switch has checked it
	}
	return w.failed
}

// Flush does nothing: frames were written one by one.
func (*greWriter) Flush() error { return nil }
