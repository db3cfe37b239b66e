package lightningrod

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// TestPacing: whoever moves bytes, all together move no more than the rate.
func TestPacing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		start := time.Now()
		p.moved(1<<40, nil)
		if d := p.Debt(1 << 40); d > 0 || time.Since(start) != 0 {
			t.Errorf("without a limit: %v, %v", d, time.Since(start))
		}
		p.set(1_000_000)
		var movers sync.WaitGroup
		for range 4 {
			movers.Go(func() {
				for range 25 {
					p.moved(100_000, nil)
				}
			})
		}
		movers.Wait()
		if took := time.Since(start); took < 10*time.Second-paceBurst || took > 10*time.Second {
			t.Errorf("10 MB at 1 MB/s took %v", took)
		}
		time.Sleep(time.Hour) // what was not used is not saved up
		start = time.Now()
		p.moved(1_000_000, nil)
		if took := time.Since(start); took != time.Second-paceBurst {
			t.Errorf("1 MB after a rest took %v", took)
		}
	})
}

// TestAPacedMoverIsLetGo when the limit goes, or nobody wants the bytes any more.
func TestAPacedMoverIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer()
		p.set(1000)
		done := make(chan struct{})
		go func() {
			time.Sleep(time.Second)
			close(done)
		}()
		start := time.Now()
		p.moved(1_000_000, done)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the stream ended after 1 s, its mover after %v", took)
		}
		go func() {
			time.Sleep(time.Second)
			p.set(0)
		}()
		start = time.Now()
		p.moved(1_000_000, nil)
		if took := time.Since(start); took != time.Second {
			t.Errorf("the limit went after 1 s, its mover after %v", took)
		}
		p.set(2000)
		if d := p.Debt(200); d != 100*time.Millisecond-paceBurst || p.Rate() != 2000 {
			t.Errorf("another limit: %v", d)
		}
	})
}
