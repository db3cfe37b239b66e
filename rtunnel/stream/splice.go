package stream

import (
	"errors"

	"github.com/stack4things/s4t/rtunnel"
)

// inflow is how the bytes of a direction come to a streamConn.
type inflow struct {
	rtunnel.Bulkiness
	splicer *rtunnel.Splicer // nil: none was needed so far
	none    bool             // there can be none
}

// reset ends a stream's inflow.
func (f *inflow) reset() {
	f.splicer.Close()
	*f = inflow{}
}

// splice moves bulky messages to the local end until one comes that
// ReadMessage must read.
func (sc *streamConn) splice() error {
	for sc.in.Enough() && !sc.in.none {
		if sc.in.splicer == nil {
			end := sc.current()
			if end == nil { // broken from outside
				return nil
			}
			if sc.in.splicer = rtunnel.NewSplicer(sc.conn, end.local); sc.in.splicer == nil {
				sc.in.none = true
				return nil
			}
		}
		n, err := sc.in.splicer.Receive()
		switch {
		case errors.Is(err, rtunnel.ErrMasked):
			sc.in.none = true
			return nil
		case errors.Is(err, rtunnel.ErrLocal):
			sc.reset()
			return err
		case n == 0 || err != nil:
			return err
		}
		sc.in.Note(n)
		if end := sc.current(); end != nil {
			end.moving(Received, n)
		}
	}
	return nil
}

// spliceIn moves bytes from the local end to c inside the kernel while they come in
// bulk, until io.EOF. It reports whether that is possible at all.
func spliceIn(c *rtunnel.Conn, end *localEnd, bulk *rtunnel.Bulkiness) (possible bool, err error) {
	s := rtunnel.NewSplicer(c, end.local)
	if s == nil {
		return false, nil
	}
	defer s.Close()
	for bulk.Enough() {
		end.moved.Add(1)
		n, err := s.Send()
		if err != nil {
			return true, err
		}
		bulk.Note(n)
		end.moving(Sent, n)
	}
	return true, nil
}
