package stream

import "testing"

// FuzzControl checks the messages between the ends of a stream.
func FuzzControl(f *testing.F) {
	f.Add([]byte(`{"open":{"ticket":"a.b","waiting":3}}`))
	f.Add([]byte(`{"refused":{"kind":"offline","message":"x"}}`))
	f.Add([]byte(`{"eof":{}}`))
	f.Add([]byte(`{"reset":null}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseControl(p)
		if err != nil {
			return
		}
		if len(p) > maxControlText || m.Open != nil && len(m.Open.Ticket) > 2048 {
			t.Errorf("%d bytes were accepted", len(p))
		}
		if m.Refused != nil {
			_ = m.Refused.Err().Error()
		}
	})
}
