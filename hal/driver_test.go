package hal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// rig is a piece of hardware that a driver stands before, with what a test can do to it from the other side. What
// is nil cannot be done to this one.
type rig struct {
	driver  Driver
	pin     string                          // the one that is looked at
	world   func(t *testing.T, v float64)   // makes the world give v to an input
	values  []float64                       // for world, or for writes; without world an input has values[0]
	near    float64                         // how exact values are
	level   func(t *testing.T) float64      // what the world sees of an output
	wrong   []float64                       // values that an output cannot be
	garbage func(t *testing.T, text string) // makes the device answer it
	remove  func(t *testing.T)              // pulls the device
}

// driverTests are the drivers, each before a twin that the test makes and, where there is
// one, the kernel's own in a virtual machine (kernel_vm_test.go).
var driverTests = []struct {
	name         string
	twin, kernel func(t *testing.T) rig
	want         s4t.Pin // what is compared of it: Driver, Kind, Unit, Direction, Writable
}{
	{"gpio", gpioTwin, kernelGPIO, s4t.Pin{Driver: "gpio", Kind: s4t.PinDigital, Direction: s4t.PinIn}},
	{"adc", adcTwin, kernelADC, s4t.Pin{Driver: "adc", Kind: s4t.PinAnalog, Unit: "V", Direction: s4t.PinIn}},
	{"dac", dacTwin, kernelDAC, s4t.Pin{Driver: "adc", Kind: s4t.PinAnalog, Unit: "V", Direction: s4t.PinOut, Writable: true}},
	{"iio sensor", iioSensorTwin, kernelAccel, s4t.Pin{Driver: "sensor", Kind: s4t.PinSensor, Direction: s4t.PinIn}},
	{"hwmon", hwmonTwin, kernelHwmon, s4t.Pin{Driver: "sensor", Kind: s4t.PinSensor, Unit: "degC", Direction: s4t.PinIn}},
	{"thermal", thermalTwin, nil, s4t.Pin{Driver: "sensor", Kind: s4t.PinSensor, Unit: "degC", Direction: s4t.PinIn}},
	{"led", ledTwin, kernelLED, s4t.Pin{Driver: "led", Kind: s4t.PinDigital, Direction: s4t.PinOut, Writable: true}},
	{"led that dims", dimmerTwin, nil, s4t.Pin{Driver: "led", Kind: s4t.PinPWM, Direction: s4t.PinOut, Writable: true}},
	{"onewire", oneWireTwin, nil, s4t.Pin{Driver: "onewire", Kind: s4t.PinSensor, Unit: "degC", Direction: s4t.PinIn}},
	{"pwm", pwmTwin, nil, s4t.Pin{Driver: "pwm", Kind: s4t.PinPWM, Direction: s4t.PinOut, Writable: true}},
}

func TestDriversBeforeTwins(t *testing.T) {
	for _, tt := range driverTests {
		t.Run(tt.name, func(t *testing.T) { testDriver(t, tt.twin(t), tt.want) })
	}
}

// testDriver holds a driver to what Driver and Line promise.
func testDriver(t *testing.T, r rig, want s4t.Pin) {
	list := scan(t, r.driver)
	var names []string
	for _, f := range list {
		if err := s4t.ValidPinName(f.Pin.Name); err != nil || slices.Contains(names, f.Pin.Name) {
			t.Errorf("the pin %q: twice, or %v", f.Pin.Name, err)
		}
		names = append(names, f.Pin.Name)
		if p := f.Pin; p.Driver != r.driver.Name() || p.Name != p.Driver+"/"+p.Device+"/"+p.Name[strings.LastIndex(p.Name, "/")+1:] || p.Writable && p.Guarantee == "" || len(p.Settings) != len(p.Keys) {
			t.Errorf("the pin %+v", p)
		}
	}
	found := findPin(t, list, r.pin)
	if p := found.Pin; p.Driver != want.Driver || p.Kind != want.Kind || p.Unit != want.Unit && want.Unit != "" || p.Direction != want.Direction || p.Writable != want.Writable {
		t.Errorf("pin %+v, want %+v", p, want)
	}
	l := open(t, found)
	for i, v := range r.values {
		switch {
		case r.level != nil:
			if err := l.Write(v); err != nil {
				t.Fatalf("write %v: %v", v, err)
			}
			if got := r.level(t); !near(got, v, r.near) {
				t.Errorf("wrote %v, the world sees %v", v, got)
			}
		case r.world != nil:
			r.world(t, v)
		case i > 0:
			t.Fatal("a rig without world has one value")
		}
		if got, err := l.Read(); err != nil || !near(got, v, r.near) {
			t.Errorf("read %v, %v, want %v", got, err, v)
		}
	}
	for _, v := range r.wrong {
		if err := l.Write(v); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("write %v: %v, want EINVAL", v, err)
		}
	}
	if r.level == nil {
		if err := l.Write(1); !errors.Is(err, syscall.EPERM) {
			t.Errorf("write to an input: %v, want EPERM", err)
		}
	}
	if err := l.Set(map[string]string{"colour": "red"}); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("set what it does not have: %v, want EINVAL", err)
	}
	if r.garbage != nil {
		for _, text := range []string{"", "\n", "garbage\n", "12x\n", "nan\n", "1e999\n", strings.Repeat("9", 5000)} {
			r.garbage(t, text)
			if v, err := l.Read(); !errors.Is(err, syscall.EIO) {
				t.Errorf("the device says %.20q: read %v, %v, want EIO", text, v, err)
			}
		}
	}
	if r.remove == nil {
		return
	}
	r.remove(t)
	if v, err := l.Read(); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("read of what was pulled: %v, %v, want ENODEV", v, err)
	}
	if r.level != nil {
		if err := l.Write(r.values[0]); !errors.Is(err, syscall.ENODEV) {
			t.Errorf("write to what was pulled: %v, want ENODEV", err)
		}
	}
	if _, err := found.Open(); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("open of what was pulled: %v, want ENODEV", err)
	}
	for _, f := range scan(t, r.driver) {
		if f.Pin.Name == r.pin {
			t.Errorf("what was pulled is still listed: %+v", f.Pin)
		}
	}
}

func near(a, b, by float64) bool { return a-b <= by && b-a <= by }

func scan(t *testing.T, d Driver) []Found {
	t.Helper()
	list, err := d.Scan(context.Background())
	if err != nil {
		t.Fatalf("scan of %s: %v", d.Name(), err)
	}
	return list
}

func findPin(t *testing.T, list []Found, name string) Found {
	t.Helper()
	var names []string
	for _, f := range list {
		if f.Pin.Name == name {
			return f
		}
		names = append(names, f.Pin.Name)
	}
	t.Fatalf("no pin %s: %v", name, names)
	return Found{}
}

// open opens a pin until the test is over.
func open(t *testing.T, f Found) Line {
	t.Helper()
	l, err := f.Open()
	if err != nil {
		t.Fatalf("open %s: %v", f.Pin.Name, err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// tree makes files in a folder, as sysfs has them.
func tree(t *testing.T, files map[string]string) (root string) {
	t.Helper()
	root = t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(root, name), text)
	}
	return root
}

// put writes a file, or a link where text is "-> TARGET".
func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if target, link := strings.CutPrefix(text, "-> "); link {
		err = os.Symlink(target, path)
	} else {
		err = os.WriteFile(path, []byte(text), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// attributeOf reads a file of a twin, times scale.
func attributeOf(t *testing.T, path string, scale float64) float64 {
	t.Helper()
	v, err := readNumber(path)
	if err != nil {
		t.Fatal(err)
	}
	return v * scale
}

// sensorRig is a rig whose only file has the value times scale.
func sensorRig(t *testing.T, d Driver, pin, file, format string, scale float64, values ...float64) rig {
	return rig{
		driver: d, pin: pin, values: values, near: 1e-9,
		world:   func(t *testing.T, v float64) { put(t, file, fmt.Sprintf(format, v*scale)) },
		garbage: func(t *testing.T, text string) { put(t, file, text) },
		remove: func(t *testing.T) {
			if err := os.RemoveAll(filepath.Dir(file)); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func hwmonTwin(t *testing.T) rig {
	root := tree(t, map[string]string{
		"devices/i2c-0/0-0048/uevent":                   "",
		"devices/i2c-0/0-0048/hwmon/hwmon0/name":        "lm75\n",
		"devices/i2c-0/0-0048/hwmon/hwmon0/device":      "-> ../../../0-0048",
		"devices/i2c-0/0-0048/hwmon/hwmon0/temp1_input": "21500\n", "devices/i2c-0/0-0048/hwmon/hwmon0/temp1_max": "80000\n",
		"devices/i2c-0/0-0048/hwmon/hwmon0/temp1_label": "Core 0\n", "devices/i2c-0/0-0048/hwmon/hwmon0/in0_input": "3300\n",
		"devices/i2c-0/0-0048/hwmon/hwmon0/power1_average": "1500000\n",
		"class/hwmon/hwmon0":      "-> ../../devices/i2c-0/0-0048/hwmon/hwmon0",
		"class/hwmon/hwmon1/name": "cpu_thermal\n", "class/hwmon/hwmon1/temp1_input": "40000\n",
		"class/hwmon/hwmon2/name": "w1_slave_temp\n", "class/hwmon/hwmon2/temp1_input": "40000\n",
	})
	return sensorRig(t, newHwmon(root), "sensor/lm75-0-0048/temp1", filepath.Join(root, "devices/i2c-0/0-0048/hwmon/hwmon0/temp1_input"), "%.0f\n", 1000, 21.5, -40, 0, 85.125)
}

func thermalTwin(t *testing.T) rig {
	root := tree(t, map[string]string{
		"class/thermal/thermal_zone0/type": "cpu-thermal\n", "class/thermal/thermal_zone0/temp": "0\n",
		"class/thermal/thermal_zone1/type": "acpitz\n", "class/thermal/thermal_zone1/temp": "0\n",
		"class/thermal/thermal_zone2/type": "acpitz\n", "class/thermal/thermal_zone2/temp": "0\n",
		"class/thermal/cooling_device0/type": "Fan\n",
	})
	r := sensorRig(t, newThermal(root), "sensor/cpu-thermal/temp", filepath.Join(root, "class/thermal/thermal_zone0/temp"), "%.0f\n", 1000, 48.312, -5)
	findPin(t, scan(t, r.driver), "sensor/thermal_zone2/temp")
	return r
}

func oneWireTwin(t *testing.T) rig {
	root := tree(t, map[string]string{
		"bus/w1/devices/28-000005e2fdc3/w1_slave":       "",
		"bus/w1/devices/w1_bus_master1/w1_master_count": "1",
		"bus/w1/devices/29-000005e2fdc3/output":         "",
	})
	file := filepath.Join(root, "bus/w1/devices/28-000005e2fdc3/w1_slave")
	const bytes = "72 01 4b 46 7f ff 0e 10 57"
	r := sensorRig(t, newOneWire(root), "onewire/28-000005e2fdc3/temperature", file, bytes+" : crc=57 YES\n"+bytes+" t=%.0f\n", 1000, 23.125, -0.062)
	put(t, file, fmt.Sprintf("%s : crc=57 NO\n%s t=23125\n", bytes, bytes))
	l := open(t, findPin(t, scan(t, r.driver), r.pin))
	if v, err := l.Read(); !errors.Is(err, syscall.EIO) {
		t.Errorf("a wrong checksum: %v, %v, want EIO", v, err)
	}
	if p := findPin(t, scan(t, r.driver), r.pin).Period; p != 10*time.Second {
		t.Errorf("period %v", p)
	}
	return r
}

func ledTwin(t *testing.T) rig {
	return ledRig(t, "1", 0, 1)
}

func dimmerTwin(t *testing.T) rig {
	r := ledRig(t, "255", 0, 1, 0.5)
	r.near = 0.002
	r.wrong = []float64{-0.1, 1.1}
	return r
}

func ledRig(t *testing.T, steps string, values ...float64) rig {
	root := tree(t, map[string]string{
		"class/leds/green:status/max_brightness": steps + "\n", "class/leds/green:status/brightness": "0\n",
		"class/leds/green:status/trigger": "none disk-activity [heartbeat]\n",
		"class/leds/broken/brightness":    "0\n",
	})
	dir := filepath.Join(root, "class/leds/green:status")
	scale := attributeOf(t, filepath.Join(dir, "max_brightness"), 1)
	return rig{
		driver: newLEDs(root), pin: "led/green:status/brightness", values: values, wrong: []float64{-1, 0.5, 2},
		level: func(t *testing.T) float64 {
			if text, err := readAttribute(filepath.Join(dir, "trigger")); err != nil || text != "none" {
				t.Errorf("the LED still has its trigger: %q, %v", text, err)
			}
			return attributeOf(t, filepath.Join(dir, "brightness"), 1/scale)
		},
		garbage: func(t *testing.T, text string) { put(t, filepath.Join(dir, "brightness"), text) },
		remove:  func(t *testing.T) { os.RemoveAll(dir) },
	}
}

// pwmTwin has channel 1 exported already: a plain folder cannot export.
func pwmTwin(t *testing.T) rig {
	dir := "devices/platform/soc/fe20c000.pwm/pwm/pwmchip0"
	root := tree(t, map[string]string{
		dir + "/npwm": "2\n", dir + "/export": "", dir + "/device": "-> ../..",
		dir + "/pwm1/period": "0\n", dir + "/pwm1/duty_cycle": "0\n", dir + "/pwm1/enable": "0\n",
		"class/pwm/pwmchip0": "-> ../../" + dir,
	})
	dir = filepath.Join(root, dir, "pwm1")
	findPin(t, scan(t, newPWM(root)), "pwm/fe20c000.pwm/0")
	return rig{
		driver: newPWM(root), pin: "pwm/fe20c000.pwm/1", values: []float64{0.25, 0, 1}, wrong: []float64{-0.1, 1.5}, near: 1e-6,
		level: func(t *testing.T) float64 {
			if attributeOf(t, filepath.Join(dir, "enable"), 1) != 1 {
				t.Error("the output is off")
			}
			return attributeOf(t, filepath.Join(dir, "duty_cycle"), 1) / attributeOf(t, filepath.Join(dir, "period"), 1)
		},
		garbage: func(t *testing.T, text string) { put(t, filepath.Join(dir, "duty_cycle"), text) },
		remove:  func(t *testing.T) { os.RemoveAll(filepath.Dir(dir)) },
	}
}

// TestPWMKeepsThePeriodThatItFinds: 20 ms are a servo's, 1 ms is nobody's.
func TestPWMKeepsThePeriodThatItFinds(t *testing.T) {
	r := pwmTwin(t)
	f := findPin(t, scan(t, r.driver), r.pin)
	dir := f.mustDir(t)
	put(t, filepath.Join(dir, "period"), "20000000\n")
	l := open(t, f)
	if err := l.Write(0.075); err != nil {
		t.Fatal(err)
	}
	if duty := attributeOf(t, filepath.Join(dir, "duty_cycle"), 1); duty != 1_500_000 {
		t.Errorf("duty cycle %v ns", duty)
	}
	if g := l.(Guarded).Guarded(1); g != (GuardOrder{Path: filepath.Join(dir, "duty_cycle"), Text: "20000000"}) {
		t.Errorf("the guard is told %+v", g)
	}
}

// mustDir is the folder of a PWM channel.
func (f Found) mustDir(t *testing.T) string {
	t.Helper()
	return open(t, f).(*pwm).dir
}

// TestAnLEDsGuard: what the guard writes when lightning-rod dies is a value that
// the LED has, whatever the fallback.
func TestAnLEDsGuard(t *testing.T) {
	r := dimmerTwin(t)
	l := open(t, findPin(t, scan(t, r.driver), r.pin)).(Guarded)
	for v, text := range map[float64]string{0: "0", 1: "255", 0.5: "128", 7: "255", -1: "0"} {
		if g := l.Guarded(v); g.Text != text || filepath.Base(g.Path) != "brightness" {
			t.Errorf("%v: %+v", v, g)
		}
	}
}

// TestAnAttributeInPieces: a file that gives its text in pieces is read to its
// end, one that blocks does not hold what asks.
func TestAnAttributeInPieces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "temp1_input")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // waits for who reads
		if err == nil {
			for _, piece := range []string{"21", "5", "00\n"} {
				if _, e := f.WriteString(piece); e != nil {
					err = e
				}
			}
			f.Close()
		}
		wrote <- err
	}()
	v, err := readNumber(path)
	if e := <-wrote; v != 21500 || err != nil || e != nil {
		t.Errorf("read %v, %v; written: %v", v, err, e)
	}
}

// TestNoSysfsIsNoPin: a board without any of this has no pins, and no errors.
func TestNoSysfsIsNoPin(t *testing.T) {
	root := t.TempDir()
	for _, d := range Kernel(root, root) {
		if list := scan(t, d); len(list) > 0 {
			t.Errorf("%s: %v", d.Name(), list)
		}
	}
}

func FuzzDeviceText(f *testing.F) {
	for _, s := range []string{"21500", "0.001333\n", "nan", "5 mV", "le:s12/16>>4", "be:u16/32X2>>0", "le:u64/64>>0", "le:s99/99>>99",
		"72 01 : crc=57 YES\n72 01 t=23125", "72 01 : crc=57 NO\n72 01 t=23125", "YES\nt=1e999"} {
		f.Add(s)
	}
	scan := make([]byte, 8)
	f.Fuzz(func(t *testing.T, text string) {
		for _, parse := range []func(string) (float64, error){parseNumber, parseOneWire} {
			if v, err := parse(text); err != nil && !errors.Is(err, syscall.EIO) || v != v {
				t.Errorf("%q: %v, %v", text, v, err)
			}
		}
		if e, err := parseIIOElement(text); err == nil {
			if v := e.value(scan[:e.bytes]); v != 0 {
				t.Errorf("%q: nothing is %v", text, v)
			}
		}
		if p := part(text); p != "" && s4t.ValidPinPart(p) != nil {
			t.Errorf("%q became %q", text, p)
		}
	})
}
