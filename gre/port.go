package gre

import (
	"net/netip"

	"github.com/stack4things/s4t"
)

// BoardEnd returns the board's end of a port's tunnel.
func BoardEnd(g *s4t.PortGRE) (*Tunnel, error) { return portEnd(g, false) }

// CloudEnd returns the tunnel agent's end of a port's tunnel.
func CloudEnd(g *s4t.PortGRE) (*Tunnel, error) { return portEnd(g, true) }

func portEnd(g *s4t.PortGRE, cloud bool) (*Tunnel, error) {
	const op, hint = "make the GRE tunnel of a port", "update the older of iotronic and lightning-rod"
	if g == nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "its outer addresses are not given")
	}
	local, err := netip.ParseAddr(g.Local)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "the board's outer address: %w", err)
	}
	remote, err := netip.ParseAddr(g.Remote)
	if err != nil {
		return nil, s4t.Errorf(s4t.Invalid, op, hint, "the tunnel agent's outer address: %w", err)
	}
	if cloud {
		local, remote = remote, local
	}
	return NewTunnel(local, remote, g.Key)
}

// A Sender encapsulates what one goroutine sends into a tunnel: it counts the
// packets.
type Sender struct {
	t  *Tunnel
	id uint16
}

// Sender returns a new Sender.
func (t *Tunnel) Sender() *Sender { return &Sender{t: t} }

// Put writes packet, an offload header and a frame of at most [MaxFrame] bytes,
// to dst as [Tunnel.Wrap] leaves it, and returns its length, which is [Overhead]
// more. It allocates nothing.
func (s *Sender) Put(dst, packet []byte) int {
	n := Overhead + len(packet)
	copy(dst[Overhead:n], packet)
	s.id++
	if err := s.t.Wrap(dst[:n], s.id); err != nil {
		panic(err) // the caller's mistake
	}
	return n
}
