package hal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
)

// iioDriver finds the converters of the board and the sensors behind them (Linux,
// Documentation/ABI/testing/sysfs-bus-iio). Voltages, currents and what is
// written are pins of the driver adc, all else are sensors:
// adc/iio:device0/voltage0, sensor/iio:device1/humidityrelative. Where the
// device tree labels a device it is named so instead of by its number. Differential channels are
// voltage0-voltage1. Nothing is asked of a channel before it is opened.
type iioDriver struct{ bus, dev, driver string }

func newIIO(sys, dev, driver string) Driver {
	return iioDriver{filepath.Join(sys, "bus", "iio", "devices"), dev, driver}
}

// Name is adc, or sensor.
func (d iioDriver) Name() string { return d.driver }

// iioChannel takes the name of a channel's file apart, "in_voltage0-voltage1_raw": direction,
// type, the rest of its name, and whether the number is raw. Of another file ok is false.
func iioChannel(file string) (direction, kind, rest string, raw, ok bool) {
	direction, name, _ := strings.Cut(file, "_")
	last := strings.LastIndexByte(name, '_')
	if direction != "in" && direction != "out" || last < 0 {
		return "", "", "", false, false
	}
	name, form := name[:last], name[last+1:]
	const lower, upper = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	rest = strings.TrimLeft(name, lower)
	kind = strings.TrimSuffix(name, rest)
	odd := strings.ContainsFunc(rest, func(r rune) bool { return !strings.ContainsRune(lower+upper+digits+"_-", r) })
	return direction, kind, rest, form == "raw", kind != "" && len(rest) <= 40 && !odd && (form == "raw" || form == "input")
}

// iioUnits are the units of the types, with what makes them of the kernel's.
var iioUnits = map[string]struct {
	unit  string
	scale float64
}{
	"voltage": {"V", 1e-3}, "altvoltage": {"V", 1e-3}, "current": {"A", 1e-3}, "power": {"W", 1e-3}, "energy": {"J", 1},
	"temp": {"degC", 1e-3}, "humidityrelative": {"%", 1e-3}, "pressure": {"kPa", 1}, "illuminance": {"lx", 1},
	"accel": {"m/s2", 1}, "anglvel": {"rad/s", 1}, "magn": {"G", 1}, "incli": {"deg", 1}, "rot": {"deg", 1},
	"distance": {"m", 1}, "velocity": {"m/s", 1}, "resistance": {"ohm", 1}, "capacitance": {"nF", 1}, "concentration": {"%", 1}, "ph": {"pH", 1},
	"electricalconductivity": {"S/m", 1},
}

// Scan lists the channels.
func (d iioDriver) Scan(context.Context) (list []Found, err error) {
	numbers, paths, err := folders(d.bus, "iio:device")
	if err != nil {
		return nil, err
	}
	labels := make([]string, len(paths))
	for i, path := range paths {
		text, _ := readAttribute(filepath.Join(path, "label"))
		labels[i] = part(text)
	}
	for i, device := range different(labels, numbers) {
		for _, base := range files(paths[i]) {
			direction, measure, rest, raw, ok := iioChannel(base)
			file := filepath.Join(paths[i], base)
			if !ok || raw && exists(strings.TrimSuffix(file, "raw")+"input") {
				continue // not a channel, or there is the processed value too
			}
			if converter := direction == "out" || measure == "voltage" || measure == "current"; converter != (d.driver == "adc") {
				continue
			}
			kind, q := s4t.PinSensor, iioUnits[measure]
			if d.driver == "adc" {
				kind = s4t.PinAnalog
			}
			if q.scale == 0 {
				q.scale = 1
			}
			name := measure + rest
			p := inputPin(d.driver, device, part(name), kind, q.unit)
			if direction == "out" {
				p = outputPin(d.driver, device, part("out-"+name), kind, q.unit, "the converter stays at its value when lightning-rod dies")
			}
			p.Label, _ = readAttribute(filepath.Join(paths[i], direction+"_"+name+"_label"))
			l := iio{dir: paths[i], dev: filepath.Join(d.dev, numbers[i]), direction: direction, kind: measure, name: name, raw: raw, writes: direction == "out"}
			l.path, l.scale = file, q.scale
			list = append(list, Found{Pin: p, Open: l.open})
		}
	}
	return onceLabelled(list), nil
}

// iio is the Line of a channel.
type iio struct {
	attribute
	dir, dev              string
	direction, kind, name string // "in", "voltage", "voltage0"
	raw, writes           bool
}

// open reads the scale and the offset, which stay for as long as the line is open.
func (l iio) open() (Line, error) {
	if !exists(l.path) {
		return nil, syscall.ENODEV
	}
	if l.raw {
		scale, err := l.shared("scale", 1)
		if err != nil {
			return nil, err
		}
		if l.offset, err = l.shared("offset", 0); err != nil {
			return nil, err
		}
		l.scale *= scale
	}
	return &l, nil
}

// shared reads an attribute of the channel: its own, that of all channels of its
// type, of its direction, or of the device.
func (l *iio) shared(what string, otherwise float64) (float64, error) {
	kinds := l.kind
	if strings.Contains(l.name, "-") {
		kinds += "-" + l.kind
	}
	for _, name := range []string{l.direction + "_" + l.name + "_", l.direction + "_" + kinds + "_", l.direction + "_", ""} {
		if file := filepath.Join(l.dir, name+what); exists(file) {
			return readNumber(file)
		}
	}
	return otherwise, nil
}

// Read reads the channel. While the buffer of the device runs many drivers do not let it be
// read so (EBUSY): then the value is that of the newest scan in the buffer, if the channel
// is part of it and nobody else reads it.
func (l *iio) Read() (float64, error) {
	v, err := readNumber(l.path)
	if errors.Is(err, syscall.EBUSY) && l.raw && !l.writes {
		var other error
		if v, other = l.buffered(); other != nil {
			return 0, fmt.Errorf("%w: the device fills its buffer, and %w", syscall.EBUSY, other)
		}
		err = nil
	}
	return (v + l.offset) * l.scale, err
}

// Write writes the number next to v that the converter can be.
func (l *iio) Write(v float64) error {
	if !l.writes {
		return syscall.EPERM
	}
	raw := v/l.scale - l.offset
	if l.raw {
		raw = math.Round(raw)
	}
	if math.IsNaN(raw) || math.Abs(raw) > math.MaxInt32 {
		return syscall.EINVAL
	}
	return writeAttribute(l.path, strconv.FormatFloat(raw, 'f', -1, 64))
}

// iioWait is how long a scan is waited for where the buffer is empty.
const iioWait = time.Second

// buffered reads the channel from the newest scan in the device's buffer.
func (l *iio) buffered() (float64, error) {
	at, element, size, err := l.layout()
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(l.dev, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return 0, gone(err)
	}
	defer f.Close()
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, err
	}
	buf := make([]byte, 64*size)
	scan := make([]byte, 0, size)
	for len(scan) == 0 || len(scan) == size { // until nothing is left, or the wait is over
		var n int
		if len(scan) == 0 {
			_ = f.SetReadDeadline(time.Now().Add(iioWait)) // a file that is always ready needs none
			n, err = f.Read(buf)
		} else if e := conn.Read(func(fd uintptr) bool { n, err = syscall.Read(int(fd), buf); return true }); e != nil {
			return 0, e
		}
		if whole := n / size * size; whole > 0 {
			scan = append(scan[:0], buf[whole-size:whole]...)
			continue
		}
		break
	}
	if len(scan) == 0 {
		if err == nil || err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("no scan came within %v", iioWait)
		}
		return 0, gone(err)
	}
	return element.value(scan[at:]), nil
}

// layout is where in a scan of the device the channel is, and how long a scan is. Each element is
// aligned to its own size, the scan to its largest (Linux, drivers/iio/industrialio-buffer.c,
// iio_compute_scan_bytes).
func (l *iio) layout() (at int, element iioElement, size int, err error) {
	folder := filepath.Join(l.dir, "scan_elements")
	elements := map[int]iioElement{}
	mine, last, largest := -1, -1, 1
	for _, file := range files(folder) {
		base, ok := strings.CutSuffix(filepath.Join(folder, file), "_en")
		if !ok {
			continue
		}
		if on, err := readNumber(base + "_en"); err != nil || on == 0 {
			continue
		}
		index, err := readNumber(base + "_index")
		if err != nil {
			return 0, element, 0, err
		}
		text, err := readAttribute(base + "_type")
		if err != nil {
			return 0, element, 0, err
		}
		e, err := parseIIOElement(text)
		if err != nil {
			return 0, element, 0, err
		}
		i := int(index)
		if elements[i] = e; filepath.Base(base) == l.direction+"_"+l.name {
			mine = i
		}
		last, largest = max(last, i), max(largest, e.bytes)
	}
	if mine < 0 || last > 4096 {
		return 0, element, 0, fmt.Errorf("the channel is not in it")
	}
	for i := 0; i <= last; i++ {
		e, there := elements[i]
		if !there {
			continue
		}
		size = align(size, e.bytes)
		if i == mine {
			at, element = size, e
		}
		size += e.bytes * e.repeat
	}
	return at, element, align(size, largest), nil
}

// align rounds n up to a multiple of size.
func align(n, size int) int { return (n + size - 1) / size * size }

// iioElement is how a channel is in a scan: "le:s12/16>>4", "be:u16/32X2>>0".
type iioElement struct {
	order  binary.ByteOrder
	signed bool
	bits   int // of the value
	bytes  int // of one value, with what it is filled up with: 1, 2, 4, 8
	repeat int // values of the channel; the first counts
	shift  int
}

func parseIIOElement(text string) (iioElement, error) {
	bad := fmt.Errorf("the device says %q of a channel, which is no type: %w", s4t.Line(text, 32), syscall.EIO)
	order, rest, _ := strings.Cut(text, ":")
	signed := strings.HasPrefix(rest, "s")
	if !signed && !strings.HasPrefix(rest, "u") || order != "le" && order != "be" {
		return iioElement{}, bad
	}
	value, rest, _ := strings.Cut(rest[1:], "/")
	storage, shift, _ := strings.Cut(rest, ">>")
	storage, repeat, repeated := strings.Cut(storage, "X")
	if !repeated {
		repeat = "1"
	}
	var n [4]int // bits of the value, bits with what it is filled up with, values, shift
	for i, s := range []string{value, storage, repeat, shift} {
		if len(s) < 1 || len(s) > 2 || strings.Trim(s, digits) != "" {
			return iioElement{}, bad
		}
		n[i], _ = strconv.Atoi(s)
	}
	e := iioElement{order: binary.LittleEndian, signed: signed, bits: n[0], bytes: n[1] / 8, repeat: n[2], shift: n[3]}
	if order == "be" {
		e.order = binary.BigEndian
	}
	if 8*e.bytes != n[1] || n[1]&(n[1]-1) != 0 || e.bytes < 1 || e.bits < 1 || e.bits+e.shift > n[1] || e.repeat < 1 {
		return iioElement{}, bad
	}
	return e, nil
}

// value takes the raw number out of a scan, from where the element begins.
func (e iioElement) value(b []byte) float64 {
	var v uint64
	switch e.bytes {
	case 1:
		v = uint64(b[0])
	case 2:
		v = uint64(e.order.Uint16(b))
	case 4:
		v = uint64(e.order.Uint32(b))
	default:
		v = e.order.Uint64(b)
	}
	unused := 64 - e.bits
	v = v >> e.shift << unused
	if e.signed {
		return float64(int64(v) >> unused)
	}
	return float64(v >> unused)
}
