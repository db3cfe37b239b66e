package resume

import (
	"bytes"
	"testing"
)

// FuzzMessage checks the heads of messages: what is read is what was written.
func FuzzMessage(f *testing.F) {
	for _, m := range []message{{kind: hello, received: 3, limit: 70_000}, {kind: ack, received: 1 << 40, limit: 1<<40 + 5}, {kind: data, length: 7}, {kind: fin}, {kind: bye}} {
		f.Add(m.appendTo(nil))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) == 0 {
			return
		}
		size, err := headSize(p[0])
		if err != nil || len(p) < size {
			return
		}
		m, err := parseHead(p[:size])
		if err != nil {
			return
		}
		if b := m.appendTo(nil); !bytes.HasPrefix(p, b) {
			t.Errorf("%x was read as %x", p, b)
		}
		if m.length > maxData {
			t.Errorf("%d bytes of data", m.length)
		}
	})
}
