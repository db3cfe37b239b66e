package terminal

import (
	"encoding/binary"
	"strings"

	"github.com/stack4things/s4t"
)

// Kind is the first byte of a frame.
type Kind byte

// The kinds of frames; see the package's comment.
const (
	Open    Kind = 'o'
	Size    Kind = 's'
	Data    Kind = 'd'
	Exit    Kind = 'x'
	Problem Kind = 'e'
)

// Bounds of a frame, in bytes.
const (
	header     = 3
	MaxData    = 16 << 10 // of data
	MaxTerm    = 64       // of the name of a terminal
	MaxProblem = 1024     // of a problem
)

// Frame is one message. What it has besides its kind follows from that.
type Frame struct {
	Kind    Kind
	Columns uint16 // Open, Size
	Rows    uint16 // Open, Size
	Term    string // Open
	Data    []byte // Data; valid until the next use of the decoder
	Status  uint8  // Exit
	Problem string // Problem
}

// Append appends the frame as it is sent. What is longer than its bound is cut.
func (f Frame) Append(b []byte) []byte {
	at := len(b)
	b = append(b, byte(f.Kind), 0, 0)
	switch f.Kind {
	case Open, Size:
		b = binary.BigEndian.AppendUint16(b, f.Columns)
		b = binary.BigEndian.AppendUint16(b, f.Rows)
		if f.Kind == Open {
			b = append(b, f.Term[:min(len(f.Term), MaxTerm)]...)
		}
	case Data:
		b = append(b, f.Data[:min(len(f.Data), MaxData)]...)
	case Exit:
		b = append(b, f.Status)
	case Problem:
		b = append(b, s4t.Line(f.Problem, MaxProblem)...)
	}
	binary.BigEndian.PutUint16(b[at+1:], uint16(len(b)-at-header))
	return b
}

// Decoder takes bytes as they come, and finds the frames in them. The zero value is ready.
type Decoder struct {
	rest []byte // the begin of a frame
}

// Take gives each frame that is complete to f, in order, and stops at the first error, of a
// frame or of f. After an error it is of no use any more.
func (d *Decoder) Take(p []byte, f func(Frame) error) error {
	if len(d.rest) > 0 {
		d.rest = append(d.rest, p...)
		p = d.rest
	}
	for {
		one, size, err := parse(p)
		if err != nil {
			return err
		}
		if size == 0 {
			d.rest = append(d.rest[:0], p...)
			return nil
		}
		if err := f(one); err != nil {
			return err
		}
		p = p[size:]
	}
}

// parse returns the frame that p begins with, and its size; 0 where it is not complete.
func parse(p []byte) (f Frame, size int, err error) {
	if len(p) == 0 {
		return f, 0, nil
	}
	least, most := 0, 0
	switch f.Kind = Kind(p[0]); f.Kind {
	case Open:
		least, most = 5, 4+MaxTerm
	case Size:
		least, most = 4, 4
	case Data:
		least, most = 1, MaxData
	case Exit:
		least, most = 1, 1
	case Problem:
		least, most = 0, MaxProblem
	default:
		return f, 0, wrong("a frame of the kind 0x%02x", p[0])
	}
	if len(p) < header {
		return f, 0, nil
	}
	n := int(binary.BigEndian.Uint16(p[1:]))
	if n < least || n > most {
		return f, 0, wrong("%d bytes in a frame of the kind %q", n, p[0])
	}
	size = header + n
	if len(p) < size {
		return f, 0, nil
	}
	body := p[header:size]
	switch f.Kind {
	case Open, Size:
		f.Columns, f.Rows = binary.BigEndian.Uint16(body), binary.BigEndian.Uint16(body[2:])
		f.Term = string(body[4:])
		if f.Kind == Open && !validTerm(f.Term) {
			return f, 0, wrong("%q is no name of a terminal", f.Term)
		}
	case Data:
		f.Data = body
	case Exit:
		f.Status = body[0]
	case Problem:
		f.Problem = string(body)
	}
	return f, size, nil
}

// validTerm reports whether a name of a terminal goes into an environment: names of terminfo(5),
// and nothing that a program could take for a path.
func validTerm(s string) bool {
	if s == "" || len(s) > MaxTerm || s[0] == '.' || s[0] == '-' {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-+._", r))
	})
}

func wrong(format string, args ...any) error {
	return s4t.Errorf(s4t.Invalid, "read a terminal's stream", "the other end may be of another version", format, args...)
}
