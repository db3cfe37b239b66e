package tunnelagent

import (
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
func newTunnel(encapsulation s4t.Encapsulation, w wire.TunnelPort) (*gre.Tunnel, error) {
	if encapsulation != s4t.EncapGRE {
		return nil, nil
	}
	return gre.CloudEnd(w.GRE)
}

// newWrapper lays out what the switch sends into a tunnel: the message's
// header, the offload header, and the frame in GRE.
func newWrapper(t *gre.Tunnel) *vswitch.Wrapper {
	if t == nil {
		return nil
	}
	send := t.Sender()
	return &vswitch.Wrapper{MaxFrame: gre.MaxFrame, Put: func(dst, pkt []byte) int {
		n := rtunnel.PutHeader(dst, gre.Overhead+len(pkt))
		return n + send.Put(dst[n:], pkt)
	}}
}
