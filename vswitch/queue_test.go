package vswitch

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

// numbered is a frame of a flow with a number in it.
func numbered(flow uint32, number, size int) *frame {
	pkt := make([]byte, offloadLen+max(size, 14+8))
	binary.BigEndian.PutUint32(pkt[offloadLen+14:], flow)
	binary.BigEndian.PutUint32(pkt[offloadLen+18:], uint32(number))
	return &frame{pkt: pkt, eth: pkt[offloadLen:], hash: flow}
}

// order takes runs of at most limit bytes and returns the numbers by flow.
func order(q *queue, limit int, rounds int) (got []uint32, numbers map[uint32][]int) {
	numbers = map[uint32][]int{}
	for range rounds {
		r, ok := q.take(limit)
		if !ok {
			break
		}
		var b []byte
		if r.sparse != nil {
			b = append(b, r.sparse.b[:r.sparse.end()]...)
		}
		b = append(b, r.piece...)
		q.done(r)
		for len(b) > 0 {
			n := int(binary.BigEndian.Uint32(b))
			flow := binary.BigEndian.Uint32(b[4+offloadLen+14:])
			got = append(got, flow)
			numbers[flow] = append(numbers[flow], int(binary.BigEndian.Uint32(b[4+offloadLen+18:])))
			b = b[4+n:]
		}
	}
	return got, numbers
}

func TestASparseFlowOvertakesABulkFlow(t *testing.T) {
	q := newQueue()
	for i := range 12 {
		q.put(numbered(1, i, 60000), header)
	}
	q.put(numbered(2, 0, 98), header)
	got, _ := order(q, chunkSize, 1)
	if len(got) == 0 || got[0] != 2 {
		t.Errorf("the first frames to go are of flows %v, want the ping first", got)
	}
}

func TestFramesOfAFlowStayInOrder(t *testing.T) {
	q := newQueue()
	next := map[uint32]int{}
	all := map[uint32][]int{}
	put := func(flow uint32, size, n int) {
		for range n {
			if dropped, _ := q.put(numbered(flow, next[flow], size), header); dropped > 0 {
				t.Fatal("dropped")
			}
			next[flow]++
		}
	}
	for round := range 200 {
		put(1, 200, 37)       // over what may go ahead in a round
		put(2, 60, 3)         // a sparse flow
		put(3, 1400, round%7) // now this, now that
		put(3, 9000, round%3)
		put(1+flowCount, 300, 2) // shares its slot with flow 1
		_, numbers := order(q, 8<<10, 1+round%4)
		for flow, n := range numbers {
			all[flow] = append(all[flow], n...)
		}
	}
	_, numbers := order(q, chunkSize, 1<<20)
	for flow, n := range numbers {
		all[flow] = append(all[flow], n...)
	}
	for flow, want := range next {
		if len(all[flow]) != want {
			t.Errorf("flow %d: %d of %d frames came out", flow, len(all[flow]), want)
		}
		for i, n := range all[flow] {
			if n != i {
				t.Fatalf("flow %d: frame %d came as number %d", flow, n, i)
			}
		}
	}
	if q.bytes != 0 || q.sparse != nil && !q.sparse.empty() || len(q.bulk) != 0 {
		t.Errorf("%d bytes are left", q.bytes)
	}
}

func TestAFullQueueDropsTheOldest(t *testing.T) {
	const size = 1400
	for _, tt := range []struct {
		name  string
		pause time.Duration // between two frames
		n     int
		limit int
	}{
		{"a slow path", maxWait / 100, 5000, queueLimit},
		{"a burst", 0, 5000, burstLimit},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newQueue()
				dropped := 0
				for i := range tt.n {
					d, _ := q.put(numbered(1, i, size), header)
					dropped += d
					time.Sleep(tt.pause)
				}
				if q.bytes > tt.limit || q.bytes < tt.limit-2*size {
					t.Errorf("%d bytes wait, the limit is %d", q.bytes, tt.limit)
				}
				if len(q.bulk) > tt.limit/chunkSize+2 {
					t.Errorf("%d chunks are held", len(q.bulk))
				}
				_, numbers := order(q, chunkSize, 1<<20)
				got := numbers[1]
				if len(got)+dropped != tt.n || got[len(got)-1] != tt.n-1 {
					t.Errorf("%d came out, %d were dropped of %d; the last is %d", len(got), dropped, tt.n, got[len(got)-1])
				}
				ahead := 0 // what went to the sparse lane before the flow was bulk
				for got[ahead] == ahead {
					ahead++
				}
				for i := ahead + 1; i < len(got); i++ {
					if got[i] != got[i-1]+1 {
						t.Fatalf("after number %d comes %d: not the oldest were dropped", got[i-1], got[i])
					}
				}
			})
		})
	}
}

func TestAWriterIsWokenOnce(t *testing.T) {
	q := newQueue()
	if _, wake := q.put(numbered(1, 0, 100), header); wake {
		t.Error("a writer that never asked need not be woken")
	}
	order(q, chunkSize, 2) // it finds nothing at last
	if _, wake := q.put(numbered(1, 1, 100), header); !wake {
		t.Error("a sleeping writer is not woken")
	}
	if _, wake := q.put(numbered(1, 2, 100), header); wake {
		t.Error("it is woken twice")
	}
	q.close()
	if _, wake := q.put(numbered(1, 3, 100), header); wake || q.bytes != 0 {
		t.Error("a closed queue takes frames")
	}
}

func TestRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2)
		p := l.add(1, s4t.PortGuards{})
		out := &collector{got: make(chan struct{}, 1)}
		const rate = 100_000 // bytes/s
		d, err := l.sw.Add(PortConfig{ID: "2", MAC: mac(2), Guards: s4t.PortGuards{RateLimit: rate}, Out: out})
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error)
		go func() { done <- d.Run(t.Context()) }()
		frame := append(make([]byte, offloadLen), ether(mac(2), mac(1), 0x1234, make([]byte, 986))...)
		for range 500 {
			p.Input(frame)
		}
		p.Flush()
		time.Sleep(2 * time.Second)
		if n := out.count(); n < 190 || n > 215 {
			t.Errorf("%d frames of 1 kB in 2 s at %d bytes/s", n, rate)
		}
		d.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRateLimitFromThePort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, 2)
		p, err := l.sw.Add(PortConfig{ID: "1", MAC: mac(1), Guards: s4t.PortGuards{RateLimit: 100_000}, Out: nowhere{}})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		frame := append(make([]byte, offloadLen), ether(mac(2), mac(1), 0x1234, make([]byte, 976))...)
		for range 200 {
			p.Input(frame)
			p.Flush()
			p.Throttle(t.Context())
		}
		if took := time.Since(start); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
			t.Errorf("200 kB took %v at 100 kB/s", took)
		}
		for range 1000 {
			p.Input(frame)
		}
		go func() { time.Sleep(time.Second); p.Close() }()
		start = time.Now()
		if p.Throttle(t.Context()); time.Since(start) != time.Second {
			t.Error("a closed port still waits")
		}
	})
}
