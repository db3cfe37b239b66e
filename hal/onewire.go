package hal

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/stack4things/s4t"
)

// oneWireDriver finds the thermometers on the board's 1-wire buses (Linux,
// Documentation/w1/slaves/w1_therm.rst): onewire/28-000005e2fdc3/temperature. The number is burnt
// into the chip. A reading takes 750 ms, on a bus that all of them share, so it
// is sampled each 10 s where nobody says otherwise.
type oneWireDriver struct{ bus string }

func newOneWire(sys string) Driver {
	return oneWireDriver{filepath.Join(sys, "bus", "w1", "devices")}
}

// oneWirePeriod is the default period of sampling.
const oneWirePeriod = 10 * time.Second

// isThermometer says whether a slave's name, "28-0316a2795cff", begins with the family of a
// thermometer: DS18S20, DS1822, DS18B20, DS1825, DS28EA00.
func isThermometer(name string) bool {
	family, number, _ := strings.Cut(name, "-")
	switch family {
	case "10", "22", "28", "3b", "42":
		return len(number) == 12 && strings.Trim(number, digits+"abcdef") == ""
	}
	return false
}

// Name is onewire.
func (oneWireDriver) Name() string { return "onewire" }

// Scan lists the thermometers. It reads none of them.
func (d oneWireDriver) Scan(context.Context) (list []Found, err error) {
	names, paths, err := folders(d.bus, "")
	if err != nil {
		return nil, err
	}
	for i, name := range names {
		file := filepath.Join(paths[i], "w1_slave")
		if !isThermometer(name) || !exists(file) {
			continue
		}
		list = append(list, Found{Pin: inputPin("onewire", name, "temperature", s4t.PinSensor, "degC"), Period: oneWirePeriod, Open: func() (Line, error) {
			if !exists(file) {
				return nil, syscall.ENODEV
			}
			return &thermometer{attribute{path: file}}, nil
		}})
	}
	return list, nil
}

// thermometer is the Line of a 1-wire thermometer.
type thermometer struct{ attribute }

func (t *thermometer) Read() (float64, error) {
	text, err := readAttribute(t.path)
	if err != nil {
		return 0, err
	}
	return parseOneWire(text)
}

// parseOneWire reads what w1_slave says: the nine bytes of the chip's memory twice, and
//
//	... : crc=1c YES
//	... t=23125
//
// in millidegrees. A wrong checksum is EIO: the bus is disturbed, the next
// reading may be right.
func parseOneWire(text string) (float64, error) {
	head, rest, _ := strings.Cut(text, "\n")
	if !strings.HasSuffix(strings.TrimSpace(head), "YES") {
		return 0, fmt.Errorf("the thermometer's answer has a wrong checksum: %w", syscall.EIO)
	}
	_, number, ok := strings.Cut(rest, "t=")
	if !ok {
		return 0, fmt.Errorf("the thermometer's answer has no temperature: %w", syscall.EIO)
	}
	v, err := parseNumber(strings.TrimSpace(number))
	return v / 1000, err
}
