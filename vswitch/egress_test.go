package vswitch

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stack4things/s4t"
)

// stuck is a Writer whose path is full until it is let go.
type stuck struct {
	letGo chan struct{}
	runs  [][]byte
}

func (w *stuck) WriteFrames(p []byte) error {
	<-w.letGo
	w.runs = append(w.runs, append([]byte(nil), p...))
	return nil
}

// plainWrap lays frames out as they are.
var plainWrap = &Wrapper{Put: func(dst, pkt []byte) int { return copy(dst, pkt) }, MaxFrame: s4t.MaxFrame}

func TestEgressOfAFullPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &stuck{letGo: make(chan struct{})}
		o, err := NewEgress(EgressConfig{Layer: 2, Out: w, Wrap: plainWrap})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- o.Run(ctx) }()
		bulk := append(make([]byte, offloadLen), ether(mac(2), mac(1), 0x1234, make([]byte, 60000))...)
		ping := append(make([]byte, offloadLen), ether(mac(2), mac(1), 0x4321, make([]byte, 64))...)
		put := func(pkt []byte) {
			o.Put(pkt)
			o.Flush()
			synctest.Wait()
		}
		const n = 100
		for range n {
			put(bulk) // never waits
			time.Sleep(maxWait / 10)
		}
		put(ping)
		w.letGo <- struct{}{} // what the writer was in
		w.letGo <- struct{}{}
		synctest.Wait()
		if got := w.runs[1]; len(got) != len(ping) {
			t.Errorf("behind the write that was under way come %d bytes, want the ping of %d", len(got), len(ping))
		}
		close(w.letGo)
		synctest.Wait()
		bytes := 0
		for _, r := range w.runs {
			bytes += len(r)
		}
		dropped := int(o.counts.snapshot().Dropped.QueueFull)
		if want := (n-dropped)*len(bulk) + len(ping); bytes != want || bytes > queueLimit+2*chunkSize || dropped == 0 {
			t.Errorf("%d bytes came out, %d frames were dropped; want %d bytes", bytes, dropped, want)
		}
		o.Put([]byte{1, 2, 3}) // no frame at all
		o.Put(append(make([]byte, offloadLen), 0xff))
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		o.Close()
	})
}
