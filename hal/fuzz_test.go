package hal

import (
	"math"
	"testing"

	"github.com/stack4things/s4t"
)

func FuzzConfig(f *testing.F) {
	f.Add([]byte("[defaults]\nperiod = \"1s\"\n[[pin]]\nname = \"gpio/*/1\"\nlabel = \"gate\"\nmode = \"0660\"\nowner = \"0\"\ncloud = \"read\"\nvalue = \"on\"\nscale = 2\n"))
	f.Add([]byte("[[sim]]\nwave = \"output\"\npin = \"out\"\n[[sim]]\nwave = \"input\"\nloop = \"out\"\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := parseConfig("f", text)
		if err != nil {
			return
		}
		for i := range c.Pin {
			for k, v := range c.Pin[i].settings() {
				if again, err := checkSetting(k, v); err != nil || again != v {
					t.Errorf("%s=%q is taken, and then %q, %v", k, v, again, err)
				}
			}
		}
		for i := range c.Sim {
			if c.Sim[i].Wave == waveCSV { // its file is not the fuzzer's
				return
			}
		}
		s, err := newSim(c.Sim)
		if err != nil {
			t.Fatal(err)
		}
		found, _ := s.Scan(t.Context())
		for _, pin := range found {
			if s4t.ValidPinName(pin.Pin.Name) != nil {
				t.Errorf("a pin is named %q", pin.Pin.Name)
			}
		}
	})
}

func FuzzJournal(f *testing.F) {
	f.Add([]byte(`{"sha256":"","book":{}}`), false)
	f.Add([]byte(`{"boot":"b","pins":{"gpio/gpiochip0/17":{"fence":7,"claim":{"holder":"user:1","name":"user a","until":9},"actuation":{"holder":"user:1","name":"user a","until":5,"before":1},"output":1,"settings":{"period":"1s"}}},"ended":[{"pin":"a/b/c","outcome":"over","holder":"x"}]}`), true)
	f.Fuzz(func(t *testing.T, text []byte, seal bool) {
		if seal {
			text = []byte(`{"sha256":"` + sumOf(text) + `","book":` + string(text) + `}`)
		}
		b, err := parseJournal(text)
		if err != nil {
			return
		}
		h, err := New(Config{Drivers: []Driver{}})
		if err != nil {
			t.Fatal(err)
		}
		h.last = b
		d := &fakeDriver{}
		for name := range b.Pins {
			out := output(name)
			out.pin.Keys = s4t.PinKeys
			d.lines = append(d.lines, out)
		}
		for name, k := range b.Pins {
			h.away[name] = &k
			h.set[name] = k.Settings
		}
		h.drivers = []Driver{d}
		h.scan(t.Context())
		for _, p := range h.Pins() {
			if p.Lease != nil && p.Lease.Priority < 0 {
				t.Errorf("%s is held with the priority %d", p.Name, p.Lease.Priority)
			}
		}
		h.book()
	})
}

func FuzzRecording(f *testing.F) {
	f.Add([]byte("time,value\n0,1\n0.5,2\n"))
	f.Add([]byte("0,1e308\n999999,-1\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := parseRecording(text)
		if err != nil {
			return
		}
		for i, r := range list {
			if i > 0 && r.at < list[i-1].at || r.at < 0 || math.IsNaN(r.value) || math.IsInf(r.value, 0) {
				t.Errorf("record %d: %+v", i, r)
			}
			valueAt(list, r.at)
		}
	})
}

func FuzzUevent(f *testing.F) {
	f.Add([]byte("add@/devices/gpiochip1\x00ACTION=add\x00DEVPATH=/devices/gpiochip1\x00SUBSYSTEM=gpio\x00"))
	f.Add([]byte("change@/x\x00ACTION=change\x00SUBSYSTEM=hwmon\x00"))
	f.Fuzz(func(t *testing.T, message []byte) { tellsOfPins(message) })
}

func TestUeventsThatTellOfPins(t *testing.T) {
	for message, want := range map[string]bool{
		"add@/devices/gpiochip1\x00ACTION=add\x00SUBSYSTEM=gpio\x00":  true,
		"remove@/devices/iio\x00ACTION=remove\x00SUBSYSTEM=iio\x00":   true,
		"change@/devices/x\x00ACTION=change\x00SUBSYSTEM=thermal\x00": false,
		"add@/devices/eth1\x00ACTION=add\x00SUBSYSTEM=net\x00":        false,
		"libudev\x00": false,
	} {
		if got := tellsOfPins([]byte(message)); got != want {
			t.Errorf("%q: %v", message, got)
		}
	}
}
