package link

import (
	"bytes"
	"encoding/binary"
)

// merger puts datagrams of one UDP flow that come one after another into one
// super-frame, so that they cost one write: what [Segment] undoes, and the
// kernel does on its side of a network card (udp_gro_receive_segment). The
// kernel of the device cuts it again for a socket that does not ask for it.
//
// Only datagrams whose checksum is still to be computed are merged: of others
// it would have to be verified first, as a new one hides that it was wrong.
type merger struct {
	buf  []byte // virtio_net_hdr and frame so far; empty: nothing waits
	l    layout // of the first
	size int    // bytes of payload of each but the last
	n    int    // datagrams
	full bool   // the last one was shorter: no more may follow
}

const (
	mergeBytes = 16 << 10 // of a merged packet: ten full datagrams, or many small ones
	mergeParts = 64       // UDP_MAX_SEGMENTS of kernels before 6.9
)

// take adds a packet that passed [Validate] to what waits and reports whether
// it did. If not, what waits is to be written before packet is, or taken.
func (m *merger) take(packet []byte, layer int) bool {
	if len(packet) > mergeBytes || packet[1] != GSONone || packet[0] != FlagNeedsChecksum {
		return false
	}
	frame := packet[HeaderLen:]
	l, ok := find(frame, layer)
	if !ok || !l.mergeable(frame) || int(binary.LittleEndian.Uint16(packet[6:])) != l.l4 {
		return false
	}
	size := len(frame) - l.l4 - 8
	if len(m.buf) == 0 {
		if cap(m.buf) == 0 {
			m.buf = make([]byte, 0, mergeBytes)
		}
		m.buf = append(m.buf, packet...)
		m.l, m.size, m.n, m.full = l, size, 1, false
		return true
	}
	if m.full || m.n == mergeParts || l != m.l || size > m.size || len(m.buf)+size > mergeBytes || !m.follows(frame) {
		return false
	}
	m.buf = append(m.buf, frame[l.l4+8:]...)
	m.n++
	m.full = size < m.size
	return true
}

// mergeable reports whether frame is a whole UDP datagram with payload, behind
// an IP header without options. Both checksums are what they should be, the
// UDP one the pseudo header's: they are made anew.
func (l layout) mergeable(frame []byte) bool {
	if l.proto != protoUDP || l.fragment || l.l4 == 0 || len(frame) <= l.l4+8 || !l.lengthIs(frame) {
		return false
	}
	if l.version == 4 && (l.l4 != l.l3+20 || fold(sum64(frame[l.l3:l.l4], 0)) != 0xffff) || l.version == 6 && l.l4 != l.l3+40 {
		return false
	}
	n := len(frame) - l.l4
	return int(binary.BigEndian.Uint16(frame[l.l4+4:])) == n && binary.BigEndian.Uint16(frame[l.l4+6:]) == l.pseudo(frame, n)
}

// follows reports whether the headers of frame are those of the first datagram
// but for lengths, checksums and the IPv4 identification. That must count up
// where it may be needed (RFC 6864: without DF), as it does in the pieces of a
// super-frame.
func (m *merger) follows(frame []byte) bool {
	first, l := m.buf[HeaderLen:], m.l
	same := func(from, to int) bool { return bytes.Equal(first[from:to], frame[from:to]) }
	if !same(0, l.l3) || !same(l.l4, l.l4+4) { // Ethernet; ports
		return false
	}
	if l.version == 6 {
		return same(l.l3, l.l3+4) && same(l.l3+6, l.l4)
	}
	id := binary.BigEndian.Uint16(frame[l.l3+4:]) - binary.BigEndian.Uint16(first[l.l3+4:])
	return same(l.l3, l.l3+2) && same(l.l3+6, l.l3+10) && same(l.l3+12, l.l4) &&
		(frame[l.l3+6]&0x40 != 0 || id == uint16(m.n))
}

// packet returns what waits as one packet, nil if nothing does. It is valid
// until the next take.
func (m *merger) packet() []byte {
	if len(m.buf) == 0 {
		return nil
	}
	packet := m.buf
	m.buf = m.buf[:0]
	if m.n == 1 {
		return packet
	}
	frame, l := packet[HeaderLen:], m.l
	if l.version == 4 {
		ip := frame[l.l3:l.l4]
		binary.BigEndian.PutUint16(ip[2:], uint16(len(frame)-l.l3))
		clear(ip[10:12])
		putChecksum(ip[10:], fold(sum64(ip, 0)), false)
	} else {
		binary.BigEndian.PutUint16(frame[l.l3+4:], uint16(len(frame)-l.l4))
	}
	udp := frame[l.l4:]
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	binary.BigEndian.PutUint16(udp[6:], l.pseudo(frame, len(udp)))
	Header{
		Flags: FlagNeedsChecksum, GSOType: GSOUDP, HdrLen: uint16(l.l4 + 8), GSOSize: uint16(m.size),
		CSumStart: uint16(l.l4), CSumOffset: 6,
	}.Put(packet)
	return packet
}
