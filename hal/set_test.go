package hal

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestAScaleHoldsFromTheNextReadOn: a value of the scale before is not shown as one of the new.
func TestAScaleHoldsFromTheNextReadOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sensor := fakeSensor("fake/a/t", time.Hour)
		sensor.value = 20
		h, _, stop := start(t, Config{}, sensor)
		defer stop()
		p := pin(t, h, "fake/a/t")
		got, cancel := collect(p)
		defer cancel()
		if err := p.Set(t.Context(), map[string]string{"deadband": "5"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := p.Set(t.Context(), map[string]string{"scale": "0.1"}); err != nil {
			t.Fatal(err)
		}
		if v := p.Info().Value; v != nil && *v != 2 {
			t.Errorf("the answer has the value %v", *v)
		}
		if s, err := p.Read(t.Context()); err != nil || s.Value != 2 || s.Seq < 1 {
			t.Errorf("read %+v, %v", s, err)
		}
		synctest.Wait()
		if v := got()[len(got())-1]; v.Value != 2 { // those who watch hear it, too
			t.Errorf("watched %+v", got())
		}
	})
}

// TestAScaleLeavesOutputsAsTheyAre: what the device was told stays, and so does what it goes back to.
func TestAScaleLeavesOutputsAsTheyAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := fakeOutput("fake/a/out")
		out.pin.Kind = "analog"
		h, _, stop := start(t, Config{}, out)
		defer stop()
		p := pin(t, h, "fake/a/out")
		for _, o := range []Order{{Value: 3, Holder: "a"}, {Value: 4, For: time.Minute, Holder: "a"}} {
			if err := p.Write(t.Context(), o); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.Set(t.Context(), map[string]string{"scale": "2"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s, err := p.Read(t.Context()); err != nil || s.Value != 6 {
			t.Errorf("it went back to %+v, %v", s, err)
		}
		if v, _ := out.now(); v != 3 {
			t.Errorf("the device has %v", v)
		}
	})
}

// TestADirectionIsReadAnew: the level of the output is none of the input.
func TestADirectionIsReadAnew(t *testing.T) {
	out := edges()
	out.pin.Keys = append(out.pin.Keys, "direction", "bias")
	h, _, _ := start(t, Config{}, out)
	p := pin(t, h, out.pin.Name)
	for i, set := range []map[string]string{{"direction": "out"}, {"direction": "in"}, {"bias": "pull-up"}} {
		if _, err := p.Read(t.Context()); err != nil {
			t.Fatal(err)
		}
		out.mu.Lock()
		out.value = float64((i + 1) % 2) // it tells no edge of it
		out.mu.Unlock()
		if err := p.Set(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		if s, err := p.Read(t.Context()); err != nil || s.Value != float64((i+1)%2) {
			t.Errorf("%v: read %+v, %v", set, s, err)
		}
	}
}
