package hal

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/stack4things/s4t"
)

// Kernel returns the drivers of the pins that the kernel shows under the roots
// sys and dev, "/sys" and "/dev" but for tests.
func Kernel(sys, dev string) []Driver {
	return []Driver{
		newGPIO(dev, gpioKernel{}),
		newIIO(sys, dev, "adc"), newIIO(sys, dev, "sensor"),
		newHwmon(sys), newThermal(sys),
		newPWM(sys), newLEDs(sys), newOneWire(sys),
	}
}

// attributeSize bounds an attribute of sysfs: sysfs itself gives no more than a page.
const attributeSize = 4096

// readAttribute reads a file of sysfs, without the white space around it.
func readAttribute(path string) (string, error) {
	var buf [256]byte // all that is sampled fits
	text, err := readFile(path, buf[:0])
	if err != nil {
		return "", err
	}
	return string(bytes.TrimSpace(text)), nil
}

// readFile appends up to attributeSize bytes of a file to buf. It makes no os.File:
// nothing that is sampled many times a second should cost the poller a visit.
func readFile(path string, buf []byte) ([]byte, error) {
	fd, err := retry(func() (int, error) { return syscall.Open(path, syscall.O_RDONLY|syscall.O_CLOEXEC, 0) })
	if err != nil {
		return nil, gone(err)
	}
	defer syscall.Close(fd)
	for len(buf) < attributeSize {
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, attributeSize), buf...)
		}
		n, err := retry(func() (int, error) { return syscall.Read(fd, buf[len(buf):cap(buf)]) })
		if err != nil {
			return nil, gone(err)
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	return buf, nil
}

// readNumber reads a file of sysfs that holds one number.
func readNumber(path string) (float64, error) {
	text, err := readAttribute(path)
	if err != nil {
		return 0, err
	}
	return parseNumber(text)
}

// parseNumber reads a number as drivers of the kernel write it; a unit may follow
// after a space. What is no number is EIO: the device's fault, not the asker's.
func parseNumber(text string) (float64, error) {
	word, _, _ := strings.Cut(text, " ")
	v, err := strconv.ParseFloat(word, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		return 0, fmt.Errorf("the device answers %q, which is no number: %w", s4t.Line(text, 32), syscall.EIO)
	}
	return v, nil
}

// writeAttribute writes a file of sysfs, in one write as sysfs wants it.
func writeAttribute(path, text string) error {
	fd, err := retry(func() (int, error) {
		return syscall.Open(path, syscall.O_WRONLY|syscall.O_TRUNC|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return gone(err)
	}
	defer syscall.Close(fd)
	_, err = retry(func() (int, error) { return syscall.Write(fd, []byte(text)) })
	return gone(err)
}

// retry calls f again where a signal came between.
func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != syscall.EINTR {
			return n, err
		}
	}
}

// gone makes what a device says that was pulled out, or whose files are away, ENODEV.
func gone(err error) error {
	if errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENXIO) || errors.Is(err, syscall.ENOTDIR) {
		return syscall.ENODEV
	}
	return err
}

// exists says whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// folders returns the folders in dir whose names begin with prefix, by name,
// with the paths that they have under /sys/devices: a number that another device has by
// the time of a read leads nowhere there. Without dir there are none.
func folders(dir, prefix string) (names, paths []string, err error) {
	list, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, nil
	}
	for _, e := range list {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		if path, err := filepath.EvalSymlinks(filepath.Join(dir, e.Name())); err == nil {
			names, paths = append(names, e.Name()), append(paths, path)
		}
	}
	return names, paths, err
}

// files returns the names of what is in a folder; none, where it went.
func files(dir string) (names []string) {
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// parent is the name of the device that a folder of a class belongs to, as its bus
// calls it: "0-0048", "fe20c000.pwm"; "": none.
func parent(dir string) string {
	path, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		return ""
	}
	return filepath.Base(path)
}

// part makes text a part of a pin's name; "" where nothing of it can be one.
func part(text string) string {
	b := []byte(text)
	for i, c := range b {
		if s4t.ValidPinPart(string(c)) != nil && c != '.' {
			b[i] = '-'
		}
	}
	text = string(b[:min(len(b), s4t.MaxName)])
	if s4t.ValidPinPart(text) != nil || strings.Trim(text, "-") == "" {
		return ""
	}
	return text
}

// different returns the names, with the other name in place of each that is empty or
// there more than once.
func different(names, others []string) []string {
	seen := map[string]int{}
	for _, n := range names {
		seen[n]++
	}
	out := make([]string, len(names))
	for i, n := range names {
		if out[i] = n; n == "" || seen[n] > 1 {
			out[i] = others[i]
		}
	}
	return out
}

// onceLabelled takes away the labels that more than one pin has.
func onceLabelled(list []Found) []Found {
	seen := map[string]int{}
	for i := range list {
		list[i].Pin.Label = part(list[i].Pin.Label)
		seen[list[i].Pin.Label]++
	}
	for i := range list {
		if seen[list[i].Pin.Label] > 1 {
			list[i].Pin.Label = ""
		}
	}
	return list
}

// inputPin makes a pin that is only read.
func inputPin(driver, device, name string, kind s4t.PinKind, unit string) s4t.Pin {
	return s4t.Pin{Name: driver + "/" + device + "/" + name, Driver: driver, Device: device, Kind: kind, Direction: s4t.PinIn, Unit: unit}
}

// outputPin makes a pin that is always an output.
func outputPin(driver, device, name string, kind s4t.PinKind, unit, guarantee string) s4t.Pin {
	p := inputPin(driver, device, name, kind, unit)
	p.Direction, p.Writable, p.Guarantee = s4t.PinOut, true, guarantee
	return p
}

// attribute is the Line of a file of sysfs that is read: value = (number + offset) * scale.
type attribute struct {
	path          string
	offset, scale float64
}

// openAttribute returns the Found.Open of a file.
func openAttribute(path string, scale float64) func() (Line, error) {
	return func() (Line, error) {
		if !exists(path) {
			return nil, syscall.ENODEV
		}
		return &attribute{path: path, scale: scale}, nil
	}
}

func (a *attribute) Read() (float64, error) {
	v, err := readNumber(a.path)
	return (v + a.offset) * a.scale, err
}

func (a *attribute) Write(float64) error { return syscall.EPERM }

func (a *attribute) Set(settings map[string]string) error { return noSettings(settings) }

func (a *attribute) Events() <-chan Event { return nil }

func (a *attribute) Close() error { return nil }

// noSettings is the Set of a line whose hardware has nothing to set.
func noSettings(settings map[string]string) error {
	if len(settings) > 0 {
		return syscall.EINVAL
	}
	return nil
}
