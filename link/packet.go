package link

import (
	"encoding/binary"
	"strings"

	"github.com/stack4things/s4t"
)

const (
	// HeaderLen is the length of a virtio_net_hdr in bytes.
	HeaderLen = 10
	// MaxPacket is the longest packet, header and frame, in bytes.
	MaxPacket = HeaderLen + s4t.MaxFrame
)

// Flags of a [Header] (linux/virtio_net.h).
const (
	FlagNeedsChecksum = 1 // sum from CSumStart to the end, put it CSumOffset bytes after CSumStart
	FlagDataValid     = 2 // the sender's kernel has verified the checksum
)

// Kinds of super-frame (linux/virtio_net.h).
const (
	GSONone  = 0
	GSOTCPv4 = 1
	GSOTCPv6 = 4
	GSOUDP   = 5    // UDP segmentation (USO), both families
	GSOECN   = 0x80 // with TCP: the first segment carries CWR
)

// Header is a virtio_net_hdr. Offsets are from the start of the frame.
type Header struct {
	Flags      uint8
	GSOType    uint8
	HdrLen     uint16 // Ethernet, IP and TCP or UDP headers together: a hint
	GSOSize    uint16 // bytes of payload of a segment
	CSumStart  uint16
	CSumOffset uint16
}

// ParseHeader reads the first [HeaderLen] bytes of packet.
func ParseHeader(packet []byte) Header {
	_ = packet[HeaderLen-1]
	return Header{
		Flags:      packet[0],
		GSOType:    packet[1],
		HdrLen:     binary.LittleEndian.Uint16(packet[2:]),
		GSOSize:    binary.LittleEndian.Uint16(packet[4:]),
		CSumStart:  binary.LittleEndian.Uint16(packet[6:]),
		CSumOffset: binary.LittleEndian.Uint16(packet[8:]),
	}
}

// Put writes h to the first [HeaderLen] bytes of packet.
func (h Header) Put(packet []byte) {
	_ = packet[HeaderLen-1]
	packet[0], packet[1] = h.Flags, h.GSOType
	binary.LittleEndian.PutUint16(packet[2:], h.HdrLen)
	binary.LittleEndian.PutUint16(packet[4:], h.GSOSize)
	binary.LittleEndian.PutUint16(packet[6:], h.CSumStart)
	binary.LittleEndian.PutUint16(packet[8:], h.CSumOffset)
}

// Offloads are what a kernel does on a device for us.
type Offloads struct {
	Header   bool // packets carry a virtio_net_hdr
	Checksum bool // checksums may be left to the receiver
	TSO      bool // TCP super-frames, IPv4 and IPv6
	USO      bool // UDP super-frames
}

// String lists them: "header checksum tso uso", or "none".
func (o Offloads) String() string {
	var s []string
	for _, c := range []struct {
		on   bool
		name string
	}{{o.Header, "header"}, {o.Checksum, "checksum"}, {o.TSO, "tso"}, {o.USO, "uso"}} {
		if c.on {
			s = append(s, c.name)
		}
	}
	if len(s) == 0 {
		return "none"
	}
	return strings.Join(s, " ")
}
