package hal

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAProblemThatComesOrGoesIsAChange: whoever shows the pins hears of it; once, however long it lasts.
func TestAProblemThatComesOrGoesIsAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sensor, other := fakeSensor("fake/a/t", 100*time.Millisecond), fakeSensor("fake/b/t", 100*time.Millisecond)
		h, _, stop := start(t, Config{}, sensor, other)
		defer stop()
		p := pin(t, h, "fake/a/t")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		for _, err := range []error{errTest, nil} {
			before, changed := h.Revision(), h.Changed()
			sensor.fail(err)
			<-changed
			if got := p.Info().Problem; (got != "") != (err != nil) {
				t.Errorf("device %v, problem %q", err, got)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if n := h.Revision() - before; n != 1 {
				t.Errorf("device %v: %d changes", err, n)
			}
		}
	})
}

// TestADeviceThatFlapsIsAChangeASecondAtMost: the files of the pins are not made anew with each sample.
func TestADeviceThatFlapsIsAChangeASecondAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sensor := fakeSensor("fake/a/t", time.Millisecond)
		n := 0
		sensor.read = func() float64 { // no number, and one again
			if n++; n%2 == 0 {
				return 1
			}
			zero := 0.
			return 1 / zero
		}
		h, _, stop := start(t, Config{}, sensor)
		defer stop()
		before := h.Revision()
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if n := h.Revision() - before; n > 21 {
			t.Errorf("%d changes in 20 s", n)
		}
	})
}

// TestADeviceThatDoesNotAnswerIsAChange: and so is that it answers again.
func TestADeviceThatDoesNotAnswerIsAChange(t *testing.T) {
	for _, period := range []time.Duration{0, 100 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			sensor := fakeSensor("fake/a/t", period)
			sensor.block = make(chan struct{})
			h, _, stop := start(t, Config{}, sensor)
			defer stop()
			p := pin(t, h, "fake/a/t")
			before, changed := h.Revision(), h.Changed()
			go p.Read(t.Context())
			<-changed
			if p.Info().Problem == "" {
				t.Error("no problem")
			}
			time.Sleep(time.Minute)
			changed = h.Changed()
			close(sensor.block)
			<-changed
			if got := p.Info().Problem; got != "" {
				t.Error(got)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if n := h.Revision() - before; n != 2 {
				t.Errorf("%d changes", n)
			}
		})
	}
}
