package link

import "encoding/binary"

// Bits of the TCP flags byte (RFC 9293 section 3.1, RFC 3168).
const (
	tcpFIN = 0x01
	tcpPSH = 0x08
	tcpCWR = 0x80
)

// Segment cuts a super-frame into the frames it stands for, as the kernel's
// own segmentation does (tcp_gso_segment, __udp_gso_segment, inet_gso_segment):
// IPv4 identifications and TCP sequence numbers count up, FIN and PSH stand on
// the last segment only, CWR on the first only, checksums are filled in. A
// packet that is no super-frame gives one frame.
//
// out is called for each, in order, with a packet whose header is of zeros; it
// is valid during the call only, and Segment stops when out returns false.
// packet must have passed [Validate]; it is used up: the headers of a segment
// are written over the payload of the one before, so that nothing is copied or
// allocated.
func Segment(packet []byte, layer int, out func(segment []byte) bool) error {
	h := ParseHeader(packet)
	if h.GSOType == GSONone {
		if err := Complete(packet); err != nil {
			return err
		}
		out(packet)
		return nil
	}
	frame := packet[HeaderLen:]
	l, ok := find(frame, layer)
	head, size := int(h.HdrLen), int(h.GSOSize)
	if !ok || l.l4 == 0 || head < l.l4+8 || h.GSOType != GSOUDP && head < l.l4+20 || head > len(frame) || head > maxHeaders || size == 0 {
		return errGSO
	}
	var saved [HeaderLen + maxHeaders]byte // zeros of the virtio_net_hdr, then the frame's headers
	copy(saved[HeaderLen:], frame[:head])
	s := segmenter{layout: l, tcp: h.GSOType != GSOUDP}
	s.begin(frame)
	payload := len(frame) - head
	for at := 0; ; at += size {
		n := min(size, payload-at)
		segment := packet[at : at+HeaderLen+head+n]
		copy(segment, saved[:HeaderLen+head])
		s.finish(segment[HeaderLen:], at, at == 0, at+n >= payload)
		if !out(segment) || at+n >= payload {
			return nil
		}
	}
}

// segmenter holds what is the same for all segments.
type segmenter struct {
	layout
	tcp    bool
	seq    uint32
	id     uint16
	pseudo uint64 // sum of the pseudo header without the length
	ipSum  uint64 // sum of the IPv4 header without length, id and checksum
}

func (s *segmenter) begin(frame []byte) {
	// The field holds the sum of the pseudo header, with the final destination
	// where the packet is source-routed; only the length changes.
	field := frame[s.l4+6:]
	if s.tcp {
		field = frame[s.l4+16:]
		s.seq = binary.BigEndian.Uint32(frame[s.l4+4:])
	}
	s.pseudo = uint64(binary.BigEndian.Uint16(field)) + uint64(^uint16(len(frame)-s.l4))
	if s.version == 4 {
		s.id = binary.BigEndian.Uint16(frame[s.l3+4:])
		s.ipSum = sum64(frame[s.l3:s.l3+2], 0)
		s.ipSum = sum64(frame[s.l3+6:s.l3+10], s.ipSum)
		s.ipSum = uint64(fold(sum64(frame[s.l3+12:s.l4], s.ipSum)))
	}
}

// finish sets the fields of one segment, whose payload starts at bytes into
// the super-frame's.
func (s *segmenter) finish(frame []byte, at int, first, last bool) {
	if s.version == 4 {
		total := uint16(len(frame) - s.l3)
		ip := frame[s.l3:]
		binary.BigEndian.PutUint16(ip[2:], total)
		binary.BigEndian.PutUint16(ip[4:], s.id)
		putChecksum(ip[10:], fold(s.ipSum+uint64(total)+uint64(s.id)), false)
		s.id++
	} else {
		binary.BigEndian.PutUint16(frame[s.l3+4:], uint16(len(frame)-s.l3-40))
	}
	l4 := frame[s.l4:]
	field := l4[6:8]
	if s.tcp {
		field = l4[16:18]
		binary.BigEndian.PutUint32(l4[4:], s.seq+uint32(at))
		if !first {
			l4[13] &^= tcpCWR
		}
		if !last {
			l4[13] &^= tcpFIN | tcpPSH
		}
	} else {
		binary.BigEndian.PutUint16(l4[4:], uint16(len(l4)))
	}
	clear(field)
	putChecksum(field, fold(sum64(l4, s.pseudo+uint64(len(l4)))), !s.tcp)
}
