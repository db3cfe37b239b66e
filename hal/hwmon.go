package hal

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/stack4things/s4t"
)

// hwmonDriver finds the monitoring chips of the board (Linux,
// Documentation/hwmon/sysfs-interface.rst). The numbers of hwmon devices
// follow the order in which the kernel found them, so a device is named after its chip and
// its place on the bus: sensor/lm75-0-0048/temp1. What the chip calls an
// input ("Core 0") is its label. Chips that only show what another driver here has, thermal zones and
// 1-wire slaves, are left to that.
type hwmonDriver struct{ class string }

// digits are those of numbers in names.
const digits = "0123456789"

func newHwmon(sys string) Driver { return hwmonDriver{filepath.Join(sys, "class", "hwmon")} }

// Name is sensor.
func (hwmonDriver) Name() string { return "sensor" }

// hwmonUnits say what the numbers of an input are, by what it measures.
var hwmonUnits = map[string]struct {
	unit  string
	scale float64
}{
	"temp": {"degC", 1e-3}, "in": {"V", 1e-3}, "curr": {"A", 1e-3}, "power": {"W", 1e-6},
	"energy": {"J", 1e-6}, "fan": {"rpm", 1}, "humidity": {"%", 1e-3},
}

// Scan lists the inputs of all chips.
func (d hwmonDriver) Scan(context.Context) (list []Found, err error) {
	numbers, paths, err := folders(d.class, "hwmon")
	if err != nil {
		return nil, err
	}
	names := make([]string, len(paths))
	for i, path := range paths {
		names[i] = hwmonName(path)
	}
	for i, device := range different(names, numbers) {
		bus := parent(paths[i])
		if strings.HasPrefix(bus, "thermal_zone") || strings.HasPrefix(names[i], "w1_slave") {
			continue
		}
		for _, name := range files(paths[i]) {
			input, which, _ := strings.Cut(name, "_") // "temp12", "input"
			measure := strings.TrimRight(input, digits)
			q, known := hwmonUnits[measure]
			if number := input[len(measure):]; !known || number == "" || len(number) > 3 || which != "input" && which != "average" {
				continue
			}
			file := filepath.Join(paths[i], name)
			if which == "average" && exists(strings.TrimSuffix(file, "average")+"input") {
				continue
			}
			p := inputPin("sensor", device, input, s4t.PinSensor, q.unit)
			p.Label, _ = readAttribute(filepath.Join(paths[i], input+"_label"))
			list = append(list, Found{Pin: p, Open: openAttribute(file, q.scale)})
		}
	}
	return onceLabelled(list), nil
}

// hwmonName is the chip with its place on the bus: "lm75-0-0048", "coretemp.0".
func hwmonName(path string) string {
	chip, err := readAttribute(filepath.Join(path, "name"))
	if err != nil {
		return ""
	}
	bus := parent(path)
	if bus == "" || strings.HasPrefix(bus, chip) {
		return part(max(bus, chip))
	}
	return part(chip + "-" + bus)
}
