package vswitch

import (
	"bytes"
	"testing"
)

func TestAWrapperLaysOutWhatAPortIsSent(t *testing.T) {
	q := newQueue()
	q.wrap = &Wrapper{MaxFrame: 1000, Put: func(dst, pkt []byte) int {
		return copy(dst, "outer") + copy(dst[5:], pkt)
	}}
	for _, size := range []int{60, 1000, 1001} {
		q.put(numbered(1, size, size), nil)
	}
	var got []byte
	for {
		r, ok := q.take(chunkSize)
		if !ok {
			break
		}
		if r.sparse != nil {
			got = append(got, r.sparse.b[:r.sparse.end()]...)
		}
		got = append(got, r.piece...)
		q.done(r)
	}
	if n := bytes.Count(got, []byte("outer")); n != 2 || len(got) != 60+1000+2*(5+offloadLen) {
		t.Errorf("%d frames, %d bytes; want two, the longest left out", n, len(got))
	}
}
