package gre

import "encoding/binary"

// OffloadLen is the length of the virtio_net_hdr that stands before every
// packet of a data rtunnel (docs/decisions/005).
const OffloadLen = 10

// Wrap encapsulates a packet of a data rtunnel where it lies. packet begins
// with Overhead bytes of head room; behind them are an offload header and an
// Ethernet frame. Afterwards packet is
//
//	offload header | outer IPv4 | GRE | Ethernet frame
//
// and nothing but the 10 bytes of the offload header has moved. Its offsets
// count from the start of the inner frame, as before: a super-frame stays what
// it was, and needs no other checksum.
func (t *Tunnel) Wrap(packet []byte, id uint16) error {
	if len(packet) < Overhead+OffloadLen {
		return ErrShort
	}
	var offload [OffloadLen]byte
	copy(offload[:], packet[Overhead:])
	if err := t.Put(packet[OffloadLen:], len(packet)-Overhead-OffloadLen, id); err != nil {
		return err
	}
	copy(packet, offload[:])
	return nil
}

// Unwrap undoes [Tunnel.Wrap] at the other end, where the packet lies, after
// the checks of [Tunnel.Frame]. The result, offload header and frame, aliases
// packet; the offload header is as the sender wrote it and still to be checked
// against the frame.
func (t *Tunnel) Unwrap(packet []byte) ([]byte, error) {
	if len(packet) < OffloadLen {
		return nil, ErrShort
	}
	outer := packet[OffloadLen:]
	frame, err := t.Frame(outer)
	if err != nil {
		return nil, err
	}
	end := OffloadLen + int(binary.BigEndian.Uint16(outer[2:]))
	inner := packet[end-len(frame)-OffloadLen : end]
	copy(inner, packet[:OffloadLen])
	return inner, nil
}
