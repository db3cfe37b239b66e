package hal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stack4things/s4t"
)

// gpioBoard is the configuration of a board with the kernel's GPIO, and what dir has.
func gpioBoard(dir string) Config {
	return Config{
		File: filepath.Join(dir, "io.toml"), State: dir, Drivers: []Driver{newGPIO("/dev", gpioKernel{})},
		Guard: func() *exec.Cmd { return exec.Command(os.Args[0], "pin-guard") },
	}
}

// runGPIOBoard is a process that runs it, and says when its guard knows what to do.
func runGPIOBoard(dir string) {
	h, err := New(gpioBoard(dir))
	if err != nil {
		panic(err)
	}
	go h.Run(context.Background())
	for !h.guarding.Load() {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("ready")
	select {}
}

// TestKernelGuard kills a board that drives a line of gpio-sim: the guard drives the other level, and
// holds it until the next board is there, which gets the line.
func TestKernelGuard(t *testing.T) {
	needKernel(t)
	world, chip := newGPIOSim(t)
	level := world + "/sim_gpio3/value"
	pull(t, world, 3, 0)
	dir := t.TempDir()
	name := "gpio/" + chip + "/3"
	if err := os.WriteFile(filepath.Join(dir, "io.toml"), []byte("[[pin]]\nname = \""+name+"\"\ndirection = \"out\"\nvalue = \"off\"\nfallback = \"high\"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "pin-gpio", dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "ready\n" {
		t.Fatalf("%q, %v", line, err)
	}
	becomes(t, level, "0\n")
	killedAt := time.Now()
	cmd.Process.Kill()
	becomes(t, level, "1\n")
	t.Logf("the line fell back %v after the board was killed", time.Since(killedAt).Round(time.Millisecond))
	cmd.Wait() // it was killed

	h, err := New(gpioBoard(dir))
	if err != nil {
		t.Fatal(err)
	}
	stop := run(t, h)
	becomes(t, level, "0\n")
	if err := pin(t, h, name).Write(t.Context(), Order{Value: 1, Holder: "a"}); err != nil {
		t.Error(err)
	}
	becomes(t, level, "1\n")
	if i := pin(t, h, name).Info(); !i.Writable || i.Direction != s4t.PinOut || i.Problem != "" {
		t.Errorf("%+v", i)
	}
	stop()
}
