package rtunnel

import (
	"encoding/binary"
	"errors"

	"github.com/stack4things/s4t"
)

// Opcode is the type of a WebSocket frame (RFC 6455, section 5.2).
type Opcode byte

// The opcodes of RFC 6455; all others are reserved and refused.
const (
	opContinuation Opcode = 0
	OpText         Opcode = 1  // a control message of ours, JSON
	OpBinary       Opcode = 2  // bytes of a stream, or one frame of a network
	OpClose        Opcode = 8  // handled by Conn
	OpPing         Opcode = 9  // answered by Conn
	OpPong         Opcode = 10 // noted by Conn
)

// Status codes of a close frame that we send or understand (RFC 6455, section
// 7.4.1).
const (
	StatusNormal        uint16 = 1000 // the purpose is fulfilled
	StatusGoingAway     uint16 = 1001 // the process ends
	StatusProtocolError uint16 = 1002
	StatusPolicy        uint16 = 1008 // the ticket was revoked, or a newer tunnel took its place
	StatusTooBig        uint16 = 1009
	StatusTryAgain      uint16 = 1013
	statusNone          uint16 = 1005 // a close frame without a code; never sent
)

const (
	// MaxHeader is the most bytes of an unmasked frame header.
	MaxHeader = 10
	// maxMaskedHeader is the same with the masking key.
	maxMaskedHeader = MaxHeader + 4
	maxControl      = 125 // bytes of a control frame's payload (RFC 6455, section 5.5)
)

// errShort means that more bytes are needed to read a header.
var errShort = errors.New("frame header is not complete")

// header is a frame header.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-+-+-+-+-------+-+-------------+-------------------------------+
//	|F|R|R|R| opcode|M| payload len |  16 or 64 bits of length where|
//	|I|S|S|S|  (4)  |A|     (7)     |  the 7 bits are 126 or 127    |
//	|N|V|V|V|       |S|             |  (big endian)                 |
//	+-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
//	| masking key, 4 bytes, where MASK is set                       |
//	+---------------------------------------------------------------+
type header struct {
	fin     bool
	op      Opcode
	masked  bool
	key     [4]byte
	size    int // bytes of the header
	payload int // bytes of the payload
}

// parseHeader reads the header at the start of b. It returns errShort when b
// does not hold all of it, and a protocol error for what RFC 6455 forbids. The
// length is checked against max only.
func parseHeader(b []byte, max int) (h header, err error) {
	if len(b) < 2 {
		return h, errShort
	}
	h.fin, h.op, h.masked = b[0]&0x80 != 0, Opcode(b[0]&0x0f), b[1]&0x80 != 0
	if b[0]&0x70 != 0 {
		return h, protocolError("a reserved bit is set and no extension was agreed")
	}
	h.size = 2
	switch n := b[1] & 0x7f; n {
	case 126:
		if len(b) < 4 {
			return h, errShort
		}
		h.payload, h.size = int(binary.BigEndian.Uint16(b[2:])), 4
		if h.payload < 126 {
			return h, protocolError("a length is not in its shortest form")
		}
	case 127:
		if len(b) < 10 {
			return h, errShort
		}
		l := binary.BigEndian.Uint64(b[2:])
		if l <= 0xffff {
			return h, protocolError("a length is not in its shortest form")
		}
		if l > uint64(max) {
			return h, tooBig(l, max)
		}
		h.payload, h.size = int(l), 10
	default:
		h.payload = int(n)
	}
	switch h.op {
	case opContinuation, OpText, OpBinary:
	case OpClose, OpPing, OpPong:
		if !h.fin || h.payload > maxControl {
			return h, protocolError("a control frame is fragmented or longer than 125 bytes")
		}
	default:
		return h, protocolError("an opcode is reserved")
	}
	if h.payload > max && h.op < OpClose {
		return h, tooBig(uint64(h.payload), max)
	}
	if h.masked {
		if len(b) < h.size+4 {
			return h, errShort
		}
		copy(h.key[:], b[h.size:])
		h.size += 4
	}
	return h, nil
}

// headerSize is the bytes of an unmasked header for a payload.
func headerSize(payload int) int {
	switch {
	case payload < 126:
		return 2
	case payload <= 0xffff:
		return 4
	}
	return 10
}

// PutHeader writes the header of one unmasked binary message, as a server
// sends it, to the start of dst and returns its size, at most [MaxHeader].
// The length is in its shortest form, which RFC 6455 demands.
func PutHeader(dst []byte, payload int) int { return putHeader(dst, OpBinary, payload, 0) }

// putHeader writes a header without its key; mask is 0x80 or 0.
func putHeader(dst []byte, op Opcode, payload int, mask byte) int {
	dst[0] = 0x80 | byte(op)
	switch n := headerSize(payload); n {
	case 2:
		dst[1] = mask | byte(payload)
		return 2
	case 4:
		dst[1] = mask | 126
		binary.BigEndian.PutUint16(dst[2:], uint16(payload))
		return 4
	default:
		dst[1] = mask | 127
		binary.BigEndian.PutUint64(dst[2:], uint64(payload))
		return 10
	}
}

// putMaskedHeader writes a header with its key.
func putMaskedHeader(dst []byte, op Opcode, payload int, key [4]byte) int {
	n := putHeader(dst, op, payload, 0x80)
	return n + copy(dst[n:], key[:])
}

// putFrame writes one frame with the payload p to dst, which does not overlap
// it, and returns its length. It is masked with the next of keys, which is nil at
// a server's end.
func putFrame(dst []byte, op Opcode, p []byte, keys *keys) int {
	if keys == nil {
		n := putHeader(dst, op, len(p), 0)
		return n + copy(dst[n:], p)
	}
	key := keys.next()
	n := putMaskedHeader(dst, op, len(p), key)
	maskTo(dst[n:n+len(p)], p, key)
	return n + len(p)
}

const readOp = "read from the rtunnel"

func protocolError(what string) error {
	return s4t.Errorf(s4t.Invalid, readOp, "the other end is no rtunnel, or something between changes the bytes", "the WebSocket is broken: %s", what)
}

func tooBig(n uint64, max int) error {
	return s4t.Errorf(s4t.TooMany, readOp, "", "a message of %d bytes is over the limit of %d", n, max)
}
