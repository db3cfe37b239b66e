package hal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// iioTree is a converter with a buffer, and a sensor beside it.
func iioTree(t *testing.T) (root string) {
	const adc, sensor = "devices/platform/adc/iio:device0", "devices/platform/room/iio:device1"
	return tree(t, map[string]string{
		adc + "/name": "max1363\n", adc + "/in_voltage_scale": "0.5\n",
		adc + "/in_voltage0_raw": "0\n", adc + "/in_voltage0_offset": "-100\n", adc + "/in_voltage0_label": "battery\n",
		adc + "/in_voltage1_raw": "7\n", adc + "/in_voltage1_label": "twice\n", adc + "/in_voltage2_label": "twice\n", adc + "/in_voltage2_raw": "7\n",
		adc + "/in_voltage3-voltage4_raw": "-8\n", adc + "/in_voltage-voltage_scale": "0.25\n",
		adc + "/in_voltage5_raw": "1\n", adc + "/in_voltage5_input": "1234\n",
		adc + "/out_voltage0_raw": "0\n", adc + "/out_voltage0_scale": "2\n",
		adc + "/in_temp_raw": "10\n", adc + "/in_temp_scale": "100\n",
		adc + "/scan_elements/in_voltage0_en": "1\n", adc + "/scan_elements/in_voltage0_index": "1\n", adc + "/scan_elements/in_voltage0_type": "be:s12/16>>4\n",
		adc + "/scan_elements/in_voltage1_en": "0\n", adc + "/scan_elements/in_voltage1_index": "2\n", adc + "/scan_elements/in_voltage1_type": "be:s12/16>>4\n",
		adc + "/scan_elements/in_temp_en": "1\n", adc + "/scan_elements/in_temp_index": "0\n", adc + "/scan_elements/in_temp_type": "le:u8/8>>0\n",
		adc + "/scan_elements/in_timestamp_en": "1\n", adc + "/scan_elements/in_timestamp_index": "3\n", adc + "/scan_elements/in_timestamp_type": "le:s64/64>>0\n",
		sensor + "/label": "kitchen\n", sensor + "/in_humidityrelative_input": "45500\n", sensor + "/in_accel_x_raw": "34\n", sensor + "/in_accel_scale": "0.5\n",
		sensor + "/in_accel_x_calibbias": "1\n",
		"bus/iio/devices/iio:device0":    "-> ../../../" + adc, "bus/iio/devices/iio:device1": "-> ../../../" + sensor,
		"bus/iio/devices/trigger0/name": "t\n",
	})
}

func iioFile(root, name string) string {
	return filepath.Join(root, "bus/iio/devices/iio:device0", name)
}

func iioRemove(root string) func(*testing.T) {
	return func(*testing.T) {
		os.RemoveAll(filepath.Join(root, "bus/iio/devices/iio:device0"))
		os.RemoveAll(filepath.Join(root, "devices/platform/adc"))
	}
}

// adcTwin reads (raw - 100) * 0.5 mV.
func adcTwin(t *testing.T) rig {
	root := iioTree(t)
	r := sensorRig(t, newIIO(root, root, "adc"), "adc/iio:device0/voltage0", iioFile(root, "in_voltage0_raw"), "%.0f\n", 2000, 0.15, -1)
	world := r.world
	r.world = func(t *testing.T, v float64) { world(t, v+0.05) }
	r.remove = iioRemove(root)
	list := scan(t, r.driver)
	for name, want := range map[string]float64{"voltage1": 0.0035, "voltage3-voltage4": -0.002, "voltage5": 1.234} {
		if v, err := open(t, findPin(t, list, "adc/iio:device0/"+name)).Read(); err != nil || !near(v, want, 1e-9) {
			t.Errorf("%s is %v, %v, want %v V", name, v, err, want)
		}
	}
	for name, label := range map[string]string{"voltage0": "battery", "voltage1": "", "voltage3-voltage4": ""} {
		if p := findPin(t, list, "adc/iio:device0/"+name).Pin; p.Label != label {
			t.Errorf("%s has the label %q, want %q", name, p.Label, label)
		}
	}
	return r
}

// dacTwin writes in steps of 2 mV.
func dacTwin(t *testing.T) rig {
	root := iioTree(t)
	file := iioFile(root, "out_voltage0_raw")
	return rig{
		driver: newIIO(root, root, "adc"), pin: "adc/iio:device0/out-voltage0", values: []float64{0, 1.5, 3.3}, near: 0.001, wrong: []float64{1e300, -1e12},
		level:   func(t *testing.T) float64 { return attributeOf(t, file, 0.002) },
		garbage: func(t *testing.T, text string) { put(t, file, text) },
		remove:  iioRemove(root),
	}
}

func iioSensorTwin(t *testing.T) rig {
	root := iioTree(t)
	d := newIIO(root, root, "sensor")
	list := scan(t, d)
	for name, want := range map[string]float64{"sensor/kitchen/accel_x": 17, "sensor/iio:device0/temp": 1} {
		if v, err := open(t, findPin(t, list, name)).Read(); err != nil || !near(v, want, 1e-9) {
			t.Errorf("%s is %v, %v, want %v", name, v, err, want)
		}
	}
	file := filepath.Join(root, "devices/platform/room/iio:device1/in_humidityrelative_input")
	r := sensorRig(t, d, "sensor/kitchen/humidityrelative", file, "%.0f\n", 1000, 45.5, 99.125)
	r.remove = func(*testing.T) {
		os.RemoveAll(filepath.Join(root, "bus/iio/devices/iio:device1"))
		os.RemoveAll(filepath.Join(root, "devices/platform/room"))
	}
	return r
}

// TestABusyConverterIsReadThroughItsBuffer: the newest whole scan counts. The
// twin's device is a FIFO, which gives what it has and then nothing more.
func TestABusyConverterIsReadThroughItsBuffer(t *testing.T) {
	root := iioTree(t)
	device := filepath.Join(root, "dev", "iio:device0")
	if err := os.MkdirAll(filepath.Dir(device), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(device, 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, findPin(t, scan(t, newIIO(root, filepath.Join(root, "dev"), "adc")), "adc/iio:device0/voltage0")).(*iio)
	feed, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	if v, err := l.buffered(); err == nil {
		t.Errorf("an empty buffer gives %v", v)
	}
	// temp (u8), filling, voltage0 (be s12 >> 4), filling to 8, time stamp
	for _, raw := range []int16{100, 2000, -300} {
		var scan [16]byte
		scan[0] = 9
		binary.BigEndian.PutUint16(scan[2:], uint16(raw<<4|5))
		if _, err := feed.Write(scan[:]); err != nil {
			t.Fatal(err)
		}
	}
	if raw, err := l.buffered(); raw != -300 || err != nil {
		t.Errorf("the newest scan has %v, %v", raw, err)
	}
	l.name = "voltage1" // which is not in the buffer
	if v, err := l.buffered(); err == nil {
		t.Errorf("a channel that is not in it is %v", v)
	}
}

// TestABusyConverterWithoutABuffer says who to ask: nothing is made up.
func TestABusyConverterWithoutABuffer(t *testing.T) {
	root := iioTree(t)
	l := open(t, findPin(t, scan(t, newIIO(root, filepath.Join(root, "dev"), "adc")), "adc/iio:device0/voltage0")).(*iio)
	if v, err := l.buffered(); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("%v, %v, want ENODEV", v, err)
	}
}

func TestIIOElements(t *testing.T) {
	for _, tt := range []struct {
		text  string
		bytes []byte
		want  float64
	}{
		{"le:u8/8>>0", []byte{200}, 200},
		{"le:s8/8>>0", []byte{200}, -56},
		{"be:s12/16>>4", []byte{0xff, 0xe5}, -2},
		{"le:u12/16>>4", []byte{0xe5, 0xff}, 4094},
		{"be:u24/32>>8", []byte{1, 2, 3, 4}, 0x010203},
		{"le:s32/32X3>>0", []byte{0xfe, 0xff, 0xff, 0xff}, -2},
		{"le:s64/64>>0", []byte{1, 0, 0, 0, 0, 0, 0, 0x80}, -(1 << 63) + 1},
	} {
		e, err := parseIIOElement(tt.text)
		if err != nil {
			t.Errorf("%s: %v", tt.text, err)
		} else if v := e.value(tt.bytes); v != tt.want {
			t.Errorf("%s: %v, want %v", tt.text, v, tt.want)
		}
	}
	for _, text := range []string{"", "le:s12/16", "le:s12/12>>0", "le:s0/16>>0", "le:s12/16>>8", "me:s12/16>>0", "le:s12/16X0>>0", "le:s8/0>>0"} {
		if e, err := parseIIOElement(text); err == nil {
			t.Errorf("%q is %+v", text, e)
		}
	}
}
