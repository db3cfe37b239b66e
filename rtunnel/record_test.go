package rtunnel

import (
	"encoding/binary"
	"testing"
)

// FuzzRecord checks that whatever comes, in whatever pieces, is given on whole
// and ends where a record or its header does.
func FuzzRecord(f *testing.F) {
	f.Add([]byte{22, 3, 3, 0, 2, 'o', 'k', 23, 3, 3, 0, 0, 21, 3, 3}, byte(3))
	f.Add([]byte{23, 3, 3, 0xff, 0xff, 1}, byte(1))
	f.Fuzz(func(t *testing.T, stream []byte, piece byte) {
		var ends []int // of headers and bodies
		for at := 0; at+5 <= len(stream); {
			body := int(binary.BigEndian.Uint16(stream[at+3:]))
			ends = append(ends, at+5)
			if at += 5 + body; body > 0 {
				ends = append(ends, at)
			}
		}
		var r record
		for at := 0; at < len(stream); {
			end := len(stream)
			if len(ends) > 0 {
				end = min(end, ends[0])
			}
			came := stream[at:min(len(stream), at+int(piece)+1)]
			p := r.next(came)
			if want := min(len(came), end-at); len(p) != want {
				t.Fatalf("at %d of %x: %d bytes, want %d", at, stream, len(p), want)
			}
			r.took(p)
			if at += len(p); at == end && len(ends) > 0 {
				ends = ends[1:]
			}
		}
	})
}
