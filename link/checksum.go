package link

import (
	"encoding/binary"
	"math/bits"
)

// sum64 adds b, as big-endian 16-bit words, to initial (RFC 1071), eight bytes
// at a time: words wrap around into each other, which the ones' complement sum
// allows. An odd last byte counts as the high half of a word.
func sum64(b []byte, initial uint64) uint64 {
	acc, carry := initial, uint64(0)
	for len(b) >= 32 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[8:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[16:]), carry)
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 8 {
		acc, carry = bits.Add64(acc, binary.BigEndian.Uint64(b), carry)
		b = b[8:]
	}
	if len(b) >= 4 {
		acc, carry = bits.Add64(acc, uint64(binary.BigEndian.Uint32(b)), carry)
		b = b[4:]
	}
	if len(b) >= 2 {
		acc, carry = bits.Add64(acc, uint64(binary.BigEndian.Uint16(b)), carry)
		b = b[2:]
	}
	if len(b) == 1 {
		acc, carry = bits.Add64(acc, uint64(b[0])<<8, carry)
	}
	acc, carry = bits.Add64(acc, 0, carry)
	return acc + carry
}

// fold returns the 16-bit ones' complement sum of what sum64 added up.
func fold(acc uint64) uint16 {
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>32 + acc&0xffffffff
	acc = acc>>16 + acc&0xffff
	acc = acc>>16 + acc&0xffff
	return uint16(acc>>16 + acc&0xffff)
}

// Complete fills in the checksum that the header of packet asks for and clears
// the header. packet must have passed [Validate] and be no super-frame.
func Complete(packet []byte) error {
	h := ParseHeader(packet)
	if h.GSOType != GSONone {
		return errGSO
	}
	if h.Flags&FlagNeedsChecksum != 0 {
		frame := packet[HeaderLen:]
		start := int(h.CSumStart)
		at := start + int(h.CSumOffset)
		if at+2 > len(frame) {
			return errChecksum
		}
		// The field holds the sum of the pseudo header, which takes part.
		putChecksum(frame[at:], fold(sum64(frame[start:], 0)), h.CSumOffset == 6)
	}
	clear(packet[:HeaderLen])
	return nil
}

// putChecksum writes the complement of sum. In UDP a checksum of 0 would mean
// that there is none (RFC 768).
func putChecksum(b []byte, sum uint16, udp bool) {
	sum = ^sum
	if udp && sum == 0 {
		sum = 0xffff
	}
	binary.BigEndian.PutUint16(b, sum)
}
