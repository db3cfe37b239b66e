package rtunnel

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"
)

func TestATryTakesWhatThePathTakesAndKeepsTheOrder(t *testing.T) {
	for _, over := range []string{"tcp", "tls"} {
		t.Run(over, func(t *testing.T) {
			a, b := pairs[over](t)
			from, to := NewConn(a, nil, true), NewConn(b, nil, false)
			defer from.Close()
			defer to.Close()
			from.CarryFrames()
			const size, total = 60_000, 400
			enough := errors.New("enough")
			run, frame := layFor(from, 256<<10), make([]byte, size)
			sent, parts, refusals := 0, 0, 0
			fill := func() {
				for sent < total {
					binary.BigEndian.PutUint32(frame, uint32(sent))
					if !run.add(frame) {
						return
					}
					sent++
				}
			}
			got := make(chan error, 1)
			read := func() {
				next := uint32(0)
				err := to.ReadFrames(size, func(p []byte) error {
					if len(p) != size || binary.BigEndian.Uint32(p) != next {
						t.Errorf("frame %d has %d bytes and says %d", next, len(p), binary.BigEndian.Uint32(p))
					}
					if next++; next == total {
						return enough
					}
					return nil
				}, nil)
				if err == enough {
					err = nil
				}
				got <- err
			}
			for reading := false; sent < total; {
				fill()
				took, all, err := from.TryWriteFrames(run.b)
				if err != nil {
					t.Fatal(err)
				}
				if !all && !reading { // nobody reads: a try must come back, and full
					reading = true
					from.Ping() // waits until that is done
					go read()
				}
				switch {
				case all:
					run.b = run.b[:0]
				case took:
					parts++
					if err := from.Finish(); err != nil {
						t.Fatal(err)
					}
					run.b = run.b[:0]
				default:
					refusals++
					if err := run.send(from); err != nil {
						t.Fatal(err)
					}
				}
			}
			if parts+refusals == 0 {
				t.Error("the path was never full")
			}
			if err := <-got; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheUnsentLimitFollowsTheRate(t *testing.T) {
	a, b := tcpPair(t)
	c := NewConn(a, nil, true)
	defer c.Close()
	defer b.Close()
	c.CarryFrames()
	for _, step := range []struct {
		bytes int
		after time.Duration
		full  bool
		want  int
	}{
		{1 << 10, time.Second, false, minUnsent},
		{1 << 20, 10 * time.Millisecond, false, minUnsent}, // the window is not over
		{200 << 20, 100 * time.Millisecond, false, maxUnsent},
		{20 << 20, 100 * time.Millisecond, false, 256 << 10},
		{1 << 10, time.Second, false, minUnsent},
		{125_000, 100 * time.Millisecond, true, lowUnsent},  // 10 Mbit/s
		{1_250_000, 100 * time.Millisecond, true, 64 << 10}, // 100 Mbit/s
		{125_000, 100 * time.Millisecond, false, minUnsent}, // 10 Mbit/s of a path that could do more
		{1_250_000, 2 * time.Second, true, minUnsent},       // it was idle most of the time
		{200 << 20, 100 * time.Millisecond, true, maxUnsent},
	} {
		c.unsent.since = time.Now().Add(-step.after)
		c.out.full = step.full
		c.unsent.wrote(c, step.bytes)
		if c.unsent.limit != step.want {
			t.Errorf("%d bytes in %v: limit %d, want %d", step.bytes, step.after, c.unsent.limit, step.want)
		}
	}
}
