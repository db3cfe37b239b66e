package lightningrod

import (
	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// encap puts the frames of a port into its network's encapsulation and takes
// them out. With encapsulation ethernet it does nothing.
type encap struct {
	tunnel *gre.Tunnel // nil: frames travel as they are
}

func newEncap(id s4t.PortID, want wire.DesiredPort) (*encap, error) {
	op := "make port " + string(id)
	switch want.Encapsulation {
	case s4t.EncapEthernet, "":
		return &encap{}, nil
	case s4t.EncapGRE:
	default:
		return nil, s4t.Errorf(s4t.Invalid, op, "update lightning-rod", "this version does not know the encapsulation %q", want.Encapsulation)
	}
	if want.Layer != 2 {
		return nil, s4t.Errorf(s4t.Invalid, op, "", "gre needs layer 2")
	}
	tunnel, err := gre.BoardEnd(want.GRE)
	if err != nil {
		return nil, err
	}
	return &encap{tunnel: tunnel}, nil
}

// wrapper lays out frames for the data rtunnel. A frame that does not fit is
// dropped; the device's MaxGSO keeps the kernel from sending any.
func (e *encap) wrapper(l *rtunnel.Layout) *vswitch.Wrapper {
	if e.tunnel == nil {
		return &vswitch.Wrapper{Put: l.Put, MaxFrame: s4t.MaxFrame}
	}
	send := e.tunnel.Sender()
	return &vswitch.Wrapper{MaxFrame: gre.MaxFrame, Put: func(dst, pkt []byte) int {
		send.Put(l.Begin(dst, gre.Overhead+len(pkt)), pkt)
		return l.End()
	}}
}

// unwrap returns the offload header and frame in packet, nil if it is not of
// this port's tunnel.
func (e *encap) unwrap(packet []byte) []byte {
	if e.tunnel == nil {
		return packet
	}
	packet, _ = e.tunnel.Unwrap(packet)
	return packet
}

// copyWrapped returns packet in the encapsulation, without touching the ids of
// the wrapper: with DF set an id says nothing (RFC 6864).
func (e *encap) copyWrapped(packet []byte) []byte {
	if e.tunnel == nil {
		return packet
	}
	packet = append(make([]byte, gre.Overhead, gre.Overhead+len(packet)), packet...)
	if e.tunnel.Wrap(packet, 0) != nil {
		return nil
	}
	return packet
}
