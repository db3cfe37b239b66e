package gre

import (
	"encoding/binary"
	"net/netip"

	"github.com/stack4things/s4t"
)

const (
	// Overhead is what a [Tunnel] puts in front of an Ethernet frame, in bytes.
	Overhead = IPv4Len + KeyHeaderLen
	// MaxFrame is the longest Ethernet frame that a [Tunnel] carries.
	MaxFrame = maxIPv4 - Overhead
)

// A Tunnel is one end of "Ethernet in GRE in IPv4" with a key: what
// `ip link add type gretap local L remote R key K` is to the kernel. It is
// immutable and may be used concurrently.
type Tunnel struct {
	local, remote netip.Addr
	key           uint32
	head          [Overhead]byte // total length, id and checksum are set for each packet
	sum           uint32         // of head's IPv4 part, not folded
}

// NewTunnel returns the end at local of a tunnel to remote, both IPv4.
func NewTunnel(local, remote netip.Addr, key uint32) (*Tunnel, error) {
	if !local.Is4() || !remote.Is4() || local == remote {
		return nil, s4t.Errorf(s4t.Invalid, "make a GRE tunnel", "give two different IPv4 addresses", "%v and %v are not the ends of a tunnel", local, remote)
	}
	t := &Tunnel{local: local, remote: remote, key: key}
	b := AppendIPv4(t.head[:0], local, remote, TTL, 0, 0)
	Header{Proto: ProtoTEB, Key: key, HasKey: true}.Append(b)
	clear(t.head[2:4])
	clear(t.head[10:12])
	for i := 0; i < IPv4Len; i += 2 {
		t.sum += uint32(binary.BigEndian.Uint16(t.head[i:]))
	}
	return t, nil
}

// Put writes the headers for a frame of frameLen bytes to room[:Overhead], so
// that a frame read behind head room is encapsulated in place. id is the IPv4
// identification; count it up per packet, as the kernel does.
func (t *Tunnel) Put(room []byte, frameLen int, id uint16) error {
	if frameLen > MaxFrame {
		return ErrTooLong
	}
	copy(room[:Overhead], t.head[:])
	total := uint16(Overhead + frameLen)
	binary.BigEndian.PutUint16(room[2:], total)
	binary.BigEndian.PutUint16(room[4:], id)
	sum := t.sum + uint32(total) + uint32(id)
	sum = sum&0xffff + sum>>16
	sum = sum&0xffff + sum>>16
	binary.BigEndian.PutUint16(room[10:], ^uint16(sum))
	return nil
}

// Frame returns the Ethernet frame in packet, which it aliases, after checking
// that packet was sent by the other end of this tunnel to this end, under its
// key, and is no shorter than an Ethernet header.
func (t *Tunnel) Frame(packet []byte) ([]byte, error) {
	src, dst, payload, err := ParseIPv4(packet)
	if err != nil {
		return nil, err
	}
	if src != t.remote || dst != t.local {
		return nil, ErrEndpoint
	}
	h, frame, err := Parse(payload)
	switch {
	case err != nil:
		return nil, err
	case h.Proto != ProtoTEB || !h.HasKey || h.Key != t.key:
		return nil, ErrEndpoint
	case len(frame) < 14:
		return nil, ErrShort
	}
	return frame, nil
}
