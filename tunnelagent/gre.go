package tunnelagent

import (
	"net/netip"

	"github.com/stack4things/s4t"
	"github.com/stack4things/s4t/gre"
	"github.com/stack4things/s4t/rtunnel"
	"github.com/stack4things/s4t/vswitch"
	"github.com/stack4things/s4t/wire"
)

// Encapsulation gre: between board and switch every frame travels in GRE in
// IPv4 (docs/decisions/009). The switch itself sees Ethernet frames.

// newTunnel returns this end of a port's GRE tunnel, nil where the network has
// another encapsulation.
func newTunnel(encapsulation s4t.Encapsulation, id s4t.PortID, w wire.TunnelPort) (*gre.Tunnel, error) {
	if encapsulation != s4t.EncapGRE {
		return nil, nil
	}
	op := "attach port " + string(id)
	if w.GRE == nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "its outer addresses are not said")
	}
	board, err := netip.ParseAddr(w.GRE.Local)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	ours, err := netip.ParseAddr(w.GRE.Remote)
	if err != nil {
		return nil, s4t.Errorf(s4t.Internal, op, "", "%w", err)
	}
	return gre.NewTunnel(ours, board, w.GRE.Key)
}

// newWrapper lays out what the switch sends into a tunnel: the message's
// header, the offload header, and the frame in GRE.
func newWrapper(t *gre.Tunnel) *vswitch.Wrapper {
	if t == nil {
		return nil
	}
	var id uint16
	return &vswitch.Wrapper{MaxFrame: gre.MaxFrame, Put: func(dst, pkt []byte) int {
		n := rtunnel.PutHeader(dst, gre.Overhead+len(pkt))
		packet := dst[n : n+gre.Overhead+len(pkt)]
		copy(packet[gre.Overhead:], pkt)
		id++
		t.Wrap(packet, id) // MaxFrame keeps it from failing
		return n + len(packet)
	}}
}
