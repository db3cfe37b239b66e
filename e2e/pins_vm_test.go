package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stack4things/s4t/internal/labvm"
)

// pinsGuest runs the tests of package hal that stand before a kernel's hardware.
const pinsGuest = `
mount -t configfs config /sys/kernel/config
insmod /modules/i2c-stub.ko chip_addr=0x48
cd /tmp
S4T_PINS=kernel /tools/hal.test -test.v -test.run 'TestKernel' -test.timeout 200s
echo "VM tests ended with $?"
`

// TestVMPins lets the kernel of a virtual machine judge the drivers of package
// hal: its simulated GPIO lines and IIO device, an LM75 behind a simulated I2C bus, and the
// lights of its keyboard.
func TestVMPins(t *testing.T) {
	dir := os.Getenv("S4T_VM")
	if dir == "" {
		t.Skip("boots a virtual machine: make test-vm")
	}
	if why := labvm.Missing(dir); why != "" {
		t.Skip(why)
	}
	if extra, _ := filepath.Glob(filepath.Join(dir, "lib/modules/*/extra/iio_dummy.ko")); len(extra) == 0 {
		t.Skip("needs kernel modules in " + dir + ": make test-vm builds them")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	tests := filepath.Join(t.TempDir(), "hal.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", tests, "github.com/stack4things/s4t/hal")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the tests: %v\n%s", err, out)
	}
	argv, err := labvm.Command(labvm.Config{
		Dir: dir, Files: map[string]string{"hal.test": tests}, Script: pinsGuest,
		Modules: []string{"configfs", "gpio-sim", "industrialio-configfs", "industrialio-triggered-buffer", "iio-trig-hrtimer", "iio_dummy", "i2c-dev", "lm75", "i2c-stub"},
	}, filepath.Join(t.TempDir(), "initrd"))
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
	t.Logf("the machine ran for %v", time.Since(start).Round(time.Second))
	console := strings.ReplaceAll(string(out), "\r", "")
	if err != nil || !strings.Contains(console, "VM tests ended with 0") || !strings.Contains(console, "--- PASS: TestKernelEdgeStorm") {
		t.Errorf("%v; the machine's console:\n%s", err, console)
	}
	for line := range strings.Lines(console) {
		if strings.Contains(line, "edges made in") {
			t.Log(strings.TrimSpace(line))
		}
	}
}
