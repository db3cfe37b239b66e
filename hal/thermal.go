package hal

import (
	"context"
	"path/filepath"
	"strings"

	"github.com/stack4things/s4t"
)

// thermalDriver finds the thermal zones of the board (Linux,
// Documentation/driver-api/thermal/sysfs-api.rst). A zone is named after its
// type, which comes from the device tree or the chip: sensor/cpu-thermal/temp;
// where several have one type, after its number.
type thermalDriver struct{ class string }

func newThermal(sys string) Driver { return thermalDriver{filepath.Join(sys, "class", "thermal")} }

// Name is sensor.
func (thermalDriver) Name() string { return "sensor" }

// Scan lists the zones.
func (d thermalDriver) Scan(context.Context) (list []Found, err error) {
	numbers, paths, err := folders(d.class, "thermal_zone")
	if err != nil {
		return nil, err
	}
	types := make([]string, len(paths))
	for i, path := range paths {
		text, _ := readAttribute(filepath.Join(path, "type"))
		types[i] = part(strings.TrimSpace(text))
	}
	for i, device := range different(types, numbers) {
		list = append(list, Found{
			Pin:  inputPin("sensor", device, "temp", s4t.PinSensor, "degC"),
			Open: openAttribute(filepath.Join(paths[i], "temp"), 1e-3),
		})
	}
	return list, nil
}
