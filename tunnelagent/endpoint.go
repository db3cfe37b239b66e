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

// endpoint owns its socket.
type endpoint struct {
	want   wire.GREAttachment
	mtu    int // of the network
	socket greSocket
	tunnel *gre.Tunnel
	port   *vswitch.Port
	done   chan struct{} // closed when nothing of it runs
}

// applyEndpoints makes the endpoints of a network those of want. What is
// there and stays is not touched. a.mu is held.
func (a *Agent) applyEndpoints(n *network, want []wire.GREAttachment, mtu int, problems map[string]string) {
	listed := make(map[s4t.EndpointID]wire.GREAttachment, len(want))
	for _, w := range want {
		listed[w.ID] = w
	}
	for id, e := range n.endpoints {
		w, ok := listed[id]
		if !ok || e.mtu != mtu || !reflect.DeepEqual(e.want, w) || e.ended() {
			e.close()
			delete(n.endpoints, id)
		}
	}
	for _, w := range want {
		if n.endpoints[w.ID] != nil {
			continue
		}
		e, err := a.newEndpoint(n, w, mtu)
		if err != nil {
			problems[string(w.ID)] = err.Error()
			continue
		}
		n.endpoints[w.ID] = e
	}
}

// newEndpoint opens the socket and puts it onto the switch.
func (a *Agent) newEndpoint(n *network, w wire.GREAttachment, mtu int) (*endpoint, error) {
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
	e := &endpoint{want: w, mtu: mtu, socket: socket, done: make(chan struct{})}
	if e.tunnel, err = gre.NewTunnel(socket.Local(), remote, w.Key); err == nil {
		cfg := vswitch.PortConfig{ID: string(w.ID), Guards: w.Guards, Device: newGREWriter(socket, w.Key)}
		cfg.Guards.AllowAnySource = true
		e.port, err = n.sw.Add(cfg)
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	a.doors.Go(func() {
		defer close(e.done)
		err := e.run(context.Background())
		a.cfg.Log.Info("GRE endpoint detached", "endpoint", w.ID, "remote", w.Remote, "key", w.Key, "err", err)
		poke(a.wake) // where it is still wanted, it is attached again
		poke(a.report)
	})
	a.cfg.Log.Info("GRE endpoint attached", "endpoint", w.ID, "local", socket.Local(), "remote", w.Remote, "key", w.Key)
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

// endpoints returns those that are attached. a.mu is held.
func (a *Agent) endpoints() (up []s4t.EndpointID) {
	for _, n := range a.networks {
		for id, e := range n.endpoints {
			if !e.ended() {
				up = append(up, id)
			}
		}
	}
	return up
}
