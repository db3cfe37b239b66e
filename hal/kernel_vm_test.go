package hal

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/stack4things/s4t"
)

// The tests of this file stand before the hardware that a kernel makes up. They run in the
// virtual machine of e2e/pins_vm_test.go only, as S4T_PINS says: they load no
// modules, and would change the pins of a real board.
func needKernel(t *testing.T) {
	t.Helper()
	if os.Getenv("S4T_PINS") != "kernel" {
		t.Skip("runs in a virtual machine with made-up hardware: make test-vm")
	}
}

func TestKernelDrivers(t *testing.T) {
	needKernel(t)
	for _, tt := range driverTests {
		if tt.kernel != nil {
			t.Run(tt.name, func(t *testing.T) { testDriver(t, tt.kernel(t), tt.want) })
		}
	}
}

// write writes a file of the kernel's.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := writeAttribute(path, text); err != nil {
		t.Fatalf("write %q to %s: %v", text, path, err)
	}
}

// only returns the one file of a pattern.
func only(t *testing.T, pattern string) string {
	t.Helper()
	list, err := filepath.Glob(pattern)
	if err != nil || len(list) != 1 {
		t.Fatalf("%s: %v, %v", pattern, list, err)
	}
	return list[0]
}

const gpioSim = "/sys/kernel/config/gpio-sim/s4t"

// newGPIOSim makes a chip of gpio-sim (Linux,
// Documentation/admin-guide/gpio/gpio-sim.rst) with 8 lines, of which line 2 has
// a name, and returns where the world is and what the chip is called.
func newGPIOSim(t *testing.T) (world, chip string) {
	t.Helper()
	if err := os.MkdirAll(gpioSim+"/bank0/line2", 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = writeAttribute(gpioSim+"/live", "0") // a test may have done so
		for _, dir := range []string{"/bank0/line2", "/bank0", ""} {
			if err := os.Remove(gpioSim + dir); err != nil {
				t.Error(err)
			}
		}
	})
	write(t, gpioSim+"/bank0/num_lines", "8")
	write(t, gpioSim+"/bank0/line2/name", "DOOR BELL")
	write(t, gpioSim+"/live", "1")
	device, err := readAttribute(gpioSim + "/dev_name")
	if err != nil {
		t.Fatal(err)
	}
	if chip, err = readAttribute(gpioSim + "/bank0/chip_name"); err != nil {
		t.Fatal(err)
	}
	return "/sys/devices/platform/" + device + "/" + chip, chip
}

func kernelGPIO(t *testing.T) rig {
	world, chip := newGPIOSim(t)
	return rig{
		driver: newGPIO("/dev", gpioKernel{}), pin: "gpio/" + chip + "/2", values: []float64{0, 1, 0},
		world:  func(t *testing.T, v float64) { pull(t, world, 2, v) },
		remove: func(t *testing.T) { write(t, gpioSim+"/live", "0") },
	}
}

// pull is what the world does to a line.
func pull(t *testing.T, world string, line int, v float64) {
	word := "pull-down"
	if v == 1 {
		word = "pull-up"
	}
	write(t, world+"/sim_gpio"+strconv.Itoa(line)+"/pull", word)
}

func TestKernelGPIO(t *testing.T) {
	needKernel(t)
	t.Run("settings", func(t *testing.T) { testGPIOSettings(t, kernelGPIO(t)) })
	t.Run("edges", func(t *testing.T) { testGPIOEdges(t, kernelGPIO(t)) })
	t.Run("busy", func(t *testing.T) {
		r := kernelGPIO(t)
		chip, err := gpioKernel{}.open("/dev/" + strings.Split(r.pin, "/")[1])
		if err != nil {
			t.Fatal(err)
		}
		ask := lineRequest(2)
		copy(ask.Consumer[:], "gpiomon\x00\x00\x00\x00\x00\x00\x00")
		request, err := chip.request(&ask)
		chip.Close()
		if err != nil {
			t.Fatal(err)
		}
		defer request.Close()
		testGPIOBusy(t, r, "gpiomon")
	})
	t.Run("a look changes nothing", func(t *testing.T) {
		world, _ := newGPIOSim(t)
		scan(t, newGPIO("/dev", gpioKernel{}))
		for line := range 8 {
			pull(t, world, line, 1)
			if v, err := readAttribute(world + "/sim_gpio" + strconv.Itoa(line) + "/value"); v != "1" || err != nil {
				t.Errorf("line %d is %q, %v", line, v, err)
			}
		}
	})
	t.Run("an output", func(t *testing.T) {
		r := kernelGPIO(t)
		l := open(t, findPin(t, scan(t, r.driver), r.pin))
		set(t, l, "direction", "out")
		for _, v := range []float64{1, 0, 1} {
			if err := l.Write(v); err != nil {
				t.Fatal(err)
			}
			value, err := readAttribute(only(t, "/sys/devices/platform/gpio-sim.*/gpiochip*/sim_gpio2/value"))
			if err != nil || value != s4t.FormatPinValue(v) {
				t.Errorf("drives %v, the world sees %q, %v", v, value, err)
			}
		}
	})
}

// TestKernelEdgeStorm: 10,000 edges through the whole of the HAL: none is lost or doubled, and each has the time
// at which the kernel saw it, between the two moments at which the world made it.
func TestKernelEdgeStorm(t *testing.T) {
	needKernel(t)
	const edges = 10_000
	world, chip := newGPIOSim(t)
	h, err := New(Config{Drivers: []Driver{newGPIO("/dev", gpioKernel{})}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	p, err := h.Pin("DOOR-BELL")
	if err != nil {
		t.Fatal(err)
	}
	if want := "gpio/" + chip + "/2"; p.Info().Name != want {
		t.Errorf("the pin is %s, want %s", p.Info().Name, want)
	}
	got := make(chan s4t.Sample, edges+10)
	defer p.Watch(func(s s4t.Sample) { got <- s })()
	if err := p.Set(ctx, map[string]string{"edge": "both"}); err != nil {
		t.Fatal(err)
	}
	next := func() s4t.Sample {
		select {
		case s := <-got:
			return s
		case <-time.After(20 * time.Second):
			t.Fatal("no edge comes any more")
			return s4t.Sample{}
		}
	}
	pull(t, world, 2, 1)
	last := next() // it listens
	var times [edges + 1]time.Time
	begin := time.Now()
	for i := range edges {
		times[i] = time.Now()
		pull(t, world, 2, float64(i%2))
	}
	times[edges] = time.Now()
	t.Logf("%d edges made in %v", edges, times[edges].Sub(begin).Round(time.Millisecond))
	const slack = 2 * time.Millisecond // of the conversion between the kernel's two clocks
	wrong := 0
	for i := range edges {
		s := next()
		if s.Value != float64(i%2) || s.Seq != last.Seq+1 || s.Merged != 0 || !s.At.After(last.At) || s.At.Before(times[i].Add(-slack)) || s.At.After(times[i+1].Add(slack)) {
			if wrong++; wrong < 10 {
				t.Errorf("edge %d, made from %v to %v, is %+v", i, times[i], times[i+1], s)
			}
		}
		last = s
	}
	if v, err := p.Read(ctx); err != nil || v.Value != 1 {
		t.Errorf("after it the pin is %+v, %v", v, err)
	}
	if extra := len(got); extra > 0 {
		t.Errorf("%d edges more than were made", extra)
	}
}

// TestKernelChipIsPulled: the HAL hears of it from the kernel, whoever waits for
// its edges does not.
func TestKernelChipIsPulled(t *testing.T) {
	needKernel(t)
	h, err := New(Config{Drivers: []Driver{newGPIO("/dev", gpioKernel{})}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	waitFor := func(what string, ok func() bool) {
		limit := time.After(30 * time.Second)
		for changed := h.Changed(); !ok(); changed = h.Changed() {
			select {
			case <-changed:
			case <-limit:
				t.Fatal(what)
			}
		}
	}
	_, chip := newGPIOSim(t)
	name := "gpio/" + chip + "/2"
	waitFor("a chip that came is not found", func() bool { _, err := h.Pin(name); return err == nil })
	p, err := h.Pin(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Set(ctx, map[string]string{"edge": "both"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Read(ctx); err != nil {
		t.Fatal(err)
	}
	write(t, gpioSim+"/live", "0")
	waitFor("a chip that was pulled is still there", func() bool { _, err := h.Pin(name); return err != nil })
	if s, err := p.Read(ctx); s4t.KindOf(err) != s4t.NotFound {
		t.Errorf("read of a chip that was pulled: %+v, %v, want %s", s, err, s4t.NotFound)
	}
}

const iioDummy = "/sys/kernel/config/iio/devices/dummy/s4t"

// newIIODummy makes an IIO dummy device (Linux,
// Documentation/iio/iio_configfs.rst) and returns its folder.
func newIIODummy(t *testing.T) string {
	t.Helper()
	if err := os.Mkdir(iioDummy, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(iioDummy) }) // a test may have done so
	return only(t, "/sys/bus/iio/devices/iio:device*")
}

// kernelADC reads voltage0 of the dummy: the raw value is 73, the offset 7 and
// the scale 0.001333 mV (drivers/iio/dummy/iio_simple_dummy.c).
func kernelADC(t *testing.T) rig {
	dir := newIIODummy(t)
	return rig{
		driver: newIIO("/sys", "/dev", "adc"), pin: "adc/" + filepath.Base(dir) + "/voltage0", values: []float64{80 * 0.001333e-3}, near: 1e-12,
		remove: func(t *testing.T) { os.Remove(iioDummy) },
	}
}

func kernelDAC(t *testing.T) rig {
	dir := newIIODummy(t)
	return rig{
		driver: newIIO("/sys", "/dev", "adc"), pin: "adc/" + filepath.Base(dir) + "/out-voltage0", values: []float64{0, 1.234, 5}, near: 1e-9, wrong: []float64{1e300},
		level:  func(t *testing.T) float64 { return attributeOf(t, dir+"/out_voltage0_raw", 1e-3) },
		remove: func(t *testing.T) { os.Remove(iioDummy) },
	}
}

// kernelAccel reads the dummy's accelerometer: 34, without a scale in this kernel.
func kernelAccel(t *testing.T) rig {
	dir := newIIODummy(t)
	return rig{
		driver: newIIO("/sys", "/dev", "sensor"), pin: "sensor/" + filepath.Base(dir) + "/accel_x", values: []float64{34 * attributeOf(t, dir+"/in_accel_scale", 1)}, near: 1e-6,
		remove: func(t *testing.T) { os.Remove(iioDummy) },
	}
}

// TestKernelIIOBuffer reads the dummy's channel from the scans that a timer makes.
func TestKernelIIOBuffer(t *testing.T) {
	needKernel(t)
	dir := newIIODummy(t)
	const timer = "/sys/kernel/config/iio/triggers/hrtimer/s4t"
	if err := os.Mkdir(timer, 0o755); err != nil {
		t.Fatal(err)
	}
	defer os.Remove(timer)
	for _, channel := range []string{"in_voltage0", "in_voltage1-voltage2", "in_timestamp"} {
		write(t, dir+"/scan_elements/"+channel+"_en", "1")
	}
	write(t, dir+"/trigger/current_trigger", "s4t")
	defer writeAttribute(dir+"/trigger/current_trigger", "\n")
	write(t, dir+"/buffer/enable", "1")
	defer writeAttribute(dir+"/buffer/enable", "0")
	for _, name := range []string{"voltage0", "voltage1-voltage2"} {
		l := open(t, findPin(t, scan(t, newIIO("/sys", "/dev", "adc")), "adc/"+filepath.Base(dir)+"/"+name)).(*iio)
		// What the dummy puts into a scan is not what it answers (fakedata,
		// drivers/iio/dummy/iio_simple_dummy_buffer.c).
		want := map[string]float64{"voltage0": 7, "voltage1-voltage2": -33}[name]
		if v, err := l.buffered(); v != want || err != nil {
			t.Errorf("%s in the buffer is %v, %v, want %v", name, v, err, want)
		}
	}
	held, err := os.Open("/dev/" + filepath.Base(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	l := open(t, findPin(t, scan(t, newIIO("/sys", "/dev", "adc")), "adc/"+filepath.Base(dir)+"/voltage0")).(*iio)
	if v, err := l.buffered(); err == nil {
		t.Errorf("a buffer that somebody else reads gives %v", v)
	}
}

// kernelHwmon is an LM75 on i2c-stub: its temperature is register 0, the most
// significant byte first, which is the lower one of an SMBus word.
func kernelHwmon(t *testing.T) rig {
	adapter := only(t, "/sys/bus/i2c/devices/i2c-*")
	bus, err := os.OpenFile("/dev/"+filepath.Base(adapter), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { bus.Close() })
	write(t, adapter+"/new_device", "lm75 0x48")
	there := true
	remove := func(t *testing.T) {
		if there {
			write(t, adapter+"/delete_device", "0x48")
		}
		there = false
	}
	t.Cleanup(func() { remove(t) })
	number := strings.TrimPrefix(filepath.Base(adapter), "i2c-")
	return rig{
		driver: newHwmon("/sys"), pin: "sensor/lm75-" + number + "-0048/temp1", values: []float64{25, -5.5, 100}, near: 0.5,
		world: func(t *testing.T, v float64) {
			raw := uint16(int16(v * 256))
			writeSMBus(t, bus, 0x48, 0, raw>>8|raw<<8)
		},
		remove: remove,
	}
}

// writeSMBus writes a word (Linux, include/uapi/linux/i2c-dev.h).
func writeSMBus(t *testing.T, bus *os.File, address uintptr, register byte, word uint16) {
	t.Helper()
	const (
		slaveForce = 0x0706 // I2C_SLAVE_FORCE: the driver of the chip has the address
		smbus      = 0x0720 // I2C_SMBUS
		wordData   = 3      // I2C_SMBUS_WORD_DATA
	)
	data := [34]byte{byte(word), byte(word >> 8)} // the machine is little-endian
	ask := struct {
		write, command byte
		size           uint32
		data           unsafe.Pointer
	}{0, register, wordData, unsafe.Pointer(&data)}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, bus.Fd(), slaveForce, address); errno != 0 {
		t.Fatal(errno)
	}
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, bus.Fd(), smbus, uintptr(unsafe.Pointer(&ask))); errno != 0 {
		t.Fatal(errno)
	}
	runtime.KeepAlive(&data)
}

// kernelLED is the caps lock light of the machine's keyboard. It cannot be pulled.
func kernelLED(t *testing.T) rig {
	dir := only(t, "/sys/class/leds/input*::capslock")
	return rig{
		driver: newLEDs("/sys"), pin: "led/" + filepath.Base(dir) + "/brightness", values: []float64{1, 0, 1}, wrong: []float64{2, 0.5, -1},
		level: func(t *testing.T) float64 {
			if text, err := os.ReadFile(dir + "/trigger"); err != nil || !bytes.Contains(text, []byte("[none]")) {
				t.Errorf("the LED still has its trigger: %v", err)
			}
			return attributeOf(t, dir+"/brightness", 1)
		},
	}
}
